"""Files and directories of a role, in one run of a module."""

from __future__ import annotations

import grp
import json
import os
import pwd
from typing import TYPE_CHECKING
from unittest import mock

import pytest
from inprocess import run_module

if TYPE_CHECKING:
    from pathlib import Path

ME = {"owner": pwd.getpwuid(os.geteuid()).pw_name, "group": grp.getgrgid(os.getegid()).gr_name}


def place(*paths: dict, check: bool = False) -> dict:
    return run_module("_host_files", {"paths": [{**ME, **path} for path in paths]}, check=check)


def test_check_apply_check_apply(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_text("copied")
    (tmp_path / "outdated").write_text("x")
    top = tmp_path / "etc"
    wanted = (
        {"path": str(top), "state": "directory", "mode": "0750"},
        {"path": str(top / "text"), "content": "line\n"},
        {"path": str(top / "json"), "json": {"b": [1], "a": "x"}},
        {"path": str(top / "secret"), "secret": "s3cret-text", "mode": "0600"},
        {"path": str(top / "copy"), "copy_of": str(source)},
        {"path": str(tmp_path / "outdated"), "state": "absent"},
    )
    paths = [one["path"] for one in wanted]
    foretold = place(*wanted, check=True)
    assert not top.exists()
    done = place(*wanted)
    assert foretold["changed_paths"] == done["changed_paths"] == paths
    assert (top / "json").read_text() == '{\n    "a": "x",\n    "b": [\n        1\n    ]\n}\n'
    assert (top / "copy").read_text() == "copied"
    assert "s3cret-text" not in json.dumps([foretold, done])
    assert len(done["checksums"]) == 4
    for check in (True, False):
        again = place(*wanted, check=check)
        assert (again["changed"], again["changed_paths"], again["diff"]) == (False, [], [])
        assert again["checksums"] == done["checksums"]


@pytest.mark.parametrize(
    "secret", ["one-line-of-it", "first-of-it\nsecond-of-it\n", 'it\'s "quoted-of-it"\n\ttab-of-it']
)
def test_a_secret_is_not_logged_whatever_it_holds(tmp_path: Path, secret: str) -> None:
    with mock.patch("ansible.module_utils.basic.AnsibleModule.log") as log:
        run_module("_host_files", {"paths": [{**ME, "path": str(tmp_path / "file"), "secret": secret}]}, log=True)
    assert log.called
    assert "of-it" not in str(log.call_args_list)
    assert (tmp_path / "file").read_text() == secret


def test_a_command_that_refuses_keeps_the_former_file(tmp_path: Path) -> None:
    path = tmp_path / "nginx.conf"
    path.write_text("former")
    refused = place({"path": str(path), "content": "new", "validate": ["sh", "-c", "cat %s; echo bad >&2; exit 3"]})
    assert refused["failed"]
    assert (refused["rc"], refused["stdout"], refused["stderr"]) == (3, "new", "bad\n")
    assert refused["msg"] == f"{path} stays as it was: sh refuses the new one. It said: bad"
    assert path.read_text() == "former"
    assert place({"path": str(path), "content": "new", "validate": ["grep", "new", "%s"]})["changed"]


def test_a_file_that_is_as_it_should_be_is_not_validated_again(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("text")
    path.chmod(0o644)
    assert not place({"path": str(path), "content": "text", "validate": ["false"]})["changed"]


def test_what_is_to_be_copied_may_be_missing_in_check_mode_alone(tmp_path: Path) -> None:
    wanted = {"path": str(tmp_path / "copy"), "copy_of": str(tmp_path / "missing")}
    assert place(wanted, check=True)["changed"]
    failed = place(wanted)
    assert "missing, to be copied to" in failed["msg"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "wanted",
    [
        {},
        {"content": "a", "secret": "b"},
        {"content": "a", "mode": "rw-r--r--"},
        {"content": "a", "owner": "no-such-user"},
        {"state": "directory", "path": "/proc/1/wharf"},
    ],
    ids=["no content", "two contents", "mode in letters", "unknown owner", "place that takes none"],
)
def test_bad_input_is_one_error(tmp_path: Path, wanted: dict) -> None:
    failed = place({"path": str(tmp_path / "file"), **wanted})
    assert failed["failed"]
    assert "Traceback" not in failed["msg"]
    assert list(tmp_path.iterdir()) == []


def test_data_in_the_place_of_text_is_json(tmp_path: Path) -> None:
    """As ansible-core hands it over before 2.19, where the text of a template is JSON."""
    place({"path": str(tmp_path / "file"), "content": {"b": 1, "a": 2}})
    assert (tmp_path / "file").read_text() == '{"a": 2, "b": 1}'

"""What a role wants to know of a host. What an engine says is in tests of integration."""

from __future__ import annotations

import hashlib
import os
import pwd
from typing import TYPE_CHECKING

from inprocess import run_module
from misbehaving import reply

if TYPE_CHECKING:
    from pathlib import Path

    from misbehaving import Misbehaving


def test_nothing_is_there_and_that_is_no_error(tmp_path: Path) -> None:
    missing = str(tmp_path / "missing")
    told = run_module(
        "_host_look",
        {
            "paths": [missing],
            "read": [missing, str(tmp_path)],
            "digests": [missing],
            "accounts": ["no-such-user"],
            "groups": ["no-such-group"],
            "python_modules": ["no_such_module", "no_such.module"],
            "programs": ["no-such-program"],
            "engine": True,
            "socket": missing,
            "label": "a=b",
            "containers": ["c"],
            "images": ["i"],
        },
    )
    assert not told["changed"]
    assert told["paths"] == told["digests"] == {missing: None}
    assert told["texts"] == {missing: None, str(tmp_path): None}
    assert (told["accounts"], told["groups"]) == ({"no-such-user": None}, {"no-such-group": None})
    assert told["python_modules"] == {"no_such_module": False, "no_such.module": False}
    assert told["programs"] == {"no-such-program": ""}
    assert told["engine"] == {"answers": False, "label": "a=b", "containers": {"c": None}, "images": {"i": None}}


def test_what_is_there(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"text\xff")
    file.chmod(0o640)
    (tmp_path / "link").symlink_to("file")
    me = pwd.getpwuid(os.geteuid())
    told = run_module(
        "_host_look",
        {
            "paths": [str(tmp_path), str(tmp_path / "link"), "/dev/null"],
            "read": [str(file)],
            "digests": [str(file)],
            "accounts": [me.pw_name],
            "python_modules": ["json"],
            "programs": ["sh"],
        },
    )
    assert told["python_modules"] == {"json": True}
    assert told["programs"]["sh"].endswith("/sh")
    assert [found["kind"] for found in told["paths"].values()] == ["directory", "file", "other"]
    assert told["paths"][str(tmp_path / "link")]["mode"] == "0640"
    assert told["texts"][str(file)] == "text\N{REPLACEMENT CHARACTER}"
    assert told["digests"][str(file)] == hashlib.sha256(b"text\xff").hexdigest()
    assert told["accounts"][me.pw_name] == {
        "uid": me.pw_uid,
        "gid": me.pw_gid,
        "home": me.pw_dir,
        "shell": me.pw_shell,
    }
    assert told["processors"] >= 1
    # Without `engine`, none is asked.
    assert told["engine"]["answers"] is False


def test_a_name_that_no_image_can_have_hides_none_of_the_others(engine: Misbehaving, tmp_path: Path) -> None:
    """What Docker answers to it is 400."""
    engine.answer("/_ping", reply(200, "OK"))
    engine.answer("/images/nginx%3ABlue%20Onyx-1/json", reply(400, '{"message": "invalid reference format"}'))
    engine.answer("/images/nginx%3A1/json", reply(200, '{"Id": "sha256:1"}'))
    options = {"engine": True, "socket": str(tmp_path / "docker.sock"), "images": ["nginx:Blue Onyx-1", "nginx:1"]}
    found = run_module("_host_look", options)["engine"]
    assert found["answers"]
    assert found["images"] == {"nginx:Blue Onyx-1": None, "nginx:1": {"Id": "sha256:1"}}

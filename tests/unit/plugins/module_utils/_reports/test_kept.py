"""The last report on a registry host: root's alone, whole, and with what it knew of hosts that a run left out."""

from __future__ import annotations

import json
import os
import stat

import pytest
from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError
from ansible_collections.wharf.registry.plugins.module_utils._reports.kept import keep, merged
from inprocess import run_module


def report(hosts, kind="rollout"):
    return {"version": 1, "kind": kind, "made": "2026-11-30T17:20:05Z", "data": {"hosts": hosts}}


class TestMerged:
    def test_a_host_that_was_left_out_stays(self):
        former = report({"a": {"outcome": "ok", "when": "before"}, "b": {"outcome": "ok"}, "gone": {"outcome": "ok"}})
        found = merged(report({"b": {"outcome": "failed"}}), former, {"a", "b"})["data"]["hosts"]
        assert found == {"b": {"outcome": "failed"}, "a": {"outcome": "ok", "when": "before"}}

    def test_a_host_whose_turn_did_not_come_still_has_what_it_had(self):
        former = report({"a": {"outcome": "ok", "engines": ["docker 26"], "trust": "r"}})
        found = merged(report({"a": {"outcome": "skipped", "engines": [], "trust": ""}}), former, {"a"})
        assert found["data"]["hosts"]["a"] == {"outcome": "skipped", "engines": ["docker 26"], "trust": "r"}

    @pytest.mark.parametrize(
        "former",
        [None, [], "x", 7, {}, {"data": 7}, {"data": {"hosts": []}}, {"data": {"hosts": {"a": 7, "b": None}}}],
    )
    def test_what_is_damaged_is_no_former_one(self, former):
        one = report({"a": {"outcome": "ok"}})
        assert merged(one, former, {"a", "b"}) == one


class TestKeep:
    def test_for_root_alone_and_anew_each_time(self, tmp_path):
        directory = tmp_path / "reports"
        assert keep(str(directory), report({"a": {"outcome": "ok"}}), ["a", "b"]) is True
        assert keep(str(directory), report({"b": {"outcome": "ok"}}), ["a", "b"]) is True
        assert keep(str(directory), report({}, "doctor"), []) is True
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        assert stat.S_IMODE((directory / "rollout.json").stat().st_mode) == 0o600
        assert sorted(json.loads((directory / "rollout.json").read_text())["data"]["hosts"]) == ["a", "b"]
        assert sorted(one.name for one in directory.iterdir()) == ["doctor.json", "rollout.json"]

    def test_a_wider_mode_is_corrected(self, tmp_path):
        directory = tmp_path / "reports"
        directory.mkdir(mode=0o755)
        (directory / "rollout.json").write_text("{ damaged")
        keep(str(directory), report({}), [])
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        assert stat.S_IMODE((directory / "rollout.json").stat().st_mode) == 0o600

    def test_where_there_is_no_registry(self, tmp_path):
        assert keep(str(tmp_path / "none" / "reports"), report({}), []) is False
        assert list(tmp_path.iterdir()) == []

    def test_no_link_is_followed(self, tmp_path):
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        (tmp_path / "reports").symlink_to(elsewhere)
        with pytest.raises(InputError, match="Make it a directory of root"):
            keep(str(tmp_path / "reports"), report({}), [])
        assert list(elsewhere.iterdir()) == []
        (tmp_path / "reports").unlink()
        (tmp_path / "reports").mkdir()
        (tmp_path / "secret").write_text("{}")
        for name in ("rollout.json", "rollout.json.new"):
            (tmp_path / "reports" / name).symlink_to(tmp_path / "secret")
        keep(str(tmp_path / "reports"), report({"a": {}}), [])
        assert (tmp_path / "secret").read_text() == "{}"
        assert not (tmp_path / "reports" / "rollout.json").is_symlink()

    def test_what_is_no_file_is_no_former_one(self, tmp_path):
        directory = tmp_path / "reports"
        directory.mkdir()
        os.mkfifo(directory / "rollout.json")
        keep(str(directory), report({"a": {}}), [])
        assert json.loads((directory / "rollout.json").read_text())["data"]["hosts"] == {"a": {}}


class TestModule:
    def test_it_is_never_changed(self, tmp_path):
        given = {"directory": str(tmp_path / "reports"), "report": report({"a": {}}), "hosts": ["a"]}
        foretold = run_module("_kept_report", given, check=True)
        assert (foretold["changed"], foretold["kept"]) == (False, True) and list(tmp_path.iterdir()) == []
        done = run_module("_kept_report", given)
        assert (done["changed"], done["kept"]) == (False, True)
        assert (tmp_path / "reports" / "rollout.json").exists()

    def test_a_kind_is_no_path(self, tmp_path):
        given = {"directory": str(tmp_path / "reports"), "report": report({}, "../x")}
        assert "give one of" in run_module("_kept_report", given)["msg"]

"""Credential files as real clients judge them: what a client does not take, registry_login refuses, and says why.

The verdicts of tests/verdicts/config_json.yml are the clients' own; test_verdicts.py asks them again.
"""

from __future__ import annotations

import json

import inputs
import pytest
from inprocess import run_module

OPTIONS = {"registry": "r.example.com", "username": "ci", "password": "geheim-4711", "verify": False}
CASES = inputs.cases("config_json.yml")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_what_docker_does_not_take_is_refused(tmp_path, case):
    path = tmp_path / "config.json"
    path.write_bytes(case["raw"])
    path.chmod(0o600)
    for check in (True, False):
        result = run_module("registry_login", OPTIONS | {"config_path": str(path)}, check=check)
        assert result.get("msg", "").startswith(f"{path}") is ("module" in case), result
        assert case.get("module", "") in result.get("msg", "")
    if "module" in case:
        assert path.read_bytes() == case["raw"]
    else:
        assert json.loads(path.read_bytes())["auths"]["r.example.com"] == {"auth": inputs.AUTH}


def test_every_file_that_a_docker_ignores_is_refused():
    """The table itself: what is ours to mend is the login of this registry, and nothing else."""
    for case in CASES:
        bad = {case["docker"], case.get("docker_20_10", "takes")} - {"takes"}
        assert not bad or "module" in case or "our own" in case["name"], case["name"]


@pytest.mark.parametrize("name", ["no base64", "no colon", "our own is bad"])
def test_a_logout_needs_no_file_that_docker_takes(tmp_path, name):
    path = tmp_path / "config.json"
    path.write_bytes(next(case["raw"] for case in CASES if case["name"] == name))
    result = run_module(
        "registry_login", {"registry": "r.example.com", "state": "absent", "config_path": str(path)}, check=False
    )
    assert result["changed"] and "r.example.com" not in json.loads(path.read_bytes())["auths"]


UNDECODABLE = [case for case in CASES if "auth of" in case.get("module", "")]


@pytest.mark.parametrize("case", UNDECODABLE, ids=lambda case: case["name"])
def test_what_docker_does_not_find_is_not_found(tmp_path, case):
    """A module that takes its login from the file is told why docker has none."""
    path = tmp_path / "config.json"
    path.write_bytes(case["raw"])
    result = run_module("registry_info", {"registry": "r.example.com", "config_path": str(path)}, check=False)
    assert result["failed"] and str(path) in result["msg"] and case["module"] in result["msg"]

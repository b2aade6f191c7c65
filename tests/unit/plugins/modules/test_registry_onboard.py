"""registry_onboard: what it says before it does anything, also where no engine is."""

from __future__ import annotations

import pytest
from inprocess import run_module

KEYS = {"changed", "step", "trust", "logins", "check", "complete", "rolled_back", "unrestored_files", "seconds"}


@pytest.fixture
def options(tmp_path):
    """A host with Docker's files in a directory of the test, and no engine that is told of them."""
    return {
        "registries": [{"host": "r.example.com", "insecure": True}],
        "engines": ["docker"],
        "apply": "never",
        "daemon_config_path": str(tmp_path / "daemon.json"),
        "certs_dir": str(tmp_path / "certs.d"),
    }


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"registries": [{"host": "bad host"}]}, "'bad host'"),
        ({"timeout": 0}, "timeout is 0"),
        ({"registries": [], "logins": [{"username": "u", "password": "p"}]}, "names no registry"),
        ({"logins": [{"username": "u", "password": "p", "user": "no-such-account"}]}, "no-such-account"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_stays(options, tmp_path, change, said):
    result = run_module("registry_onboard", options | {"daemon_config_path": None} | change)
    assert result["failed"] and said in result["msg"]
    assert set(result) >= KEYS and not result["changed"] and result["unrestored_files"] == []
    assert not list(tmp_path.iterdir())


def test_a_check_that_is_passed_over_need_not_be_meant(options):
    change = {"registries": [], "check": {"access": "none"}, "state": "absent"}
    result = run_module("registry_onboard", options | change)
    assert not result.get("failed") and not result["changed"]

"""The filters of the playbooks read one variable of the role client, `client_result`, and none that is its own."""

from __future__ import annotations

import re

import pytest
import yaml
from paths import ROOT

ROLE = ROOT / "roles" / "client"
DONE = {
    "trust": {"changed_files": ["/x"], "reloaded": False, "engine": {}},
    "logins": [],
    "check": {"engine": "docker"},
    "seconds": 1.0,
}
WALKED = {"hops": [{"name": "pull", "ok": True}], "failed_hop": "", "verified": True, "engine": "docker"}


@pytest.fixture(scope="module")
def filters(plugin):
    found = {}
    for name in ("_rollout_report", "_doctor_report"):
        found |= plugin("filter", name).FilterModule().filters()
    return found


def test_the_report_of_a_rollout_reads_it(filters):
    hostvars = {
        "h1": {"client_result": DONE},
        "h2": {"client_result": {"unreachable": True}, "__rollout_failure": {"said": "Gone."}},
        "h3": {"__rollout_failure": {"said": "No."}},
        "h4": {"client_result": {}},
        "h5": {"client_result": None},
        "h6": {},
    }
    report = filters["_rollout_report"](list(hostvars), hostvars, ["100%"])
    outcomes = [row["outcome"] for row in report["rows"]]
    assert outcomes == ["changed", "unreachable", "failed", "skipped", "skipped", "skipped"]
    assert report["failed"] == {"h2": "Gone.", "h3": "No."}


def test_the_report_of_the_doctor_reads_it(filters):
    hostvars = {"h1": {"client_result": WALKED}, "h2": {}, "h3": {"client_result": None}}
    report = filters["_doctor_report"](list(hostvars), hostvars)
    assert [row["said"] for row in report["rows"]] == ["pulled by docker", *2 * ["there is no result"]]


def register_names(node):
    """Every name that a task registers."""
    if isinstance(node, dict):
        yield from ([node["register"]] if "register" in node else [])
        node = list(node.values())
    for one in node if isinstance(node, list) else []:
        yield from register_names(one)


@pytest.mark.parametrize("entry", ["onboard", "verify", "doctor", "teardown"])
def test_every_way_through_the_role_leaves_it(entry):
    tasks = yaml.safe_load((ROLE / "tasks" / f"{entry}.yml").read_text(encoding="utf-8"))
    assert "client_result" in register_names(tasks)


def test_no_playbook_reads_what_is_the_roles_own():
    for path in (ROOT / "playbooks").rglob("*.yml"):
        assert not re.search(r"\b__client_", path.read_text(encoding="utf-8")), path
    for path in (ROOT / "plugins").rglob("*.py"):
        assert not re.search(r"\b__client_", path.read_text(encoding="utf-8")), path

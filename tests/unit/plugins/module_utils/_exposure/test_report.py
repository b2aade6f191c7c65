"""What a report and the page need of an exposure: who runs what since when, counted by severity, and never too much."""

from __future__ import annotations

import json

import pytest
from ansible_collections.wharf.registry.plugins.module_utils._exposure import report
from ansible_collections.wharf.registry.plugins.module_utils._exposure.exposure import Exposure
from ansible_collections.wharf.registry.plugins.module_utils._exposure.fleet import merged_hosts
from ansible_collections.wharf.registry.plugins.module_utils._exposure.places import Facts
from ansible_collections.wharf.registry.plugins.module_utils._exposure.report import report_of

OLD, NEW = (f"sha256:{digit * 64}" for digit in "12")
NOW, SINCE = "2026-12-01T05:00:00Z", "2026-11-01T05:00:00Z"
WEB = f"apps/web@{OLD}"


def container(name="web", **more):
    told = {"engine": "docker", "container": name, "image": "r.example.com/apps/web:1"}
    return {**told, "digests": [f"r.example.com/apps/web@{OLD}"], "since": SINCE, **more}


def host(name, *containers, **more):
    told = {"name": name, "platform": "linux/x86_64", "mirrors": {}, "problem": "", "unknown": []}
    return {**told, "containers": list(containers), **more}


def finding(number, severity, decision="blocks"):
    told = {
        "id": f"CVE-{number}",
        "package": "libssl3",
        "installed": "1",
        "fixed": "2",
        "origin": "",
        "severity": severity,
    }
    return {**told, "decision": decision, "platforms": ["linux/amd64"]}


FINDINGS = [finding(1, "critical"), finding(2, "low"), finding(3, "high", "waived")]


def told(*hosts, findings=FINDINGS, problems=(), tag=NEW):
    reports = [] if problems else [{"database_date": NOW, "platform": "linux/amd64"}]
    results = {WEB: {"findings": list(findings), "problems": list(problems), "reports": reports}}
    facts = Facts({("apps/web", "1"): tag}, {("apps/web", OLD): True}, {})
    merged = merged_hosts({"looked": NOW, "hosts": list(hosts)}, [])
    exposure = Exposure(merged, {"r.example.com"}, facts, results, former=None, now=NOW)
    return report_of(json.loads(json.dumps(exposure.document(NOW, ""))))


def test_what_a_host_runs_and_since_when():
    found = told(host("a", container(), container("other", digests=[])))
    (one,) = found["hosts"]
    web, other = one["runs"]
    assert {**web, "said": ""} == {
        "container": "web",
        "image": "r.example.com/apps/web:1",
        "repository": "apps/web",
        "digest": OLD,
        "since": SINCE,
        "state": "moved",
        "said": "",
        "moved": True,
        "odd": True,
    }
    assert (other["state"], other["repository"], other["moved"], other["odd"]) == ("local", "", False, True)
    # A waived one does not count, and what a host runs twice counts once.
    assert one["findings"] == {"critical": 1, "low": 1}
    assert found["left_off"] == {}


def test_an_image_and_where_it_runs():
    found = told(*(host(f"h{number}", container()) for number in range(7)), tag=OLD)
    assert found["images"] == [{"image": WEB, "findings": {"critical": 1, "low": 1}, "problem": "", "hosts": 7}]
    assert [(one["id"], one["hosts"], one["named"]) for one in found["new"]] == [
        (name, 7, ["h0", "h1", "h2", "h3", "h4"]) for name in ("CVE-1", "CVE-2")
    ]
    assert not any(run["odd"] for one in found["hosts"] for run in one["runs"])


def test_what_was_not_judged_has_no_numbers():
    found = told(host("a", container()), host("b", containers=None, problem="timed out"), problems=["no scanner"])
    assert [one["findings"] for one in found["hosts"]] == [None, None]
    assert (found["images"][0]["findings"], found["images"][0]["problem"]) == (None, "no scanner")
    assert found["hosts"][1]["problem"] == "timed out"


@pytest.mark.parametrize("since", [7, None, "x" * 3000])
def test_a_host_that_lies_about_a_time_is_not_understood(since):
    (one,) = told(host("a", container(since=since)))["hosts"]
    assert "is not understood" in one["problem"] and one["runs"] == []


def test_a_large_fleet_is_bounded(monkeypatch):
    monkeypatch.setattr(report, "_MOST_CONTAINERS", 5)
    monkeypatch.setattr(report, "_MOST_FINDINGS", 1)
    found = told(*(host(f"h{number}", *(container(f"c{place}") for place in range(3))) for number in range(4)))
    assert [len(one["runs"]) for one in found["hosts"]] == [3, 2, 0, 0]
    assert [one["findings"] for one in found["hosts"]] == [{"critical": 1, "low": 1}] * 4
    assert len(found["new"]) == 1 and found["left_off"] == {"runs": 7, "new": 1}

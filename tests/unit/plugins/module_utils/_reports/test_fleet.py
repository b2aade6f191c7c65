"""The document of the fleet, of reports and of what a registry host knows: bounded, and never an exception."""

from __future__ import annotations

import json

import pytest
from ansible_collections.wharf.registry.plugins.module_utils._reports import fleet
from ansible_collections.wharf.registry.plugins.module_utils._reports.fleet import KINDS, fleet_document
from hypothesis import given, settings
from hypothesis import strategies as st

from examples import examples

NOW, EARLIER, REGISTRY = "2026-11-30T17:20:05Z", "2026-11-29T01:00:00Z", "registry.example.com:5000"
RUN = {"container": "web", "image": "apps/api:1", "repository": "apps/api", "digest": "sha256:1"}


def kept(kind, hosts, **more):
    base = {"version": 1, "kind": kind, "made": EARLIER, "registry": REGISTRY, "outcome": "ok", "summary": "Done."}
    return {**base, "sections": [], "lines": [], "data": {"hosts": hosts}, **more}


def told(reports=None, **host):
    document = fleet_document(reports or {}, {"made": NOW, **host})
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    return document


def test_nothing_is_known():
    assert told() == {
        "version": 1,
        "made": NOW,
        "registry": "",
        "hosts": [],
        "certificates": [],
        "backups": [],
        "mirrors": [],
        "collection": None,
        "reports": {},
    }


def test_a_host():
    rollout = {"outcome": "ok", "said": "", "engines": ["docker 26.1.5", "podman 5"], "trust": "it", "when": EARLIER}
    document = told(
        {
            "rollout": kept("rollout", {"web1": rollout, "web2": {**rollout, "engines": []}}),
            "doctor": kept("doctor", {"web1": {"hop": "TLS", "title": "t", "cure": "c", "when": NOW}}),
            "exposure": kept(
                "exposure",
                {
                    "web1": {"runs": [{**RUN, "since": EARLIER, "moved": True}], "findings": {"high": 2}, "seen": NOW},
                    "db1": {"runs": [], "findings": None, "problem": "not reached"},
                },
            ),
        }
    )
    assert document["registry"] == REGISTRY
    assert [one["host"] for one in document["hosts"]] == ["web1", "web2", "db1"]
    assert document["hosts"][0] == {
        "host": "web1",
        "engine": "docker 26.1.5",
        "engines": ["docker 26.1.5", "podman 5"],
        "trust": "it",
        "rollout": {"outcome": "ok", "said": "", "when": EARLIER},
        "doctor": {"hop": "TLS", "title": "t", "cure": "c", "when": NOW},
        "runs": [{**RUN, "since": EARLIER, "moved": True}],
        "findings": {"high": 2},
        "seen": NOW,
        "problem": "",
    }
    last = document["hosts"][2]
    assert (last["engine"], last["rollout"], last["doctor"], last["problem"]) == ("", None, None, "not reached")


def test_a_scan_of_the_timer_is_newer_than_the_report():
    report = kept("exposure", {"a": {"runs": [], "findings": {"high": 1}}})
    scan = {"created": NOW, "report": {"hosts": [{"name": "a", "runs": [RUN], "findings": {"high": 2}}]}}
    assert told({"exposure": report}, exposure=scan)["hosts"][0]["findings"] == {"high": 2}
    older = {**scan, "created": "2026-11-28T01:00:00Z"}
    assert told({"exposure": report}, exposure=older)["hosts"][0]["findings"] == {"high": 1}


def test_certificates_by_their_ends():
    soon, late, ended = "2026-12-02T17:20:05Z", "2027-11-30T00:00:00Z", "2026-11-29T17:20:04Z"
    given = [
        {"host": "r", "name": name, "subject": "CN=r", "not_after": end}
        for name, end in (("b", late), ("a", soon), ("c", ended))
    ]
    found = told(certificates=[*given, {"host": "r", "not_after": "never"}])["certificates"]
    assert [(one["name"], one["days"]) for one in found] == [("c", -2), ("a", 2), ("b", 364)]


def test_a_backup_of_the_timer_is_newer_than_the_report():
    report = kept("backup", {"r": {"outcome": "ok", "last": EARLIER, "proven": EARLIER}, "s": {"outcome": "failed"}})
    own = {"outcome": "failed", "succeeded": EARLIER, "message": "no space", "repository": "/srv/backup"}
    document = told({"backup": report}, name="r", backup=own)
    assert document["backups"][0] == {
        "host": "r",
        "last": EARLIER,
        "last_proven": EARLIER,
        "outcome": "failed",
        "said": "no space",
        "repository": "/srv/backup",
    }
    assert [one["host"] for one in document["backups"]] == ["r", "s"]


def test_how_stale_mirrors_are():
    report = kept("mirror", {"gateway": {"mirrors": [{"name": "hub", "succeeded": EARLIER, "problem": "refused"}]}})
    (one,) = told({"mirror": report})["mirrors"]
    assert (one["host"], one["name"], one["last"], one["problem"]) == ("gateway", "hub", EARLIER, "refused")
    assert one["lag_seconds"] == 40 * 3600 + 20 * 60 + 5
    own = {"hub": {"succeeded": "", "remaining": -1, "problem": ""}}
    (one,) = told(name="r", mirrors=own)["mirrors"]
    assert (one["host"], one["last"], one["lag_seconds"], one["remaining"]) == ("r", None, None, None)


def test_the_last_collection():
    report = kept(
        "maintain", {"r": {"last": EARLIER, "freed": 7, "held_seconds": 0.2, "disk": {"free": 5, "full": True}}}
    )
    own = {
        "time": NOW,
        "freed": 9,
        "held_seconds": 0.1,
        "disk": {"path": "/x", "size": 10, "free": 4, "used_percent": 60.0},
    }
    assert told({"maintain": report}, name="r")["collection"]["freed"] == 7
    assert told({"maintain": report}, name="r", collection=own)["collection"] == {
        "last": NOW,
        "freed": 9,
        "held_seconds": 0.1,
        "disk": {"path": "/x", "full": False, "size": 10, "free": 4, "used_percent": 60.0},
    }
    # Of a host that has been restarted since, its file is gone.
    assert told({"maintain": report}, name="r", collection={})["collection"]["last"] == EARLIER
    assert told({"maintain": report}, name="other")["collection"] is None


def test_reports_are_bounded():
    columns = [{"name": "host", "label": "Host", "kind": "text"}]
    rows = [{"host": f"h{number}", "more": "x"} for number in range(5000)]
    report = kept(
        "rollout", {}, sections=[{"title": "Hosts", "columns": columns, "rows": rows}], lines=["x" * 9999] * 900
    )
    found = told({"rollout": report})["reports"]["rollout"]
    assert len(found["sections"][0]["rows"]) == 200 and found["sections"][0]["left_off"] == 4800
    assert found["sections"][0]["rows"][0] == {"host": "h0"}
    assert len(found["lines"]) == 200 and found["lines_left_off"] == 700
    assert found["lines"][0] == f"{'x' * 500}… (9999 characters)"
    assert "data" not in found


def test_a_flood_is_bounded():
    run = dict.fromkeys(RUN, "x" * 100000)
    hosts = {f"h{number}": {"runs": [run] * 900, "findings": {"x" * 100: 1}} for number in range(120)}
    wide = [{"name": f"c{number}", "label": "x" * 999, "kind": "text"} for number in range(90)]
    rows = [{f"c{number}": "x" * 999 for number in range(90)}] * 900
    report = kept("exposure", hosts, sections=[{"title": "x", "columns": wide, "rows": rows}] * 90)
    document = fleet_document({"exposure": report}, {})
    assert sum(len(one["runs"]) for one in document["hosts"]) == fleet.MOST_RUNS_OF_ALL
    assert len(json.dumps(document["reports"])) < 3_000_000


NAMES = [
    *(
        "data",
        "hosts",
        "a",
        "runs",
        "findings",
        "sections",
        "columns",
        "rows",
        "name",
        "lines",
        "made",
        "time",
        "mirrors",
    ),
    *("succeeded", "last", "disk", "engines", "created", "report", "not_after", "free"),
]
ANYTHING = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(st.characters(), max_size=8), st.just(NOW)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    ),
    max_leaves=8,
)


@settings(max_examples=examples(100), deadline=None)
@given(
    reports=st.one_of(ANYTHING, st.dictionaries(st.sampled_from(KINDS), ANYTHING)),
    host=st.one_of(
        ANYTHING,
        st.dictionaries(
            st.sampled_from(
                ["made", "registry", "name", "backup", "mirrors", "collection", "exposure", "certificates"]
            ),
            ANYTHING,
        ),
    ),
)
def test_anything_may_come(reports, host):
    document = fleet_document(reports, host)
    assert set(document) == set(told())
    json.dumps(document, allow_nan=False, ensure_ascii=False).encode()


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_hostile_report_may_claim(kind):
    """Wrong types where the format has others, one after another."""
    sound = {
        "data": {"hosts": {"a": {"runs": [RUN], "mirrors": [{"name": "x"}], "disk": {"free": 1}}}},
        "sections": [{}],
    }
    for wrong in (
        7,
        "x",
        [],
        {},
        None,
        [7],
        {"a": 7},
        {"a": {"runs": 7, "mirrors": {"x": 1}, "findings": [1], "engines": 7}},
    ):
        for report in (
            wrong,
            {**sound, "data": wrong},
            {**sound, "data": {"hosts": wrong}},
            {**sound, "sections": wrong},
        ):
            told({kind: report})

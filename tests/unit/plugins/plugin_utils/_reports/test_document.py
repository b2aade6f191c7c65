"""The report of each playbook, of what the playbook has: outcome, sentence, tables, and what is kept for the page."""

from __future__ import annotations

import json

import pytest
from ansible_collections.wharf.registry.plugins.plugin_utils._playbooks.doctor_report import doctor_report
from ansible_collections.wharf.registry.plugins.plugin_utils._playbooks.rollout_report import rollout_report
from ansible_collections.wharf.registry.plugins.plugin_utils._reports.document import KINDS, OF_DATA, report

REGISTRY, MADE = "registry.example.com:5000", "2026-11-30T17:20:05Z"
DOCKER = {"installed": True, "running": True, "version": "26.1.5+dfsg1"}
GONE = "there is no result: the host was not reached, or its play ended before"


def made(kind, facts, *, check=False):
    document = report(kind, facts, registry=REGISTRY, made=MADE, check=check)
    # As it comes out of the file.
    assert json.loads(json.dumps(document)) == document
    assert (document["version"], document["kind"], document["registry"]) == (1, kind, REGISTRY)
    for one in document["sections"]:
        names = [column["name"] for column in one["columns"]]
        assert all(list(row) == names for row in one["rows"]), one["title"]
    return document


def rows(document, title):
    return next((one["rows"] for one in document["sections"] if one["title"] == title), None)


def onboarded(*files, docker=None, **changes):
    return {
        "trust": {"changed_files": list(files), "reloaded": False, "engine": {"docker": {**DOCKER, **(docker or {})}}},
        "logins": [],
        "check": {"engine": "docker", "verified": True, "registry": REGISTRY},
        "seconds": 0.4,
        "unrestored_files": [],
        **changes,
    }


HOSTS = {
    "a": (onboarded("/x"), None),
    "b": ({**onboarded(), "failed": True}, "It is not to be. Do it."),
    "c": ({}, None),
}


class TestRollout:
    def test_what_came_of_it(self):
        document = made("rollout", rollout_report(HOSTS, [1, 1, 1]))
        assert document["outcome"] == "failed"
        assert document["summary"] == "3 hosts in 3 batches: 1 changed, 1 rolled back, 1 skipped."
        (failed,) = rows(document, "What failed")
        assert failed == {"host": "b", "outcome": "rolled_back", "said": "It is not to be. Do it."}
        assert [one["host"] for one in rows(document, "Hosts")] == ["a", "b", "c"]
        assert document["lines"][0].startswith("HOST") and len(document["lines"]) == 4

    def test_the_page_is_told_of_each_host(self):
        kept = made("rollout", rollout_report(HOSTS, ["100%"]))["data"]["hosts"]
        trust = f"{REGISTRY} (proven by docker)"
        assert kept["a"] == {
            "outcome": "changed",
            "said": "",
            "engines": ["docker 26.1.5"],
            "trust": trust,
            "batch": 1,
            "when": MADE,
        }
        assert (kept["b"]["said"], kept["b"]["trust"], kept["c"]["outcome"]) == (
            "It is not to be. Do it.",
            "",
            "skipped",
        )

    def test_trust_in_words(self):
        docker = {"insecure_registries": ["127.0.0.0/8", "::1/128", "old:5000"], "mirrors": ["https://m.example.com"]}
        done = onboarded(docker=docker, policies=[{"scope": "r.example.com/apps"}], check={"registry": REGISTRY})
        (row,) = rollout_report({"a": (done, None)}, [1])["rows"]
        assert row["trust"] == (
            f"{REGISTRY} (not proven); without TLS checks: old:5000; mirrors of Docker Hub: https://m.example.com; "
            "only signed images of: r.example.com/apps"
        )

    def test_no_client(self):
        assert made("rollout", rollout_report({}, [1]))["summary"] == "There is no client to roll out to."


class TestDoctor:
    def test_hops_and_cures(self):
        failed = {
            "name": "name",
            "ok": False,
            "said": "no such name",
            "cure": "Give it one.",
            "mistake": "no_such_name",
        }
        well = {"hops": [{"name": "reach", "ok": True}], "verified": True, "engine": "podman", "failed_hop": ""}
        found = doctor_report(
            {"a": {"hops": [failed], "failed_hop": "name"}, "b": well, "c": {"unreachable": True, "msg": "timed out"}}
        )
        supply = [{"what": "mirror hub", "host": "r", "since": "2026-11-29T01:00:00Z", "said": "refused"}]
        document = made("doctor", {**found, "supply": supply})
        assert document["summary"] == "2 hosts of 3 can't use the registry as meant; 1 can."
        assert [(one["host"], one["outcome"], one["hop"]) for one in rows(document, "What failed")] == [
            ("a", "failed", "name"),
            ("c", "unreachable", "ansible"),
        ]
        assert rows(document, "What failed")[0]["cure"].startswith("Give it")
        assert rows(document, "Images from outside")[0]["outcome"] == "stale"
        assert document["data"]["hosts"]["b"]["hop"] == "" and document["data"]["hosts"]["a"]["cure"]

    def test_all_is_well(self):
        well = {"hops": [{"name": "reach", "ok": True}], "verified": True, "engine": "podman", "failed_hop": ""}
        document = made("doctor", {**doctor_report({"a": well}), "supply": []})
        assert (document["outcome"], document["summary"]) == ("ok", "All is well on 1 host.")
        assert rows(document, "What failed") is None


COLLECTED = {
    "time": MADE,
    "seconds": 3.1,
    "freed": 3 << 20,
    "removed": {"tags": 0, "manifests": 2, "layers": 4, "blobs": 5, "repositories": 0},
    "held_seconds": 0.21,
    "refused": 0,
    "problems": [],
    "warnings": ["one is odd"],
    "stored": 9 << 20,
    "repositories": [{"name": "apps/api", "bytes": 9 << 20, "tags": 3}],
    "disk": {"path": "/var/lib/r", "size": 100, "free": 9, "used_percent": 91.0, "full": True},
    "lines": ["Freed  3.0 MiB"],
}
RETAINED = {
    "repositories": [
        {"name": "apps/api", "deleted": [{"tag": "1", "digest": "sha256:1", "reason": "nothing keeps it"}]}
    ]
}


class TestMaintain:
    def test_what_was_removed(self):
        document = made("maintain", {"r": {"maintenance_report": COLLECTED, "maintenance_retained": RETAINED}})
        assert document["outcome"] == "ok"
        assert document["summary"] == "1 tag removed, 3.0 MiB freed; the disk is 91.0 % full."
        (tag,) = rows(document, "Tags that no rule keeps")
        assert (tag["image"], tag["reason"]) == ("apps/api:1", "nothing keeps it")
        assert [one["said"] for one in rows(document, "Warnings")][1] == "one is odd"
        assert document["lines"] == ["apps/api:1 - nothing keeps it", "Freed  3.0 MiB"]
        kept = document["data"]["hosts"]["r"]
        assert (kept["last"], kept["freed"], kept["held_seconds"], kept["tags_removed"]) == (MADE, 3 << 20, 0.21, 1)

    def test_one_of_two_hosts_fails(self):
        facts = {"a": {"maintenance_report": COLLECTED}, "b": {"__playbook_failure": "No.\nRun it again."}, "c": {}}
        document = made("maintain", facts)
        assert document["outcome"] == "failed"
        assert [(one["host"], one["outcome"], one["said"]) for one in rows(document, "What failed")] == [
            ("b", "failed", "No. Run it again."),
            ("c", "unreachable", GONE),
        ]
        assert [one["host"] for one in rows(document, "Registries")] == ["a", "b", "c"]

    def test_what_would_go_too_far_was_not_removed(self):
        facts = {"maintenance_retained": {**RETAINED, "msg": "Too many."}, "__playbook_failure": "Too many."}
        document = made("maintain", {"r": facts})
        assert document["summary"] == "0 tags removed, 0 B freed." and rows(document, "Tags that no rule keeps")

    def test_foretold(self):
        facts = {"maintenance_report": {"lines": ["To free 3.0 MiB"]}, "maintenance_retained": RETAINED}
        document = made("maintain", {"r": facts}, check=True)
        assert document["check"] is True and document["outcome"] == "ok"
        assert document["summary"].startswith("Foretold by check mode: 1 tag would be removed")
        assert rows(document, "Foretold") == [{"host": "r", "said": "To free 3.0 MiB"}]


STATE = {
    "ended": MADE,
    "succeeded": MADE,
    "stale_since": "",
    "problem": "",
    "images": 9,
    "failed": 0,
    "copied": 2,
    "present": 7,
    "skipped": 0,
    "changed": True,
    "copied_bytes": 2048,
    "remaining": -1,
}


class TestMirror:
    def test_what_was_copied(self):
        bad = {**STATE, "problem": "it refused.\nLog in.", "stale_since": "2026-11-29T01:00:00Z", "remaining": 17}
        document = made("mirror", {"g": {"mirror_state": {"hub": STATE, "quay": bad}, "mirror_told": ["hub: 9 of 9"]}})
        assert document["outcome"] == "failed"
        assert document["summary"] == "2 mirrors with 18 images; 4.0 KiB were copied. 1 mirror failed."
        (failed,) = rows(document, "What failed")
        assert failed == {"host": "g", "mirror": "quay", "outcome": "failed", "said": "it refused. Log in."}
        assert [one["remaining"] for one in rows(document, "Mirrors")] == [None, 17]
        assert document["lines"] == ["hub: 9 of 9"]
        assert [one["name"] for one in document["data"]["hosts"]["g"]["mirrors"]] == ["hub", "quay"]

    @pytest.mark.parametrize(("facts", "outcome"), [({}, "unreachable"), ({"__playbook_failure": "No."}, "failed")])
    def test_no_state(self, facts, outcome):
        document = made("mirror", {"g": facts})
        assert [one["outcome"] for one in rows(document, "What failed")] == [outcome]

    def test_foretold(self):
        image = {"repository": "library/nginx", "tag": "1", "to": "hub/nginx", "copied_bytes": 7, "changed": True}
        looks = [{"item": {"name": "hub"}, "images": [image, {**image, "changed": False}], "copied_bytes": 7}]
        document = made("mirror", {"g": {"mirror_foretold": looks, "mirror_told": ["hub: 1 of 2"]}}, check=True)
        assert rows(document, "Mirrors")[0]["outcome"] == "would change"
        assert [one["image"] for one in rows(document, "Images that would be copied")] == ["library/nginx:1"]
        assert document["data"]["hosts"] == {}


SAVED = {
    "outcome": "ok",
    "snapshot": "1a2b3c4d",
    "began": MADE,
    "succeeded": MADE,
    "checked": 1764523117,
    "proven": "2026-10-01T09:00:00Z",
    "seconds": 12.5,
    "repository": "s3:https://key:secret@s3.example.com/bucket",
    "bytes": 4096,
    "warnings": ["on the same disk"],
    "lines": ["Snapshot    1a2b3c4d in s3:https://key:secret@s3.example.com/bucket"],
}


class TestBackup:
    def test_what_was_saved(self):
        document = made("backup", {"r": {"backup_result": SAVED}})
        assert (document["outcome"], document["summary"]) == ("ok", "1 registry host saved: 4.0 KiB.")
        kept = document["data"]["hosts"]["r"]
        assert (kept["last"], kept["proven"], kept["checked"]) == (MADE, SAVED["proven"], "2025-11-30T17:18:37Z")
        assert "secret" not in json.dumps(document)

    def test_what_failed(self):
        wrong = {"outcome": "damaged", "message": "It lacks one", "cure": "Push it again", "lines": ["Damaged"]}
        document = made(
            "backup", {"a": {"backup_result": wrong, "__playbook_failure": "x"}, "b": {}, "c": {"backup_result": SAVED}}
        )
        assert document["summary"] == "2 of 3 registry hosts not saved."
        assert [(one["outcome"], one["said"], one["cure"]) for one in rows(document, "What failed")] == [
            ("damaged", "It lacks one", "Push it again"),
            ("unreachable", GONE, ""),
        ]

    def test_check_mode_makes_none(self):
        document = made("backup", {"r": {}}, check=True)
        assert document["outcome"] == "ok" and rows(document, "What failed") is None


RUN = {"container": "web", "image": "apps/api:1", "repository": "apps/api", "digest": "sha256:1", "since": MADE}
EXPOSED = {
    "created": MADE,
    "lines": ["1 host"],
    "report": {
        "hosts": [
            {
                "name": "a",
                "seen": MADE,
                "problem": "",
                "findings": {"critical": 1, "low": 2},
                "runs": [{**RUN, "moved": True, "odd": True, "state": "moved", "said": "apps/api:1 is sha256:2 now"}],
            },
            {"name": "b", "seen": "", "problem": "not reached: timed out", "findings": None, "runs": []},
        ],
        "images": [{"image": "apps/api@sha256:1", "findings": {"critical": 1, "low": 2}, "problem": "", "hosts": 7}],
        "new": [
            {
                "id": "CVE-2",
                "severity": "low",
                "package": "x",
                "installed": "1",
                "fixed": "",
                "image": "i",
                "hosts": 1,
                "named": ["a"],
            },
            {
                "id": "CVE-1",
                "severity": "critical",
                "package": "x",
                "installed": "1",
                "fixed": "2",
                "image": "i",
                "hosts": 7,
                "named": ["a", "b"],
            },
        ],
        "left_off": {"new": 3},
    },
}


class TestExposure:
    def test_what_is_new_and_what_runs(self):
        document = made("exposure", {"g": {"exposure_report": EXPOSED, "exposure_failure": ""}})
        assert document["outcome"] == "ok"
        assert document["summary"] == "2 hosts, 1 container, 1 image of the registry: 2 new findings, 3 in all."
        assert [(one["id"], one["named"]) for one in rows(document, "New findings")] == [
            ("CVE-1", "a, b and 5 more"),
            ("CVE-2", "a"),
        ]
        assert [one["what"] for one in rows(document, "What is not known")] == ["b", "this report"]
        assert rows(document, "Images that are not what their name says")[0]["said"] == "apps/api:1 is sha256:2 now"
        # No column for what was found nowhere.
        assert rows(document, "Hosts")[0] == {"host": "a", "runs": 1, "critical": 1, "low": 2, "seen": MADE}
        kept = document["data"]["hosts"]["a"]
        assert kept["runs"] == [{**RUN, "moved": True}] and kept["findings"] == {"critical": 1, "low": 2}

    @pytest.mark.parametrize(
        ("facts", "said"),
        [
            ({"exposure_report": {"lines": []}, "exposure_failure": "No scanner."}, "No scanner."),
            ({"__playbook_failure": "No user."}, "No user."),
            ({}, GONE),
        ],
    )
    def test_nothing_was_scanned(self, facts, said):
        document = made("exposure", {"g": facts})
        assert document["outcome"] == "failed" and rows(document, "What failed")[0]["said"] == said


def test_nothing_at_all_is_a_report_as_well():
    for kind in KINDS:
        document = made(kind, {})
        assert document["outcome"] == "ok" and document["summary"]
        assert document["data"] == {"hosts": {}}
    assert set(OF_DATA) == {"rollout", "doctor"}

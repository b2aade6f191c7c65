"""Reports of scanners in all their forms, and what hostile ones can do. Those of Trivy itself are in test_scan.py."""

from __future__ import annotations

import copy
import json

import pytest
from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError
from ansible_collections.wharf.registry.plugins.module_utils._gate.findings import Finding, clean
from ansible_collections.wharf.registry.plugins.module_utils._gate.reports import parse_report
from hypothesis import given
from hypothesis import strategies as st

DIGEST = "sha256:" + "a" * 64
CONFIG = "sha256:" + "b" * 64
LAYER = "sha256:" + "c" * 64
TRIVY = {
    "SchemaVersion": 2,
    "Trivy": {"Version": "0.76.0"},
    "CreatedAt": "2026-11-30T10:16:59.233602355Z",
    "ArtifactName": "registry.test/apps/web",
    "Metadata": {
        "OS": {"Family": "debian", "Name": "10.1", "EOSL": True},
        "ImageID": CONFIG,
        "RepoDigests": [f"registry.test/apps/web@{DIGEST}"],
    },
    "Results": [
        {
            "Target": "registry.test/apps/web (debian 10.1)",
            "Class": "os-pkgs",
            "Type": "debian",
            "Vulnerabilities": [
                {
                    "VulnerabilityID": "CVE-1",
                    "PkgName": "libssl3",
                    "InstalledVersion": "3.0.11",
                    "FixedVersion": "3.0.15",
                    "Status": "fixed",
                    "Severity": "CRITICAL",
                    "Title": "About it",
                    "Layer": {"Digest": "sha256:" + "d" * 64, "DiffID": LAYER},
                }
            ],
        }
    ],
}
# As Grype writes it, by its own schema.
GRYPE = {
    "matches": [
        {
            "vulnerability": {
                "id": "CVE-1",
                "severity": "Critical",
                "description": "About it",
                "fix": {"versions": ["3.0.15"], "state": "fixed"},
            },
            "artifact": {
                "name": "libssl3",
                "version": "3.0.11",
                "locations": [{"path": "/var/lib/dpkg/status", "layerID": LAYER}],
            },
        }
    ],
    "source": {"type": "image", "target": {"imageID": CONFIG, "manifestDigest": DIGEST, "repoDigests": []}},
    "distro": {"name": "debian", "version": "10.1"},
    "descriptor": {
        "name": "grype",
        "version": "0.100.0",
        "timestamp": "2026-11-30T10:16:59.5Z",
        "db": {"status": {"built": "2026-11-30T01:00:00Z"}},
    },
}
SARIF = {
    "version": "2.1.0",
    "runs": [
        {
            "tool": {
                "driver": {
                    "name": "Trivy",
                    "version": "0.76.0",
                    "rules": [
                        {
                            "id": "CVE-1",
                            "shortDescription": {"text": "About it"},
                            "properties": {"security-severity": "9.5"},
                        }
                    ],
                }
            },
            "invocations": [{"endTimeUtc": "2026-11-30T10:16:59Z"}],
            "results": [
                {
                    "ruleId": "CVE-1",
                    "message": {
                        "text": "Package: libssl3\nInstalled Version: 3.0.11\nSeverity: CRITICAL\nFixed Version: 3.0.15"
                    },
                }
            ],
            "properties": {"imageID": CONFIG, "repoDigests": [f"registry.test/apps/web@{DIGEST}"]},
        }
    ],
}
CYCLONEDX = {
    "bomFormat": "CycloneDX",
    "metadata": {
        "timestamp": "2026-11-30T10:16:59+00:00",
        "tools": {"components": [{"name": "trivy", "version": "0.76.0"}]},
        "component": {"purl": f"pkg:oci/web@{DIGEST.replace(':', '%3A')}?arch=amd64", "name": "web"},
    },
    "components": [
        {"bom-ref": "os", "type": "operating-system", "name": "debian", "version": "10.1"},
        {"bom-ref": "p", "type": "library", "name": "libssl3", "version": "3.0.11"},
    ],
    "vulnerabilities": [
        {
            "id": "CVE-1",
            "description": "About it",
            "ratings": [{"severity": "low"}, {"severity": "critical"}],
            "recommendation": "Upgrade libssl3 to version 3.0.15",
            "affects": [{"ref": "p"}],
        }
    ],
}
ALL = {"trivy": TRIVY, "grype": GRYPE, "sarif": SARIF, "cyclonedx": CYCLONEDX}


def read(document):
    return parse_report(json.dumps(document).encode(), "r.json")


@pytest.mark.parametrize("name", ALL)
def test_all_say_the_same(name):
    report = read(ALL[name])
    (found,) = report.findings
    assert (found.id, found.package, found.installed, found.fixed) == ("CVE-1", "libssl3", "3.0.11", "3.0.15")
    assert (found.severity, found.title) == ("critical", "About it")
    assert report.created is not None and report.recognized
    assert DIGEST in report.digests
    assert report.version and report.scanner.lower() in ("trivy", "grype")
    if name != "sarif":
        assert report.system == "debian 10.1"
    if name in ("trivy", "grype"):
        assert found.layer == LAYER and CONFIG in report.digests


def test_only_grype_tells_of_its_database():
    assert {name: read(one).database_date is not None for name, one in ALL.items()} == {
        "trivy": False,
        "grype": True,
        "sarif": False,
        "cyclonedx": False,
    }


def test_a_system_at_the_end_of_its_life():
    assert read(TRIVY).end_of_life and not read(GRYPE).end_of_life


@pytest.mark.parametrize("state", ["not_affected", "false_positive", "resolved"])
def test_vex_dismisses(state):
    document = copy.deepcopy(CYCLONEDX)
    document["vulnerabilities"][0]["analysis"] = {"state": state, "justification": "code_not_reachable"}
    assert read(document).findings[0].dismissed == f"{state} code_not_reachable"


@pytest.mark.parametrize("state", ["exploitable", "in_triage", "NOT_AFFECTED ", None, 1, {}])
def test_vex_that_dismisses_nothing(state):
    document = copy.deepcopy(CYCLONEDX)
    document["vulnerabilities"][0]["analysis"] = {"state": state}
    assert read(document).findings[0].dismissed == ""


def test_a_package_of_a_sarif_does_not_talk_its_severity_down():
    document = copy.deepcopy(SARIF)
    document["runs"][0]["results"][0]["message"]["text"] = (
        "Package: libssl3\nInstalled Version: 1\nSeverity: LOW\nVulnerability CVE-1\nSeverity: LOW\nFixed Version: 2"
    )
    assert read(document).findings[0].severity == "critical"


def test_grype_in_sarif():
    document = copy.deepcopy(SARIF)
    run = document["runs"][0]
    run["tool"]["driver"]["rules"][0]["id"] = run["results"][0]["ruleId"] = "CVE-1-libssl3"
    run["results"][0]["message"]["text"] = (
        "A critical vulnerability in deb package: libssl3, version 3.0.11 was found at: /x"
    )
    (found,) = read(document).findings
    assert (found.id, found.package, found.installed, found.severity) == ("CVE-1", "libssl3", "3.0.11", "critical")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "r.json is not a JSON object"),
        (b"[]", "r.json is not a JSON object"),
        (b"{}", "r.json is no report that is known here"),
        (b'{"SchemaVersion": 2}', "no report that is known"),
        (b"\xff\xfe", "is not a JSON object"),
        (b"[" * 100000, "is not a JSON object"),
    ],
)
def test_what_is_no_report(content, message):
    with pytest.raises(InputError, match=message):
        parse_report(content, "r.json")


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=10,
)


def places(document, path=()):
    """The paths of all that stands in a document."""
    yield path
    items = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for key, value in items:
        yield from places(value, (*path, key))


@given(st.sampled_from(sorted(ALL)), st.data())
def test_anything_may_stand_anywhere(name, data):
    document = copy.deepcopy(ALL[name])
    for _time in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from([one for one in places(document) if one]))
        inner = document
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = data.draw(anything)
    try:
        report = read(document)
    except InputError:
        return
    for one in report.findings:
        texts = (one.id, one.package, one.installed, one.fixed, one.title, one.location, one.layer, one.dismissed)
        assert all(isinstance(text, str) and text == clean(text) for text in texts)


HOSTILE = {
    "\x1b[2J\x1b[31mred\x1b[0m": "red",
    "\x1b]8;;http://evil\x07click\x1b]8;;\x07": "click",
    "a\r\nb\tc": "a b c",
    "\u202ereversed\u2066": "reversed",
    "zero\u200bwidth\ufeff": "zerowidth",
    "a\x00b\x07": "ab",
    "<script>alert(1)</script>": "<script>alert(1)</script>",
    "{{ lookup('pipe', 'id') }}": "{{ lookup('pipe', 'id') }}",
    "\ud800half": "half",
    "line\u2028two\x85three": "line two three",
}


@pytest.mark.parametrize(("text", "shown"), HOSTILE.items(), ids=range(len(HOSTILE)))
def test_hostile_texts_only_show(text, shown):
    """Markup and templates stay what they are: text, which no one may run. What moves a terminal goes."""
    assert clean(text) == shown
    assert Finding(text, text).package == shown


@given(st.text())
def test_texts_are_one_short_line(text):
    found = clean(text)
    assert len(found) <= 300 and "\n" not in found and "\x1b" not in found
    assert clean(found) == found
    found.encode("utf-8")

"""The policy of the gate, apart from any scanner."""

from __future__ import annotations

import calendar

import pytest
from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError
from ansible_collections.wharf.registry.plugins.module_utils._gate.findings import SEVERITIES, Finding, Report
from ansible_collections.wharf.registry.plugins.module_utils._gate.policy import Policy, judge, sentence_of
from hypothesis import given
from hypothesis import strategies as st

SECOND = 10**9
NOW = calendar.timegm((2026, 11, 30, 12, 0, 0)) * SECOND
HOUR = 3600 * SECOND
DEFAULTS = {
    "severities": ["critical", "high"],
    "unfixed_severities": [],
    "deny": [],
    "max_database_age": "3d",
    "max_report_age": "1d",
    "allow_unrecognized": False,
    "allow_end_of_life": True,
}
WAIVER = {"id": "CVE-1", "package": None, "owner": "web team", "reason": "not reachable", "expires": "2026-12-31"}


def policy(waivers=(), **options):
    return Policy({**DEFAULTS, **options}, [{**WAIVER, **one} for one in waivers])


def finding(identifier="CVE-1", severity="critical", fixed="3.0.15", package="libssl3", **more):
    return Finding(identifier, package, "3.0.11", fixed, severity, **more)


def report(*findings, age=HOUR, database_age=HOUR, system="debian 12.9"):
    return Report("trivy", created=NOW - age, database_date=NOW - database_age, system=system, findings=findings)


def verdict(*findings, using=None, baseline=None, **of_report):
    return judge({"linux/amd64": report(*findings, **of_report)}, using or policy(), NOW, baseline)


def decision(one, using=None, baseline=None):
    (judged,) = verdict(one, using=using, baseline=baseline).findings
    return judged.decision, judged.reason


# --- findings ---------------------------------------------------------------------------------------------------------


def test_nothing_was_found():
    assert verdict().verdict == "passed"
    assert sentence_of("apps/web:1", verdict()) == "apps/web:1 passes: nothing was found."


@pytest.mark.parametrize(
    ("severity", "fixed", "using", "expected"),
    [
        ("critical", "1", {}, "blocks"),
        ("high", "1", {}, "blocks"),
        ("medium", "1", {}, "allowed"),
        ("critical", "", {}, "allowed"),
        ("critical", "", {"unfixed_severities": ["critical"]}, "blocks"),
        ("high", "", {"unfixed_severities": ["critical"]}, "allowed"),
        ("unknown", "1", {"severities": ["unknown"]}, "blocks"),
        ("of no scanner", "1", {"severities": ["unknown"]}, "blocks"),
        ("Important", "1", {}, "blocks"),
        ("negligible", "1", {"severities": list(SEVERITIES)}, "blocks"),
    ],
)
def test_severities_with_and_without_a_fix(severity, fixed, using, expected):
    assert decision(finding(severity=severity, fixed=fixed), policy(**using))[0] == expected


def test_denied_ones_block_whatever_else_is():
    using = policy([{}], deny=["CVE-1", "GHSA-*"])
    for one in (finding(severity="low"), finding(fixed=""), finding("GHSA-x"), finding(dismissed="not_affected")):
        assert decision(one, using, baseline={one.key}) == ("blocks", "is denied by the policy")


def test_what_the_report_dismisses_does_not_count():
    assert decision(finding(dismissed="not_affected")) == ("dismissed", "the report says not_affected")


@pytest.mark.parametrize(
    ("waiver", "expected"),
    [
        ({}, "waived"),
        ({"package": "libssl*"}, "waived"),
        ({"package": "zlib"}, "blocks"),
        ({"id": "CVE-2"}, "blocks"),
        ({"id": "CVE-*"}, "blocks"),
        ({"expires": "2026-11-30"}, "waived"),
        ({"expires": "2026-11-29"}, "blocks"),
    ],
)
def test_waivers(waiver, expected):
    assert decision(finding(), policy([waiver]))[0] == expected


def test_an_expired_waiver_names_its_owner():
    using = policy([{"expires": "2026-10-31"}, {"expires": "2026-11-01", "owner": "ops"}])
    assert decision(finding(), using) == ("blocks", "the waiver of ops expired on 2026-11-01")
    told = sentence_of("apps/web:1", verdict(finding(), using=using))
    assert told == (
        "apps/web:1 is refused: CVE-1 (critical) in libssl3 3.0.11, fixed in 3.0.15, "
        "the waiver of ops expired on 2026-11-01."
    )


def test_a_valid_waiver_counts_beside_an_expired_one():
    assert decision(finding(), policy([{"expires": "2026-10-31"}, {}]))[0] == "waived"


@pytest.mark.parametrize(
    ("waiver", "message"),
    [
        ({"expires": "31.12.2026"}, r"waivers\[1\].expires is '31.12.2026', which is no date"),
        ({"expires": "2026-02-30"}, "which is no date"),
        ({"owner": " "}, r"waivers\[1\].owner is empty"),
        ({"reason": ""}, r"waivers\[1\].reason is empty"),
        ({"id": ""}, r"waivers\[1\].id is empty"),
    ],
)
def test_waivers_that_are_none(waiver, message):
    with pytest.raises(InputError, match=message):
        policy([waiver])


@pytest.mark.parametrize("name", ["severities", "unfixed_severities"])
def test_a_severity_that_is_none(name):
    with pytest.raises(InputError, match=rf"policy.{name} has 'severe'"):
        policy(**{name: ["critical", "severe"]})


def test_what_production_has_is_not_new():
    assert decision(finding(), baseline={("CVE-1", "libssl3")}) == ("known", "is in the baseline, too")
    assert decision(finding(), baseline={("CVE-1", "openssl")})[0] == "blocks"
    assert decision(finding(), baseline=set())[0] == "blocks"


# --- what can't be judged ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("of_report", "problem"),
    [
        (
            {"database_age": 73 * HOUR},
            "the database of the scanner is of 2026-11-27 11:00 UTC, older than max_database",
        ),
        ({"age": 25 * HOUR}, "the report is of 2026-11-29 11:00 UTC, older than max_report_age allows"),
        (
            {"database_age": -48 * HOUR},
            "the database of the scanner is of 2026-12-02 12:00 UTC, which is in the future",
        ),
        ({"system": ""}, "the scanner recognised no operating system and no packages"),
    ],
)
def test_it_fails_closed(of_report, problem):
    found = verdict(**of_report)
    assert found.verdict == "refused"
    assert found.problems[0].startswith(f"linux/amd64: {problem}")
    assert sentence_of("apps/web:1", found).startswith(f"apps/web:1 is refused: linux/amd64: {problem}")


def test_a_report_that_tells_no_date():
    one = report()
    one.database_date = None
    assert judge({"": one}, policy(), NOW).problems == ["the database of the scanner does not tell its date"]


def test_no_report_at_all():
    assert judge({}, policy(), NOW).verdict == "refused"
    found = judge({"linux/amd64": report(), "linux/arm64": "Trivy failed"}, policy(), NOW)
    assert (found.verdict, found.problems) == ("refused", ["linux/arm64: Trivy failed"])


def test_an_image_without_packages_may_be_allowed():
    assert verdict(system="", using=policy(allow_unrecognized=True)).verdict == "passed"


def test_a_system_at_the_end_of_its_life():
    one = report()
    one.end_of_life = True
    assert judge({"": one}, policy(), NOW).verdict == "passed"
    found = judge({"": one}, policy(allow_end_of_life=False), NOW)
    assert found.problems == ["debian 12.9 gets no security updates any more"]


# --- sentences --------------------------------------------------------------------------------------------------------


def test_the_worst_comes_first():
    found = verdict(
        finding("CVE-3", "high"), finding("CVE-2", fixed=""), finding("CVE-1"), finding("CVE-4", "medium"),
        using=policy(unfixed_severities=["critical"]),
    )  # fmt: skip
    assert [one.finding.id for one in found.findings] == ["CVE-1", "CVE-2", "CVE-3", "CVE-4"]
    assert sentence_of("apps/web:1", found, lambda _one: "in layer 1 of 2") == (
        "apps/web:1 is refused: CVE-1 (critical) in libssl3 3.0.11, fixed in 3.0.15, in layer 1 of 2; 2 more block it."
    )


def test_what_passes_tells_what_was_excused():
    found = verdict(
        finding(), finding("CVE-2", "low"), finding("CVE-3"), using=policy([{}]), baseline={("CVE-3", "libssl3")}
    )
    assert sentence_of("apps/web:1", found) == (
        "apps/web:1 passes: 3 findings, none of which blocks (1 waived, 1 in the baseline, too)."
    )


def test_one_finding_of_two_platforms_is_told_once():
    found = judge({"linux/amd64": report(finding()), "linux/arm64": report(finding())}, policy(), NOW)
    assert [(one.finding.id, one.platforms) for one in found.findings] == [("CVE-1", ["linux/amd64", "linux/arm64"])]


words = st.sampled_from(["CVE-1", "CVE-2", "GHSA-3"])
some = st.builds(
    finding, words, st.sampled_from(SEVERITIES), st.sampled_from(["", "2"]), st.sampled_from(["a", "b"])
)  # fmt: skip


@given(st.lists(some), st.lists(some), st.lists(st.fixed_dictionaries({"id": words})), st.lists(words))
def test_more_findings_never_help_and_more_excuses_never_hurt(findings, more, waivers, deny):
    strict, lenient = policy(deny=deny), policy(waivers, deny=deny)
    if verdict(*findings, using=strict).verdict == "refused":
        assert verdict(*findings, *more, using=strict).verdict == "refused"
    if verdict(*findings, using=strict).verdict == "passed":
        assert verdict(*findings, using=lenient).verdict == "passed"
    if any(one.id in deny for one in findings):
        assert verdict(*findings, using=lenient, baseline={one.key for one in findings}).verdict == "refused"

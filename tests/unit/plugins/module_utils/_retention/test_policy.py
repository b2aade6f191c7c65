"""The policy of retention, apart from any registry."""

from __future__ import annotations

import re

import pytest
from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError
from ansible_collections.wharf.registry.plugins.module_utils._retention.policy import (
    SECOND,
    CapError,
    check_cap,
    parse_created,
    parse_digests,
    parse_duration,
)
from hypothesis import given
from hypothesis import strategies as st
from retention_tags import NOW, decide, digest, image, kept, rule, signature

# --- words ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"), [("45s", 45), ("90m", 5400), ("12h", 43200), ("30d", 30 * 86400), ("2w", 14 * 86400)]
)
def test_durations(text, seconds):
    assert parse_duration(text) == seconds * SECOND


@pytest.mark.parametrize("text", ["", "30", "d", "0d", "-1d", "1.5d", "30 d", "30D", "1y", "\u0663d"])
def test_what_is_no_duration(text):
    with pytest.raises(InputError, match="duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("2026-11-01T10:00:00Z", 1793527200 * SECOND),
        ("2026-11-01t10:00:00.5z", 1793527200 * SECOND + SECOND // 2),
        ("2026-11-01T10:00:00.123456789Z", 1793527200 * SECOND + 123456789),
        ("2026-11-01T10:00:00.1234567899Z", 1793527200 * SECOND + 123456789),
        ("2026-11-01T12:30:00+02:30", 1793527200 * SECOND),
        ("2026-11-01T05:00:00-05:00", 1793527200 * SECOND),
        ("2016-12-31T23:59:60Z", 1483228799 * SECOND),
    ],
)
def test_times(text, nanoseconds):
    assert parse_created(text) == nanoseconds


@pytest.mark.parametrize(
    "text",
    [
        *("", "yesterday", "2026-11-01", "2026-11-01T10:00:00", "2026-13-01T10:00:00Z", "2026-02-30T10:00:00Z"),
        *("0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "1970-01-01T00:00:01Z", "1980-01-01T00:00:01Z"),
        "0000-01-01T00:00:00Z",
    ],
)
def test_times_that_nobody_knows(text):
    assert parse_created(text) is None


def test_digests_may_have_a_name_before_them():
    wanted = {digest("a"), digest("b")}
    assert parse_digests([digest("a"), f"registry.example.com:5000/apps/web@{digest('b')}"]) == wanted
    with pytest.raises(InputError, match="digest"):
        parse_digests(["apps/web:1.0"])


# --- rules ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "would delete every tag"),
        ({"keep_matching": [], "keep_labels": {}}, "would delete every tag"),
        ({"keep_newest": -1}, "keep_newest: -1"),
        ({"keep_younger": "soon"}, "rule 3: 'soon' is no duration"),
        ({"keep_matching": ["("]}, "no regular expression"),
        ({"keep_versions": ["x.y.z.a"]}, "no range"),
        ({"keep_labels": {"a": ["b"]}}, "label a"),
        ({"keep_newest": 1, "tags": []}, "names no tags"),
        ({"keep_newest": 1, "repositories": []}, "names no repositories"),
    ],
)
def test_rules_that_can_not_be_meant(options, says):
    with pytest.raises(InputError, match=re.escape(says)):
        rule(3, **options)


def test_each_condition_keeps():
    tags = [image(name, age) for name, age in (("a", 1), ("b", 5), ("c", 50), ("1.4.2", 70), ("v-x", 80))]
    assert set(kept([rule(keep_newest=2)], tags)) == {"a", "b"}
    assert set(kept([rule(keep_younger="10d")], tags)) == {"a", "b"}
    assert set(kept([rule(keep_matching=["^v"])], tags)) == {"v-x"}
    assert set(kept([rule(keep_versions=["1.x"])], tags)) == {"1.4.2"}
    assert kept([rule(keep_newest=0)], tags) == {}
    labelled = [*tags, image("l", 90, labels=(("keep", "true"),)), image("m", 90, labels=(("keep", "no"),))]
    assert kept([rule(keep_labels={"keep": True})], labelled) == {"l": "rule 1: has the label keep=true"}
    # One of several is enough.
    assert set(kept([rule(keep_labels={"keep": "t*", "other": "*"})], labelled)) == {"l"}


def test_reasons():
    tags = [image("a", 1), image("b", 50), image("1.4.2", 70), image("v-x", 80), image("other", 90)]
    rules = [
        rule(1, tags=["[!o]*"], keep_newest=1),
        rule(2, tags=["[!o]*"], keep_versions=["1.x"], keep_matching=["^v"]),
    ]
    told = {one.tag.name: (one.kept, one.reason) for one in decide(rules, tags, frozenset(), NOW)}
    assert told == {
        "a": (True, "rule 1: is one of the 1 newest"),
        "b": (False, "nothing in rule 1, rule 2 keeps it"),
        "1.4.2": (True, "rule 2: is a version in 1.x"),
        "v-x": (True, "rule 2: matches ^v"),
        "other": (True, "no rule names it"),
    }


def test_what_nobody_knows_the_age_of_is_kept_and_not_counted():
    tags = [image("a", None), image("b", 1), image("c", 2), image("d", 3)]
    assert set(kept([rule(keep_newest=2)], tags)) == {"a", "b", "c"}
    assert "creation date is unknown" in kept([rule(keep_younger="1w")], tags)["a"]
    # A rule that does not ask for the age has no need to know it.
    assert kept([rule(keep_matching=["z"])], tags) == {} == kept([rule(keep_newest=0)], tags)


def test_images_are_counted_and_not_their_names():
    tags = [
        image("1.4.2", 1, "a"),
        image("1.4", 1, "a"),
        image("latest", 1, "a"),
        image("1.4.1", 2, "b"),
        image("old", 3),
    ]
    assert set(kept([rule(keep_newest=2)], tags)) == {"1.4.2", "1.4", "latest", "1.4.1"}


def test_those_of_the_same_age_stay_together():
    assert set(kept([rule(keep_newest=2)], [image(name, 3) for name in "abc"] + [image("d", 4)])) == {"a", "b", "c"}


def test_newest_counts_what_the_rule_names():
    tags = [image("pr-2", 1, "a"), image("pr-1", 2, "b"), image("main", 0, "c")]
    assert set(kept([rule(tags=["pr-*"], keep_newest=1)], tags)) == {"pr-2", "main"}


def test_a_name_goes_and_the_image_stays():
    tags = [image("1.0", 90, "a"), image("rc", 90, "a"), image("old", 90, "b")]
    told = {
        one.tag.name: one.reason for one in decide([rule(keep_versions=["*"])], tags, frozenset(), NOW) if not one.kept
    }
    assert told["rc"] == "nothing in rule 1 keeps it; what it points to stays, as 1.0 needs it"
    assert told["old"] == "nothing in rule 1 keeps it"


def test_what_is_in_use():
    index = image("index", 90, "a", holds=(digest("a"), digest("b"), digest("c")))
    tags = [index, image("child", 90, "b"), image("other", 90, "d")]
    assert set(kept([rule(keep_newest=0)], tags, [digest("a")])) == {"index"}
    assert set(kept([rule(keep_newest=0)], tags, [digest("b")])) == {"index", "child"}
    assert kept([rule(keep_newest=0)], tags, [digest("c")]) == {"index": f"{digest('c')} is in use"}


def test_a_removal_that_was_killed_is_finished_where_a_rule_names_the_tag():
    tags = [image("a", None, abandoned=True), image("b", 1)]
    assert set(kept([rule(keep_newest=2, keep_matching=["a"])], tags)) == {"b"}
    assert set(kept([rule(tags=["b"], keep_newest=2)], tags)) == {"a", "b"}


@pytest.mark.parametrize("ahead", [2, 20000])
def test_what_was_made_in_the_future_takes_nobodys_place(ahead):
    """By a clock that is wrong."""
    reasons = kept([rule(keep_newest=1)], [image("bad", -ahead), image("current", 0), image("old", 1)])
    assert reasons == {
        "bad": "rule 1: its creation date is unknown",
        "current": "rule 1: is one of the 1 newest",
    }
    # That of a builder may be some hours ahead.
    assert "is one" in kept([rule(keep_newest=1)], [image("soon", -0.5), image("old", 1)])["soon"]


@pytest.mark.parametrize("options", [{"keep_newest": False}, {"keep_labels": {"release": 1.1}}])
def test_what_yaml_makes_of_words_and_numbers_is_refused(options):
    with pytest.raises(InputError):
        rule(**options)


# --- signatures -------------------------------------------------------------------------------------------------------


def test_signatures_follow_their_subjects():
    tags = [
        image("new", 1, "a", holds=(digest("a"), digest("b"))),
        image("old", 90, "c", holds=(digest("c"), digest("d"))),
        *(signature(subject, letter) for subject, letter in zip("abcdf", "56789", strict=True)),
        signature("5", "3", ".att"),
        signature("7", "4", ""),
    ]
    told = {one.tag.name: one for one in decide([rule(keep_newest=1)], tags, frozenset(), NOW)}
    stay = {name for name, one in told.items() if one.kept}
    wanted = {"new", *(f"sha256-{letter * 64}.sig" for letter in "ab"), f"sha256-{'5' * 64}.att"}
    assert stay == wanted
    assert told[f"sha256-{'b' * 64}.sig"].reason == f"belongs to {digest('b')}, which new needs"
    assert told[f"sha256-{'c' * 64}.sig"].reason == f"belongs to {digest('c')}, which no tag that stays needs"


def test_signatures_are_not_counted_and_no_condition_looks_at_them():
    tags = [image("a", 3), image("b", 4), signature("a", "5", created=NOW), signature("b", "6", created=NOW)]
    assert set(kept([rule(keep_newest=1, keep_younger="1d", keep_matching=["sha256"])], tags)) == {
        "a",
        f"sha256-{'a' * 64}.sig",
    }


def test_signatures_of_what_is_in_use_or_not_named():
    tags = [image("b", 90), signature("a", "5"), signature("b", "6")]
    assert set(kept([rule(keep_newest=0)], tags, [digest("a")])) == {f"sha256-{'a' * 64}.sig"}
    # A signature that is in use itself keeps what belongs to it.
    assert set(kept([rule(keep_newest=0)], [*tags, signature("6", "7")], [digest("6")])) == {
        f"sha256-{letter * 64}.sig" for letter in "b6"
    }
    # A rule for other names does not touch orphans, but the signatures of what it deletes.
    told = kept([rule(tags=["[ab]"], keep_newest=0)], tags)
    assert set(told) == {f"sha256-{'a' * 64}.sig"} and "no rule names it" in told[f"sha256-{'a' * 64}.sig"]
    assert set(kept([rule(tags=["z"], keep_newest=0)], tags)) == {tag.name for tag in tags}


# --- the cap ----------------------------------------------------------------------------------------------------------


def test_what_can_not_go_makes_no_room_below_a_cap():
    tags = [image("prod", 90, "p"), *(image(f"pr-{number}", 90, str(number)) for number in range(9))]
    tags += [signature("p", "x"), signature("x", "y"), signature("q", "z"), signature("z", "w")]
    decisions = decide([rule(tags=["pr-*"], keep_newest=0)], tags, frozenset({digest("q")}), NOW)
    assert sum(one.considered for one in decisions) == 9


def test_the_cap():
    check_cap(0, 0, 0, 0)
    check_cap(100, 125, 100, 80)
    with pytest.raises(CapError, match=r"101 of the 1000 tags .* max_delete is 100.* set max_delete to 101"):
        check_cap(101, 1000, 100, 80)
    with pytest.raises(CapError, match=r"81 of the 101 tags .*\(81 %\).* max_delete_percent is 80.*percent to 81"):
        check_cap(81, 101, 100, 80)


@given(st.integers(0, 300), st.integers(0, 300), st.integers(0, 300), st.integers(0, 100))
def test_the_cap_lets_no_more_through(deleted, others, most, percent):
    considered = deleted + others
    try:
        check_cap(deleted, considered, most, percent)
    except CapError as error:
        cure = int(re.findall(r"\d+", str(error))[-1])
        check_cap(deleted, considered, max(most, deleted), max(percent, cure if "percent to" in str(error) else 100))
    else:
        assert deleted <= most and deleted * 100 <= considered * percent

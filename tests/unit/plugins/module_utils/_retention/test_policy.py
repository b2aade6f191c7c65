"""The policy of retention, apart from any registry."""

from __future__ import annotations

import dataclasses
import random
import re

import pytest
from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError
from ansible_collections.wharf.registry.plugins.module_utils._retention.policy import (
    SECOND,
    CapError,
    Tag,
    check_cap,
    decide_images,
    decide_signatures,
    parse_created,
    parse_digests,
    parse_duration,
    parse_rule,
)
from ansible_collections.wharf.registry.plugins.module_utils._retention.semver import Range, parse_version
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

NOW = parse_created("2026-11-26T00:00:00Z")
DAY = 86400 * SECOND


def digest(letter):
    return "sha256:" + letter * 64


def rule(number=1, **options):
    return parse_rule(number, {"repositories": ["*"], "tags": ["*"], **options})


def image(name, age, letter=None, **more):
    """A tag of an image that is some days old, None for one of which that is unknown."""
    return Tag(name, digest(letter or name[0]), created=None if age is None else NOW - age * DAY, **more)


def decide(rules, tags, in_use, now):
    """Of a registry with one repository."""
    return decide_signatures(rules, tags, decide_images(rules, tags, in_use, now), in_use, {})


def kept(rules, tags, in_use=()):
    return {one.tag.name: one.reason for one in decide(rules, tags, frozenset(in_use), NOW) if one.kept}


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


# --- versions ---------------------------------------------------------------------------------------------------------


def test_the_order_of_versions():
    """The example of semver.org, paragraph 11."""
    names = ["alpha", "alpha.1", "alpha.beta", "beta", "beta.2", "beta.11", "rc.1"]
    order = ["0.9.9", *(f"1.0.0-{name}" for name in names), "1.0.0", "1.0.1", "1.2.0", "1.10.0", "2.0.0"]
    assert sorted(order, key=parse_version) == order
    assert parse_version("v1.4") == parse_version("1.4.0") == parse_version("1.4.0_build.5")


@pytest.mark.parametrize("tag", ["latest", "1", "v2", "20261124", "1.2.3.4", "1.2-", "1..2", "a1.2.3", "1.2.3 ", "1.x"])
def test_what_is_no_version(tag):
    assert parse_version(tag) is None


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        (">=1.2 <2.0", "1.2.0 1.2 1.99.5 v1.4.2", "1.1.9 2.0.0 2.0.0-rc.1 1.4.2-rc.1"),
        (">=1.2, <2.0", "1.2.0 1.9.9", "2.0.0"),
        (">= 1.2", "1.2.0 7.0.0", "1.1.0"),
        (">1.2", "1.3.0", "1.2.0 1.2.7"),
        (">1.2.3", "1.2.4", "1.2.3"),
        ("<=1.2", "1.2.9 0.1.0", "1.3.0 1.3.0-rc.1"),
        ("<=1.2.3", "1.2.3 1.2.2", "1.2.4"),
        ("^1.2.3", "1.2.3 1.9.0", "1.2.2 2.0.0 2.0.0-rc.1"),
        ("^0.2.3", "0.2.3 0.2.9", "0.3.0"),
        ("^0.0.3", "0.0.3", "0.0.4"),
        ("^0.0", "0.0.9", "0.1.0"),
        ("^0", "0.9.0", "1.0.0"),
        ("^1.x", "1.0.0 1.9.9", "2.0.0"),
        ("~1.2.3", "1.2.3 1.2.9", "1.3.0 1.2.2"),
        ("~1.2", "1.2.0 1.2.9", "1.3.0"),
        ("~1", "1.0.0 1.9.0", "2.0.0"),
        ("~>1.2", "1.2.5", "1.3.0"),
        ("1.x", "1.0.0 1.9.9", "2.0.0 0.9.0"),
        ("1.2.*", "1.2.0 1.2.9", "1.3.0"),
        ("1.4", "1.4.0 1.4.7", "1.5.0"),
        ("v1.4.2", "1.4.2 v1.4.2", "1.4.3"),
        ("=1.4.2", "1.4.2", "1.4.1"),
        ("*", "0.0.1 99.0.0", "1.0.0-rc.1"),
        ("", "0.0.1", ""),
        ("1.2 - 1.6", "1.2.0 1.6.9", "1.7.0 1.1.9"),
        ("1.2.3 - 1.6.0", "1.2.3 1.6.0", "1.6.1"),
        ("1.x || >=3.1", "1.5.0 3.1.0", "2.0.0 3.0.9"),
        (">=1.0.0-rc.2", "1.0.0-rc.2 1.0.0-rc.11 1.0.0 2.0.0", "1.0.0-rc.1 1.1.0-rc.3"),
        ("^1.2.3-beta.2", "1.2.3-beta.4 1.2.3 1.9.0", "1.2.3-beta.1 1.2.4-beta.2"),
        (">*", "", "1.0.0 0.0.0"),
    ],
)
def test_ranges(text, inside, outside):
    wanted = Range(text)
    assert [tag for tag in inside.split() if not wanted.holds(parse_version(tag))] == []
    assert [tag for tag in outside.split() if wanted.holds(parse_version(tag))] == []


@pytest.mark.parametrize(
    "text", ["a", "1.2.3.4", ">=", "1.2 -", "^^1", "1.2.3-", "latest", ">=1.2 and <2", "1|2", "!=1"]
)
def test_what_is_no_range(text):
    with pytest.raises(InputError, match="range"):
        Range(text)


@given(st.lists(st.integers(0, 30), min_size=3, max_size=3), st.lists(st.integers(0, 30), min_size=3, max_size=3))
def test_ranges_agree_with_the_order(one, other):
    low, version = (".".join(map(str, numbers)) for numbers in (one, other))
    for sign, right in ((">=", other >= one), (">", other > one), ("<", other < one), ("<=", other <= one)):
        assert Range(f"{sign}{low}").holds(parse_version(version)) is right
    assert Range(f"^{one[0] + 1}.{one[1]}").holds((*other, (1,))) is (other[0] == one[0] + 1 and other[1] >= one[1])


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


# --- signatures -------------------------------------------------------------------------------------------------------


def signature(subject, letter, kind=".sig", **more):
    return Tag(f"sha256-{subject * 64}{kind}", digest(letter), subject=digest(subject), **more)


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


# --- what holds for all of them ---------------------------------------------------------------------------------------

LETTERS = "abcdefgh"
NAMES = [
    *(f"{letter}-{number}" for letter in "xyz" for number in range(4)),
    "1.0.0",
    "1.4.2",
    "2.0.0",
    "v2.1",
    "latest",
]


def repository(ages, children, names, signatures):
    """Tags of images, of which a digest tells when they were made and what they hold, and of signatures."""
    tags = []
    for name, letter in names.items():
        place = LETTERS.index(letter)
        holds = (digest(letter), *map(digest, children[place]))
        labels = (("keep", "yes"),) if letter in "ab" else ()
        tags.append(image(name, ages[place], letter, holds=holds, labels=labels))
    return tags + [signature(subject, letter) for subject, letter in signatures.items()]


def some_of(texts, values, most):
    return st.dictionaries(st.sampled_from(texts), st.sampled_from(values), max_size=most)


def of_each_letter(values):
    return st.lists(st.sampled_from(values), min_size=len(LETTERS), max_size=len(LETTERS))


REPOSITORIES = st.builds(
    repository,
    of_each_letter([None, 0, 1, 20, 40, 41, 100]),
    of_each_letter(["", "i", "j", "ij", "kl"]),
    some_of(NAMES, LETTERS, 8),
    some_of("abcdefghijkl0123", "0123456", 5),
)
CONDITIONS = {
    "keep_newest": st.integers(0, 4),
    "keep_younger": st.sampled_from(["1d", "4w", "12h"]),
    "keep_matching": st.lists(st.sampled_from(["^x", "3$", "latest"]), min_size=1, max_size=2),
    "keep_versions": st.lists(st.sampled_from([">=1.2 <2.0", "^2", "*"]), min_size=1, max_size=2),
    "keep_labels": st.sampled_from([{"keep": "y*"}, {"keep": "no"}]),
}
GLOBS = st.lists(st.sampled_from(["*", "x-*", "y-[12]", "[0-9]*", "sha256-*"]), min_size=1, max_size=2)
OPTIONS = st.fixed_dictionaries({"tags": GLOBS}, optional=CONDITIONS).map(
    lambda options: options if len(options) > 1 else {**options, "keep_newest": 0}
)
RULES = st.lists(OPTIONS, max_size=3)
# The time is not what is tested, and the machine may have other work.
AT_LEISURE = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
IN_USE = st.sets(st.sampled_from("abijkl04"), max_size=2).map(lambda letters: frozenset(map(digest, letters)))


def rules_of(options):
    return [rule(number, **one) for number, one in enumerate(options, 1)]


@dataclasses.dataclass
class Outcome:
    kept: set
    deleted: set


def outcome(options, tags, in_use=frozenset()):
    decisions = decide(rules_of(options), tags, in_use, NOW)
    assert [one.tag.name for one in decisions] == sorted(tag.name for tag in tags)
    return Outcome(*({one.tag.name for one in decisions if one.kept is kept} for kept in (True, False)))


@AT_LEISURE
@given(REPOSITORIES, RULES, IN_USE)
def test_what_no_rule_names_is_untouched(tags, options, in_use):
    rules = rules_of(options)
    named = {tag.name for tag in tags if tag.subject or any(one.names(tag.name) for one in rules)}
    assert outcome(options, tags, in_use).deleted <= named
    assert outcome([], tags).deleted == set()


@AT_LEISURE
@given(REPOSITORIES, RULES, OPTIONS)
def test_keep_wins(tags, options, more):
    """What a rule alone keeps of what it names, it keeps beside all others."""
    names = {tag.name for tag in tags if not tag.subject and rule(**more).names(tag.name)}
    assert outcome([more], tags).kept & names <= outcome([*options, more], tags).kept


@AT_LEISURE
@given(REPOSITORIES, RULES.filter(bool), st.data())
def test_a_condition_more_never_deletes_more(tags, options, data):
    which = data.draw(st.integers(0, len(options) - 1))
    name = data.draw(st.sampled_from(sorted(CONDITIONS)))
    value = data.draw(CONDITIONS[name])
    before = options[which].get(name)
    if isinstance(value, int):
        value = max(value, before or 0)
    elif isinstance(value, list):
        value = [*(before or []), *value]
    elif before is not None:
        value = before
    more = [*options]
    more[which] = {**options[which], name: value}
    assert outcome(more, tags).deleted <= outcome(options, tags).deleted


@AT_LEISURE
@given(REPOSITORIES, RULES, IN_USE, st.randoms(use_true_random=False))
def test_no_order_matters(tags, options, in_use, shuffler: random.Random):
    first = outcome(options, tags, in_use)
    shuffler.shuffle(options)
    shuffler.shuffle(tags)
    assert outcome(options, tags, in_use) == first


@AT_LEISURE
@given(REPOSITORIES, RULES, IN_USE)
def test_what_is_in_use_keeps_its_tags(tags, options, in_use):
    used = {tag.name for tag in tags if in_use & set(tag.holds)}
    assert used <= outcome(options, tags, in_use).kept


@AT_LEISURE
@given(REPOSITORIES, RULES, IN_USE)
def test_no_signature_is_lost_before_its_subject(tags, options, in_use):
    result = outcome(options, tags, in_use)
    held = in_use.union(*(tag.holds for tag in tags if tag.name in result.kept))
    for tag in tags:
        if tag.name in result.deleted and tag.subject:
            assert tag.subject not in held
    # And one that stays has a reason to.
    named = [one for one in tags if one.subject and any(one_rule.names(one.name) for one_rule in rules_of(options))]
    assert all(one.subject in held or in_use & set(one.holds) for one in named if one.name in result.kept)


@AT_LEISURE
@given(REPOSITORIES, RULES, IN_USE)
def test_a_second_run_deletes_nothing(tags, options, in_use):
    result = outcome(options, tags, in_use)
    assert outcome(options, [tag for tag in tags if tag.name in result.kept], in_use).deleted == set()


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


def test_what_can_not_go_makes_no_room_below_a_cap():
    tags = [image("prod", 90, "p"), *(image(f"pr-{number}", 90, str(number)) for number in range(9))]
    tags += [signature("p", "x"), signature("x", "y"), signature("q", "z"), signature("z", "w")]
    decisions = decide([rule(tags=["pr-*"], keep_newest=0)], tags, frozenset({digest("q")}), NOW)
    assert sum(one.considered for one in decisions) == 9


@pytest.mark.parametrize("options", [{"keep_newest": False}, {"keep_labels": {"release": 1.1}}])
def test_what_yaml_makes_of_words_and_numbers_is_refused(options):
    with pytest.raises(InputError):
        rule(**options)


# --- the cap ----------------------------------------------------------------------------------------------------------


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

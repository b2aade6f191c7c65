"""What holds for retention whatever the tags and the rules are."""

from __future__ import annotations

import dataclasses
import random

from hypothesis import given, settings
from hypothesis import strategies as st
from retention_tags import NOW, decide, digest, image, rule, signature

from examples import PATIENT, examples

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
AT_LEISURE = settings(max_examples=examples(200), deadline=None, suppress_health_check=PATIENT)
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

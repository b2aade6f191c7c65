"""Tags and rules for the tests of retention, and what is decided of them."""

from __future__ import annotations

from ansible_collections.wharf.registry.plugins.module_utils._retention.policy import (
    SECOND,
    Tag,
    decide_images,
    decide_signatures,
    parse_created,
    parse_rule,
)

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


def signature(subject, letter, kind=".sig", **more):
    return Tag(f"sha256-{subject * 64}{kind}", digest(letter), subject=digest(subject), **more)

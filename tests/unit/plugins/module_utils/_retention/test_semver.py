"""Versions, their order, and ranges of them."""

from __future__ import annotations

import pytest
from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError
from ansible_collections.wharf.registry.plugins.module_utils._retention.semver import Range, parse_version
from hypothesis import given
from hypothesis import strategies as st


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

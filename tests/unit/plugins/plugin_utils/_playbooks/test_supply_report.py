"""What mirrors and caches tell of themselves, as the doctor shows it."""

from __future__ import annotations

import pytest

WELL = {
    "succeeded": "2026-11-28T01:00:00Z",
    "stale_since": "",
    "problem": "",
    "images": 9,
    "failed": 0,
    "remaining": -1,
}
CACHE = {"hits": 5, "misses": 2, "stale": 1, "away_since": "", "problem": "", "remaining": -1}
SINCE = "2026-11-27T01:00:00Z"


@pytest.fixture
def lines(plugin):
    return plugin("plugin_utils/_playbooks", "supply_report").supply_lines


def test_nothing_is_told_where_there_is_nothing(lines):
    assert (
        lines({})
        == lines({"a": {"mirrors": None, "caches": None}})
        == lines({"a": {"mirrors": {}, "caches": {}}})
        == []
    )


def test_each_has_a_line(lines):
    states = {
        "gate": {"mirrors": {"hub": WELL, "new": {**WELL, "succeeded": "", "images": 0}}},
        "reg": {
            "mirrors": {"hub": {**WELL, "failed": 2, "stale_since": SINCE, "problem": "docker.io answered 429."}},
            "caches": {
                "upstreams": {"docker.io": {**CACHE, "remaining": 70}, "quay.io": {**CACHE, "away_since": SINCE}}
            },
        },
    }
    assert lines(states) == [
        "IMAGES FROM OUTSIDE        STALE SINCE           WHAT",
        "mirror hub on gate         -                     9 of 9 images were copied at 2026-11-28T01:00:00Z",
        "mirror new on gate         -                     it has not run yet",
        "mirror hub on reg          2026-11-27T01:00:00Z  docker.io answered 429.",
        "cache of docker.io on reg  -                     6 requests were served from here, 2 from there; 70 pulls are",
        "                                                 left there",
        "cache of quay.io on reg    2026-11-27T01:00:00Z  6 requests were served from here, 2 from there",
    ]

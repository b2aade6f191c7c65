"""A registry that holds nothing yet, or nothing that is meant: each module ends, and says so."""

from __future__ import annotations

import pytest
from inprocess import run_module
from misbehaving import Misbehaving
from odd_registry import OddRegistry


@pytest.fixture(params=[False, True], ids=["empty", "of others"])
def registry(request):
    with Misbehaving() as server:
        odd = OddRegistry(server)
        if request.param:
            odd.image("other/app", "1.0")
        yield {"registry": odd.address, "plain_http": True}


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize("repositories", [["team/*"], ["team/app"], ["team/app", "team/*"]])
def test_retention_removes_nothing(registry, repositories, check):
    rules = [{"repositories": repositories, "keep_newest": 1}]
    done = run_module("registry_retention", {**registry, "rules": rules}, check=check)
    assert not done.get("failed") and not done["changed"] and done["deleted"] == 0


@pytest.mark.parametrize("details", ["names", "digests", "full"])
@pytest.mark.parametrize("repositories", [["team/*"], []])
def test_info_lists_nothing_of_it(registry, repositories, details):
    done = run_module("registry_info", {**registry, "repositories": repositories, "details": details})
    assert not done.get("failed")
    assert [one["name"] for one in done["repositories"] if one["name"].startswith("team/")] == []

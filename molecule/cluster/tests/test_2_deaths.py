"""Parts of all kinds die and come back, while clients push and pull. No pipeline fails, and nothing is lost."""

from __future__ import annotations

import os
import random
import time
from typing import TYPE_CHECKING

import pytest
from conftest import FAILOVER, Poll, deaths_of_registries, deaths_of_storage

if TYPE_CHECKING:
    from conftest import Death, Lab, Work

# How long a part is away, in seconds: longer than others take to notice.
AWAY = 8
KILLS = int(os.environ.get("WHARF_KILLS", "100"))


def happen(death: Death, lab: Lab, work: Work) -> float:
    """The longest time, in seconds, in which an address of the registry was not answered."""
    began = time.monotonic()
    with Poll(lab.registries) as poll:
        death.goes()
        try:
            time.sleep(AWAY)
        finally:
            death.returns()
        lab.settle()
    work.go_on()
    print(f"{death}: {poll.gap():.1f} s without an answer, {time.monotonic() - began:.0f} s in all")
    return poll.gap()


@pytest.mark.parametrize("number", range(15))
def test_a_part_of_a_registry_host(number: int, lab: Lab, work: Work) -> None:
    death = deaths_of_registries(lab)[number]
    assert happen(death, lab, work) <= FAILOVER, death


@pytest.mark.parametrize("number", range(19))
def test_a_part_of_the_storage(number: int, lab: Lab, work: Work) -> None:
    """The registry waits for its storage, and so do its clients."""
    happen(deaths_of_storage(lab)[number], lab, work)


@pytest.mark.long
def test_many_deaths(lab: Lab, work: Work) -> None:
    chosen = random.Random(23)  # noqa: S311 - the same each time
    of_registries, of_storage = deaths_of_registries(lab), deaths_of_storage(lab)
    for _kill in range(KILLS):
        death = chosen.choice([*of_registries, *of_storage])
        gap = happen(death, lab, work)
        assert death in of_storage or gap <= FAILOVER, death
    assert work.lost() == []

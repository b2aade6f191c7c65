"""A rollout that has nothing to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from labtest import PlaybookRun, run_playbook

if TYPE_CHECKING:
    from conftest import Client


@pytest.fixture(scope="module")
def again() -> PlaybookRun:
    return run_playbook("wharf.registry.rollout")


def test_it_changes_nothing(again: PlaybookRun) -> None:
    assert {host: counts["changed"] for host, counts in again.recap.items()} == dict.fromkeys(again.recap, 0), (
        again.output
    )


def test_it_opens_at_most_four_tasks_a_host(again: PlaybookRun, client: Client) -> None:
    counts = again.recap[client.name]
    assert sum(number for name, number in counts.items() if name != "skipped") <= 4, again.output


@pytest.mark.usefixtures("again")
def test_containers_go_on(busy: Client) -> None:
    assert busy.process_now() == busy.process_before()

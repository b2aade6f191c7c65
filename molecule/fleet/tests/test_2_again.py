"""A rollout that has nothing to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from conftest import foretell
from labtest import LabHost, PlaybookRun, run_playbook

if TYPE_CHECKING:
    from conftest import Client

# What would change nothing here. The others would rotate, remove, or install what no run has installed.
NOTHING = ("site", "upgrade", "verify")
# The registry, and a client with each engine in each version that there is.
OF_EACH_KIND = ("fleet-registry", "fleet-a", "fleet-b", "fleet-c", "fleet-f")


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


@pytest.mark.long
def test_check_mode_of_each_playbook(clients: dict[str, Client]) -> None:
    """On hosts that have all: each tells what it would do, and does nothing."""
    hosts = [LabHost("fleet-registry"), *clients.values()]
    before = [host.snapshot("/etc", "/srv", "/usr/local") for host in hosts], clients["fleet-a"].process_now()
    for words, run in foretell(limit=",".join(OF_EACH_KIND)).items():
        assert run.code == 0, f"{words}:\n{run.output}"
        if words in NOTHING:
            assert set(run.changed(*run.recap).values()) == {0}, f"{words}:\n{run.output}"
        elif words.startswith(("teardown", "backup")):
            assert run.changed("fleet-registry")["fleet-registry"] > 5, f"{words}:\n{run.output}"
    assert ([host.snapshot("/etc", "/srv", "/usr/local") for host in hosts], clients["fleet-a"].process_now()) == before

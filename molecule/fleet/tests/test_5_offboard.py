"""Of all that the rollouts did, nothing remains."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
from conftest import content
from labtest import PlaybookRun, run_playbook

if TYPE_CHECKING:
    import pathlib

    from conftest import Client, Runner

DAEMON = "/etc/docker/daemon.json"


@pytest.fixture(scope="module")
def offboarded(change: tuple[str, ...]) -> PlaybookRun:
    return run_playbook("wharf.registry.offboard", *change)


def test_it_changes_all(offboarded: PlaybookRun, client: Client) -> None:
    assert offboarded.recap[client.name]["changed"] > 0


def bare(text: str) -> str:
    """A daemon.json without empty lists: a running engine has to be told so of a list that it is to forget."""
    return re.sub(r',?\s*"(insecure-registries|registry-mirrors)"\s*:\s*\[\s*\]', "", text)


@pytest.mark.usefixtures("offboarded")
def test_all_is_as_before_the_first_rollout(client: Client, ephemeral: pathlib.Path) -> None:
    before = json.loads((ephemeral / "places.json").read_text())[client.name]
    after = client.places()
    texts = [bare(content(places[DAEMON]).decode()) if DAEMON in places else "{}" for places in (before, after)]
    assert re.sub(r"\s", "", texts[1]) == re.sub(r"\s", "", texts[0]) if client.bare else texts[1] == texts[0]
    for places in (before, after):
        # Compared already. Directories do no harm, and neither do files of a client that knows no registry.
        places.pop(DAEMON, None)
        for path, kept in list(places.items()):
            if "content" not in kept or b"".join(content(kept).split()) == b'{"auths":{}}':
                del places[path]
    if client.bare:
        # The package of its engine has brought it.
        after.pop("/etc/containerd/config.toml")
    # Engine 20.10 makes a key for itself whenever it starts.
    after.pop("/etc/docker/key.json", None)
    before.pop("/etc/docker/key.json", None)
    assert after == before


@pytest.mark.usefixtures("offboarded")
def test_the_engines_have_forgotten(client: Client) -> None:
    if client.engine == "docker":
        assert client.settings_now() == {"mirrors": [*client.mirrors], "insecure": sorted(client.insecure)}
    assert client.logged_in() == {}


@pytest.mark.usefixtures("offboarded")
def test_engines_of_an_account(runner: Runner, probe: str, ephemeral: pathlib.Path) -> None:
    assert runner.processes() == (ephemeral / "runner").read_text()
    for engine in ("docker", "podman"):
        said = runner.type(f"{engine} pull --quiet {probe}")
        assert "certificate signed by unknown authority" in said, said


@pytest.mark.usefixtures("offboarded")
def test_they_can_not_pull(client: Client, probe: str) -> None:
    said = client.type(f"{client.cli} pull {probe}", check=False)
    assert "certificate signed by unknown authority" in said, said


@pytest.mark.long
@pytest.mark.usefixtures("offboarded")
def test_a_second_time_changes_nothing(change: tuple[str, ...], clients: dict[str, Client]) -> None:
    run = run_playbook("wharf.registry.offboard", *change)
    assert run.changed(*clients) == dict.fromkeys(clients, 0), run.output


def test_containers_go_on(busy: Client) -> None:
    # One engine was restarted, to be given a way out that leads nowhere; see test_3_failures.py.
    if busy.name != "fleet-e":
        assert busy.process_now() == busy.process_before()

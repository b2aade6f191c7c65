"""What the playbooks do to hosts that have nothing of the collection."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from labtest import run_playbook

if TYPE_CHECKING:
    import pathlib

    from conftest import Client


def test_there_is_nothing_to_offboard(clients: dict[str, Client], ephemeral: pathlib.Path) -> None:
    before = {name: client.places() for name, client in clients.items()}
    run = run_playbook("wharf.registry.offboard")
    assert run.changed(*clients) == dict.fromkeys(clients, 0), run.output
    assert {name: client.places() for name, client in clients.items()} == before
    # For the comparison when all is over.
    (ephemeral / "places.json").write_text(json.dumps(before))


def test_all_engines_are_there_but_one(client: Client) -> None:
    found = client.output("ls /usr/bin | grep -xE 'docker|podman' || true").split()
    assert found == ([] if client.bare else [client.engine])

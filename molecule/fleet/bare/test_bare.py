"""What the playbooks do to hosts that have nothing of the collection."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from conftest import PLAYBOOKS, foretell
from labtest import LabHost, run_playbook

# Whatever a playbook could leave on a host, but for what any task of Ansible does.
EVERYWHERE = ("/etc", "/home", "/opt", "/srv", "/usr/local", "/var/lib/wharf-registry", "/var/spool")
# What must be there first. All others tell what they would do.
NEEDED = {
    "maintain": "fleet-d has no registry in /srv/bare/registry. Run site.yml first",
    "rotate --extra-vars=rotate=ca": "fleet-d has no registry in /srv/bare/registry. Run site.yml first",
    "upgrade": "fleet-d has no registry in /srv/bare/registry. Run site.yml first",
    "verify": "at the hop name: ",
}

# They take a minute each. The scenario `default` begins with site.yml in check mode, on a bare host as well.
LONG = tuple(words for words in PLAYBOOKS if words.startswith(("site", "teardown", "backup", "upgrade")))

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
    there = {"fleet-d": [], "fleet-e": ["docker", "podman"], "fleet-f": []}
    assert found == there.get(client.name, [client.engine])


@pytest.mark.parametrize(
    "playbooks",
    [tuple(words for words in PLAYBOOKS if words not in LONG), pytest.param(LONG, marks=pytest.mark.long)],
    ids=["short", "long"],
)
def test_check_mode_of_each_playbook(playbooks: tuple[str, ...]) -> None:
    """On a host without an engine, with directories of its own: nothing dies, and nothing is changed."""
    hosts = [LabHost(name) for name in ("fleet-c", "fleet-d")]
    before = [host.snapshot(*EVERYWHERE) for host in hosts]
    runs = foretell(playbooks, "bare/inventory")
    for words, run in runs.items():
        wanted = NEEDED.get(words)
        assert (run.code == 0) is (wanted is None), f"{words}:\n{run.output}"
        assert wanted is None or wanted in " ".join(run.output.split()), f"{words}:\n{run.output}"
        if words == "site":
            # Packages, accounts, files and containers of four roles.
            assert run.changed("fleet-d")["fleet-d"] > 5, run.output
        if words.startswith("restore"):
            assert "Would restore a snapshot of /srv/elsewhere" in " ".join(run.output.split())
    assert [host.snapshot(*EVERYWHERE) for host in hosts] == before

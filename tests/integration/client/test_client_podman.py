"""registry_client and Podman, of root and of an ordinary account, and what an administrator has set."""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING

import pytest
from engine_trust import HOST, INSECURE, MIRROR, client, put, warned
from steps import four_runs, says

if TYPE_CHECKING:
    from hosts import Machine
    from peers import Peers


def podmans(machine: Machine) -> dict:
    """What Podman says of registries."""
    found = json.loads(machine.output("podman info --format '{{json .Registries}}' 2> /dev/null"))
    return {
        name: [one["Insecure"], *((mirror["Location"], mirror["Insecure"]) for mirror in one["Mirrors"] or [])]
        for name, one in found.items()
        if name != "search"
    }


@pytest.mark.parametrize("user", ["root", "deployer"])
def test_podman(podman: Machine, user: str, full: dict) -> None:
    account = podman.account(user)
    home = f"{account.home}/.config" if user != "root" else "/etc"
    files = f"find {home}/containers -type f -printf '%p %m %u\\n' -exec sha256sum {{}} ';'"
    look = functools.partial(account.output, files)
    account.run(f"mkdir -p {home}/containers/registries.conf.d")
    mirrors = [MIRROR, "http://[fd00::1]:80"]
    six = {"host": "[::1]:5000", "insecure": True}
    four_runs(functools.partial(client, account, full, six, mirrors=mirrors), look)
    if user == "root":
        # Of an ordinary account, Podman says nothing here: the host has no newuidmap, which it asks for at first.
        assert podmans(account) == {
            HOST: [True],
            "[::1]:5000": [True],
            "docker.io": [False, ("m.example.com", False), ("[fd00::1]:80", True)],
        }
    assert account.stat(f"{home}/containers/certs.d/{HOST}/client.key") == (user, "600")
    four_runs(functools.partial(client, account, {"host": HOST}, six, mirrors=mirrors, state="absent"), look)
    if user == "root":
        assert podmans(account) == {}


UPSTREAMS = {
    "docker.io": f"{MIRROR}/mirror/docker.io",
    "quay.example:5000": [f"{MIRROR}/mirror/quay", "http://second.example.com"],
}


def test_mirrors_of_any_registry(podman: Machine) -> None:
    """Each has a file of its own, and keeps what another run has added."""
    four_runs(functools.partial(client, podman, upstream_mirrors=UPSTREAMS, mirrors=[MIRROR]), podman.files)
    host = MIRROR.partition("://")[2]
    assert podmans(podman) == {
        "docker.io": [False, (host, False), (f"{host}/mirror/docker.io", False)],
        "quay.example:5000": [False, (f"{host}/mirror/quay", False), ("second.example.com", True)],
    }
    gone = {"quay.example:5000": "http://second.example.com/"}
    four_runs(functools.partial(client, podman, upstream_mirrors=gone, state="absent"), podman.files)
    assert podmans(podman)["quay.example:5000"] == [False, (f"{host}/mirror/quay", False)]
    four_runs(
        functools.partial(client, podman, upstream_mirrors=UPSTREAMS, mirrors=[MIRROR], state="absent"), podman.files
    )
    assert podmans(podman) == {}


def test_a_pull_by_a_mirror(podman: Machine, peers: Peers, image: str) -> None:
    """The registry that the name names does not exist. The mirror has the image below a path, behind a password."""
    repository, tag = image.split(":")
    room, name = repository.split("/", 1)
    registry = {"host": peers.outside, "ca": peers.ca.read_text()}
    client(podman, registry, upstream_mirrors={"gone.example": f"https://{peers.outside}/{room}"})
    podman.run(f"podman login --username ci --password-stdin {peers.outside}", stdin=peers.users["ci"])
    try:
        podman.run(f"podman pull --quiet gone.example/{name}:{tag}")
    finally:
        podman.run(f"podman logout {peers.outside}")
    asked = [path for _method, path, status, user in peers.requests("basic") if user == "ci" and status == 200]
    assert f"/v2/{repository}/manifests/{tag}" in asked
    podman.run(f"podman rmi gone.example/{name}:{tag}")


def test_podman_in_its_own_words(podman: Machine, full: dict) -> None:
    neighbour = "/etc/containers/registries.conf.d/00-wharf-neighbour.conf"
    put(podman, neighbour, '[[registry]]\nlocation = "docker.io"\n')
    assert neighbour in warned(client(podman, mirrors=[MIRROR]))
    put(podman, neighbour, "[[registry]\n")
    before = podman.files()
    message = says(client(podman, full, failed=True), "Podman", neighbour, "previous files were restored")
    assert "cgroup" not in message
    assert podman.files() == before


def test_podman_keeps_what_an_administrator_has_set(podman: Machine) -> None:
    """An entry of ours that would have no effect, or would undo an administrator's, names the file of the latter."""
    folder = "/etc/containers/registries.conf.d"
    entry, mirror = f'[[registry]]\nlocation = "{HOST}"\n', '[[registry.mirror]]\nlocation = "m.example.com"\n'
    for name, text, words in (
        ("00-wharf-admin.conf", entry + "blocked = true\n", "blocks"),
        ("00-wharf-admin.conf", entry + mirror, "m.example.com"),
        ("00-wharf-admin.conf", '[[registry]]\nprefix = "*.example.com"\nblocked = true\n', "*.example.com"),
        ("zz-wharf-admin.conf", entry, "no effect"),
    ):
        put(podman, f"{folder}/{name}", text)
        before, believes = podman.files(), podmans(podman)
        for check in (True, False):
            says(client(podman, INSECURE, check=check, failed=True), f"{folder}/{name}", HOST, words)
        assert (podman.files(), podmans(podman)) == (before, believes)
        podman.run(f"rm {folder}/{name}")
    put(podman, f"{folder}/00-wharf-admin.conf", entry)
    four_runs(functools.partial(client, podman, INSECURE), podman.files)
    assert podmans(podman) == {HOST: [True]}

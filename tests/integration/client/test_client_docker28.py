"""registry_client and Docker Engine 28, the newest that a package gives: `hosts.toml`, both image stores, BuildKit.

Where there is a `hosts.toml`, this engine reads no `ca.crt` beside it.
"""

from __future__ import annotations

import functools
import json
import sys
from typing import TYPE_CHECKING

import hosts
import pytest
from engine import command
from engine_trust import client, put
from paths import ROOT
from steps import four_runs

if TYPE_CHECKING:
    from hosts import Machine
    from peers import Peers

pytestmark = pytest.mark.long

UNKNOWN = "certificate signed by unknown authority"


@pytest.fixture(scope="module")
def newest() -> Machine:
    image = command(sys.executable, str(ROOT / "tests" / "lab" / "build-image"), "sid-docker").stdout.strip()
    booted = hosts.start({"sid-docker": image}, ("sid-docker",))
    hosts.wait(booted)
    machine = booted["sid-docker"]
    assert machine.output("docker version --format '{{.Server.Version}}'").startswith("28.")
    return machine


@pytest.fixture(params=[False, True], ids=["image store of Docker", "image store of containerd"])
def machine(request: pytest.FixtureRequest, newest: Machine) -> Machine:
    newest.clean()
    put(newest, "/etc/docker/daemon.json", json.dumps({"features": {"containerd-snapshotter": request.param}}))
    newest.run("systemctl reset-failed docker docker.socket; systemctl restart docker")
    return newest


def pulled(machine: Machine, peers: Peers, image: str) -> str:
    """What a pull of root says, empty where it succeeds."""
    reference = f"{peers.outside}/{image}"
    machine.run(f"docker login --username ci --password-stdin {peers.outside}", stdin=peers.users["ci"], check=False)
    done = machine.run(f"docker pull --quiet {reference}", check=False)
    machine.run(f"docker rmi --force {reference}", check=False)
    return done.stderr if done.returncode else ""


def test_a_ca_with_and_without_a_hosts_toml(machine: Machine, peers: Peers, image: str) -> None:
    registry = {"host": peers.outside, "ca": peers.ca.read_text()}
    run = functools.partial(client, machine, registry)
    assert UNKNOWN in pulled(machine, peers, image)
    four_runs(run, machine.files)
    assert pulled(machine, peers, image) == ""
    run(state="absent")
    # One of the host's owner, as for a mirror that is asked first.
    path = f"/etc/docker/certs.d/{peers.outside}/hosts.toml"
    url = f"https://{peers.outside}"
    owners = f'server = "{url}"\n\n[host."{url}"]\n  capabilities = ["pull", "resolve"]\n'
    put(machine, path, owners)
    assert UNKNOWN in pulled(machine, peers, image)
    four_runs(run, machine.files)
    assert pulled(machine, peers, image) == ""
    four_runs(functools.partial(run, state="absent"), machine.files)
    assert machine.read(path) == owners
    assert UNKNOWN in pulled(machine, peers, image)


def test_a_build_from_an_image_of_the_registry(machine: Machine, peers: Peers, image: str) -> None:
    """BuildKit within Docker finds the CA where Docker does."""
    client(machine, {"host": peers.outside, "ca": peers.ca.read_text()})
    machine.run(f"docker login --username ci --password-stdin {peers.outside}", stdin=peers.users["ci"])
    reference = f"{peers.outside}/{image}"
    machine.run(f"mkdir -p /root/build; echo 'FROM {reference}' > /root/build/Dockerfile")
    said = machine.run("docker buildx build --no-cache --progress plain /root/build", check=False)
    machine.run("docker builder prune --all --force")
    assert said.returncode == 0, said.stderr
    assert "resolve" in said.stderr


def of_web(machine: Machine) -> dict:
    told = machine.host.run_module("_running_images", {})
    assert not told["unknown"]
    (found,) = [one for one in told["containers"] if one["container"] == "web"]
    return found


def test_what_runs_when_a_tag_moves(machine: Machine, peers: Peers, room: str) -> None:
    """The image of a container is known by its digest in both stores, although no name leads to it any more."""
    features = json.loads(machine.output("cat /etc/docker/daemon.json"))
    if features["features"]["containerd-snapshotter"]:
        # Within a container of the lab, containerd can't lay directories over each other.
        put(machine, "/etc/docker/daemon.json", json.dumps({**features, "storage-driver": "native"}))
        machine.run("systemctl restart docker")
    client(machine, {"host": peers.outside, "ca": peers.ca.read_text()})
    machine.run(f"docker login --username ci --password-stdin {peers.outside}", stdin=peers.users["ci"])
    name = f"{peers.outside}/{room}/web:1"
    sleeper = "tar -ch /bin/sleep $(ldd /bin/sleep | grep -o '/[^ ]*') 2> /dev/null | docker import"
    push = f"{name} > /dev/null && docker push --quiet {name} > /dev/null"
    try:
        machine.run(f"{sleeper} - {push}; docker run --detach --network none --name web {name} /bin/sleep infinity")
        first = of_web(machine)
        machine.run(f"{sleeper} --change 'LABEL moved=yes' - {push}")
        assert first["digests"] and of_web(machine) == first
    finally:
        machine.run(f"docker rm --force web; docker image rm --force {name}", check=False)

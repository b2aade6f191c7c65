"""registry_client and k3s, which is not to be had here: pulls by containerd with what k3s makes of registries.yaml."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import cri
import k3s_files
import yaml
from engine_trust import MIRROR, client, put, warned
from steps import four_runs, says

if TYPE_CHECKING:
    from hosts import Machine
    from peers import Peers

REGISTRIES = "/etc/rancher/k3s/registries.yaml"
HOSTS = "/var/lib/rancher/k3s/agent/etc/containerd/certs.d"
FILES = "find /etc/rancher -type f -printf '%p %m %u\\n' -exec sha256sum {} ';' | sort"
UNIT = "[Service]\nExecStart=/bin/sleep infinity\n"
# Of k3s: its version, and the ctr that it carries.
PROGRAM = """#!/bin/sh
[ "$1" = --version ] && { echo 'k3s version v1.31.2+k3s1 (6da20424)'; exit; }
shift
exec ctr --address /run/containerd/containerd.sock "$@"
"""


def install(machine: Machine) -> None:
    machine.run("systemctl stop k3s; rm -rf /etc/rancher /var/lib/rancher; mkdir -p /etc/rancher/k3s", check=False)
    put(machine, "/usr/local/bin/k3s", PROGRAM)
    put(machine, "/etc/systemd/system/k3s.service", UNIT)
    machine.run("chmod +x /usr/local/bin/k3s; systemctl daemon-reload; systemctl start k3s")


def start(machine: Machine) -> dict:
    """What k3s does when it starts; what registries.yaml says."""
    registries = yaml.safe_load(machine.output(f"cat {REGISTRIES}"))
    machine.run(f"rm -rf {HOSTS}")
    for name, text in k3s_files.hosts_toml(registries).items():
        put(machine, f"{HOSTS}/{name}/hosts.toml", text)
    put(machine, "/etc/containerd/config.toml", k3s_files.config_toml(registries, machine.name, HOSTS))
    machine.run("systemctl reset-failed containerd; systemctl restart containerd k3s")
    return registries


def pid(machine: Machine) -> str:
    return machine.output("systemctl show --property=MainPID --value k3s")


def test_four_runs_of_each_state(node: Machine, full: dict) -> None:
    install(node)
    before = node.output(FILES)
    options = {
        "engines": ["k3s"],
        "apply": "restart",
        "upstream_mirrors": {"quay.io": f"{MIRROR}/mirror"},
        "mirrors": [MIRROR],
    }
    registry = {**full, "insecure": False, "username": "ci", "password": "f0ur-runs"}
    run = functools.partial(client, node, registry, secrets=("f0ur-runs",), **options)
    process = pid(node)
    done = four_runs(run, functools.partial(node.output, FILES))
    assert done["reloaded"] and done["engine"]["k3s"] == {
        "installed": True,
        "running": True,
        "restart_needed": False,
        "version": "v1.31.2+k3s1",
    }
    assert pid(node) != process
    assert node.stat(REGISTRIES) == ("root", "600")
    four_runs(functools.partial(run, state="absent"), functools.partial(node.output, FILES))
    assert node.output(FILES) == before


def test_a_restart_only_where_it_is_asked_for(node: Machine, peers: Peers) -> None:
    install(node)
    process = pid(node)
    registry = {"host": peers.outside, "ca": peers.ca.read_text()}
    for _run in range(2):
        done = client(node, registry, engines=["k3s"])
        assert done["restart_needed"] and "systemctl restart k3s.service" in warned(done)
    assert pid(node) == process


def test_a_file_that_is_not_understood(node: Machine, peers: Peers) -> None:
    install(node)
    put(node, REGISTRIES, "mirrors: {docker.io: {endpoint: [https://near.example.com]}}\n")
    before = node.output(FILES)
    registry = {"host": peers.outside, "username": "ci", "password": "x"}
    says(client(node, registry, engines=["k3s"], failed=True), REGISTRIES, "line 1")
    assert node.output(FILES) == before


def test_pulls(containerd: Machine, peers: Peers, image: str) -> None:
    """As Kubernetes pulls, of the registry and by a mirror below a path, with the login of registries.yaml."""
    install(containerd)
    repository, tag = image.split(":")
    room, short = repository.split("/", 1)
    registry = {
        "host": peers.outside,
        "ca": peers.ca.read_text(),
        "username": "ci",
        "password": peers.users["ci"],
    }
    mirrors = {"gone.example": f"https://{peers.outside}/{room}"}
    client(containerd, registry, upstream_mirrors=mirrors, engines=["k3s"], secrets=(peers.users["ci"],))
    start(containerd)
    for name in (f"{peers.outside}/{image}", f"gone.example/{short}:{tag}"):
        assert cri.pull(containerd, name).startswith("sha256:")
        cri.remove(containerd, name)


def test_the_way_of_k3s(node: Machine, peers: Peers, image: str) -> None:
    install(node)
    login = {"username": "ci", "password": peers.users["ci"]}
    registry = {"host": peers.outside, "ca": peers.ca.read_text()}
    options = {"registries": [registry], "logins": [login], "engines": ["k3s"]}
    run = functools.partial(node.host.run_module, "registry_onboard", secrets=(peers.users["ci"],))
    check = {**login, "access": "push", "image": f"{image.partition(':')[0]}:by-k3s", "engine": "k3s"}
    done = run({**options, "check": check})
    # It can't pull before it was restarted.
    assert done["changed"] and done["complete"] and done["trust"]["restart_needed"]
    assert done["check"]["engine"] == "" and "Not proven by a pull: k3s" in warned(done)
    assert start(node)["configs"][peers.outside]["auth"] == login
    done = run({**options, "check": check})
    assert not done["changed"]
    assert done["check"]["verified"] and done["check"]["engine"] == "k3s", done["check"]


def test_a_node_that_is_stopped(node: Machine, peers: Peers) -> None:
    """No other engine may come beside it."""
    install(node)
    node.run("systemctl stop k3s")
    before = node.output(FILES)
    options = {"registries": [{"host": peers.outside, "ca": peers.ca.read_text()}], "engines": ["k3s"]}
    done = node.host.run_module("registry_onboard", options, failed=True)
    assert "k3s does not run" in done["msg"] and done["rolled_back"]
    assert node.output(FILES) == before

"""registry_client and containerd 1.7 and 2.1: hosts.toml, config.toml, and pulls by ctr and as Kubernetes does."""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING

import cri
import grpc
import pytest
from engine_trust import HOST, INSECURE, MIRROR, client, put, warned
from steps import four_runs, says

if TYPE_CHECKING:
    from hosts import Machine
    from peers import Peers

CONFIG = "/etc/containerd/config.toml"
FILES = "find /etc/containerd -type f -printf '%p %m %u\\n' -exec sha256sum {} ';' | sort"
PULL = "ctr images pull --hosts-dir /etc/containerd/certs.d"


def look(machine: Machine) -> str:
    return machine.output(FILES)


def registry(peers: Peers, **options: object) -> dict:
    return {"host": peers.outside, "ca": peers.ca.read_text(), **options}


def restarted(machine: Machine) -> str:
    return machine.output("systemctl show --property=MainPID --value containerd")


def test_all_that_can_be_said(containerd: Machine, full: dict) -> None:
    before = look(containerd)
    registry = {**full, "insecure": False, "username": "ci", "password": "f0ur-runs"}
    six = {"host": "[::1]:5000", "insecure": True}
    options = {
        "mirrors": [MIRROR],
        "upstream_mirrors": {"quay.io": f"https://{HOST}/mirror/quay.io"},
        "apply": "restart",
    }
    run = functools.partial(client, containerd, registry, six, secrets=("f0ur-runs",), **options)
    process = restarted(containerd)
    done = four_runs(run, functools.partial(look, containerd))
    assert done["reloaded"] and not done["restart_needed"]
    assert done["engine"]["containerd"]["config_path"] == "/etc/containerd/certs.d"
    assert done["engine"]["containerd"]["running"] and list(done["engine"]) == ["containerd"]
    assert restarted(containerd) != process
    assert containerd.stat(f"/etc/containerd/certs.d/{HOST}/hosts.toml") == ("root", "600")
    assert "config_path = '/etc/containerd/certs.d'" in containerd.output("containerd config dump").replace('"', "'")
    four_runs(functools.partial(run, state="absent"), functools.partial(look, containerd))
    assert look(containerd) == before


def test_it_is_restarted_where_it_is_told_to_be(node: Machine) -> None:
    process = restarted(node)
    for _run in range(2):
        done = client(node, INSECURE)
        assert done["restart_needed"] and not done["reloaded"]
        assert "systemctl restart containerd" in warned(done)
    assert restarted(node) == process
    assert client(node, INSECURE, apply="restart", check=True)["reloaded"]
    done = client(node, INSECURE, apply="restart")
    assert done["reloaded"] and not done["restart_needed"] and not done.get("warnings")
    assert restarted(node) != process
    assert not client(node, INSECURE, apply="restart")["changed"]


def test_pulls(containerd: Machine, peers: Peers, image: str) -> None:
    """By ctr, and as a kubelet does it: neither is given a password."""
    name = f"{peers.outside}/{image}"
    assert "certificate" in containerd.run(f"{PULL} {name} 2>&1", check=False).stdout
    client(containerd, registry(peers), apply="restart")
    assert "authorization" in containerd.run(f"{PULL} {name} 2>&1", check=False).stdout
    with pytest.raises(grpc.RpcError, match="authorization"):
        cri.pull(containerd, name)
    # A login needs no restart.
    process = restarted(containerd)
    client(containerd, registry(peers, username="ci", password=peers.users["ci"]), secrets=(peers.users["ci"],))
    assert restarted(containerd) == process
    containerd.run(f"{PULL} {name}")
    assert cri.pull(containerd, name).startswith("sha256:")
    cri.remove(containerd, name)
    missing = f"{name}-is-not-there"
    assert "not found" in containerd.run(f"{PULL} {missing} 2>&1", check=False).stdout
    with pytest.raises(grpc.RpcError, match="not found"):
        cri.pull(containerd, missing)
    containerd.run(f"ctr images remove {name}")


def test_a_pull_by_a_mirror(containerd: Machine, peers: Peers, image: str) -> None:
    """The registry that the name names does not exist. The mirror has the image below a path, behind a password."""
    repository, tag = image.split(":")
    room, short = repository.split("/", 1)
    mirror = {"gone.example": f"https://{peers.outside}/{room}"}
    login = registry(peers, username="ci", password=peers.users["ci"])
    client(containerd, login, upstream_mirrors=mirror, apply="restart", secrets=(peers.users["ci"],))
    name = f"gone.example/{short}:{tag}"
    asked = len(peers.requests("basic"))
    assert cri.pull(containerd, name).startswith("sha256:")
    cri.remove(containerd, name)
    containerd.run(f"{PULL} {name}; ctr images remove {name}")
    found = [path for _method, path, status, user in peers.requests("basic")[asked:] if user == "ci" and status == 200]
    assert any(path.startswith(f"/v2/{repository}/manifests/{tag}") for path in found)


def test_what_the_owner_has_stays(containerd: Machine, peers: Peers, image: str) -> None:
    """Comments, order and other settings of both files, through a change and back."""
    with_owner = """# Ours.
version = 2

[plugins]
  [plugins."io.containerd.grpc.v1.cri"]
    sandbox_image = "pause:1" # pinned
    [plugins."io.containerd.grpc.v1.cri".registry]
      config_path = "" # none yet
"""
    put(containerd, CONFIG, with_owner)
    hosts = f"/etc/containerd/certs.d/{peers.outside}/hosts.toml"
    put(containerd, hosts, f'# Mine.\n[host."https://{peers.outside}"]\n  dial_timeout = "3s"\n')
    containerd.run("systemctl restart containerd")
    before = containerd.output(f"cat {CONFIG} {hosts}")
    login = registry(peers, username="ci", password=peers.users["ci"])
    client(containerd, login, apply="restart", secrets=(peers.users["ci"],))
    changed = containerd.output(f"cat {CONFIG} {hosts}")
    assert "# pinned" in changed and 'dial_timeout = "3s"' in changed and "# none yet" in changed
    name = f"{peers.outside}/{image}"
    assert cri.pull(containerd, name).startswith("sha256:")
    cri.remove(containerd, name)
    client(containerd, registry(peers), state="absent", apply="restart")
    assert containerd.output(f"cat {CONFIG} {hosts}") == before


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("version = 2\n[plugins", "is not valid TOML (line 2"),
        ("version = 9\n", "containerd rejects"),
        (
            'version = 2\n[plugins."io.containerd.grpc.v1.cri".registry.mirrors."docker.io"]\n  endpoint = ["https://m"]\n',
            "mirrors of docker.io",
        ),
    ],
)
def test_a_configuration_that_can_not_be_changed(node: Machine, text: str, words: str) -> None:
    put(node, CONFIG, text)
    before = look(node)
    for check in (True, False):
        says(client(node, INSECURE, check=check, failed=True), CONFIG, words)
    assert look(node) == before


def test_a_restart_that_fails_is_undone(containerd: Machine) -> None:
    """The files are as before, and containerd runs with them."""
    put(
        containerd,
        "/etc/systemd/system/containerd.service.d/picky.conf",
        "[Service]\nExecStartPre=/usr/local/bin/picky\n",
    )
    put(containerd, "/usr/local/bin/picky", f"#!/bin/sh\n! grep -q certs.d {CONFIG}\n")
    containerd.run("chmod +x /usr/local/bin/picky; systemctl daemon-reload")
    before = look(containerd)
    says(
        client(containerd, INSECURE, apply="restart", failed=True),
        "containerd did not restart",
        "previous files were restored",
    )
    assert look(containerd) == before
    assert containerd.output("systemctl is-active containerd").strip() == "active"


def test_containers_live_on(containerd: Machine, peers: Peers, image: str) -> None:
    """A task of containerd keeps its process through a restart of the engine."""
    containerd.run(
        """
        mkdir -p /tmp/root/bin && cp /bin/sleep /tmp/root/bin/
        for file in $(ldd /bin/sleep | grep -o '/[^ ]*'); do cp --parents --dereference $file /tmp/root/; done
        ctr run --detach --rootfs --runc-systemd-cgroup=false /tmp/root sleeper /bin/sleep infinity
        """
    )
    try:
        before = containerd.output("ctr tasks list | awk '/sleeper/ {print $2, $3}'")
        assert "RUNNING" in before
        client(containerd, registry(peers), apply="restart")
        assert containerd.output("ctr tasks list | awk '/sleeper/ {print $2, $3}'") == before
    finally:
        containerd.run(
            "ctr tasks kill --signal KILL sleeper; sleep 1; ctr tasks delete sleeper; ctr containers delete sleeper"
        )


def test_the_way_of_containerd(containerd: Machine, peers: Peers, image: str) -> None:
    """registry_onboard writes it, and has containerd pull what the registry holds."""
    check = {"username": "ci", "password": peers.users["ci"], "access": "pull", "image": image}
    options = {
        "registries": [registry(peers)],
        "logins": [{"username": "ci", "password": peers.users["ci"]}],
        "check": {**check, "access": "push", "image": f"{image.partition(':')[0]}:pushed-{int(time.time())}"},
        "apply": "restart",
    }
    done = containerd.host.run_module("registry_onboard", options, secrets=(peers.users["ci"],))
    assert done["check"]["verified"] and done["check"]["engine"] == "containerd", done["check"]
    assert containerd.output("ctr --namespace wharf-registry images list --quiet") == ""

"""_running_images on hosts with real engines: what runs is told by its digest, however it was started."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import cri
import pytest
from engine_trust import client

if TYPE_CHECKING:
    from collections.abc import Iterator

    from content import Content
    from hosts import Machine
    from peers import Peers

CONFIG = "/etc/containerd/config.toml"
SLEEP = "/bin/sleep infinity"
PULL = "ctr --namespace k8s.io images pull --hosts-dir /etc/containerd/certs.d"


def seen(machine: Machine, **options: object) -> dict:
    """What the module tells, by the names of containers."""
    told = machine.host.run_module("_running_images", options)
    assert not told["changed"] and told["platform"] == "linux/x86_64"
    # Each engine says since when a container is there.
    assert all(re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", one["since"]) for one in told["containers"]), told
    return {one["container"]: one for one in told["containers"]} | {"unknown": told["unknown"]}


def trusting(machine: Machine, peers: Peers) -> None:
    password = peers.users["ci"]
    registry = {"host": peers.outside, "ca": peers.ca.read_text(), "username": "ci", "password": password}
    client(machine, registry, apply="restart" if machine.name.endswith("containerd") else "reload", secrets=(password,))


@pytest.fixture
def repository(machines: dict[str, Machine], peers: Peers, content: Content, room: str) -> str:
    """Images that sleep, pushed by an engine: 1, 2 of the same layer, 3 of another, and that of pods."""
    machine = machines["trixie-docker"]
    machine.clean()
    trusting(machine, peers)
    machine.run(f"docker login --username ci --password-stdin {peers.outside}", stdin=peers.users["ci"])
    name = f"{peers.outside}/{room}/web"
    machine.run(
        f"""
        docker tag sleeper {name}:1 && docker push --quiet {name}:1
        echo "FROM sleeper
        LABEL second=yes" | docker build --quiet --tag {name}:2 - && docker push --quiet {name}:2
        docker create --name other sleeper /bin/sleep && docker cp /etc/hostname other:/other
        docker commit other {name}:3 && docker push --quiet {name}:3 && docker rm other
        echo 'FROM sleeper
        ENTRYPOINT ["/bin/sleep", "infinity"]' | docker build --quiet --tag {name}:pause -
        docker push --quiet {name}:pause
        docker image rm {name}:1 {name}:2 {name}:3 {name}:pause
        """
    )
    assert content.digest(f"{room}/web", "1") != content.digest(f"{room}/web", "2")
    return f"{room}/web"


@pytest.fixture
def docker_host(docker: Machine, repository: str, peers: Peers) -> Iterator[Machine]:
    trusting(docker, peers)
    docker.run(f"docker login --username ci --password-stdin {peers.outside}", stdin=peers.users["ci"])
    yield docker
    docker.run("docker rm --force $(docker ps --quiet --filter name=wharf-) 2>/dev/null", check=False)
    docker.run(f"docker logout {peers.outside}")


def test_docker(docker_host: Machine, repository: str, peers: Peers, content: Content) -> None:
    name = f"{peers.outside}/{repository}"
    first, second = (content.digest(repository, tag) for tag in ("1", "2"))
    run = f"docker run --detach --stop-timeout 1 --name wharf-{{}} {{}} {SLEEP}"
    docker_host.run(run.format("tag", f"{name}:1"))
    docker_host.run(run.format("digest", f"{name}@{second}"))
    docker_host.run('printf "FROM sleeper\nLABEL local=yes\n" | docker build --quiet --tag built-here:1 -')
    docker_host.run(run.format("local", "built-here:1"))
    # The tag goes to another image on this host: the container runs on, and the list shows the identifier of its image.
    docker_host.run(f"docker tag {name}@{second} {name}:1")
    docker_host.run(f"docker create --name wharf-ended {name}:1 {SLEEP}")
    found = seen(docker_host)
    assert found["wharf-tag"]["image"] == f"{name}:1" and found["wharf-tag"]["digests"] == [f"{name}@{first}"]
    assert found["wharf-digest"]["digests"] == [f"{name}@{second}"]
    assert found["wharf-local"] == {
        "engine": "docker",
        "container": "wharf-local",
        "image": "built-here:1",
        "digests": [],
        "since": docker_host.run("docker inspect --format '{{ .Created }}' wharf-local").stdout[:19] + "Z",
    }
    assert "wharf-ended" not in found and not found["unknown"]


def test_an_engine_that_does_not_answer(trixie: Machine) -> None:
    trixie.run("systemctl stop docker.socket docker")
    try:
        (silent,) = seen(trixie)["unknown"]
    finally:
        trixie.run("systemctl start docker.socket docker")
    assert silent["engine"] == "docker" and silent["said"]


def test_podman(podman: Machine, repository: str, peers: Peers, content: Content) -> None:
    trusting(podman, peers)
    podman.run(f"podman login --username ci --password-stdin {peers.outside}", stdin=peers.users["ci"])
    name, first = f"{peers.outside}/{repository}", content.digest(repository, "1")
    run = f"podman run --detach --network none --cgroups disabled --stop-timeout 1 --name wharf-{{}} {{}} {SLEEP}"
    try:
        podman.run(run.format("tag", f"{name}:1"))
        podman.run(f"podman pull --quiet {name}:2 && podman tag {name}:2 {name}:1")
        podman.run(f"podman tag {name}:2 localhost/mine:1 && {run.format('other-name', 'localhost/mine:1')}")
        podman.run('printf "FROM localhost/mine:1\nLABEL local=yes\n" | podman build --quiet --tag built-here:1 -')
        podman.run(run.format("local", "built-here:1"))
        found = seen(podman)
        assert found["wharf-tag"]["image"] == f"{name}:1" and f"{name}@{first}" in found["wharf-tag"]["digests"]
        assert f"{name}@{content.digest(repository, '2')}" in found["wharf-other-name"]["digests"]
        assert found["wharf-local"]["digests"] == []
    finally:
        podman.run("podman rm --force --all --time 1; podman image rm --all --force", check=False)


def test_containerd(containerd: Machine, repository: str, peers: Peers, content: Content) -> None:
    """What was started by ctr runs on with its image when the name leads to another one."""
    trusting(containerd, peers)
    name = f"{peers.outside}/{repository}"
    first, third = (content.digest(repository, tag) for tag in ("1", "3"))
    run = "ctr --namespace k8s.io run --detach --runc-systemd-cgroup=false"
    try:
        containerd.run(f"{PULL} {name}:1 >/dev/null; {run} {name}:1 wharf-1 {SLEEP}")
        assert seen(containerd)["k8s.io/wharf-1"]["digests"] == [f"{name}@{first}"]
        containerd.run(f"{PULL} {name}:3 >/dev/null; ctr --namespace k8s.io images tag --force {name}:3 {name}:1")
        containerd.run(f"{run} {name}:1 wharf-2 {SLEEP}")
        found = seen(containerd)
        assert found["k8s.io/wharf-2"]["digests"] == [f"{name}@{third}"]
        # No name leads to the image of the first one any more.
        assert f"{name}@{third}" not in found["k8s.io/wharf-1"]["digests"]
        assert not found["unknown"]
    finally:
        containerd.run(
            """
            for one in wharf-1 wharf-2; do
                ctr --namespace k8s.io tasks kill --signal KILL $one
                sleep 0.5
                ctr --namespace k8s.io tasks delete $one
                ctr --namespace k8s.io containers delete $one
            done
            """,
            check=False,
        )


def test_containerd_that_does_not_run(node: Machine) -> None:
    """Its containers would."""
    node.run("systemctl stop containerd")
    try:
        assert seen(node)["unknown"] == [{"engine": "containerd", "said": "containerd does not run. Start it"}]
    finally:
        node.run("systemctl start containerd")


def test_pods(containerd: Machine, repository: str, peers: Peers, content: Content) -> None:
    """As a kubelet runs them: the tag moves, is pulled again, and the first pod runs on with its image."""
    trusting(containerd, peers)
    name, first = f"{peers.outside}/{repository}", content.digest(repository, "1")
    second = content.digest(repository, "2")
    # The container that holds the namespaces of a pod sleeps as well.
    cri.pull(containerd, f"{name}:pause")
    pause = f"s|sandbox_image = .*|sandbox_image = '{name}:pause'|; s|sandbox = '.*|sandbox = '{name}:pause'|"
    # Hosts of the lab may not make themselves safer from the lack of memory.
    pause += "; s|restrict_oom_score_adj = false|restrict_oom_score_adj = true|"
    containerd.run(
        f"""
        containerd config dump | sed "{pause}" > /tmp/config.toml
        cp /tmp/config.toml {CONFIG} && systemctl restart containerd
        """
    )
    pods = []
    try:
        cri.pull(containerd, f"{name}:1")
        pods.append(cri.run(containerd, "web-0", f"{name}:1", "/bin/sleep", "infinity"))
        _status, headers, body = content.ask("GET", f"/v2/{repository}/manifests/{second}")
        moved = content.ask("PUT", f"/v2/{repository}/manifests/1", body, Content_Type=headers["Content-Type"])
        assert moved[0] == 201
        cri.pull(containerd, f"{name}:1")
        pods.append(cri.run(containerd, "web-1", f"{name}:1", "/bin/sleep", "infinity"))
        found = seen(containerd)
        assert set(found) == {"shop/web-0/web", "shop/web-1/web", "unknown"} and not found["unknown"]
        assert found["shop/web-0/web"]["digests"] == [f"{name}@{first}"]
        assert found["shop/web-1/web"]["digests"] == [f"{name}@{second}"]
    finally:
        for pod in pods:
            cri.end(containerd, pod)

"""registry_check: the hops to real registries, and this machine's engine and Podman, which keep what they had."""

from __future__ import annotations

import http.client
import json
import platform
from typing import TYPE_CHECKING

import pytest
from conftest import run_at_registry
from engine import command
from peers import docker_config, push_image
from steps import says

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import managed
    from peers import Peers

HOST = platform.node().partition(".")[0]
FIRST = ["name", "connection", "TLS", "registry", "credentials"]
OF_PULL = [*FIRST, "upload refused", "engine", "pull", "digest"]
OF_PUSH = [*FIRST, "engine", "push", "pull", "digest"]
KEYS = {"hops", "failed_hop", "cure", "digest", "reference", "verified", "engine", "ended", "changed"}


def looked_at(result: dict) -> dict:
    """The result, which has all keys however the run ended."""
    assert set(result) >= KEYS, result
    assert result["changed"] is False
    broken = [hop["name"] for hop in result["hops"] if not hop["ok"]]
    assert broken == ([result["failed_hop"]] if result["failed_hop"] else [])
    assert all(hop["said"] and hop["seconds"] < 30 for hop in result["hops"]), result
    if result.get("failed"):
        assert not result["verified"]
    return result


def walked(result: dict) -> list[str]:
    return [hop["name"] for hop in result["hops"]]


@pytest.fixture
def check(host: managed.Host, peers: Peers, config: Path) -> Callable[..., dict]:
    """Runs registry_check on this machine, at the Basic peer by default. The images of its engine stay as they were."""

    def run(peer: str = "basic", **options: object) -> dict:
        before = images(peers)
        address = peers[peer] if peer in peers.ports else peer
        password = (peers.tokens.users if peer == "bearer" else peers.users)["ci"]
        args = {"registry": address, "password": password, **options}
        if args["password"] is None:
            args["username"] = None
        result = looked_at(run_at_registry(host, peers, "registry_check", **args))
        assert images(peers) == before
        return result

    return run


def images(peers: Peers) -> list[str]:
    """What this machine's engine has of these peers: names, digests and identifiers.

    Others use the engine at the same time.
    """
    addresses = [f"127.0.0.1:{port}" for port in peers.ports.values()]
    lines = command("docker", "image", "ls", "--quiet", "--no-trunc").stdout.split()
    found = []
    for image in json.loads(command("docker", "image", "inspect", *lines).stdout or "[]") if lines else []:
        about = str((image["Config"] or {}).get("Labels"))
        names = [*image["RepoTags"], *image["RepoDigests"]]
        of_peers = [name for name in names if name.startswith(tuple(addresses))]
        if of_peers or any(address in about for address in addresses):
            found.append(f"{image['Id']} {sorted(names)}")
        assert not any(name.startswith("wharf.invalid") for name in names)
    return sorted(set(found))


@pytest.fixture
def image(peers: Peers, config: Path, tmp_path: Path, room: str) -> str:
    """An image that only the registry behind the Basic peers holds, by repository and tag."""
    docker_config(config, peers["basic"], "ci", peers.users["ci"])
    return push_image(peers["basic"], f"{room}/app", config.parent, tmp_path).partition("/")[2]


def digest_of(peers: Peers, image: str) -> str:
    """What the registry behind the Basic peers has under a tag."""
    repository, _colon, tag = image.rpartition(":")
    connection = http.client.HTTPConnection(peers["registry"], timeout=10)
    try:
        connection.request(
            "HEAD",
            f"/v2/{repository}/manifests/{tag}",
            headers={"Accept": "application/vnd.docker.distribution.manifest.v2+json"},
        )
        return connection.getresponse().headers["Docker-Content-Digest"]
    finally:
        connection.close()


def test_push(check: Callable[..., dict], peers: Peers) -> None:
    done = check(access="push")
    assert walked(done) == OF_PUSH
    assert done["reference"] == f"{peers['basic']}/wharf-verify:{HOST}"
    assert (done["engine"], done["verified"], done["failed_hop"], done["cure"]) == ("docker", True, "", "")
    assert done["digest"] == digest_of(peers, f"wharf-verify:{HOST}")
    # The same again sends no layer: the registry does not grow.
    before = len(peers.requests("basic"))
    assert check(access="push")["digest"] == done["digest"]
    asked = peers.requests("basic")[before:]
    assert {method for method, *_rest in asked} == {"GET", "HEAD", "PUT"}


def test_pull(check: Callable[..., dict], peers: Peers, image: str) -> None:
    done = check("read_only", access="pull", image=image)
    assert walked(done) == OF_PULL
    assert done["reference"] == f"{peers['read_only']}/{image}"
    assert (done["digest"], done["verified"]) == (digest_of(peers, image), True)
    pinned = image.rpartition(":")[0] + "@" + done["digest"]
    assert check("read_only", access="pull", image=pinned)["digest"] == done["digest"]
    assert check("read_only", access="pull", image=f"{peers['read_only']}/{image}@{done['digest']}")["verified"]


def test_one_connection_serves_all_that_the_module_asks(check: Callable[..., dict], peers: Peers, image: str) -> None:
    """And each hop asks no more than it needs."""
    before = len(peers.requests("read_only"))
    check("read_only", access="none")
    assert [(method, status) for method, _path, status, _user in peers.requests("read_only")[before:]] == [
        ("GET", 401),
        ("GET", 401),
        ("GET", 200),
    ]


def test_a_user_who_could_push_fails_the_check_of_one_who_may_only_pull(
    check: Callable[..., dict], peers: Peers, image: str
) -> None:
    before = len(peers.requests("basic"))
    result = check(access="pull", image=image, failed=True)
    assert result["failed_hop"] == "upload refused"
    says(result, peers["basic"], "upload refused", "'ci'", "pull only", "reverse_proxy_users")
    # The upload that was let in is not left behind.
    asked = [(method, status) for method, _path, status, _user in peers.requests("basic")[before:]]
    assert asked[-2:] == [("POST", 202), ("DELETE", 204)]

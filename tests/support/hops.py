"""The hops of registry_check, and what this machine's engine and the peers have of an image."""

from __future__ import annotations

import http.client
import json
import platform
from typing import TYPE_CHECKING

from engine import command

if TYPE_CHECKING:
    from peers import Peers

HOST = platform.node().partition(".")[0]
FIRST = ["name", "connection", "TLS", "registry", "credentials"]
OF_PULL = [*FIRST, "upload refused", "engine", "pull", "digest"]
OF_PUSH = [*FIRST, "engine", "push", "pull", "digest"]
OF_IMAGE = [*FIRST, "image", "engine", "pull", "digest"]
KEYS = {"hops", "failed_hop", "cure", "digest", "reference", "verified", "engine", "changed"}
KEYS |= {"mistake", "registry", "seen"}


def looked_at(result: dict) -> dict:
    """The result, which has all keys however the run ended."""
    assert set(result) >= KEYS, result
    assert result["changed"] is False
    broken = [hop["name"] for hop in result["hops"] if not hop["ok"]]
    assert broken == ([result["failed_hop"]] if result["failed_hop"] else [])
    assert all(hop["said"] and hop["seconds"] < 30 for hop in result["hops"]), result
    for hop in result["hops"]:
        expected = ("", "") if hop["ok"] else (result["cure"], result["mistake"])
        assert (hop["cure"], hop["mistake"]) == expected
    if result.get("failed"):
        assert not result["verified"]
    return result


def walked(result: dict) -> list[str]:
    return [hop["name"] for hop in result["hops"]]


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

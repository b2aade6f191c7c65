"""Fixtures of the scenario: the host, and both of its registries as clients meet them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import pathlib
import uuid

import pytest
from labtest import LabHost, PlaybookRun, Registry, run_playbook

HOSTNAME = "pair.lab.test"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
# All that tells one run of a container from another.
RUNS = "docker inspect --format '{{.Name}} {{.Id}} {{.State.StartedAt}}' $(docker ps --all --quiet)"


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@dataclasses.dataclass(frozen=True)
class Instance:
    """One of the registries: its inventory, what its names begin with, and the registry as clients meet it."""

    inventory: str
    prefix: str
    registry: Registry

    def play(self, playbook: str, *arguments: str, check: bool = True) -> PlaybookRun:
        return run_playbook(f"playbooks/{playbook}.yml", *arguments, inventory=self.inventory, check=check)

    @property
    def containers(self) -> dict[str, str]:
        """The containers of this registry, by name, each with what tells this run of it from others."""
        lines = (line.lstrip("/").split(" ", 1) for line in self.registry.host.output(RUNS).splitlines())
        names = (f"{self.prefix}-registry-", f"{self.prefix}-proxy")
        return {name: run for name, run in lines if name.startswith(names)}

    @property
    def files(self) -> dict[str, dict]:
        """All that the roles have left on the host, but for what changes while it serves."""
        names = [f"{self.prefix}-registry", f"{self.prefix}-registry-backup"]
        places = ["/etc/{}", "/usr/local/lib/{}", "/usr/local/sbin/{}"]
        units = [
            f"/etc/systemd/system/{self.prefix}-registry-{part}"
            for part in ("proxy.service", "maintenance.service", "maintenance.timer", "backup.service", "backup.timer")
        ]
        return self.registry.host.snapshot(*(place.format(name) for place in places for name in names), *units)

    def push(self, repository: str, tag: str) -> str:
        """Push a new image; return its digest."""
        layer, config = uuid.uuid4().bytes, json.dumps({"id": uuid.uuid4().hex}).encode()
        parts = []
        for content in (config, layer):
            opened = self.registry.request("POST", f"/v2/{repository}/blobs/uploads/", "ci")
            assert opened.status == 202, opened
            place = opened.headers["Location"]
            place += f"{'&' if '?' in place else '?'}digest={digest_of(content)}"
            headers = {"Content-Type": "application/octet-stream"}
            assert self.registry.request("PUT", place, "ci", headers=headers, body=content).status == 201
            parts.append({"digest": digest_of(content), "size": len(content)})
        manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": {"mediaType": "application/vnd.oci.image.config.v1+json", **parts[0]},
                "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", **parts[1]}],
            }
        ).encode()
        put = self.registry.request(
            "PUT", f"/v2/{repository}/manifests/{tag}", "ci", headers={"Content-Type": MANIFEST}, body=manifest
        )
        assert put.status == 201, put
        return digest_of(manifest)

    def digest(self, repository: str, tag: str) -> str | None:
        """What the tag points to, by the content that the registry sends, with all of its layers."""
        answer = self.registry.manifest(repository, tag, "runtime")
        if answer.status != 200:
            return None
        for part in [answer.json["config"], *answer.json["layers"]]:
            assert self.registry.blob_digest(repository, part["digest"], "runtime") == (part["digest"], part["size"])
        return digest_of(answer.body)


@pytest.fixture(scope="session")
def host() -> LabHost:
    return LabHost("pair")


def instance(host: LabHost, inventory: str, name: str, prefix: str, port: int) -> Instance:
    kept = pathlib.Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"])
    return Instance(inventory, prefix, Registry(host, HOSTNAME, kept / f"{name}.crt", kept / f"{name}.yml", port))


@pytest.fixture(scope="session")
def production(host: LabHost) -> Instance:
    return instance(host, "inventory", "production", "wharf", 443)


@pytest.fixture(scope="session")
def staging(host: LabHost) -> Instance:
    return instance(host, "staging", "staging", "wharf-staging", 5443)

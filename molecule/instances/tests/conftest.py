"""Fixtures of the scenario: the host, and both of its registries as clients meet them."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest
from http_client import digest_of
from labtest import LabHost, PlaybookRun, Registry, run_playbook

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Callable

HOSTNAME = "pair.lab.test"
# All that tells one run of a container from another.
RUNS = "docker inspect --format '{{.Name}} {{.Id}} {{.State.StartedAt}}' $(docker ps --all --quiet)"


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
        with self.registry.content("ci") as content:
            return content.image(repository, tag)["digest"]

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


@pytest.fixture(scope="session")
def instance(host: LabHost, ephemeral: pathlib.Path) -> Callable[..., Instance]:
    def made(name: str, inventory: str, prefix: str, port: int) -> Instance:
        ca, credentials = ephemeral / f"{name}.crt", ephemeral / f"{name}.yml"
        return Instance(inventory, prefix, Registry(host, HOSTNAME, ca, credentials, port))

    return made


@pytest.fixture(scope="session")
def production(instance: Callable[..., Instance]) -> Instance:
    return instance("production", "inventory", "wharf", 443)


@pytest.fixture(scope="session")
def staging(instance: Callable[..., Instance]) -> Instance:
    return instance("staging", "staging", "wharf-staging", 5443)

"""Fixtures of the scenario: one host that is registry, builder and runtime."""

from __future__ import annotations

import pathlib
from typing import TYPE_CHECKING

import pytest
import testinfra
from labtest import DockerClient, LabHost, Registry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testinfra.host import Host


@pytest.fixture(scope="session")
def lab() -> LabHost:
    """The host, driven from outside."""
    return LabHost("trixie")


@pytest.fixture(scope="session")
def host(lab: LabHost) -> Host:
    """The host, as testinfra sees it."""
    return testinfra.get_host(lab.backend)


@pytest.fixture(scope="session")
def registry(lab: LabHost, ephemeral: pathlib.Path) -> Registry:
    return Registry(lab, "registry.lab.test", ephemeral / "ca.crt", ephemeral / "credentials.yml")


@pytest.fixture(scope="session")
def guest(ephemeral: pathlib.Path) -> dict[str, str]:
    """A user that the registry knows and that may do nothing."""
    return {"user": "guest", "password": (ephemeral / "guest").read_text().strip()}


@pytest.fixture(scope="session")
def clients(lab: LabHost, registry: Registry) -> Iterator[dict[str, DockerClient]]:
    """A logged-in Docker client for each user."""
    made = {user: DockerClient(lab, registry, user) for user in ("admin", "ci", "runtime")}
    for client in made.values():
        client.login()
    yield made
    for client in made.values():
        client.logout()


@pytest.fixture(scope="session")
def replicas() -> list[str]:
    return ["wharf-registry-1", "wharf-registry-2"]

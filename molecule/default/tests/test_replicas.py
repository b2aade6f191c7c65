"""One replica may go, and no client notices."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from labtest import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from labtest import DockerClient, LabHost, Registry


@pytest.fixture(params=["wharf-registry-1", "wharf-registry-2"])
def stopped(request: pytest.FixtureRequest, lab: LabHost) -> Iterator[str]:
    """Each replica in turn, stopped."""
    lab.run(f"docker stop {request.param}")
    yield request.param
    lab.run(f"docker start {request.param}")
    wait_for(f"{request.param} is healthy again", lambda: lab.healthy(request.param))


def test_pushes_and_pulls_go_on(
    stopped: str, lab: LabHost, registry: Registry, clients: dict[str, DockerClient]
) -> None:
    assert not lab.inspect(stopped)["State"]["Running"]
    reference = clients["ci"].make_image("replicas/probe")
    layers = clients["ci"].layers(reference)
    clients["ci"].push(reference)
    assert clients["runtime"].pull_anew(reference) == layers

    began = time.monotonic()
    assert {registry.request("GET", "/v2/", "runtime").status for _each in range(20)} == {200}
    assert time.monotonic() - began < 5, "requests wait for the replica that is gone"


def test_both_down_is_said_and_heals(
    lab: LabHost, registry: Registry, clients: dict[str, DockerClient], replicas: list[str]
) -> None:
    reference = clients["ci"].make_image("replicas/probe")
    layers = clients["ci"].layers(reference)
    clients["ci"].push(reference)
    lab.run("docker stop " + " ".join(replicas))
    try:
        assert registry.request("GET", "/v2/", "runtime").status in {502, 503, 504}
        # Not even then does anyone get by without a password.
        assert registry.request("GET", "/v2/").status == 401
    finally:
        lab.run("docker start " + " ".join(replicas))
    for replica in replicas:
        wait_for(f"{replica} is healthy again", lambda replica=replica: lab.healthy(replica))
    wait_for("the proxy tries the replicas again", lambda: registry.request("GET", "/v2/", "runtime").status == 200, 30)
    assert clients["runtime"].pull_anew(reference) == layers


def test_a_killed_replica_comes_back(lab: LabHost, registry: Registry, replicas: list[str]) -> None:
    """The process dies, and the restart policy revives it without anyone's help."""
    before = lab.inspect(replicas[0])["State"]["StartedAt"]
    lab.run(f"kill -KILL {lab.inspect(replicas[0])['State']['Pid']}")
    assert registry.request("GET", "/v2/", "runtime").status == 200
    wait_for(
        f"{replicas[0]} is back",
        lambda: lab.inspect(replicas[0])["State"]["StartedAt"] != before and lab.healthy(replicas[0]),
    )

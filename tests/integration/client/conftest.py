"""What tests of clients begin with: hosts of the lab, all that can be said of a registry, and checks of one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import hosts
import pytest
from certificates import Authority
from engine_trust import INSECURE
from hops import images, looked_at
from marks import repeated
from peers import docker_config, push_image
from runs import run_at_registry

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import managed
    from hosts import Machine
    from peers import Peers


FIRST_NODE = hosts.CONTAINERD_IMAGES[0]


@pytest.fixture(params=[*repeated("bookworm-docker"), "trixie-docker"])
def docker(request: pytest.FixtureRequest, machines: dict[str, Machine]) -> Machine:
    """A host whose engine has no setting, and whose container and engine run on whatever is done to it."""
    machine = machines[request.param]
    machine.clean()
    return machine


@pytest.fixture
def bookworm(machines: dict[str, Machine]) -> Machine:
    """For what any engine does in the same way, one of the two."""
    machines["bookworm-docker"].clean()
    return machines["bookworm-docker"]


@pytest.fixture
def trixie(machines: dict[str, Machine]) -> Machine:
    machines["trixie-docker"].clean()
    return machines["trixie-docker"]


@pytest.fixture
def podman(machines: dict[str, Machine]) -> Machine:
    machines["trixie-podman"].clean()
    return machines["trixie-podman"]


@pytest.fixture(scope="session")
def nodes(images: dict[str, str], request: pytest.FixtureRequest) -> dict[str, Machine]:
    """The hosts with containerd alone that the tests ask for, which are few."""
    wanted = {item.callspec.params.get("containerd") for item in request.session.items if hasattr(item, "callspec")}
    # The first one is that of `node`.
    booted = hosts.start(images, [name for name in hosts.CONTAINERD_IMAGES if name in wanted | {FIRST_NODE}])
    hosts.wait(booted)
    return booted


# The other one is among the clients of the scenario `fleet`.
@pytest.fixture(params=[FIRST_NODE, *repeated(*hosts.CONTAINERD_IMAGES[1:])])
def containerd(request: pytest.FixtureRequest, nodes: dict[str, Machine]) -> Machine:
    machine = nodes[request.param]
    machine.clean_containerd()
    return machine


@pytest.fixture
def node(nodes: dict[str, Machine]) -> Machine:
    """For what is the same with any containerd, one of them."""
    machine = nodes[FIRST_NODE]
    machine.clean_containerd()
    return machine


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"), "a-ca")


@pytest.fixture
def full(authority: Authority) -> dict:
    """All that can be said of a registry."""
    pair = authority.issue("client", ("client.test",))
    return {
        **INSECURE,
        "ca": authority.certificate.read_text(),
        "client_cert": pair.certificate.read_text(),
        "client_key": pair.key.read_text(),
    }


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


@pytest.fixture
def image(peers: Peers, config: Path, tmp_path: Path, room: str) -> str:
    """An image that only the registry behind the Basic peers holds, by repository and tag."""
    docker_config(config, peers["basic"], "ci", peers.users["ci"])
    return push_image(peers["basic"], f"{room}/app", config.parent, tmp_path).partition("/")[2]

"""Connections are counted by address before TLS: one client takes what it may, and none from others."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING

import pytest
from labtest import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from labtest import LabHost, Registry

# The default of reverse_proxy_connections_per_address.
LIMIT = 512
FIND = "docker inspect --format '{{.NetworkSettings.SandboxKey}}' wharf-proxy-network"


def connect(lab: LabHost) -> socket.socket:
    return socket.create_connection((lab.address, 443), timeout=10)


def filtered(lab: LabHost, tool: str = "iptables") -> str:
    """The rules in the network of the proxy."""
    return lab.output(f"nsenter --net=$({FIND}) {tool} --list-rules INPUT")


@pytest.fixture
def held(lab: LabHost) -> Iterator[list[socket.socket]]:
    """All connections that the address of these tests may have, and that say nothing."""
    with contextlib.ExitStack() as stack:
        address = (lab.address, 443)
        # Those of tests before this one are closed, and not all of them forgotten.
        held = []
        with contextlib.suppress(ConnectionRefusedError):
            for _number in range(LIMIT + 1):
                held.append(stack.enter_context(socket.create_connection(address, timeout=10)))  # noqa: PERF401
        yield held


def test_an_address_gets_no_more_than_its_share(lab: LabHost, held: list[socket.socket]) -> None:
    assert LIMIT - 20 <= len(held) <= LIMIT
    with pytest.raises(ConnectionRefusedError):
        connect(lab)
    # The host itself is another client.
    lab.run("python3 -c 'import socket; socket.create_connection((\"127.0.0.1\", 443), timeout=5)'")


def test_what_is_closed_can_be_had_again(lab: LabHost, registry: Registry, held: list[socket.socket]) -> None:
    for connection in held:
        connection.close()

    def served() -> bool:
        with contextlib.suppress(ConnectionRefusedError):
            return registry.request("GET", "/v2/", "runtime").status == 200
        return False

    wait_for("a connection of an address that has closed its own", served, 10)


@pytest.mark.parametrize(("tool", "prefix"), [("iptables", 32), ("ip6tables", 64)])
def test_by_which_prefix(lab: LabHost, tool: str, prefix: int) -> None:
    assert f"--connlimit-above {LIMIT} --connlimit-mask {prefix} --connlimit-saddr" in filtered(lab, tool)

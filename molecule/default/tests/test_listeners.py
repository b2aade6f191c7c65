"""Nothing but HTTPS is reachable."""

from __future__ import annotations

import ipaddress
import re
import socket
from typing import TYPE_CHECKING, NamedTuple

import pytest

if TYPE_CHECKING:
    from labtest import LabHost, Registry


class Listener(NamedTuple):
    address: str
    port: int
    processes: frozenset[str]

    @property
    def loopback(self) -> bool:
        return self.address != "*" and ipaddress.ip_address(self.address).is_loopback


def listeners(lab: LabHost, kind: str) -> list[Listener]:
    found = []
    for line in lab.output(f"ss --no-header --listening --numeric --processes --{kind}").splitlines():
        local = line.split()[3]
        address, _separator, port = local.rpartition(":")
        address = address.strip("[]").partition("%")[0]
        found.append(Listener(address, int(port), frozenset(re.findall(r'"([^"]+)",pid=', line))))
    return found


def test_only_https_listens_to_the_network(lab: LabHost) -> None:
    open_to_all = [listener for listener in listeners(lab, "tcp") if not listener.loopback]
    assert {listener.port for listener in open_to_all} == {443}
    assert all(listener.processes == {"docker-proxy"} for listener in open_to_all)


def test_no_udp_listener(lab: LabHost) -> None:
    assert [listener for listener in listeners(lab, "udp") if not listener.loopback] == []


def test_loopback_has_only_what_the_engine_and_the_lab_brought(lab: LabHost) -> None:
    # 127.0.0.11 is the DNS that the outer engine gives to its containers; it belongs to no process of the host.
    others = [listener for listener in listeners(lab, "tcp") if listener.loopback and listener.address != "127.0.0.11"]
    # containerd streams there; dockerd itself listens on its Unix socket alone.
    assert all(listener.processes == {"containerd"} for listener in others), others


def test_https_answers(registry: Registry) -> None:
    with registry.connect() as connection:
        assert connection.getpeername()[1] == 443


@pytest.mark.parametrize("port", [80, 2375, 2376, 5000, 5001, 8080, 8443])
def test_other_ports_are_refused(lab: LabHost, port: int) -> None:
    """From another machine: ports that an engine publishes bypass the host's own packet filter."""
    with pytest.raises(ConnectionRefusedError), socket.create_connection((lab.address, port), timeout=5):
        pass

"""Fixtures of the scenario: hosts and parts that die, clients that work meanwhile, and how long nobody was answered."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import pathlib
import socket
import threading
import time
from typing import TYPE_CHECKING, Self

import pytest
from http_client import ACCEPT
from labtest import NETWORK, LabHost, Registry, control, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HOSTNAME = "registry.cluster.test"
FILES = pathlib.Path(__file__).parents[1] / "files"
REPLICAS = "$(docker ps --all --quiet --filter name=registry)"
# What is promised, in seconds.
FAILOVER = 5


@dataclasses.dataclass(frozen=True)
class At(Registry):
    """The registry at one of its addresses."""

    ip: str = ""

    def open(self, context: object = None) -> object:
        plain = socket.create_connection((self.ip, self.port), timeout=60)
        try:
            return (context or self.tls_context()).wrap_socket(plain, server_hostname=self.hostname)
        except BaseException:
            plain.close()
            raise


@dataclasses.dataclass(frozen=True)
class Client(LabHost):
    """A host that pushes and pulls without an end, by its own engine."""

    engine: str = ""

    @property
    def repository(self) -> str:
        return f"{HOSTNAME}/load/{self.engine}"

    def begin(self) -> None:
        self.run(
            "cat > /run/work.sh; rm -f /run/work /run/work-tags /run/work-again", stdin=(FILES / "work").read_text()
        )
        self.run(
            "systemd-run --quiet --collect --unit=work --setenv=HOME=/root "
            f"sh /run/work.sh {self.engine} {self.repository}"
        )

    def end(self) -> None:
        self.run("systemctl stop work", check=False)

    def lines(self) -> list[str]:
        return self.output("cat /run/work 2>/dev/null || true").splitlines()

    def again(self) -> list[str]:
        """Why a pipeline had to try again what its client gave up."""
        return self.output("cat /run/work-again 2>/dev/null || true").splitlines()

    def acknowledged(self) -> list[str]:
        return self.output("cat /run/work-tags 2>/dev/null || true").split()


class Work:
    """Both clients at work. Nothing that they do fails three times in a row."""

    def __init__(self, clients: list[Client], registry: At) -> None:
        self.clients, self.registry = clients, registry

    def begin(self) -> None:
        for client in self.clients:
            client.begin()
        self.go_on()

    def end(self) -> None:
        for client in self.clients:
            client.end()

    def counts(self) -> dict[str, int]:
        """How many have gone well."""
        lines = {client.name: client.lines() for client in self.clients}
        failed = [f"{name}: {line}" for name, of_one in lines.items() for line in of_one if "FAILED" in line]
        assert not failed, "\n".join(failed)
        return {name: len(of_one) for name, of_one in lines.items()}

    def longest(self) -> float:
        return max(float(line.split()[0]) for client in self.clients for line in client.lines())

    def go_on(self, more: int = 4) -> None:
        """Some more have begun and ended well from now on."""
        before = self.counts()

        def all_more() -> bool:
            now = self.counts()
            return all(now[name] >= count + more for name, count in before.items())

        wait_for("all clients go on", all_more, seconds=180, pause=2, longest=2)

    def lost(self) -> list[str]:
        """Tags that were acknowledged, and that the registry does not have."""
        found = []
        with self.registry.content("runtime") as content:
            for client in self.clients:
                for tag in client.acknowledged():
                    path = f"/v2/load/{client.engine}/manifests/{tag}"
                    if content.ask("HEAD", path, Accept=ACCEPT).status != 200:
                        found.append(f"load/{client.engine}:{tag}")
        return found


class Poll:
    """A client that asks each virtual address every 0.1 s whether the registry answers, without trying again."""

    def __init__(self, registries: list[At]) -> None:
        self.answers: dict[str, list[float]] = {registry.ip: [] for registry in registries}
        self._ends = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(registry,), daemon=True) for registry in registries]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        wait_for("each address answers", lambda: all(self.answers.values()))
        return self

    def __exit__(self, *_error: object) -> None:
        self._ends.set()
        for thread in self._threads:
            thread.join()

    def _run(self, registry: At) -> None:
        context = registry.tls_context()
        while not self._ends.wait(0.1):
            with contextlib.suppress(OSError):
                # The time of what was asked, and not of the answer: that of a slow machine is an answer.
                began = time.monotonic()
                with socket.create_connection((registry.ip, 443), 0.5) as plain:
                    # What was under way when a cable is pulled gets no answer at all.
                    plain.settimeout(3)
                    with context.wrap_socket(plain, server_hostname=HOSTNAME) as secured:
                        secured.sendall(
                            f"GET /healthz HTTP/1.1\r\nHost: {HOSTNAME}\r\nConnection: close\r\n\r\n".encode()
                        )
                        if b" 200 " in secured.recv(4096)[:20]:
                            self.answers[registry.ip].append(began)

    def gap(self) -> float:
        """The longest time without an answer, at any address."""
        return max(later - earlier for times in self.answers.values() for earlier, later in itertools.pairwise(times))


@dataclasses.dataclass(frozen=True)
class Lab:
    """All hosts, and what may happen to them."""

    registry_hosts: list[LabHost]
    stores: list[LabHost]
    registries: list[At]
    addresses: dict[str, str]

    def cable(self, host: LabHost, state: str) -> None:
        """Pull the cable of a host, or plug it in: this machine's end of it goes down or up."""
        # No connection over the network: the host may have none.
        number = control("docker", "exec", host.container, "cat", "/sys/class/net/eth0/iflink").stdout.strip()
        for link in pathlib.Path("/sys/class/net").iterdir():
            if (link / "ifindex").read_text().strip() == number:
                control("ip", "link", "set", "dev", link.name, state)
                return
        raise AssertionError(f"the cable of {host.name} is not there")

    def freeze(self, host: LabHost) -> None:
        """Give a host no time. The kernel does not always stop all of its processes at the first try."""
        wait_for(
            f"{host.name} is frozen", lambda: control("docker", "pause", host.container, check=False).returncode == 0
        )

    def boot(self, host: LabHost) -> None:
        """Start a host that was without power, with the address that it had."""
        former = self.addresses[host.name]
        control("docker", "network", "disconnect", NETWORK, host.container)
        control("docker", "network", "connect", f"--ip={former}", f"--alias={host.name}", NETWORK, host.container)
        control("docker", "start", host.container)
        wait_for(
            f"{host.name} is up",
            lambda: (
                host.run("systemctl is-system-running --wait", check=False).stdout.strip() in ("running", "degraded")
            ),
        )

    def holders(self) -> dict[str, list[str]]:
        """Which of the registry hosts has each virtual address."""
        found: dict[str, list[str]] = {registry.ip: [] for registry in self.registries}
        for host in self.registry_hosts:
            for link in json.loads(host.run("ip -json -4 address show", check=False).stdout or "[]"):
                for one in link.get("addr_info", []):
                    if one.get("local") in found:
                        found[one["local"]].append(host.name)
        return found

    def settle(self) -> None:
        """Each host has the address that it prefers, and each registry answers."""
        wanted = {registry.ip: [host.name] for registry, host in zip(self.registries, self.registry_hosts, strict=True)}
        wait_for("each host has its own address", lambda: self.holders() == wanted, seconds=180)
        for host in self.registry_hosts:
            wait_for(f"the replicas of {host.name} are healthy", lambda host=host: self.healthy(host), seconds=120)

    def healthy(self, host: LabHost) -> bool:
        said = host.run("docker ps --format '{{.Names}} {{.Status}}'", check=False).stdout
        # The proxy, its check of passwords, and two replicas.
        return said.count("(healthy)") == 4


@dataclasses.dataclass(frozen=True)
class Death:
    """How a part goes, and how it comes back."""

    name: str
    goes: Callable[[], object]
    returns: Callable[[], object]

    def __str__(self) -> str:
        return self.name


def deaths_of_registries(lab: Lab) -> list[Death]:
    """Each of these concerns one registry host: the others serve."""
    found = []
    for host in lab.registry_hosts:
        found += [
            Death(
                f"the proxy of {host.name}",
                lambda host=host: host.run("docker kill wharf-proxy"),
                lambda host=host: host.run("docker start wharf-proxy"),
            ),
            Death(
                f"the replicas of {host.name}",
                lambda host=host: host.run(f"docker kill {REPLICAS}"),
                lambda host=host: host.run(f"docker start {REPLICAS}"),
            ),
            Death(
                f"the power of {host.name}",
                lambda host=host: control("docker", "kill", host.container),
                lambda host=host: lab.boot(host),
            ),
            Death(
                f"the time of {host.name}",
                lambda host=host: lab.freeze(host),
                lambda host=host: control("docker", "unpause", host.container),
            ),
            cut(lab, host),
        ]
    return found


def cut(lab: Lab, host: LabHost) -> Death:
    return Death(
        f"the cable of {host.name}",
        lambda: lab.cable(host, "down"),
        lambda: lab.cable(host, "up"),
    )


def _unit(host: LabHost, unit: str) -> Death:
    return Death(
        f"{unit} of {host.name}",
        # Some of the units come back by themselves, which a stop prevents.
        lambda: host.run(f"systemctl kill --signal=KILL {unit}; systemctl stop {unit}"),
        lambda: host.run(f"systemctl start {unit}"),
    )


def deaths_of_storage(lab: Lab) -> list[Death]:
    """Each of these concerns the storage of all registry hosts."""
    found = []
    for host in lab.stores:
        units = ["weed-s3", "weed-filer", "weed-volume", "weed-master", "haproxy"]
        # All filers have one store.
        found += [_unit(host, unit) for unit in (*units, *(["valkey-server"] if host == lab.stores[0] else []))]
        found.append(cut(lab, host))
    return found


@pytest.fixture(scope="session")
def lab(ephemeral: pathlib.Path) -> Lab:
    hosts = [LabHost(f"cluster-{number}") for number in (1, 2, 3)]
    addresses = json.loads((ephemeral / "addresses.json").read_text())["registry"]
    registries = [
        At(host, HOSTNAME, ephemeral / "ca.crt", ephemeral / "credentials.yml", ip=ip)
        for host, ip in zip(hosts, addresses, strict=True)
    ]
    stores = [LabHost(f"cluster-store-{number}") for number in (1, 2, 3)]
    return Lab(hosts, stores, registries, {host.name: host.address for host in (*hosts, *stores)})


@pytest.fixture(scope="session")
def work(lab: Lab) -> Iterator[Work]:
    clients = [Client(f"cluster-{engine}", engine) for engine in ("docker", "podman")]
    work = Work(clients, lab.registries[0])
    work.begin()
    yield work
    work.end()
    counts = work.counts()
    again = [line for client in work.clients for line in client.again()]
    print(
        f"under load: {counts}; the longest took {work.longest()} s; tried again by the pipeline: {len(again)}",
        *again,
        sep="\n",
    )
    assert work.lost() == []

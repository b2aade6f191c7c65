"""examples/haproxy, by HAProxy of Debian 12 and 13 before the proxy: real clients, and who the registry sees."""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import json
import re
import secrets
import socket
from typing import TYPE_CHECKING

import pytest
from engine import command, wait_for
from front import INSIDE, Front, running
from http_client import Client
from paths import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hosts import Machine
    from http_client import Answer

# They install packages.
pytestmark = pytest.mark.long

EXAMPLE = (ROOT / "examples" / "haproxy" / "haproxy.cfg").read_text()
# As it is there.
NAME = "registry.example.com"
CERTIFICATE, CA = "/etc/haproxy/registry.pem", "/etc/haproxy/registry-ca.crt"
GUESSES = 3
LOGINS = {"DOCKER_CONFIG": "/run/logins"}
# The balancer and the host of the client that comes by it.
PAIRS = [("bookworm-docker", "trixie-docker"), ("trixie-docker", "bookworm-docker")]
INSTALL = "apt-get -qq update > /dev/null; apt-get -qq install --no-install-recommends haproxy > /dev/null"
# A layer that is more than one buffer.
IMAGE = (
    "head -c 5000000 /dev/urandom > /run/layer; tar -C /run -c layer | docker import - {0} > /dev/null; rm /run/layer"
)


def variants() -> dict[str, str]:
    """The configuration as it is in the file, and with what is commented out in place of the like parts."""
    said = EXAMPLE.index("\n# Instead")
    start = EXAMPLE.index("frontend registry")
    instead = EXAMPLE[EXAMPLE.index("# frontend registry", said) :]
    return {
        "ended": EXAMPLE[:said],
        "passed": EXAMPLE[:start] + re.sub(r"^# ?", "", instead, flags=re.MULTILINE),
    }


class Named(Front):
    """A front with the certificate of the name."""

    def __init__(self, directory: Path, images: dict[str, str]) -> None:
        super().__init__(directory, images)
        pair = self.authority.issue("named", (NAME,))
        self.pem = pair.certificate.read_text() + pair.key.read_text()
        tls = directory / "config" / "nginx" / "tls"
        (tls / "server.crt").write_bytes(pair.certificate.read_bytes())
        (tls / "server.key").write_bytes(pair.key.read_bytes())


class Connection(http.client.HTTPSConnection):
    """To the name, at an address."""

    def __init__(self, address: str, front: Front) -> None:
        super().__init__(NAME, timeout=30, context=front.context)
        self.address, self.trusting = address, front.context

    def connect(self) -> None:
        plain = socket.create_connection((self.address, 443), self.timeout)
        self.sock = self.trusting.wrap_socket(plain, server_hostname=NAME)


@dataclasses.dataclass
class Balanced:
    """A front, a balancer before it, and a client on another host."""

    front: Named
    balancer: Machine
    client: Machine
    # Lines of the log that were there before.
    logged: int = 0

    def run(self, variant: str, **options: object) -> None:
        """Have the balancer run a variant, and the registry the options that go with it."""
        near = {"allowed_networks": [f"{address_of(self.client)}/32"]}
        users = [
            {"name": "ci", "access": "push"},
            {"name": "near", "access": "push", **near},
            {"name": "balancer", "access": "push", "allowed_networks": [f"{address_of(self.balancer)}/32"]},
        ]
        self.front.change(
            users,
            reverse_proxy_bcrypt_cost=5,
            reverse_proxy_guesses_per_minute=GUESSES,
            **options,
        )
        proxy = address_of(self.front.containers["proxy"])
        config = variants()[variant]
        # Two of the three hosts refuse connections, so that clients are also seen to be led on.
        for number, port in ((11, INSIDE["https"]), (12, 9), (13, 9)):
            config = config.replace(f"192.0.2.{number}:443", f"{proxy}:{port}")
        assert "192.0.2." not in config
        # Root of a host of the lab may not raise its limit of open files.
        config = config.replace("maxconn 20000", "maxconn 2000")
        self.balancer.write("/etc/haproxy/haproxy.cfg", config)
        self.balancer.write(CERTIFICATE, self.front.pem)
        self.balancer.write(CA, self.front.ca.read_text())
        said = self.balancer.run("haproxy -c -f /etc/haproxy/haproxy.cfg 2>&1", check=False)
        # Nothing to warn of, either.
        assert said.returncode == 0 and "WARNING" not in said.stdout, said.stdout
        self.balancer.run("systemctl reset-failed haproxy; systemctl restart haproxy")
        wait_for("the registry answers", self.answers)
        self.logged = len(self.log())

    def answers(self) -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.ask("GET", "/healthz").status == 200
        return False

    def ask(self, method: str, path: str, user: str = "", password: str | None = None, **headers: str) -> Answer:
        """As a client on this machine."""
        with contextlib.closing(Connection(address_of(self.balancer), self.front)) as connection:
            authorization = self.front.basic(user, password) if user else None
            return Client(connection, authorization).ask(method, path, **headers)

    def docker(self, user: str) -> tuple[bool, str]:
        """Push and pull by the engine of the client's host: whether it could, and what was said."""
        reference = f"{NAME}/apps/web:{secrets.token_hex(4)}"
        self.client.run(IMAGE.format(reference))
        layers = "docker image inspect --format '{{.RootFS.Layers}}' " + reference
        before = self.client.output(layers)
        steps = (
            f"docker login --username {user} --password-stdin {NAME}; docker push {reference}; "
            f"docker image rm {reference}; docker pull {reference}"
        )
        done = self.client.run(f"{{ {steps}; }} 2>&1", stdin=self.front.passwords[user], check=False, env=LOGINS)
        if done.returncode == 0:
            assert self.client.output(layers) == before
        self.client.run(
            f"rm -rf {LOGINS['DOCKER_CONFIG']}; docker image rm --force {reference} > /dev/null 2>&1 || true"
        )
        return done.returncode == 0, done.stdout

    def log(self) -> list[str]:
        """The requests that the registry has had."""
        return command("docker", "logs", self.front.containers["proxy"]).stdout.splitlines()

    def seen(self, user: str) -> set[str]:
        """By which addresses the registry has seen a user."""
        lines = [json.loads(line) for line in self.log()[self.logged :] if f'"user":"{user}"' in line]
        return {line["address"] for line in lines}


def address_of(machine: Machine | str) -> str:
    container = machine if isinstance(machine, str) else machine.container
    return command(
        "docker", "inspect", "--format={{.NetworkSettings.Networks.bridge.IPAddress}}", container
    ).stdout.strip()


@pytest.fixture(scope="module")
def front(images: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Named]:
    users = [{"name": "ci", "access": "push"}]
    directory = tmp_path_factory.mktemp("front")
    with running(directory, images, users, kind=Named, reverse_proxy_bcrypt_cost=5) as front:
        yield front


@pytest.fixture(scope="module", params=PAIRS, ids=lambda pair: pair[0])
def balanced(request: pytest.FixtureRequest, front: Named, machines: dict[str, Machine]) -> Iterator[Balanced]:
    balancer, client = (machines[name] for name in request.param)
    place = f"/etc/docker/certs.d/{NAME}"
    balancer.run(INSTALL)
    client.run("cp /etc/hosts /run/hosts.before")
    client.run(
        f"echo {address_of(balancer)} {NAME} >> /etc/hosts; mkdir -p {place}; cat > {place}/ca.crt",
        stdin=front.ca.read_text(),
    )
    yield Balanced(front, balancer, client)
    client.run(f"cat /run/hosts.before > /etc/hosts; rm -rf {place}")
    balancer.run("apt-get -qq purge haproxy > /dev/null; rm -rf /etc/haproxy")


def test_tls_ends_at_the_balancer(balanced: Balanced) -> None:
    """Each client is known by its own address, whatever it says of that."""
    client = address_of(balanced.client)
    balanced.run("ended", reverse_proxy_trusted_proxies=[f"{address_of(balanced.balancer)}/32"])
    done, said = balanced.docker("near")
    assert done, said
    assert balanced.seen("near") == {client}
    for forged in ({}, {"X_Forwarded_For": client}, {"X_Real_IP": client, "Forwarded": f"for={client}"}):
        assert balanced.ask("GET", "/v2/", "near", **forged).status == 403, forged
    # Those who guess can't be someone else each time, and hinder no one but themselves.
    statuses = [
        balanced.ask("GET", "/v2/", "ci", f"wrong-{number}", X_Forwarded_For=f"192.0.2.{number}").status
        for number in range(5 + GUESSES + 5)
    ]
    assert statuses[-1] == 429 and 401 in statuses, statuses
    done, said = balanced.docker("ci")
    assert done, said


def test_tls_passes_through(balanced: Balanced) -> None:
    """All clients have the balancer's address, and none is believed another one."""
    client, balancer = address_of(balanced.client), address_of(balanced.balancer)
    balanced.run("passed", reverse_proxy_connections_per_address=0)
    done, said = balanced.docker("balancer")
    assert done, said
    assert balanced.seen("balancer") == {balancer}
    for forged in ({}, {"X_Forwarded_For": client}):
        assert balanced.ask("GET", "/v2/", "near", **forged).status == 403, forged

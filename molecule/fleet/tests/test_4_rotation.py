"""A new CA takes over while all clients pull, and no pull fails."""

from __future__ import annotations

import dataclasses
import json
import ssl
from typing import TYPE_CHECKING

import pytest
from conftest import CLIENTS, FILES, HOSTNAME
from labtest import run_playbook, wait_for

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Iterator

    from conftest import Client
    from labtest import Registry


@dataclasses.dataclass
class Pulls:
    """What the clients pull meanwhile, each by its own engine, over and over."""

    image: str

    def begin(self) -> None:
        for client in CLIENTS:
            client.run("cat > /run/pull-on; rm -f /run/pulls", stdin=(FILES / "pull-on").read_text())
            client.run(f"systemd-run --quiet --collect --unit=pull-on --setenv=HOME=/root sh /run/pull-on {self.image}")

    def end(self) -> None:
        for client in CLIENTS:
            client.run("systemctl stop pull-on", check=False)
            client.type(f"{client.engine} image rm --force {self.image}", check=False)

    def lines(self, client: Client) -> list[str]:
        return client.output("cat /run/pulls 2> /dev/null || true").splitlines()

    def counts(self) -> dict[str, int]:
        """How many have gone well on each client. None has failed."""
        found = {client.name: self.lines(client) for client in CLIENTS}
        failed = {name: [line for line in lines if line != "ok"] for name, lines in found.items()}
        assert not any(failed.values()), failed
        return {name: len(lines) for name, lines in found.items()}

    def go_on(self) -> None:
        """Some more have begun and ended well on each client from now on."""
        before = self.counts()
        wait_for("all clients pull on", lambda: all(self.counts()[name] >= count + 3 for name, count in before.items()))


@pytest.fixture(scope="module")
def pulls(probe: str) -> Iterator[Pulls]:
    pulls = Pulls(probe)
    pulls.begin()
    yield pulls
    pulls.end()


def trusted_by(ca_file: pathlib.Path, registry: Registry) -> bool:
    """Whether who trusts this CA and no other can connect."""
    try:
        with dataclasses.replace(registry, ca_file=ca_file).connect():
            return True
    except ssl.SSLCertVerificationError:
        return False


def test_the_ca_is_replaced_while_all_pull(
    pulls: Pulls, registry: Registry, ephemeral: pathlib.Path, change: tuple[str, ...]
) -> None:
    old, new, both = registry.ca_file, ephemeral / "next.crt", ephemeral / "both.json"
    # The second lies beside the first; `certificate_directory` says which is served, and whose CA clients get.
    successor = f"--extra-vars=certificate_directory=/etc/wharf-registry/next certificate_ca_fetch_to={new}"
    pulls.go_on()

    run_playbook("certificate.yml", successor)
    assert trusted_by(old, registry)
    assert not trusted_by(new, registry)

    both.write_text(json.dumps({"client_registries": [{"host": HOSTNAME, "ca": old.read_text() + new.read_text()}]}))
    run_playbook("wharf.registry.rollout", *change, f"--extra-vars=@{both}")
    for client in CLIENTS:
        assert client.output(f"grep -c BEGIN {client.certificates}/{HOSTNAME}/ca.crt") == "2"
    pulls.go_on()

    run_playbook("serve.yml", successor)
    assert trusted_by(new, registry)
    assert not trusted_by(old, registry)
    pulls.go_on()

    run_playbook("wharf.registry.rollout", *change, successor)
    for client in CLIENTS:
        assert client.output(f"cat {client.certificates}/{HOSTNAME}/ca.crt") == new.read_text().strip()
    pulls.go_on()
    print("pulls meanwhile: " + ", ".join(f"{name} {count}" for name, count in pulls.counts().items()))


def test_a_client_of_the_old_ca_alone_could_not_have(
    pulls: Pulls, clients: dict[str, Client], registry: Registry
) -> None:
    """So that the pulls before show something: with the old CA back on one host, its engine refuses."""
    pulls.end()
    client = clients["fleet-b"]
    path = f"{client.certificates}/{HOSTNAME}/ca.crt"
    kept = client.output(f"cat {path}")
    client.run(f"cat > {path}", stdin=registry.ca_file.read_text())
    said = client.type(f"docker pull {pulls.image}", check=False)
    client.run(f"cat > {path}", stdin=kept + "\n")
    assert "certificate signed by unknown authority" in said

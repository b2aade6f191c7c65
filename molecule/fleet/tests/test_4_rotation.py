"""The certificate, the CA and the passwords are replaced while clients pull and push, and nothing of that fails."""

from __future__ import annotations

import dataclasses
import ssl
from typing import TYPE_CHECKING

import pytest
import yaml
from conftest import CLIENTS, FILES, HOSTNAME
from labtest import run_playbook, wait_for

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Iterator

    from conftest import Client, Runner
    from labtest import PlaybookRun, Registry

# Where the registry's host keeps what is rotated.
PLACES = ("/etc/wharf-registry/certificate", "/etc/wharf-registry/proxy")
# A client that a run leaves out, as if it were away.
AWAY = "fleet-e"


@dataclasses.dataclass
class Load:
    """All clients pull an image meanwhile, each by its own engine, and one of them pushes others, over and over."""

    image: str
    pusher: Client
    running: bool = False

    def _start(self, client: Client, what: str, argument: str, log: str) -> None:
        client.run(f"cat > /run/{what}; rm -f {log}", stdin=(FILES / what).read_text())
        client.run(f"systemd-run --quiet --collect --unit={what} --setenv=HOME=/root sh /run/{what} {argument}")

    def begin(self) -> None:
        for client in CLIENTS:
            self._start(client, "pull-on", self.image, "/run/pulls")
        self._start(self.pusher, "push-on", f"{HOSTNAME}/lab/pushed", "/run/pushes")
        self.running = True

    def end(self) -> None:
        if not self.running:
            return
        for client in CLIENTS:
            client.run("systemctl stop pull-on push-on", check=False)
            client.type(f"{client.cli} image rm --force {self.image}", check=False)
        self.running = False
        print("meanwhile: " + ", ".join(f"{name} {count}" for name, count in self.counts().items()))

    def counts(self) -> dict[str, int]:
        """How many have gone well on each client. None has failed."""
        found = {f"pulls of {client.name}": client.output("cat /run/pulls || true") for client in CLIENTS}
        found[f"pushes of {self.pusher.name}"] = self.pusher.output("cat /run/pushes || true")
        lines = {name: said.splitlines() for name, said in found.items()}
        failed = {name: [line for line in of_one if line != "ok"] for name, of_one in lines.items()}
        assert not any(failed.values()), failed
        return {name: len(of_one) for name, of_one in lines.items()}

    def go_on(self) -> None:
        """Some more of each have begun and ended well from now on."""
        before = self.counts()

        def more() -> bool:
            now = self.counts()
            return all(now[name] >= count + 3 for name, count in before.items())

        # To look is a process on each client, which pulls every three seconds at the most.
        wait_for("all go on", more, pause=3, longest=3)


@pytest.fixture(scope="module")
def load(probe: str, clients: dict[str, Client]) -> Iterator[Load]:
    load = Load(probe, clients["fleet-a"])
    load.begin()
    load.go_on()
    yield load
    load.end()


@pytest.fixture(scope="module")
def first_ca(registry: Registry, ephemeral: pathlib.Path) -> pathlib.Path:
    """The CA of the first day. Where the play puts it, there is another one in the end."""
    kept = ephemeral / "first.crt"
    kept.write_text(registry.ca_file.read_text())
    return kept


def rotate(what: str, *arguments: str, check: bool = True) -> PlaybookRun:
    return run_playbook("wharf.registry.rotate", f"--extra-vars=rotate={what}", *arguments, check=check)


def served(registry: Registry) -> bytes:
    """The certificate that new connections meet."""
    unchecked = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    unchecked.check_hostname, unchecked.verify_mode = False, ssl.CERT_NONE
    with registry.connect(unchecked) as connection:
        return connection.getpeercert(binary_form=True)


def trusted_by(ca_file: pathlib.Path, registry: Registry) -> bool:
    """Whether who trusts this CA and no other can connect."""
    try:
        with dataclasses.replace(registry, ca_file=ca_file).connect():
            return True
    except ssl.SSLCertVerificationError:
        return False


def of_client(client: Client) -> str:
    """The CAs that the client's engine trusts for the registry."""
    return client.output(f"cat {client.certificates}/{HOSTNAME}/ca.crt")


@pytest.mark.parametrize(
    "what", ["ca", *(pytest.param(what, marks=pytest.mark.long) for what in ("certificate", "passwords"))]
)
def test_a_check_tells_and_does_nothing(what: str, load: Load, registry: Registry, change: tuple[str, ...]) -> None:
    before = registry.host.snapshot(*PLACES), [of_client(client) for client in CLIENTS]
    run = rotate(what, *change, "--check", "--diff")
    assert (registry.host.snapshot(*PLACES), [of_client(client) for client in CLIENTS]) == before, run.output
    load.go_on()


@pytest.mark.parametrize("what", ["certificates", pytest.param("", marks=pytest.mark.long)])
def test_what_is_not_known_is_refused(what: str) -> None:
    run = rotate(what, check=False)
    assert run.code != 0
    assert "-e rotate=certificate, -e rotate=ca or -e rotate=passwords" in " ".join(run.output.split()), run.output
    assert set(run.changed("fleet-registry").values()) == {0}


# What the rotation of the CA does as well.
@pytest.mark.long
def test_the_certificate_is_renewed(load: Load, registry: Registry, first_ca: pathlib.Path) -> None:
    before = served(registry)
    rotate("certificate")
    assert served(registry) != before
    assert trusted_by(first_ca, registry)
    load.go_on()


def test_the_former_ca_stays_while_one_client_does_not_know_the_next(
    load: Load, registry: Registry, first_ca: pathlib.Path, change: tuple[str, ...]
) -> None:
    before = served(registry)
    run = rotate("ca", *change, f"--limit=all:!{AWAY}", check=False)
    assert run.code != 0
    assert f"-e rotate_despite={AWAY}" in " ".join(run.output.split()), run.output
    assert served(registry) == before
    for client in CLIENTS:
        assert of_client(client).count("BEGIN CERTIFICATE") == (1 if client.name == AWAY else 2)
        assert of_client(client).startswith(first_ca.read_text().strip())
    load.go_on()


def test_the_same_command_goes_on_and_replaces_the_ca(
    load: Load, registry: Registry, first_ca: pathlib.Path, change: tuple[str, ...]
) -> None:
    next_ca = of_client(CLIENTS[0]).removeprefix(first_ca.read_text().strip()).strip()
    rotate("ca", *change)
    assert registry.ca_file.read_text().strip() == next_ca, "another CA than the one that clients were told of"
    assert trusted_by(registry.ca_file, registry)
    assert not trusted_by(first_ca, registry)
    assert {of_client(client) for client in CLIENTS} == {next_ca}
    kept = registry.host.output("cd /etc/wharf-registry/certificate; ls; stat -c %a former former/ca.key").split()
    assert kept == ["ca.crt", "ca.key", "former", "issued.json", "server.crt", "server.key", "700", "600"]
    load.go_on()


@pytest.fixture(scope="module")
def former(registry: Registry) -> dict[str, str]:
    """The passwords of the first day. The file that makes new ones has forgotten them."""
    kept = yaml.safe_load(registry.credentials_file.read_text())
    former = {name: kept["users"].pop(name)["password"] for name in ("ci", "runtime", "successor")}
    registry.credentials_file.write_text(yaml.safe_dump(kept))
    return former


# As with the CA, of which a test before shows it.
@pytest.mark.long
def test_former_passwords_stay_valid_while_one_client_has_no_new_one(
    load: Load, registry: Registry, former: dict[str, str], change: tuple[str, ...]
) -> None:
    run = rotate("passwords", *change, f"--limit=all:!{AWAY}", "--diff", check=False)
    assert run.code != 0
    assert f"-e rotate_despite={AWAY}" in " ".join(run.output.split()), run.output
    for name, password in former.items():
        assert registry.password(name) != password
        assert registry.request("GET", "/v2/", name).status == 200, name
        assert registry.request("GET", "/v2/", name, password=password).status == 200, name
        assert password not in run.output
        assert registry.password(name) not in run.output
    load.go_on()


def test_former_passwords_end_when_all_clients_have_new_ones(
    load: Load, registry: Registry, former: dict[str, str], change: tuple[str, ...]
) -> None:
    rotate("passwords", *change)
    for name, password in former.items():
        assert registry.request("GET", "/v2/", name).status == 200, name
        assert registry.request("GET", "/v2/", name, password=password).status == 401, name
    load.go_on()


@pytest.mark.long
def test_what_has_not_changed_changes_no_client_and_what_was_not_loaded_is(
    registry: Registry, change: tuple[str, ...]
) -> None:
    # As a run leaves it that ended before nginx was told of what it had written.
    registry.host.run("rm /etc/wharf-registry/proxy/loaded")
    before = registry.host.output("docker top wharf-proxy -o pid,args | grep 'worker process' | sort")
    run = rotate("passwords", *change)
    assert set(run.changed(*(client.name for client in CLIENTS)).values()) == {0}, run.output
    assert registry.host.output("docker top wharf-proxy -o pid,args | grep 'worker process' | sort") != before
    assert set(
        rotate("passwords", *change).changed("fleet-registry", *(client.name for client in CLIENTS)).values()
    ) == {0}


def test_engines_of_an_account_go_on(runner: Runner, load: Load, ephemeral: pathlib.Path) -> None:
    """By the new CA and the new password."""
    assert runner.processes() == (ephemeral / "runner").read_text()
    for engine in ("docker", "podman"):
        said = runner.type(f"{engine} rmi --force {load.image}; {engine} pull --quiet {load.image} && echo pulled")
        assert said.endswith("pulled"), said


def test_a_client_of_the_former_ca_alone_could_not_have(
    load: Load, clients: dict[str, Client], registry: Registry, first_ca: pathlib.Path
) -> None:
    """So that the pulls before show something: with the former CA back on one host, its engine refuses."""
    load.end()
    client = clients["fleet-b"]
    path = f"{client.certificates}/{HOSTNAME}/ca.crt"
    client.run(f"cat > {path}", stdin=first_ca.read_text())
    said = client.type(f"docker pull {load.image}", check=False)
    client.run(f"cat > {path}", stdin=registry.ca_file.read_text())
    assert "certificate signed by unknown authority" in said

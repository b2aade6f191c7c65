"""Fixtures of the scenario: the registry's host, and its clients as their users meet them."""

from __future__ import annotations

import base64
import dataclasses
import json
import pathlib
import shlex
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from labtest import LabHost, PlaybookRun, Registry, run_playbook

HOSTNAME = "registry.fleet.test"
FILES = pathlib.Path(__file__).parent / "files"

# Where the collection writes on a client, and where an engine or another program keeps what must stay.
PLACES = (
    "/etc/docker",
    "/etc/containerd",
    "/etc/containers",
    "/etc/wharf-registry",
    "/root/.docker",
    "/root/.config",
    "/home",
    "/run/containers/0/auth.json",
    "/srv/runner/.config",
    "/srv/runner/.docker",
)


BACKUP = "--extra-vars=backup_repository=/srv/elsewhere --extra-vars=backup_password=never-used-on-any-host"
# Each playbook that changes something, with what its user has to give. The rollout is a part of site.yml, all rotations
# begin alike, and test_3_failures.py and test_4_rotation.py run those in check mode, too.
PLAYBOOKS = (
    f"backup {BACKUP}",
    "maintain",
    "offboard",
    f"restore --extra-vars=restore_replace=true {BACKUP}",
    "rotate --extra-vars=rotate=ca",
    "site",
    "teardown --extra-vars=registry_teardown_data=true",
    "upgrade",
    "verify",
)


def foretell(
    playbooks: tuple[str, ...] = PLAYBOOKS, inventory: str = "inventory", limit: str = "all"
) -> dict[str, PlaybookRun]:
    """Run playbooks in check mode. Several at once, since none of them changes anything."""

    def run(words: str) -> PlaybookRun:
        playbook, *options = words.split()
        more = ("--check", "--diff", "--limit", limit, *options)
        return run_playbook(f"wharf.registry.{playbook}", *more, inventory=inventory, check=False)

    with ThreadPoolExecutor(3) as pool:
        return dict(zip(playbooks, pool.map(run, playbooks), strict=True))


def content(kept: dict) -> bytes:
    """What a file holds of which there is a snapshot."""
    return base64.b64decode(kept["content"])


@dataclasses.dataclass(frozen=True)
class Client(LabHost):
    """A host that builds or runs, with the engine that it has once it is rolled out."""

    engine: str
    # The major version of that engine.
    version: int
    # What others put into the lists of daemon.json before.
    mirrors: tuple[str, ...] = ()
    insecure: tuple[str, ...] = ()
    # A bare host gets its engine by the rollout, and so has no container before.
    bare: bool = False

    @property
    def cli(self) -> str:
        """The program that is typed on this host."""
        return "node-cli" if self.engine == "containerd" else self.engine

    def type(self, script: str, *, check: bool = True) -> str:
        """What root sees who types this into a shell of the host."""
        script = f"export HOME=/root PODMAN_IGNORE_CGROUPSV1_WARNING=1; cd; {{ {script}; }} 2>&1"
        return self.output(script, check=check)

    def process_now(self) -> str:
        """The process of the container that ran before the rollout, and when it began, since numbers come again."""
        return self.type(
            f"pid=$({self.cli} inspect --format '{{{{.State.Pid}}}}' keep-running); "
            'echo "$pid $(cut -d" " -f22 /proc/$pid/stat)"'
        )

    def process_before(self) -> str:
        """The same, as files/keep-running wrote it down."""
        return self.output("cat /var/lib/keep-running")

    def settings_now(self) -> dict[str, list[str]]:
        """What the running Docker Engine believes, asked by its own client."""
        said = json.loads(self.output("docker info --format '{{json .RegistryConfig}}'"))
        names = [name for name, index in said["IndexConfigs"].items() if not index["Secure"]]
        # An engine always believes in itself.
        nets = [net for net in said["InsecureRegistryCIDRs"] if net not in ("127.0.0.0/8", "::1/128")]
        return {"mirrors": [url.rstrip("/") for url in said["Mirrors"] or []], "insecure": sorted(names + nets)}

    @property
    def certificates(self) -> str:
        """Where the client's own engine looks for CAs of the registry."""
        return f"/etc/{'containers' if self.engine == 'podman' else self.engine}/certs.d"

    def logged_in(self) -> dict[str, str]:
        """Who root is in the registry, by each of the files that say so."""
        found = {}
        for path, kept in self.snapshot("/root/.docker/config.json", "/run/containers/0/auth.json").items():
            auths = json.loads(content(kept)).get("auths", {})
            if HOSTNAME in auths:
                found[path] = base64.b64decode(auths[HOSTNAME]["auth"]).decode().partition(":")[0]
        return found

    def places(self) -> dict[str, dict]:
        """All that the collection, an engine or another program keeps where the collection writes."""
        return self.snapshot(*PLACES)


CLIENTS = (
    Client("fleet-a", "docker", 26),
    Client(
        "fleet-b",
        "docker",
        20,
        mirrors=("https://mirror.elsewhere.test",),
        insecure=("10.9.0.0/16", "old.elsewhere.test:5000"),
    ),
    Client("fleet-c", "podman", 5),
    Client("fleet-d", "docker", 26, bare=True),
    Client("fleet-e", "docker", 26),
    Client("fleet-f", "containerd", 2),
)
BUSY = [client for client in CLIENTS if not client.bare]


@pytest.fixture(scope="session")
def registry(ephemeral: pathlib.Path) -> Registry:
    return Registry(LabHost("fleet-registry"), HOSTNAME, ephemeral / "ca.crt", ephemeral / "credentials.yml")


@pytest.fixture(scope="session")
def clients() -> dict[str, Client]:
    return {client.name: client for client in CLIENTS}


@pytest.fixture(params=CLIENTS, ids=[client.name for client in CLIENTS])
def client(request: pytest.FixtureRequest) -> Client:
    """Each client in turn."""
    return request.param


@pytest.fixture(params=BUSY, ids=[client.name for client in BUSY])
def busy(request: pytest.FixtureRequest) -> Client:
    """Each client that had an engine and a container of its own before."""
    return request.param


@dataclasses.dataclass(frozen=True)
class Runner:
    """The account of a host that has engines of its own."""

    host: LabHost

    def type(self, script: str) -> str:
        """What the account is told, whether it succeeds or not."""
        place = "/run/user/$(id -u)"
        surroundings = f"export XDG_RUNTIME_DIR={place} DOCKER_HOST=unix://{place}/docker.sock"
        command = shlex.quote(f"{surroundings}; {script}")
        return self.host.run(f"su runner --login --command {command} 2>&1", check=False).stdout.strip()

    def processes(self) -> str:
        """Those of its Docker Engine and of its container, and when the latter began."""
        return self.type(
            "systemctl --user show --property=MainPID --value docker; "
            "pid=$(podman inspect --format '{{.State.Pid}}' keep-running 2> /dev/null); "
            'echo "$pid $(cut -d" " -f22 /proc/$pid/stat)"'
        )


@pytest.fixture(scope="session")
def runner() -> Runner:
    return Runner(LabHost("fleet-e"))


@pytest.fixture(scope="session")
def probe(clients: dict[str, Client]) -> str:
    """An image that no host has seen before, pushed by the builder as root there does."""
    reference = f"{HOSTNAME}/lab/probe:{uuid.uuid4().hex[:12]}"
    clients["fleet-a"].type(
        "directory=$(mktemp -d); head -c 200000 /dev/urandom > $directory/payload; "
        f"tar -C $directory -c payload | docker import - {reference}; rm -r $directory; "
        f"docker push {reference}; docker image rm {reference}"
    )
    return reference


@pytest.fixture(scope="session")
def change(ephemeral: pathlib.Path) -> tuple[str, ...]:
    """What is new in the inventory from some time on: a mirror, a registry, and another user of the runtimes."""
    file = ephemeral / "change.json"
    registries = [
        {"host": HOSTNAME},
        {"host": "plain.fleet.test:5000", "insecure": True},
        {"host": "other.fleet.test:5000", "ca": (ephemeral / "ca.crt").read_text()},
    ]
    new = {
        "client_registries": registries,
        "client_mirrors": ["https://mirror.fleet.test", "https://second.fleet.test"],
        "lab_runtime": "successor",
    }
    file.write_text(json.dumps(new))
    return (f"--extra-vars=@{file}",)

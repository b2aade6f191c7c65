"""What the scenarios' tests share: the lab's hosts, the registry's API seen from outside, and real Docker clients."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import hashlib
import http.client
import json
import os
import pathlib
import re
import shlex
import socket
import ssl
import subprocess
import time
import uuid
from typing import TYPE_CHECKING

import yaml
from content import Content
from http_client import Answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NETWORK = "wharf-lab"
# As the inventory of the lab reaches the hosts, over the same connections.
SSH_CONFIG = pathlib.Path.home() / ".cache" / "wharf-lab" / "ssh_config"
SSH = ("ssh", "-F", str(SSH_CONFIG))

# Runs on a host: every file below the given paths with its owner, mode and content, and every directory.
SNAPSHOT = r"""
import base64, json, os, stat, sys
found = {}
def look(path):
    try:
        about = os.lstat(path)
    except FileNotFoundError:
        return
    kept = {"mode": oct(about.st_mode), "owner": [about.st_uid, about.st_gid]}
    if stat.S_ISREG(about.st_mode):
        with open(path, "rb") as file:
            kept["content"] = base64.b64encode(file.read()).decode()
    found[path] = kept
    if stat.S_ISDIR(about.st_mode):
        for name in sorted(os.listdir(path)):
            look(os.path.join(path, name))
for path in sys.argv[1:]:
    look(path)
json.dump(found, sys.stdout)
"""


def control(*command: str, stdin: str | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a command on the machine that runs the tests. A failure shows the command's own words."""
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    if check and done.returncode != 0:
        raise AssertionError(f"{shlex.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done


def wait_for(
    what: str, holds: Callable[[], object], seconds: float = 90, *, pause: float = 0.5, longest: float = 0.5
) -> float:
    """Poll until `holds` is true, and return how long that took.

    pause: seconds until the second look. Those after it come less and less often, down to one in `longest` seconds:
    most of what is asked starts processes.
    """
    began = time.monotonic()
    while not holds():
        if time.monotonic() - began > seconds:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(pause)
        pause = min(longest, 1.3 * pause)
    return time.monotonic() - began


@dataclasses.dataclass(frozen=True)
class LabHost:
    """A booted host of the lab, by its name in the inventory."""

    name: str

    @property
    def container(self) -> str:
        return f"wharf-lab-{self.name}"

    @property
    def backend(self) -> str:
        """How testinfra reaches the host."""
        return f"ssh://{self.container}?ssh_config={SSH_CONFIG}"

    @property
    def address(self) -> str:
        inspected = json.loads(control("docker", "inspect", self.container).stdout)
        return inspected[0]["NetworkSettings"]["Networks"][NETWORK]["IPAddress"]

    def run(
        self, script: str, *, stdin: str = "", user: str = "root", check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run shell code on the host. What is secret goes in on `stdin`, never into `script`."""
        command = ["/bin/sh", "-ec", script]
        if user == "root":
            return control(*SSH, self.container, shlex.join(command), stdin=stdin, check=check)
        return control(
            "docker", "exec", "--interactive", "--user", user, self.container, *command, stdin=stdin, check=check
        )

    def output(self, script: str, **options: object) -> str:
        return self.run(script, **options).stdout.strip()

    def snapshot(self, *paths: str) -> dict[str, dict]:
        """All that lies at and below these paths, by path: mode, owner, and the content of files in base64."""
        return json.loads(self.run(shlex.join(["python3", "-", *paths]), stdin=SNAPSHOT).stdout)

    def inspect(self, container: str) -> dict:
        """What the host's own engine knows of a container."""
        return json.loads(self.output(f"docker inspect {shlex.quote(container)}"))[0]

    def healthy(self, container: str) -> bool:
        return self.inspect(container)["State"].get("Health", {}).get("Status") == "healthy"

    def reboot(self) -> float:
        """Shut the host down by its own init and boot it again. Return the seconds until systemd says it is up."""
        before = self.output("cut -d' ' -f22 /proc/1/stat")
        began = time.monotonic()
        control("docker", "restart", "--time", "60", self.container)
        wait_for(
            f"{self.name} is up after its reboot",
            lambda: (
                self.run("systemctl is-system-running --wait", check=False).stdout.strip() in ("running", "degraded")
            ),
        )
        took = time.monotonic() - began
        assert self.output("cut -d' ' -f22 /proc/1/stat") != before, "the host did not reboot"
        assert self.output("systemctl list-units --failed --plain --no-legend") == ""
        return took


@dataclasses.dataclass(frozen=True)
class PlaybookRun:
    """What a user of ansible-playbook sees, and how long it took."""

    code: int
    output: str
    seconds: float

    @property
    def recap(self) -> dict[str, dict[str, int]]:
        """The counts that stand behind each host's name at the end: ok, changed, unreachable, failed, and so on."""
        lines = self.output.rpartition("PLAY RECAP")[2].splitlines()[1:]
        counts = [
            (line.partition(":")[0].strip(), re.findall(r"(\w+)=(\d+)", line)) for line in lines if " ok=" in line
        ]
        return {host: {name: int(number) for name, number in found} for host, found in counts}

    def changed(self, *hosts: str) -> dict[str, int]:
        """How many tasks changed something on each of these hosts."""
        return {host: self.recap.get(host, {}).get("changed", 0) for host in hosts}


def surroundings(inventory: str = "inventory") -> tuple[list[str], dict[str, str]]:
    """The options and the environment by which a command of Ansible reaches the scenario's hosts as its user would."""
    project = pathlib.Path(os.environ["MOLECULE_PROJECT_DIRECTORY"])
    scenario = pathlib.Path(os.environ["MOLECULE_SCENARIO_DIRECTORY"])
    options = [f"--inventory={place}" for place in (project / "tests/lab/inventory", scenario / inventory)]
    # What molecule sets for its own runs would colour the output and bend paths.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    return options, environment | {"ANSIBLE_CONFIG": str(project / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}


def facts_of(host: LabHost) -> dict:
    """The least that Ansible gathers of a host."""
    options, environment = surroundings()
    command = ["ansible", *options, host.name, "--module-name=setup", "--args=gather_subset=!all", "--one-line"]
    said = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
    return json.loads(said.partition("=>")[2])["ansible_facts"]


def run_playbook(
    playbook: str,
    *arguments: str,
    inventory: str = "inventory",
    check: bool = True,
    killed_after: float | None = None,
) -> PlaybookRun:
    """Run a playbook on the scenario's hosts as its user would, and tell how it ended.

    `playbook` is the name of one of the collection's, or a file of the scenario. Secrets come from the inventory,
    which is the scenario's own or another directory of it. After `killed_after` seconds all of it gets SIGKILL.
    """
    project = pathlib.Path(os.environ["MOLECULE_PROJECT_DIRECTORY"])
    scenario = pathlib.Path(os.environ["MOLECULE_SCENARIO_DIRECTORY"])
    file = scenario / playbook
    inventories, environment = surroundings(inventory)
    command = ["ansible-playbook", *inventories, *arguments, str(file) if file.is_file() else playbook]
    if killed_after is not None:
        command = ["timeout", "--signal=KILL", f"{killed_after:.1f}", *command]
    began = time.monotonic()
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        cwd=project,
        env=environment,
    )
    run = PlaybookRun(done.returncode, done.stdout, time.monotonic() - began)
    print(f"{playbook} {shlex.join(arguments)}: {run.seconds:.0f} s, ended with {run.code}")
    if check and run.code != 0:
        raise AssertionError(f"{shlex.join(command)} ended with {run.code}:\n{run.output}")
    return run


def report_in(directory: pathlib.Path, kind: str) -> dict:
    """What a playbook has written for `-e report=DIRECTORY`, of which the page has the sentence, too."""
    page = (directory / f"{kind}.html").read_text(encoding="utf-8")
    report = json.loads((directory / f"{kind}.json").read_text(encoding="utf-8"))
    assert page.startswith("<!DOCTYPE html>") and report["summary"].partition(":")[0].partition("'")[0] in page
    assert (report["version"], report["kind"]) == (1, kind)
    return report


def rows_of(report: dict, title: str) -> list[dict]:
    """The rows of a section, none where it is not there."""
    return next((one["rows"] for one in report["sections"] if one["title"] == title), [])


def kept_report(host: LabHost, kind: str) -> dict:
    """The last report of a playbook, as the registry host keeps it for root alone."""
    path = f"/var/lib/wharf-registry/reports/{kind}.json"
    assert host.output(f"stat -c '%a %U' {path} {path.rpartition('/')[0]}").split() == ["600", "root", "700", "root"]
    return json.loads(host.output(f"cat {path}"))


class RegistryConnection(http.client.HTTPConnection):
    """HTTPS to the host of a registry, whose name has no address outside of the lab."""

    def __init__(self, registry: Registry) -> None:
        super().__init__(registry.hostname, registry.port, timeout=30)
        self.registry = registry

    def connect(self) -> None:
        self.sock = self.registry.open()


@dataclasses.dataclass(frozen=True)
class Registry:
    """The registry as a client on the network meets it: by its name, its CA and its users."""

    host: LabHost
    hostname: str
    ca_file: pathlib.Path
    credentials_file: pathlib.Path
    port: int = 443

    @property
    def users(self) -> dict[str, dict]:
        return yaml.safe_load(self.credentials_file.read_text())["users"]

    def password(self, user: str) -> str:
        return self.users[user]["password"]

    def tls_context(self) -> ssl.SSLContext:
        """A client that trusts the registry's CA and nothing else."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self.ca_file)
        return context

    def open(self, context: ssl.SSLContext | None = None) -> ssl.SSLSocket:
        """A connection to it."""
        plain = socket.create_connection((self.host.address, self.port), timeout=30)
        try:
            return (context or self.tls_context()).wrap_socket(plain, server_hostname=self.hostname)
        except BaseException:
            plain.close()
            raise

    @contextlib.contextmanager
    def connect(self, context: ssl.SSLContext | None = None) -> Iterator[ssl.SSLSocket]:
        with self.open(context) as wrapped:
            yield wrapped

    def authorization(self, user: str, password: str | None = None) -> str:
        """The header of a user, whose password is in the credentials file where none is given."""
        pair = f"{user}:{self.password(user) if password is None else password}"
        return "Basic " + base64.b64encode(pair.encode()).decode()

    @contextlib.contextmanager
    def content(self, user: str) -> Iterator[Content]:
        """What a user pushes and reads, over one connection."""
        content = Content(RegistryConnection(self), self.authorization(user))
        try:
            yield content
        finally:
            content.connection.close()

    @contextlib.contextmanager
    def response(
        self,
        method: str,
        path: str,
        user: str | None = None,
        *,
        password: str | None = None,
        headers: dict[str, str] | None = None,
        body: bytes | None = None,
    ) -> Iterator[http.client.HTTPResponse]:
        """Send one request on a connection of its own. `user` alone takes the password from the credentials file."""
        headers = {"Host": self.hostname, **(headers or {})}
        if user is not None:
            headers["Authorization"] = self.authorization(user, password)
        with contextlib.closing(RegistryConnection(self)) as connection:
            connection.request(method, path, body=body, headers=headers)
            yield connection.getresponse()

    def request(self, method: str, path: str, user: str | None = None, **options: object) -> Answer:
        with self.response(method, path, user, **options) as response:
            return Answer(response.status, response.headers, response.read())

    def manifest(self, repository: str, reference: str, user: str) -> Answer:
        accept = "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json"
        return self.request("GET", f"/v2/{repository}/manifests/{reference}", user, headers={"Accept": accept})

    def blob_digest(self, repository: str, digest: str, user: str) -> tuple[str, int]:
        """Download a blob, and return the digest and the size of what came."""
        hashed, size = hashlib.sha256(), 0
        with self.response("GET", f"/v2/{repository}/blobs/{digest}", user) as response:
            assert response.status == 200, response.status
            while chunk := response.read(1 << 20):
                hashed.update(chunk)
                size += len(chunk)
        return f"sha256:{hashed.hexdigest()}", size


class DockerClient:
    """A user's Docker client on a host, with a client configuration of its own."""

    def __init__(self, host: LabHost, registry: Registry, user: str) -> None:
        self.host, self.registry, self.user = host, registry, user
        self.config = f"/root/.wharf-lab/{user}"

    def run(self, *arguments: str, stdin: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.host.run(shlex.join(["docker", "--config", self.config, *arguments]), stdin=stdin, check=check)

    def login(self, password: str | None = None, *, check: bool = True) -> subprocess.CompletedProcess[str]:
        self.host.run(f"mkdir --parents --mode=0700 {self.config}")
        password = self.registry.password(self.user) if password is None else password
        return self.run(
            "login", "--username", self.user, "--password-stdin", self.registry.hostname, stdin=password, check=check
        )

    def logout(self) -> None:
        self.host.run(f"rm --recursive --force {self.config}")

    def make_image(self, repository: str) -> str:
        """Make an image that no one has seen before, tagged for the registry; return its reference."""
        reference = f"{self.registry.hostname}/{repository}:{uuid.uuid4().hex[:12]}"
        self.host.run(
            "directory=$(mktemp -d); cat > $directory/payload; "
            f"tar -C $directory -c payload | docker import - {reference} > /dev/null; rm -r $directory",
            stdin=uuid.uuid4().hex,
        )
        return reference

    def layers(self, reference: str) -> list[str]:
        """The digests of the image's unpacked layers, which the engine checks as it unpacks them."""
        return json.loads(self.run("image", "inspect", reference).stdout)[0]["RootFS"]["Layers"]

    def push(self, reference: str) -> str:
        """Push, and return the digest that the registry gave."""
        said = self.run("push", reference).stdout
        return re.search(r"digest: (sha256:[0-9a-f]{64})", said)[1]

    def pull_anew(self, reference: str) -> list[str]:
        """Forget the image and pull it; return its layers."""
        self.run("image", "rm", "--force", reference)
        self.run("pull", "--quiet", reference)
        return self.layers(reference)

"""Containers of this machine's Docker Engine: the images that the peers need, and what a run starts and removes."""

from __future__ import annotations

import contextlib
import fcntl
import ipaddress
import os
import socket
import subprocess
import sys
from pathlib import Path
from random import SystemRandom
from typing import TYPE_CHECKING

from paths import ROOT

sys.path.insert(0, str(ROOT / "tests" / "lab"))
import labtest
from labtest import control as command

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# What this run starts has this label: other runs, of this checkout and of others, are left alone.
RUNS = ROOT / ".cache" / "test-runs"
RUN = RUNS / str(os.getpid())
LABEL = f"wharf.test-run={RUN}"
# Recipes of tests/lab/images.toml: clients, and hosts with an engine in place.
OF_THE_LAB = (
    "clients",
    "signers",
    "bookworm-docker",
    "trixie-docker",
    "trixie-podman",
    "trixie-rootless",
    "trixie-containerd",
    "sid-containerd",
    "tools",
)
# Below the ports that outgoing connections get, so that none of those can take one before a peer does.
PORTS = range(20000, 32000)


def wait_for(what: str, holds: Callable[[], object], seconds: float = 30, longest: float = 0.5) -> None:
    """Poll until `holds` is true, for less time than a host of the lab may take, and more often at first."""
    labtest.wait_for(what, holds, seconds, pause=0.05, longest=longest)


def free_ports(count: int) -> list[int]:
    """Ports of loopback without a listener."""
    found: list[int] = []
    for port in SystemRandom().sample(PORTS, len(PORTS)):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found.append(port)
        if len(found) == count:
            return found
    raise AssertionError(f"no {count} free ports from {PORTS.start} to {PORTS.stop}")


def listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def run() -> Iterator[None]:
    """What killed runs of this checkout left is gone before anything starts, and what this one starts after it."""
    RUNS.mkdir(parents=True, exist_ok=True)
    for left in labelled():
        if left == RUN or (left.parent == RUNS and not under_way(left)):
            remove_containers(left)
    with RUN.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
        remove_containers(RUN)
        RUN.unlink()


def under_way(run: Path) -> bool:
    """Whether a run holds its lock."""
    try:
        lock = run.open()
    except FileNotFoundError:
        return False
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def labelled() -> set[Path]:
    """The runs of which containers are there."""
    name, _equals, _run = LABEL.partition("=")
    listed = command("docker", "ps", "--all", f"--filter=label={name}", f'--format={{{{.Label "{name}"}}}}').stdout
    return {Path(line) for line in listed.splitlines()}


def remove_containers(run: Path) -> None:
    """Remove the containers of a run, with their volumes."""
    name, _equals, _run = LABEL.partition("=")
    left = command("docker", "ps", "--all", "--quiet", f"--filter=label={name}={run}").stdout.split()
    if left:
        command("docker", "rm", "--force", "--volumes", *left)


def run_container(image: str, *arguments: str, options: tuple[str, ...] = (), network: str = "host") -> str:
    """Start a container, on this machine's own network where none is given; return its id."""
    fixed = ("--detach", f"--network={network}", "--pull=never", f"--label={LABEL}")
    return command("docker", "run", *fixed, *options, image, *arguments).stdout.strip()


def last_words(container: str) -> str:
    done = command("docker", "logs", "--tail=40", container, check=False)
    return done.stdout + done.stderr


def bridge_address() -> str:
    """This machine's end of Docker's own bridge, where containers reach it."""
    subnet = "{{(index .IPAM.Config 0).Subnet}}"
    inspected = command("docker", "network", "inspect", "bridge", f"--format={subnet}").stdout.strip()
    return str(ipaddress.ip_network(inspected)[1])


def make_images() -> dict[str, str]:
    """The references of all images. What was built before is found again."""
    lab = ROOT / "tests" / "lab"
    env = dict(os.environ, LC_ALL="C.UTF-8", ANSIBLE_CONFIG=str(ROOT / "ansible.cfg"))
    ansible_playbook = str(Path(sys.executable).with_name("ansible-playbook"))
    playbook = [ansible_playbook, "-i", str(lab / "inventory"), str(lab / "images.yml")]
    # The two build different images, and one need not wait for the other.
    running = [
        subprocess.Popen(arguments, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for arguments in (playbook, [sys.executable, str(lab / "build-image"), *OF_THE_LAB])
    ]
    for process in running:
        said, told = process.communicate()
        assert process.returncode == 0, said + told
    images = {name: (ROOT / ".cache" / "lab" / f"{name}.id").read_text().split()[0] for name in ("registry", "nginx")}
    return images | dict(zip(OF_THE_LAB, said.split(), strict=True))

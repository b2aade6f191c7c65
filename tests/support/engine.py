"""Containers of this machine's Docker Engine: the images that the peers need, and what a run starts and removes."""

from __future__ import annotations

import contextlib
import fcntl
import ipaddress
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from random import SystemRandom
from typing import TYPE_CHECKING

from paths import ROOT

sys.path.insert(0, str(ROOT / "tests" / "lab"))
from labtest import control as command

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Another checkout on the same engine is left alone.
LABEL = f"wharf.integration={ROOT}"
# Recipes of tests/lab/images.toml: clients, and hosts with an engine in place.
OF_THE_LAB = ("clients", "signers", "bookworm-docker", "trixie-docker", "trixie-podman", "tools")
# Below the ports that outgoing connections get, so that none of those can take one before a peer does.
PORTS = range(20000, 32000)


def wait_for(what: str, holds: Callable[[], object], seconds: float = 30) -> None:
    """Poll until `holds` is true."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.05)


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
def alone() -> Iterator[None]:
    """One run at a time in a checkout: a run removes what another one left."""
    with (ROOT / ".cache" / "integration.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AssertionError("another run of tests/integration is under way in this checkout") from None
        yield


def remove_containers() -> None:
    """Remove the containers of this run, or of one that was killed, with their volumes."""
    left = command("docker", "ps", "--all", "--quiet", f"--filter=label={LABEL}").stdout.split()
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

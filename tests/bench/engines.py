"""Compares the onboarding of a host with four engines to that of one with Docker alone, and prints the table.

Usage: engines.py, which `run` starts. A host of the lab has all of them: each run of the module is told which to use.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import engine
import hosts
import managed
import peers as peers_module
from table import Row, report

if TYPE_CHECKING:
    from hosts import Machine
    from peers import Peers

ROUNDS = 7
ONE = ["docker"]
# BuildKit's daemon is not there; its file and certificates are written all the same.
FOUR = [*ONE, "podman", "containerd", "buildkit"]
FORGET = """
    rm -rf /etc/docker/certs.d /etc/containers/certs.d /etc/containers/registries.conf.d/*wharf* /etc/containerd/certs.d
    rm -rf /etc/buildkit /root/.docker
"""


def onboard(machine: Machine, peers: Peers, engines: list[str], **options: object) -> tuple[float, bool]:
    """The seconds of a run of the module from outside of the host, and whether it changed anything."""
    password = peers.users["ci"]
    arguments = {
        "registries": [{"host": peers.outside, "ca": peers.ca.read_text()}],
        "mirrors": ["https://mirror.example.com"],
        "logins": [{"username": "ci", "password": password}],
        "check": {"username": "ci", "password": password, "access": "push", "image": "bench/probe:1"},
        "engines": engines,
        **options,
    }
    began = time.monotonic()
    done = machine.host.run_module("registry_onboard", arguments, secrets=(password,))
    return time.monotonic() - began, done["changed"]


def compare(machine: Machine, peers: Peers) -> list[Row]:
    first, again = {1: [], 4: []}, {1: [], 4: []}
    for number in range(ROUNDS):
        # Each of both goes first in turn.
        for engines in (ONE, FOUR) if number % 2 else (FOUR, ONE):
            for seconds, expected in ((first, True), (again, False)):
                took, changed = onboard(machine, peers, engines)
                assert changed is expected
                seconds[len(engines)].append(took)
            onboard(machine, peers, FOUR, state="absent")
            machine.run(FORGET)
    return [
        Row("onboarding a host with four engines, against Docker alone", first[4], first[1], at_most=1.5),
        Row("the same host once more, unchanged", again[4], again[1]),
    ]


def main() -> int:
    with engine.run(), tempfile.TemporaryDirectory() as directory:
        managed.build_tree()
        images = engine.make_images()
        booted = hosts.start(images, ("trixie-rootless",))
        started = peers_module.start(Path(directory), images)
        peers = next(started)
        hosts.wait(booted)
        rows = compare(booted["trixie-rootless"], peers)
        next(started, None)
    report(rows)
    return 0 if all(row.met for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())

"""Onboards the hosts of fleet/ by the role `client` and by baseline.yml in turn, and prints the table of their times.

Usage: onboard.py

`rollout` starts it, once the hosts, the registry and its image are there. Both plays get the same forks, the same hosts
and the same settings, and what they leave on the hosts is compared as well.
"""

from __future__ import annotations

import base64
import concurrent.futures
import dataclasses
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml
from table import Row, report, say

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parent.parent
CACHE = CHECKOUT / ".cache" / "rollout"
REGISTRY = "registry.rollout.test"
IMAGE = f"{REGISTRY}/bench/app:1.0.0"

HOSTS = [f"bench{number}" for number in range(1, 17)]
SIZES = (2, 4, 8, 16)
FORKS = 8
ROUNDS = int(os.environ.get("ROUNDS", "3"))

# Back to what a host is before it is onboarded. The engine starts anew, since it believes in its mirrors until then;
# systemd would refuse to start it a fourth time within a minute, did it not forget the others.
RESET = """
set -e
rm -rf /etc/docker/certs.d /etc/docker/daemon.json /root/.docker
docker image ls --quiet | sort --unique | xargs --no-run-if-empty docker image rm --force
systemctl reset-failed docker.service
systemctl restart docker.service
"""

# What onboarding is to leave: a document of what the engine believes, the stored login, the CA, and the pulls so far.
STATE = f"""
set -e
docker info --format '{{{{json .RegistryConfig.Mirrors}}}}'
tr --delete '[:space:]' </root/.docker/config.json
echo
sha256sum </etc/docker/certs.d/{REGISTRY}/ca.crt
docker events --since 0 --until "$(date +%s.%N)" --filter event=pull --format '{{{{.Actor.ID}}}}' | sort --unique
"""


class Fleet:
    """The hosts, which are prepared and looked at from the side, as the engine of this machine runs them."""

    def __init__(self) -> None:
        self._executor = concurrent.futures.ThreadPoolExecutor(4)

    def _each(self, hosts: list[str], script: str) -> list[str]:
        def execute(host: str) -> str:
            inside = ["docker", "exec", "--interactive", f"wharf-lab-{host}", "sh"]
            done = subprocess.run(inside, input=script, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                sys.exit(f"FAILED: {host}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
            return done.stdout

        return list(self._executor.map(execute, hosts))

    def reset(self, hosts: list[str]) -> None:
        self._each(hosts, RESET)

    def check(self, hosts: list[str], password: str) -> None:
        """End unless each host is onboarded, by either side."""
        login = {"auths": {REGISTRY: {"auth": base64.b64encode(f"runtime:{password}".encode()).decode()}}}
        ca = hashlib.sha256((CACHE / "ca.crt").read_bytes()).hexdigest()
        for host, output in zip(hosts, self._each(hosts, STATE), strict=True):
            mirrors, config, found, *pulls = output.splitlines()
            wanted = (f"https://{REGISTRY}/", login, f"{ca}  -")
            if (*json.loads(mirrors), json.loads(config), found) != wanted or not any(map(of_image, pulls)):
                sys.exit(f"FAILED: {host} is not onboarded: mirrors {mirrors}, CA {found}, pulled {pulls}")


def of_image(reference: str) -> bool:
    """Whether a pull was that of the image, by its tag or by its digest."""
    return reference == IMAGE or reference.startswith(IMAGE.rpartition(":")[0] + "@")


class Plays:
    """Ansible as it is run by hand, timed by the clock from its start to its end."""

    def __init__(self, sockets: str) -> None:
        self._sockets = Path(sockets)
        inventories = ["-i", str(CHECKOUT / "tests/lab/inventory"), "-i", str(HERE / "fleet")]
        self._command = ["ansible-playbook", *inventories, "-e", f"@{CACHE / 'secrets.yml'}", f"--forks={FORKS}"]
        # Short, as the path of a socket has to be.
        self._environment = {**os.environ, "ANSIBLE_SSH_CONTROL_PATH_DIR": sockets}

    def disconnect(self) -> None:
        """Close what ControlPersist keeps open: no play finds the connections of the one before."""
        for socket in self._sockets.iterdir():
            subprocess.run(["ssh", "-O", "exit", "-S", str(socket), "-"], capture_output=True, check=False)

    def run(self, side: Side, hosts: list[str], *, changes: bool) -> float:
        self.disconnect()
        command = [*self._command, f"--limit={','.join([*hosts, *side.others])}", *side.arguments]
        began = time.monotonic()
        done = subprocess.run(command, env=self._environment, capture_output=True, text=True, check=False)
        seconds = time.monotonic() - began
        (CACHE / "play.log").write_text(done.stdout + done.stderr)
        recap = re.findall(r"^(\S+) *: ok=\d+ +changed=(\d+)", done.stdout, re.MULTILINE)
        changed = {host for host, number in recap if host in hosts and number != "0"}
        if done.returncode != 0 or changed != set(hosts if changes else []):
            sys.exit(f"FAILED: {side.name}: changed {sorted(changed)}:\n{done.stdout[-6000:]}{done.stderr[-2000:]}")
        return seconds


@dataclasses.dataclass(frozen=True)
class Side:
    """One way to onboard: arguments of ansible-playbook, and hosts that it needs beside those that it is about."""

    name: str
    arguments: tuple[str, ...]
    others: tuple[str, ...] = ()


BASELINE = Side("usual modules", (str(HERE / "baseline.yml"),))
ROLE = Side("role client", (str(HERE / "onboard.yml"),))
ROLLOUT = Side(
    "rollout.yml",
    (str(CHECKOUT / "playbooks/rollout.yml"), "-e", '{"rollout_batches": ["100%"]}'),
    ("registry", "localhost"),
)


class Comparison:
    def __init__(self, fleet: Fleet, plays: Plays) -> None:
        self._fleet, self._plays = fleet, plays
        self._password = yaml.safe_load((CACHE / "secrets.yml").read_text())["bench_password"]

    def _onboard(self, side: Side, hosts: list[str]) -> float:
        self._fleet.reset(hosts)
        seconds = self._plays.run(side, hosts, changes=True)
        self._fleet.check(hosts, self._password)
        return seconds

    def by_side(self) -> list[Row]:
        first: dict[Side, list[float]] = {side: [] for side in (ROLE, BASELINE, ROLLOUT)}
        second: dict[Side, list[float]] = {side: [] for side in first}
        for turn in range(1, ROUNDS + 1):
            # No side is always the first: the machine may have other work that comes and goes.
            for side in first if turn % 2 else reversed(first):
                first[side].append(self._onboard(side, HOSTS))
                second[side].append(self._plays.run(side, HOSTS, changes=False))
            shown = (f"{side.name} {first[side][-1]:.1f} s, again {second[side][-1]:.1f} s" for side in first)
            say(f"{len(HOSTS)} hosts {turn}/{ROUNDS}: {'; '.join(shown)}")
        return [
            Row(f"{len(HOSTS)} hosts, first run", first[ROLE], first[BASELINE], at_most=0.5),
            Row(f"{len(HOSTS)} hosts, second run", second[ROLE], second[BASELINE], at_most=0.35),
            Row("the first by rollout.yml", first[ROLLOUT], first[BASELINE]),
            Row("the second by rollout.yml", second[ROLLOUT], second[BASELINE]),
        ]

    def by_size(self) -> list[Row]:
        times: dict[int, list[float]] = {size: [] for size in SIZES}
        for turn in range(1, ROUNDS + 1):
            for size in SIZES if turn % 2 else reversed(SIZES):
                times[size].append(self._onboard(ROLE, HOSTS[:size]))
            shown = ", ".join(f"{size}: {seconds[-1]:.1f} s" for size, seconds in times.items())
            say(f"hosts {turn}/{ROUNDS}: {shown}")
        a_host = {size: [seconds / size for seconds in times[size]] for size in SIZES}
        further = {
            (less, more): [
                (seconds - before) / (more - less) for before, seconds in zip(times[less], times[more], strict=True)
            ]
            for less, more in ((2, 8), (8, 16))
        }
        return [
            *(Row(f"a host of {size}, against one of 2", a_host[size], a_host[2], at_most=1.2) for size in SIZES[1:]),
            Row("a further host from 8 to 16, from 2 to 8", further[8, 16], further[2, 8]),
        ]


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="wharf-") as sockets:
        plays = Plays(sockets)
        comparison = Comparison(Fleet(), plays)
        try:
            rows = [*comparison.by_side(), *comparison.by_size()]
        finally:
            plays.disconnect()
    report(rows)
    sys.exit(0 if all(row.met for row in rows) else 1)


if __name__ == "__main__":
    main()

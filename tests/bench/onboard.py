"""Onboards the hosts of fleet/ by the role `client` and by baseline.yml in turn, and prints the table of their times.

Usage: onboard.py

`rollout` starts it, once the hosts, the registry and its image are there. Both plays get the same forks, the same hosts
and the same settings, and what they leave on the hosts is compared as well.
"""

from __future__ import annotations

import base64
import concurrent.futures
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from table import Row, report, say

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parent.parent
CACHE = CHECKOUT / ".cache" / "rollout"
REGISTRY = "registry.rollout.test"
IMAGE = f"{REGISTRY}/bench/app:1.0.0"

HOSTS = [f"bench{number}" for number in range(1, 17)]
SIZES = (2, 4, 8, 16)
FORKS = 8
ROUNDS = 3

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
docker events --since 0 --until "$(date +%s)" --filter event=pull --format '{{{{.Actor.ID}}}}' | sort --unique
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
        """End unless each host is onboarded, whoever did it."""
        login = {"auths": {REGISTRY: {"auth": base64.b64encode(f"runtime:{password}".encode()).decode()}}}
        ca = subprocess.run(
            ["sha256sum"], input=(CACHE / "ca.crt").read_text(), capture_output=True, text=True, check=True
        )
        for host, output in zip(hosts, self._each(hosts, STATE), strict=True):
            mirrors, config, found, *pulls = output.splitlines()
            wanted = (f"https://{REGISTRY}/", login, ca.stdout.strip())
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

    def _disconnect(self) -> None:
        """Close what ControlPersist keeps open: no play finds the connections of the one before."""
        for socket in self._sockets.iterdir():
            subprocess.run(["ssh", "-O", "exit", "-S", str(socket), "-"], capture_output=True, check=False)

    def run(self, playbook: Path, hosts: list[str], *, changes: bool) -> float:
        self._disconnect()
        command = [*self._command, f"--limit={','.join([*hosts, 'localhost'])}", str(playbook)]
        began = time.monotonic()
        done = subprocess.run(command, env=self._environment, capture_output=True, text=True, check=False)
        seconds = time.monotonic() - began
        (CACHE / "play.log").write_text(done.stdout + done.stderr)
        changed = {
            host: int(number) for host, number in re.findall(r"^(\S+)\s*: ok=\d+\s+changed=(\d+)", done.stdout, re.M)
        }
        if done.returncode != 0 or any((changed[host] > 0) != changes for host in hosts):
            wanted = "each host" if changes else "nothing"
            sys.exit(
                f"FAILED: {playbook.name}, which was to change {wanted}:\n{done.stdout[-6000:]}{done.stderr[-2000:]}"
            )
        return seconds


class Comparison:
    def __init__(self, fleet: Fleet, plays: Plays) -> None:
        self._fleet, self._plays = fleet, plays
        secrets = (CACHE / "secrets.yml").read_text()
        self._password = secrets.split()[-1]

    def onboard(self, playbook: str, hosts: list[str], *, again: bool = False) -> tuple[float, ...]:
        """The seconds of the first run on fresh hosts, and of the second one."""
        self._fleet.reset(hosts)
        times = [self._plays.run(HERE / playbook, hosts, changes=True)]
        self._fleet.check(hosts, self._password)
        if again:
            times.append(self._plays.run(HERE / playbook, hosts, changes=False))
        return tuple(times)

    def against_baseline(self) -> list[Row]:
        ours, theirs = [], []
        for turn in range(1, ROUNDS + 1):
            sides = [("onboard.yml", ours), ("baseline.yml", theirs)]
            # In turn the first, so that none always meets what the other has left of caches.
            for playbook, times in sides if turn % 2 else reversed(sides):
                times.append(self.onboard(playbook, HOSTS, again=True))
            shown = ", ".join(
                f"{name} {first:.1f} s, again {second:.1f} s"
                for name, (first, second) in (("client", ours[-1]), ("usual modules", theirs[-1]))
            )
            say(f"{len(HOSTS)} hosts {turn}/{ROUNDS}: {shown}")
        first, second = zip(*ours, strict=True), zip(*theirs, strict=True)
        (ours_first, ours_second), (theirs_first, theirs_second) = first, second
        return [
            Row(f"{len(HOSTS)} hosts, first run", list(ours_first), list(theirs_first), at_most=0.5),
            Row(f"{len(HOSTS)} hosts, second run", list(ours_second), list(theirs_second), at_most=0.35),
        ]

    def by_size(self) -> list[Row]:
        """Seconds a host, for fleets of each size; those of the smallest stand for theirs."""
        times: dict[int, list[float]] = {size: [] for size in SIZES}
        for turn in range(1, ROUNDS + 1):
            for size in SIZES if turn % 2 else reversed(SIZES):
                (seconds,) = self.onboard("onboard.yml", HOSTS[:size])
                times[size].append(seconds / size)
            shown = ", ".join(f"{size} hosts {seconds[-1]:.2f} s" for size, seconds in times.items())
            say(f"a host {turn}/{ROUNDS}: {shown}")
        smallest, *others = SIZES
        return [
            Row(f"a host of {size} against one of {smallest}", times[size], times[smallest], at_most=1.2)
            for size in others
        ]


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="wharf-") as sockets:
        plays = Plays(sockets)
        comparison = Comparison(Fleet(), plays)
        try:
            rows = [*comparison.against_baseline(), *comparison.by_size()]
        finally:
            plays._disconnect()
    report(rows)
    sys.exit(0 if all(row.met for row in rows) else 1)


if __name__ == "__main__":
    main()

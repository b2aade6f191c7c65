"""One attack beside the legitimate mix: what it does, and what must hold meanwhile and after it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

from addresses import LEGITIMATE, attackers
from measures import slower
from mix import summary

if TYPE_CHECKING:
    from collections.abc import Iterator

    from measures import Measures
    from mix import Mix
    from target import Target, Use

# How long the mix runs, with each attack and without.
SECONDS = float(os.environ.get("WHARF_ATTACK_SECONDS", "2.5"))
RUN = Path(__file__).with_name("attackers") / "run.py"
# How full the small disk may become, in percent, and how much memory the workers may keep, in MiB.
DISK = 75
# How long an attack may take to send all that it has to send, beyond the mix.
PATIENCE = 15
# Less than it takes to check a password that is not remembered.
BCRYPT_SECONDS = 0.05
MEMORY = 128


class Attacker:
    """The process that attacks; it ends with its input, and so never outlives the tests."""

    def __init__(
        self, target: Target, kind: str, sources: list[str], forwarded: list[str] | None = None, **options
    ) -> None:
        plan = {
            "kind": kind,
            "host": target.host,
            "port": target.port,
            "sources": sources,
            "forwarded": forwarded or [],
            "seconds": 600,
            "options": options,
        }
        self.process = subprocess.Popen(
            # It gets a processor only while neither clients nor server want one.
            ["chrt", "--idle", "0", sys.executable, str(RUN)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.process.stdin.write(json.dumps(plan) + "\n")
        self.process.stdin.flush()

    def engaged(self) -> None:
        said = self.process.stdout.readline()
        assert said == "on\n", said + self.process.stderr.read()

    def finish(self, seconds: float) -> dict[str, int]:
        """Wait until it has sent what it has to, for so long at most; what it was answered."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)
        return self.stop()

    def stop(self) -> dict[str, int]:
        try:
            said, told = self.process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        assert self.process.returncode == 0, told
        return json.loads(said.splitlines()[-1])


@contextlib.contextmanager
def attacked(
    target: Target, kind: str, sources: list[str], forwarded: list[str] | None = None, **options
) -> Iterator[Attacker]:
    """The attack is under way meanwhile."""
    attacker = Attacker(target, kind, sources, forwarded, **options)
    try:
        attacker.engaged()
        yield attacker
    finally:
        if attacker.process.poll() is None:
            attacker.process.stdin.close()
            try:
                attacker.process.wait(20)
            except subprocess.TimeoutExpired:
                attacker.process.kill()
                attacker.process.wait()


class Watch:
    """The most that the proxy used meanwhile."""

    # Beside the small disk, which may be full; ends by itself after a minute or two.
    MARK = "/dev/shm/watched"  # noqa: S108 (in the container)
    SCRIPT = f"for turn in $(seq 400); do df -P /tmp /tmp/*/ | tail -n +2; sleep 0.2; [ -e {MARK} ] || exit 0; done"

    def __init__(self, target: Target) -> None:
        self.target, self.peak_disk = target, 0

    def __enter__(self) -> Self:
        self.target.inside(f"touch {self.MARK}")
        self.process = subprocess.Popen(
            ["docker", "exec", self.target.front.containers["proxy"], "sh", "-c", self.SCRIPT],
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, *_exception: object) -> None:
        self.target.inside(f"rm {self.MARK}")
        said, _told = self.process.communicate(timeout=20)
        self.peak_disk = max(int(share) for share in re.findall(r"(\d+)%", said))


@dataclasses.dataclass(frozen=True)
class Window:
    """What the mix measured beside an attack, what the attacker was answered, and how full the small disk was."""

    measures: Measures
    answers: dict[str, int]
    peak_disk: int

    def broken(self) -> list[str]:
        full = [f"the small disk: {self.peak_disk} % full"] if self.peak_disk > DISK else []
        return summary(self.measures.failures) + full


def calm(target: Target, mix: Mix, *, anew: bool = False) -> Measures:
    """The mix without an attack, measured once for each front."""
    if anew or target.calm is None:
        # Those that are remembered are so from here on.
        assert not (failures := target.well()), failures
        assert not (failures := mix.once()), failures
        target.calm = mix.run(SECONDS)
        assert not target.calm.failures, target.calm.failures
        assert target.calm.p50("login") > BCRYPT_SECONDS, (
            "the passwords of the mix are remembered: they have to be fresh"
        )
    return target.calm


def withstands(
    target: Target,
    kind: str,
    addresses: int = 1,
    *,
    shared: bool = False,
    forwarded: list[str] | None = None,
    legitimate: str | None = None,
    bounds: dict[str, float] | None = None,
    **options: object,
) -> dict[str, int]:
    """Run the mix while the attack runs, and assert that it is served; what the attacker was answered.

    `shared`: the legitimate clients have the attacker's address, as behind a NAT. `forwarded` and `legitimate` are
    addresses that a trusted proxy tells of. `bounds`: seconds that an operation may take, where that is not a multiple
    of what it takes without an attack.
    """
    sources = attackers(addresses)
    mix = target.mix(sources[0] if shared else LEGITIMATE, legitimate)
    base, before = calm(target, mix), target.use()
    window = beside(target, mix, kind, sources, forwarded, **options)
    if not window.broken() and slower(base, window.measures, bounds) and not target.well():
        # The machine itself may have become slower: both are measured once more.
        base = calm(target, mix, anew=True)
        window = beside(target, mix, kind, sources, forwarded, **options)
    complaints = window.broken() + slower(base, window.measures, bounds) + recovered(target, before)
    story = [
        f"without: {base}",
        f"attacked: {window.measures}",
        f"attacker: {window.answers}, disk {window.peak_disk} %",
    ]
    print("\n".join(story))
    assert not complaints, "\n".join([*complaints, *story])
    return window.answers


def beside(
    target: Target,
    mix: Mix,
    kind: str,
    sources: list[str],
    forwarded: list[str] | None,
    *,
    pause: float = 0,
    **options: object,
) -> Window:
    """Run the mix beside an attack, and let one that has so much to send come to its end.

    `pause`: seconds between the two, for an attack whose beginning computes what its rest only holds.
    """
    with Watch(target) as watch:
        attacker = Attacker(target, kind, sources, forwarded, **options)
        try:
            attacker.engaged()
            time.sleep(pause)
            measures = mix.run(SECONDS)
        finally:
            answers = attacker.finish(PATIENCE if "count" in options else 0)
    return Window(measures, answers, watch.peak_disk)


def recovered(target: Target, before: Use) -> list[str]:
    """What is not as it was before."""
    complaints = [f"afterwards: {failure}" for failure in target.well()]
    after = target.use()
    if after.deaths > before.deaths:
        complaints.append(f"workers died: {sorted(before.workers)} became {sorted(after.workers)}")
    if after.memory_mib > before.memory_mib + MEMORY:
        complaints.append(f"the workers' memory: {before.memory_mib:.0f} MiB became {after.memory_mib:.0f} MiB")
    if after.disk > DISK:
        complaints.append(f"the small disk stays {after.disk} % full")
    return complaints

"""One attack beside the legitimate mix: what it does, and what must hold meanwhile and after it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Self

from addresses import LEGITIMATE, attackers
from measures import slower
from mix import summary

if TYPE_CHECKING:
    from collections.abc import Iterator

    from measures import Measures
    from target import Target, Use

# How long the mix runs, with each attack and without.
SECONDS = float(os.environ.get("WHARF_ATTACK_SECONDS", "4"))
RUN = Path(__file__).with_name("attackers") / "run.py"
# What the small disk may fill to, in percent, and how much memory the workers may keep, in MiB.
DISK = 75
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
            ["nice", "-n", "15", sys.executable, str(RUN)],
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
    SCRIPT = f"for turn in $(seq 400); do df -P /tmp | tail -1; sleep 0.2; [ -e {MARK} ] || exit 0; done"

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


def calm(target: Target, source: str, forwarded: str | None, *, anew: bool = False) -> Measures:
    """The mix without an attack, measured once for each front."""
    if anew or "calm" not in target.calm:
        mix = target.mix(source, forwarded)
        # Those that are remembered are so from here on.
        assert not (failures := mix.once()), failures
        target.calm["calm"] = mix.run(SECONDS)
        assert not target.calm["calm"].failures, target.calm["calm"].failures
        assert target.calm["calm"].p50("login") > 0.05, "the passwords of the mix are remembered: they have to be fresh"
    return target.calm["calm"]


def withstands(
    target: Target,
    kind: str,
    addresses: int = 1,
    *,
    shared: bool = False,
    forwarded: list[str] | None = None,
    legitimate: str | None = None,
    **options: object,
) -> dict[str, int]:
    """Run the mix while the attack runs, and assert that it is served; what the attacker was answered.

    `shared`: the legitimate clients have the attacker's address, as behind a NAT. `forwarded` and `legitimate` are
    addresses that a trusted proxy tells of.
    """
    sources = attackers(addresses)
    source = sources[0] if shared else LEGITIMATE
    before, base = target.use(), calm(target, source, legitimate)
    complaints, answers = [], {}
    try:
        attacker = Attacker(target, kind, sources, forwarded, **options)
        with Watch(target) as watch:
            try:
                attacker.engaged()
                measures = target.mix(source, legitimate).run(SECONDS)
                if options.get("count"):
                    attacker.process.wait(20)
            finally:
                answers = attacker.stop()
        complaints = summary(measures.failures) + slower(base, measures)
        if complaints and not measures.failures:
            # The machine itself may have become slower.
            complaints = slower(calm(target, source, legitimate, anew=True), measures)
        if watch.peak_disk > DISK:
            complaints.append(f"the small disk: {watch.peak_disk} % full")
        complaints += recovered(target, before)
    finally:
        if target.well(0):
            target.restart()
    story = [
        f"without: {base}",
        f"attacked: {measures}",
        f"attacker: {answers}",
        f"the small disk: {watch.peak_disk} % at most",
    ]
    print("\n".join(story))
    assert not complaints, "\n".join([*complaints, *story])
    return answers


def recovered(target: Target, before: Use) -> list[str]:
    """What is not as it was before."""
    complaints = [f"afterwards: {failure}" for failure in target.well()]
    after = target.use()
    if after.workers != before.workers:
        complaints.append(f"workers died: {sorted(before.workers)} became {sorted(after.workers)}")
    if after.memory_mib > before.memory_mib + MEMORY:
        complaints.append(f"the workers' memory: {before.memory_mib:.0f} MiB became {after.memory_mib:.0f} MiB")
    if after.disk > DISK:
        complaints.append(f"the small disk stays {after.disk} % full")
    return complaints

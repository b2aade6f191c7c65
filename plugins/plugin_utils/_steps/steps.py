# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the callback `steps` counts: steps, and the tasks that run."""

from __future__ import annotations

import dataclasses
import typing

# Where the seconds of a step begin, so that they stand below each other.
COLUMN = 46
# How many hosts a line names before it counts the others.
NAMED = 4


@dataclasses.dataclass
class Step:
    """Tasks of one role that have the first part of their names in common."""

    role: str
    name: str
    seconds: float = 0.0
    hosts: set[str] = dataclasses.field(default_factory=set)
    changed: set[str] = dataclasses.field(default_factory=set)
    failed: set[str] = dataclasses.field(default_factory=set)
    tasks: list[tuple[float, str]] = dataclasses.field(default_factory=list)
    diffs: list[str] = dataclasses.field(default_factory=list)
    # Of a step that stands for others: which of them changed something.
    parts: list[str] = dataclasses.field(default_factory=list)
    open: int = 0
    began: float = 0.0

    @property
    def label(self) -> str:
        return ": ".join(part for part in (self.role, self.name) if part)

    def begin(self, now: float) -> None:
        """One of its tasks begins. Tasks that run beside each other, as of hosts that go their own ways, count once."""
        if not self.open:
            self.began = now
        self.open += 1

    def end(self, now: float, task: str, took: float) -> None:
        self.open -= 1
        self.tasks.append((took, task))
        if not self.open:
            self.seconds += now - self.began


@dataclasses.dataclass
class Running:
    """A task that has begun, and the hosts that have not answered yet."""

    step: Step
    name: str
    started: float
    hosts: dict[str, float] = dataclasses.field(default_factory=dict)
    note: str = ""
    asks: bool = False

    def text(self, now: float, many: bool, short: bool = False) -> str:
        hosts = list(self.hosts)
        waiting = f"; {names(hosts)}" if many and hosts else ""
        note = f"; {self.note}" if self.note else ""
        name = beside(self.name) if short else self.name
        return f"{name} ({now - self.started:.0f} s{waiting}{note})"


def merged(steps: list[Step]) -> Step:
    """One step for many that were quick."""
    roles = dict.fromkeys(step.role or "other tasks" for step in steps)
    whole = Step(", ".join(roles), "", sum(step.seconds for step in steps))
    for step in steps:
        whole.hosts |= step.hosts
        whole.changed |= step.changed
    whole.parts = list(dict.fromkeys(step.name for step in steps if step.changed))
    return whole


def beside(task: str) -> str:
    """The name of a task beside that of its step."""
    return task.rpartition(" | ")[2]


def names(hosts: typing.Iterable[str]) -> str:
    """Hosts by name, and only how many there are beyond the first ones."""
    hosts = sorted(hosts)
    more = len(hosts) - NAMED
    return ", ".join(hosts[:NAMED]) + (f" and {more} more" if more > 0 else "")


def state(step: Step, many: bool) -> str:
    """What came of a step; by host where the play has many."""
    if not many:
        return "failed" if step.failed else "changed" if step.changed else "ok" if step.hosts else "skipped"
    whole = step.hosts | step.failed
    told = [f"{len(whole)} {'host' if len(whole) == 1 else 'hosts'}"] if whole else ["skipped"]
    for word, hosts in (("changed", step.changed), ("failed", step.failed)):
        if hosts:
            told.append(f"{word}: {'all' if len(hosts) == len(whole) > 1 else names(hosts)}")
    return "  ".join(told)


def seconds(number: float) -> str:
    return f"{number:.1f} s" if number < 100 else f"{number:.0f} s"


def line(label: str, step: Step, many: bool, slow: float) -> str:
    """The line of a step that is over, with the task that made it slow."""
    text = f"{label:<{COLUMN}} {seconds(step.seconds):>8}  {state(step, many)}"
    if step.parts:
        text += f" ({', '.join(step.parts)})"
    took, task = max(step.tasks, default=(0.0, ""))
    if step.seconds >= slow and len(step.tasks) > 1 and took >= 1:
        text += f"  ({beside(task)}: {seconds(took)})"
    return text


def roles_of(task: object) -> list[str]:
    """The roles that a task lies in, the inner one first."""
    roles = []
    while task is not None:
        if (role := getattr(task, "_role", None)) is not None:
            roles.append(role.get_name().rpartition(".")[2])
        task = getattr(task, "_parent", None)
    return roles


def is_rescued(task: object) -> bool:
    """Whether a block around a task comes to its rescue if it fails."""
    inside: set[str] = set()
    while task is not None:
        parts = [getattr(task, part, None) or [] for part in ("rescue", "always")]
        # A failure in the rescue itself is not rescued.
        if parts[0] and not inside & {one._uuid for part in parts for one in part}:
            return True
        inside.add(getattr(task, "_uuid", ""))
        task = getattr(task, "_parent", None)
    return False

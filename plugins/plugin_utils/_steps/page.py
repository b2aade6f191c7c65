# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which lines the callback `steps` gives to the steps of a play."""

from __future__ import annotations

import textwrap
import typing

from ansible import constants as C  # noqa: N812 # its name in all of Ansible
from ansible_collections.wharf.registry.plugins.plugin_utils._steps import steps
from ansible_collections.wharf.registry.plugins.plugin_utils._steps.screen import Screen


class Page:
    """The name of a play, the lines of its steps, and those that share a line since they were quick."""

    def __init__(self, screen: Screen, option: typing.Callable[[str], typing.Any]) -> None:
        self._screen = screen
        self._option = option
        # Of the run: lines that were written, and the seconds of each step.
        self._lines = 0
        self.over: list[tuple[float, str]] = []
        self.begin("")

    def begin(self, title: str) -> None:
        """A play begins: its name is written above its first line."""
        self.title = title
        self.headed = self.told = False
        self.hosts: set[str] = set()
        self._shown: set[str] = set()
        self._quiet: list[steps.Step] = []

    @property
    def many(self) -> bool:
        return len(self.hosts) > 1

    def end(self) -> None:
        self._share()

    def show(self, step: steps.Step) -> None:
        """The line of a step that is over, or a part in that of its role."""
        self.over.append((step.seconds, step.label))
        if self._shares(step):
            self._quiet.append(step)
            return
        self._share(step.role)
        self.head()
        self._shown.add(step.role)
        self._line(f"  {step.label}", step)
        for diff in step.diffs:
            self._screen.line(textwrap.indent(diff.rstrip("\n"), "    "))

    def _shares(self, step: steps.Step) -> bool:
        """Whether a step is not worth a line of its own. Where there are many lines already, only slow ones are."""
        if step.failed or step.diffs:
            return False
        if self._lines >= self._option("max_lines"):
            return step.seconds < self._option("slow_seconds")
        return not step.changed and step.seconds < self._option("quick_seconds")

    def head(self) -> None:
        if not self.headed:
            self.headed = True
            self._lines += 1
            self._screen.line(self.title)

    def _line(self, label: str, step: steps.Step) -> None:
        color = C.COLOR_ERROR if step.failed else C.COLOR_CHANGED if step.changed else C.COLOR_OK
        self._lines += 1
        text = steps.line(label, step, self.many, self._option("slow_seconds"))
        self._screen.line(text, color if step.hosts or step.failed else C.COLOR_SKIP)

    def _share(self, role: str | None = None) -> None:
        """The line of the quick steps, and one of each role that changed something; not of a role that goes on."""
        quiet = [step for step in self._quiet if step.role != role]
        self._quiet = [step for step in self._quiet if step.role == role]
        rests: dict[str, list[steps.Step]] = {}
        for step in quiet:
            rests.setdefault(step.role, []).append(step)
        # The play itself is spoken for by any line but that of the whole play.
        spoken = self._shown | ({""} if role is not None or self.headed or self.told else set())
        rests = {name: rest for name, rest in rests.items() if self._worth(name in spoken, rest)}
        alike = [step for rest in rests.values() if not any(step.changed for step in rest) for step in rest]
        groups = [alike] if alike else []
        groups += [rest for rest in rests.values() if any(step.changed for step in rest)]
        # A play of which nothing else is to be said is one line.
        whole_play = role is None and not self.headed and len(groups) == 1
        for group in groups:
            whole = steps.merged(group)
            if whole_play:
                self._line(self.title, whole)
            else:
                self.head()
                self._line(f"  {whole.label}", whole)

    def _worth(self, spoken: bool, rest: list[steps.Step]) -> bool:
        """Whether steps of a role that share a line are worth one, where the role may have others."""
        slow = sum(step.seconds for step in rest) >= self._option("quick_seconds")
        return slow or not spoken or any(step.changed for step in rest)

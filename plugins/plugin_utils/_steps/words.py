# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the callback `steps` tells what a result holds."""

from __future__ import annotations

import os
import textwrap
import typing

# Of a result: what is shown apart, or says nothing.
APART = {"msg", "reason", "changed", "failed", "exception", "warnings", "deprecations", "invocation", "diff", "results"}
APART |= {"stdout_lines", "stderr_lines", "item", "ansible_loop_var", "ansible_index_var", "ansible_facts"}
APART |= {"start", "end", "delta", "unreachable"}


def whole_lines(value: object) -> list[str] | None:
    """A text, or a list of texts, as the lines that it has; None for all else."""
    if isinstance(value, str):
        return value.rstrip().splitlines()
    if isinstance(value, list) and all(isinstance(one, (str, int, float)) for one in value):
        return [text for one in value for text in str(one).splitlines() or [""]]
    return None


def short_path(path: str | None) -> str:
    """file:line as seen from here, through links such as that of the checkout in .venv/collections."""
    if not path:
        return ""
    relative = os.path.relpath(os.path.realpath(path))
    return path if relative.startswith("..") else relative


def origin(exception: object) -> str:
    """file:line of what is at the bottom of an error, which need not be the task; ansible-core knows it since 2.19."""
    event, found = getattr(exception, "event", None), ""
    while event is not None:
        found = getattr(event, "formatted_source_context", None) or found
        event = getattr(getattr(event, "chain", None), "event", None)
    first = found.partition("\n")[0]
    # Without the column, as Ansible names the place of a task.
    return first.removeprefix("Origin: ").rpartition(":")[0] if first.startswith("Origin: ") else ""


def failed_items(data: dict) -> list[dict]:
    """The items of a loop that failed."""
    items = [one for one in data.get("results", []) if isinstance(one, dict)]
    # ansible-core 2.21 tells callbacks of an item no more than its exception.
    return [one for one in items if one.get("failed", "exception" in one)]


class Words:
    """Tells results as lines. How values are written and items are named is Ansible's: `dump` and `label`."""

    def __init__(self, dump: typing.Callable[[dict], str], label: typing.Callable[[dict], object]) -> None:
        self._dump = dump
        self._label = label

    def lines(self, value: object) -> list[str]:
        lines = whole_lines(value)
        if lines is None:
            value = value if isinstance(value, dict) else {"msg": value}
            lines = textwrap.dedent(self._dump(value).strip("\n")).splitlines() if value else []
        return lines

    def told(self, data: dict) -> list[str]:
        """What a task of debug shows: a message, or variables by their names."""
        return self.lines(data["msg"] if "msg" in data else shown(data))

    def first_line(self, data: dict) -> str:
        """The beginning of what a failure says."""
        data = next(iter(failed_items(data)), data)
        lines = self.lines(data.get("msg") or data.get("reason") or data.get("censored") or "")
        return lines[0] if lines else ""

    def failure(self, result: object, path: str) -> list[str]:
        """Where the task stands, what it said, and each item of a loop that failed."""
        data = result._result
        body = [path] if path else []
        # A value that can't be worked out is to be mended where it is given, not where it is used.
        cause = short_path(origin(getattr(result, "exception", None)))
        if cause and cause != path:
            body.append(f"by what stands at {cause}")
        items = failed_items(data)
        if not items:
            return body + self._details(data)
        for item in items:
            body += [f"item={self._label(item)}", *(f"  {one}" for one in self._details(item))]
        return body

    def _details(self, data: dict) -> list[str]:
        """The message in whole lines, and what else the module told."""
        lines = self.lines(data.get("msg") or data.get("reason") or "")
        trace = str(data.get("exception") or "").strip().splitlines()
        # Before 2.19 it is the traceback of an exception, and its last line says what it was.
        if len(trace) > 1:
            lines.append(trace[-1])
        rest = {name: value for name, value in shown(data).items() if value not in ("", [], None)}
        return lines + (self.lines(rest) if rest else [])


def shown(data: dict) -> dict:
    """What a module told, without what is shown apart and what Ansible keeps for itself."""
    return {name: value for name, value in data.items() if name not in APART and not name.startswith("_")}

# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the reports of all playbooks are made of: sections with columns and rows, counts, sentences."""

from __future__ import annotations

# Outcomes that a run must not end well with.
BAD = frozenset(["failed", "unreachable", "rolled_back", "damaged", "killed"])
FAILED_TITLE = "What failed"


def section(title, columns, rows):
    """A table. columns: (name, label, kind), with the kinds text, number, bytes, time, seconds and outcome."""
    told = [{"name": name, "label": label, "kind": kind} for name, label, kind in columns]
    names = [column["name"] for column in told]
    return {"title": title, "columns": told, "rows": [{name: row.get(name) for name in names} for row in rows]}


def outcome_of(failed):
    """Of a report, by its rows of what failed. A host that check mode tells nothing of has not failed."""
    return "failed" if any(one["outcome"] != "skipped" for one in failed) else "ok"


def with_rows(*sections):
    """The sections that have rows."""
    return [one for one in sections if one["rows"]]


def count(number, what):
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def outcomes(rows):
    """Like "2 ok, 1 rolled back", in the order of the rows."""
    numbers = {}
    for row in rows:
        numbers[row["outcome"]] = numbers.get(row["outcome"], 0) + 1
    return ", ".join(f"{number:,} {outcome.replace('_', ' ')}" for outcome, number in numbers.items())


def size(number):
    """Bytes for people, in the units that the collector uses."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(number) < 1024:
            return f"{number:.0f} B" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} TiB"


def line(text):
    """One line of what a task has said."""
    return " ".join(str(text or "").split())


def result_of(facts, name):
    """A result of a role by the name of its fact, or an empty dictionary where it has set none."""
    found = facts.get(name)
    return found if isinstance(found, dict) else {}


def without_result(facts, check):
    """What is said of a host whose play has left nothing, neither a result nor a failure."""
    if facts.get("__playbook_failure"):
        return "failed", line(facts["__playbook_failure"])
    if check:
        return "skipped", "check mode does not tell"
    return "unreachable", "there is no result: the host was not reached, or its play ended before"

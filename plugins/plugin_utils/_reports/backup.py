# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of backup.yml: what is saved of each registry, and when it was last proven."""

from __future__ import annotations

import time

from ansible_collections.wharf.registry.plugins.plugin_utils._reports.tables import (
    FAILED_TITLE,
    count,
    line,
    outcome_of,
    result_of,
    section,
    size,
    with_rows,
    without_result,
)

READS = ("backup_result", "__playbook_failure")

_FAILED = (
    ("host", "Host", "text"),
    ("outcome", "Outcome", "outcome"),
    ("said", "Problem", "text"),
    ("cure", "Cure", "text"),
)
_BACKUPS = (
    ("host", "Host", "text"),
    ("outcome", "Outcome", "outcome"),
    ("snapshot", "Snapshot", "text"),
    ("began", "Began", "time"),
    ("seconds", "Took", "seconds"),
    ("repositories", "Repositories", "number"),
    ("tags", "Tags", "number"),
    ("bytes", "Holds", "bytes"),
    ("bytes_added", "Added", "bytes"),
    ("snapshots_kept", "Snapshots kept", "number"),
    ("succeeded", "Last good", "time"),
    ("checked", "Repository checked", "time"),
    ("proven", "Restore proven", "time"),
    ("repository", "Repository of restic", "text"),
)
_NOTES = (("host", "Host", "text"), ("said", "Note", "text"))


def of_backup(facts, when, check):
    """facts: {host: what the role has told of it, see READS}."""
    rows, failed, notes, lines, hosts = [], [], [], [], {}
    for host, told in facts.items():
        result = result_of(told, "backup_result")
        outcome, said, cure = result.get("outcome", ""), line(result.get("message")), line(result.get("cure"))
        if not result or (told.get("__playbook_failure") and outcome == "ok"):
            outcome, said = without_result(told, check)
        if outcome not in ("ok", "running"):
            failed.append({"host": host, "outcome": outcome, "said": said, "cure": cure})
        row = {**result, "host": host, "outcome": outcome, "checked": _text(result.get("checked"))}
        rows.append(row)
        notes += [{"host": host, "said": line(one)} for one in result.get("warnings") or []]
        lines += result.get("lines") or ([f"{host}: {said}"] if said else [])
        if result:
            hosts[host] = _of_host(row, said, when)
    return {
        "outcome": outcome_of(failed),
        "summary": _summary(rows, check),
        "sections": with_rows(
            section(FAILED_TITLE, _FAILED, [one for one in failed if one["outcome"] != "skipped"]),
            section("Backups", _BACKUPS, rows),
            section("Notes", _NOTES, notes),
        ),
        "lines": lines,
        "hosts": hosts,
    }


def _text(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds)) if seconds else None


def _of_host(row, said, when):
    names = ("outcome", "repository", "snapshots_kept", "bytes", "checked", "proven")
    return {**{name: row.get(name) for name in names}, "last": row.get("succeeded"), "said": said, "when": when}


def _summary(rows, check):
    if check:
        return "Check mode makes no backup."
    good = [row for row in rows if row["outcome"] == "ok"]
    saved = sum(row.get("bytes") or 0 for row in good)
    if len(good) == len(rows):
        return f"{count(len(good), 'registry host')} saved: {size(saved)}."
    return f"{len(rows) - len(good)} of {count(len(rows), 'registry host')} not saved."

# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of doctor.yml: the first hop that fails on each host, its cure, and how images come in from outside."""

from __future__ import annotations

from ansible_collections.wharf.registry.plugins.plugin_utils._reports.tables import (
    FAILED_TITLE,
    count,
    section,
    with_rows,
)

_FAILED = (
    ("host", "Host", "text"),
    ("outcome", "Outcome", "outcome"),
    ("hop", "Fails at", "text"),
    ("what", "Problem", "text"),
    ("cure", "Cure", "text"),
)
_HOSTS = (
    ("host", "Host", "text"),
    ("outcome", "Outcome", "outcome"),
    ("hop", "Fails at", "text"),
    ("said", "What", "text"),
)
_SUPPLY = (
    ("what", "Source", "text"),
    ("host", "Host", "text"),
    ("outcome", "Outcome", "outcome"),
    ("since", "Stale since", "time"),
    ("said", "What", "text"),
)


def of_doctor(facts, when):
    """facts: rows and lines of doctor_report(), and supply, the rows of supply_rows()."""
    rows = [{**row, "outcome": _outcome(row)} for row in facts.get("rows") or []]
    failed = [{**row, "what": "\n".join(filter(None, [row["title"], row["said"]]))} for row in rows if row["hop"]]
    supply = [{**row, "outcome": "stale" if row["since"] else "ok"} for row in facts.get("supply") or []]
    shown = [{**row, "said": row["title"] or row["said"]} for row in rows]
    good = len(rows) - len(failed)
    said = (
        f"All is well on {count(good, 'host')}."
        if not failed
        else (f"{count(len(failed), 'host')} of {len(rows):,} can't use the registry as meant; {good:,} can.")
    )
    return {
        "outcome": "failed" if failed else "ok",
        "summary": said if rows else "There is no host to look at.",
        "sections": with_rows(
            section(FAILED_TITLE, _FAILED, failed),
            section("Hosts", _HOSTS, shown),
            section("Images from outside", _SUPPLY, supply),
        ),
        "lines": facts.get("lines") or [],
        "hosts": {
            row["host"]: {
                "hop": row["hop"],
                "title": row["title"] or row["said"],
                "said": row["said"],
                "cure": row["cure"],
                "when": when,
            }
            for row in rows
        },
    }


def _outcome(row):
    return {"": "ok", "ansible": "unreachable"}.get(row["hop"], "failed")

# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of rollout.yml: what came of each host, and what it trusts now."""

from __future__ import annotations

from ansible_collections.wharf.registry.plugins.plugin_utils._reports.tables import (
    BAD,
    FAILED_TITLE,
    count,
    outcomes,
    section,
    with_rows,
)

_FAILED = (("host", "Host", "text"), ("outcome", "Outcome", "outcome"), ("said", "Problem and cure", "text"))
_HOSTS = (
    ("host", "Host", "text"),
    ("outcome", "Outcome", "outcome"),
    ("batch", "Batch", "number"),
    ("engine", "Engine", "text"),
    ("trust", "Trusts", "text"),
    ("seconds", "Time", "seconds"),
    ("changes", "Changed", "text"),
)


def of_rollout(facts, when):
    """facts: rows and lines of rollout_report()."""
    rows = facts.get("rows") or []
    failed = [row for row in rows if row["outcome"] in BAD]
    shown = [
        {
            **row,
            "engine": "\n".join(filter(None, [row["engine"], *row["other_engines"]])),
            "changes": "\n".join(row["changes"]),
        }
        for row in rows
    ]
    batches = max((row["batch"] for row in rows), default=0)
    of = f"{count(len(rows), 'host')} in {batches} {'batch' if batches == 1 else 'batches'}"
    return {
        "outcome": "failed" if failed else "ok",
        "summary": f"{of}: {outcomes(rows)}." if rows else "There is no client to roll out to.",
        "sections": [*with_rows(section(FAILED_TITLE, _FAILED, failed)), section("Hosts", _HOSTS, shown)],
        "lines": facts.get("lines") or [],
        "hosts": {row["host"]: _of_host(row, when) for row in rows},
    }


def _of_host(row, when):
    engines = [row["engine"], *row["other_engines"]] if row["engine"] else row["other_engines"]
    return {
        "outcome": row["outcome"],
        "said": row["said"],
        "engines": engines,
        "trust": row["trust"],
        "batch": row["batch"],
        "when": when,
    }

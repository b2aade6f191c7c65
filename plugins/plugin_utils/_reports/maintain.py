# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of maintain.yml: the tags that retention removes, what the collection frees, how full the disks are."""

from __future__ import annotations

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

READS = ("maintenance_report", "maintenance_retained", "__playbook_failure")

_FAILED = (("host", "Host", "text"), ("outcome", "Outcome", "outcome"), ("said", "Problem and cure", "text"))
_HOSTS = (
    ("host", "Host", "text"),
    ("outcome", "Outcome", "outcome"),
    ("freed", "Freed", "bytes"),
    ("tags", "Tags removed", "number"),
    ("manifests", "Manifests removed", "number"),
    ("blobs", "Blobs removed", "number"),
    ("stored", "Stored", "bytes"),
    ("free", "Disk free", "bytes"),
    ("used_percent", "Disk used, %", "number"),
    ("held_seconds", "Writes held", "seconds"),
    ("refused", "Writes refused", "number"),
)
_TAGS = (
    ("host", "Host", "text"),
    ("image", "Image", "text"),
    ("reason", "Reason", "text"),
    ("digest", "Digest", "text"),
)
_REPOSITORIES = (
    ("host", "Host", "text"),
    ("name", "Repository", "text"),
    ("bytes", "Size", "bytes"),
    ("tags", "Tags", "number"),
)
_FORETOLD = (("host", "Host", "text"), ("said", "What a collection would do", "text"))
_WARNINGS = (("host", "Host", "text"), ("said", "Warning", "text"))


def of_maintain(facts, when, check):
    """facts: {host: what the roles have told of it, see READS}."""
    rows, failed, tags, repositories, warnings, foretold, lines, hosts = [], [], [], [], [], [], [], {}
    for host, told in facts.items():
        report, retained = result_of(told, "maintenance_report"), result_of(told, "maintenance_retained")
        deleted = [(one, tag) for one in retained.get("repositories") or [] for tag in one["deleted"]]
        outcome, said = ("ok", "")
        if told.get("__playbook_failure") or not report:
            outcome, said = without_result(told, check)
        if outcome != "ok":
            failed.append({"host": host, "outcome": outcome, "said": said})
        row = _row(report)
        # Where not all was removed, it is not told what was.
        removed = None if check or not retained or retained.get("msg") else len(deleted)
        rows.append({"host": host, "outcome": outcome, **row, "tags": removed})
        tags += [_tag(host, one, tag) for one, tag in deleted]
        repositories += [{"host": host, **one} for one in report.get("repositories") or []]
        warnings += [{"host": host, "said": line(said)} for said in [*_full(report), *(report.get("warnings") or [])]]
        said_of_it = report.get("lines") or ([f"{host}: {said}"] if said else [])
        lines += said_of_it
        foretold += [{"host": host, "said": one} for one in said_of_it] if check else []
        hosts[host] = _of_host(report, outcome, said, when, removed)
    return {
        "outcome": outcome_of(failed),
        "summary": _summary(rows, tags, check),
        "sections": with_rows(
            section(FAILED_TITLE, _FAILED, failed),
            section("Warnings", _WARNINGS, warnings),
            section("Registries", _HOSTS, [] if check else rows),
            section("Foretold", _FORETOLD, foretold),
            section("Tags that no rule keeps", _TAGS, tags),
            section("Repositories", _REPOSITORIES, repositories),
        ),
        "lines": [*(f"{one['image']} - {one['reason']}" for one in tags), *lines],
        "hosts": hosts,
    }


def _row(report):
    disk, removed = report.get("disk") or {}, report.get("removed") or {}
    return {
        **{name: report.get(name) for name in ("freed", "stored", "held_seconds", "refused")},
        **{name: removed.get(name) for name in ("manifests", "blobs")},
        **{name: disk.get(name) for name in ("free", "used_percent")},
    }


def _tag(host, repository, tag):
    image = f"{repository['name']}:{tag['tag']}"
    return {"host": host, "image": image, "reason": tag["reason"], "digest": tag["digest"]}


def _full(report):
    disk = report.get("disk") or {}
    if not disk.get("full"):
        return []
    full = f"The disk of {disk['path']} is {disk['used_percent']} % full"
    return [f"{full}. Uploads fail when it is full: remove tags, or give it a larger disk"]


def _of_host(report, outcome, said, when, tags):
    told = {name: report.get(name) for name in ("freed", "held_seconds", "disk", "stored", "refused")}
    return {**told, "last": report.get("time"), "outcome": outcome, "said": said, "tags_removed": tags, "when": when}


def _summary(rows, tags, check):
    if check:
        return f"{count(len(tags), 'tag')} would be removed by the rules of retention."
    removed, freed = (sum(row[name] or 0 for row in rows) for name in ("tags", "freed"))
    said = f"{count(removed, 'tag')} removed, {size(freed)} freed"
    most = max((row["used_percent"] for row in rows if row["used_percent"] is not None), default=None)
    return f"{said}." if most is None else f"{said}; the {'fullest ' if len(rows) > 1 else ''}disk is {most} % full."

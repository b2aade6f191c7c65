# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of exposure.yml: what is new, what each host runs, and what was found in it."""

from __future__ import annotations

from ansible_collections.wharf.registry.plugins.plugin_utils._reports.tables import (
    FAILED_TITLE,
    count,
    line,
    result_of,
    section,
    with_rows,
)

READS = ("exposure_report", "exposure_failure", "__playbook_failure")

# From the worst to the least.
_SEVERITIES = ("critical", "high", "medium", "low", "negligible", "unknown")
_COUNTS = tuple((name, name.capitalize(), "number") for name in _SEVERITIES)

_FAILED = (("host", "Scanned on", "text"), ("outcome", "Outcome", "outcome"), ("said", "Problem", "text"))
_UNKNOWN = (("what", "What", "text"), ("said", "Problem", "text"))
_NEW = (
    ("severity", "Severity", "outcome"),
    ("id", "Vulnerability", "text"),
    ("package", "Package", "text"),
    ("installed", "Installed", "text"),
    ("fixed", "Fixed in", "text"),
    ("image", "Image", "text"),
    ("hosts", "Hosts", "number"),
    ("named", "Where", "text"),
)
_ODD = (
    ("host", "Host", "text"),
    ("container", "Container", "text"),
    ("image", "Image", "text"),
    ("said", "What", "text"),
)
_HOSTS = (("host", "Host", "text"), ("runs", "Containers", "number"), *_COUNTS, ("seen", "Seen", "time"))
_IMAGES = (("image", "Image", "text"), *_COUNTS, ("hosts", "Hosts", "number"))


def of_exposure(facts, when):
    """facts: {host that scans: what the role has told of it, see READS}."""
    failed, unknown, new, odd, hosts, images, lines, kept = [], [], [], [], [], [], [], {}
    for scanner, told in facts.items():
        summary = result_of(told, "exposure_report")
        found = result_of(summary, "report")
        failure = line(told.get("exposure_failure") or told.get("__playbook_failure"))
        if not failure and not summary:
            failure = "there is no result: the host was not reached, or its play ended before"
        if failure:
            failed.append({"host": scanner, "outcome": "failed", "said": failure})
        lines += summary.get("lines") or ([failure] if failure else [])
        unknown += [{"what": one["name"], "said": one["problem"]} for one in found.get("hosts", []) if one["problem"]]
        unknown += [{"what": one["image"], "said": one["problem"]} for one in found.get("images", []) if one["problem"]]
        unknown += [
            {"what": "this report", "said": f"{number:,} more {name} are left off; exposure.json has all of them"}
            for name, number in result_of(found, "left_off").items()
        ]
        new += [{**one, "named": _named(one)} for one in found.get("new", [])]
        odd += [{**run, "host": one["name"]} for one in found.get("hosts", []) for run in one["runs"] if run["odd"]]
        hosts += [
            {"host": one["name"], "runs": len(one["runs"]), "seen": one["seen"], **(one["findings"] or {})}
            for one in found.get("hosts", [])
        ]
        images += [{**one, **(one["findings"] or {})} for one in found.get("images", [])]
        kept.update((one["name"], _of_host(one, when)) for one in found.get("hosts", []))
    order = {name: number for number, name in enumerate(_SEVERITIES)}
    new.sort(key=lambda one: order.get(one["severity"], len(order)))
    return {
        "outcome": "failed" if failed else "ok",
        "summary": _summary(hosts, images, new),
        "sections": with_rows(
            section(FAILED_TITLE, _FAILED, failed),
            section("What is not known", _UNKNOWN, unknown),
            section("New findings", _NEW, new),
            section("Images that are not what their name says", _ODD, odd),
            _counted(section("Hosts", _HOSTS, hosts)),
            _counted(section("Images", _IMAGES, images)),
        ),
        "lines": lines,
        "hosts": kept,
    }


def _counted(table):
    """Without the severities that were found nowhere."""
    found = {name for row in table["rows"] for name, value in row.items() if value}
    gone = set(_SEVERITIES) - found
    columns = [one for one in table["columns"] if one["name"] not in gone]
    rows = [{name: value for name, value in row.items() if name not in gone} for row in table["rows"]]
    return {**table, "columns": columns, "rows": rows}


def _named(one):
    more = one["hosts"] - len(one["named"])
    return ", ".join(one["named"]) + (f" and {more:,} more" if more > 0 else "")


def _of_host(one, when):
    runs = [{name: run[name] for name in run if name not in ("odd", "said", "state")} for run in one["runs"]]
    return {"runs": runs, "findings": one["findings"], "seen": one["seen"], "problem": one["problem"], "when": when}


def _summary(hosts, images, new):
    fleet = f"{count(len(hosts), 'host')}, {count(sum(one['runs'] for one in hosts), 'container')}"
    known = sum(one[name] for one in images for name in _SEVERITIES if one.get(name))
    return (
        f"{fleet}, {count(len(images), 'image')} of the registry: {count(len(new), 'new finding')}, {known:,} in all."
    )

# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the page tells of the fleet: of the kept reports, and of what a registry host knows by itself.

Pure. Each of them may be missing, damaged or hostile: what is no value of the right type is left out, and all of it is
bounded. Private to this collection.
"""

from __future__ import annotations

import calendar
import time

from ansible_collections.wharf.registry.plugins.module_utils._reports.texts import (
    dictionaries,
    items,
    mapping,
    number,
    text,
    texts,
    when,
)

FORMAT = 1
KINDS = ("rollout", "doctor", "exposure", "maintain", "mirror", "backup")
MOST_HOSTS = 10000
# Of one host, and of all of them together.
MOST_RUNS = 200
MOST_RUNS_OF_ALL = 20000
_MOST_ENGINES = 20
_MOST_OTHERS = 500
# Of a report, for each of its sections, and the lines of its table.
MOST_ROWS = 200
MOST_LINES = 200
_MOST_SECTIONS = 20
# Characters of the cells of a report.
_MOST_CHARACTERS = 1 << 20
_MOST_COLUMNS = 30
_DAY = 86400


def fleet_document(reports, host):
    """The document fleet.json of the page.

    reports: {kind: the content of reports/KIND.json, or nothing}.
    host: what the registry host knows by itself, each of which may be missing. made: a time. registry: its name and
    port. name: the host in the inventory. backup: what the last backup has left. mirrors: those of the state of the
    mirror. collection: the report of the last collection. exposure: the summary of the last scan. certificates: a list
    of host, name, subject and not_after.
    """
    reports = {kind: mapping(mapping(reports).get(kind)) for kind in KINDS}
    host = mapping(host)
    made = _seconds(host.get("made"))
    if made is None:
        made = int(time.time())
    name = text(host.get("name"))
    return {
        "version": FORMAT,
        "made": _time(made),
        "registry": text(host.get("registry"))
        or next(filter(None, (text(one.get("registry")) for one in reports.values())), ""),
        "hosts": _hosts(reports, mapping(host.get("exposure"))),
        "certificates": _certificates(host.get("certificates"), made),
        "backups": _backups(reports["backup"], mapping(host.get("backup")), name),
        "mirrors": _mirrors(reports["mirror"], host.get("mirrors"), name, made),
        "collection": _collection(reports["maintain"], host.get("collection"), name),
        "reports": {kind: _report(kind, one) for kind, one in reports.items() if one},
    }


def _time(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _seconds(value):
    """Seconds since 1970 of a time as text (RFC 3339 in UTC), or None."""
    try:
        return calendar.timegm(time.strptime(value[:19], "%Y-%m-%dT%H:%M:%S")) if isinstance(value, str) else None
    except ValueError:
        return None


def _told(report):
    """{host: what a report tells of it}"""
    hosts = mapping(mapping(report.get("data")).get("hosts"))
    return {
        text(name): one for name, one in items(list(hosts.items()), MOST_HOSTS) if isinstance(one, dict) and text(name)
    }


def _exposed(report, own):
    """{host: what it runs}: by the last run of the playbook, or by the timer of this host, if it has scanned since."""
    if (when(own.get("created")) or "") <= (when(report.get("made")) or ""):
        return _told(report)
    hosts = dictionaries(mapping(own.get("report")).get("hosts"), MOST_HOSTS)
    return {text(one.get("name")): one for one in hosts if text(one.get("name"))}


def _hosts(reports, scanned):
    rollout, doctor = _told(reports["rollout"]), _told(reports["doctor"])
    exposure = _exposed(reports["exposure"], scanned)
    # The order of the rollout is that of the inventory.
    names = list({**rollout, **exposure, **doctor})[:MOST_HOSTS]
    room = MOST_RUNS_OF_ALL
    hosts = []
    for name in names:
        found = mapping(exposure.get(name))
        runs = [_run(one) for one in dictionaries(found.get("runs"), min(MOST_RUNS, max(room, 0)))]
        room -= len(runs)
        engines = texts(mapping(rollout.get(name)).get("engines"), _MOST_ENGINES)
        hosts.append(
            {
                "host": name,
                "engine": engines[0] if engines else "",
                "engines": engines,
                "trust": text(mapping(rollout.get(name)).get("trust")),
                "rollout": _of_rollout(rollout.get(name)),
                "doctor": _of_doctor(doctor.get(name)),
                "runs": runs,
                "findings": _findings(found.get("findings")),
                "seen": when(found.get("seen")),
                "problem": text(found.get("problem")),
            }
        )
    return hosts


def _of_rollout(one):
    if one is None:
        return None
    return {"outcome": text(one.get("outcome"), 40), "said": text(one.get("said")), "when": when(one.get("when"))}


def _of_doctor(one):
    if one is None:
        return None
    return {**{name: text(one.get(name)) for name in ("hop", "title", "cure")}, "when": when(one.get("when"))}


def _run(one):
    told = {name: text(one.get(name)) for name in ("container", "image", "repository", "digest")}
    return {**told, "since": when(one.get("since")), "moved": one.get("moved") is True}


def _findings(found):
    """{severity: how many}, or None where nothing was judged."""
    if not isinstance(found, dict):
        return None
    counted = {text(name, 40): number(value) for name, value in items(list(found.items()), 10)}
    return {name: value for name, value in counted.items() if name and value is not None}


def _certificates(told, made):
    found = []
    for one in dictionaries(told, _MOST_OTHERS):
        end = _seconds(one.get("not_after"))
        about = {name: text(one.get(name)) for name in ("host", "name", "subject")}
        if end is not None:
            found.append({**about, "not_after": _time(end), "days": (end - made) // _DAY})
    return sorted(found, key=lambda one: one["days"])


def _backups(report, own, name):
    told = _told(report)
    if own:
        # A timer has made one since the report.
        told[name] = {
            **mapping(told.get(name)),
            "outcome": own.get("outcome"),
            "last": own.get("succeeded"),
            "said": own.get("message"),
            "repository": own.get("repository"),
            "proven": own.get("proven") or mapping(told.get(name)).get("proven"),
        }
    return [
        {
            "host": host,
            "last": when(one.get("last")),
            "last_proven": when(one.get("proven")),
            "outcome": text(one.get("outcome"), 40),
            "said": text(one.get("said")),
            "repository": text(one.get("repository")),
        }
        for host, one in items(list(told.items()), _MOST_OTHERS)
    ]


def _mirrors(report, own, name, made):
    told = {host: dictionaries(one.get("mirrors"), _MOST_OTHERS) for host, one in _told(report).items()}
    if isinstance(own, dict) and own:
        told[name] = [{**one, "name": mirror} for mirror, one in sorted(own.items(), key=str) if isinstance(one, dict)]
    found = [_mirror(host, one, made) for host, mirrors in told.items() for one in mirrors]
    return found[:_MOST_OTHERS]


def _mirror(host, one, made):
    last = _seconds(one.get("succeeded"))
    remaining = number(one.get("remaining"))
    return {
        "host": host,
        "name": text(one.get("name")),
        "last": when(one.get("succeeded")),
        "lag_seconds": None if last is None else max(made - last, 0),
        "stale_since": when(one.get("stale_since")),
        "remaining": remaining if remaining is not None and remaining >= 0 else None,
        "problem": text(one.get("problem")),
    }


def _collection(report, own, name):
    """The last one of this host, whether the timer or a playbook has made it."""
    kept = mapping(_told(report).get(name))
    found = {**mapping(own), "last": mapping(own).get("time")}
    if (when(found["last"]) or "") < (when(kept.get("last")) or ""):
        found = kept
    if not when(found.get("last")):
        return None
    disk = mapping(found.get("disk"))
    return {
        "last": when(found.get("last")),
        "freed": number(found.get("freed")),
        "held_seconds": number(found.get("held_seconds")),
        "disk": {
            "path": text(disk.get("path")),
            "full": disk.get("full") is True,
            **{key: number(disk.get(key)) for key in ("size", "free", "used_percent")},
        }
        if disk
        else {},
    }


def _report(kind, report):
    """A report, without what is told elsewhere. What failed stands first in it, and stays."""
    lines = report.get("lines") if isinstance(report.get("lines"), list) else []
    sections, room = [], _MOST_CHARACTERS
    for one in dictionaries(report.get("sections"), _MOST_SECTIONS):
        section, room = _section(one, room)
        sections.append(section)
    return {
        "version": FORMAT,
        "kind": kind,
        "made": when(report.get("made")),
        "registry": text(report.get("registry")),
        "outcome": "ok" if report.get("outcome") == "ok" else "failed",
        "summary": text(report.get("summary")),
        "sections": sections,
        "lines": [text(one) for one in lines[:MOST_LINES]],
        "lines_left_off": max(len(lines) - MOST_LINES, 0),
    }


def _section(section, room):
    """(the section with as many of its rows as there is room for, the room that is left in characters)"""
    columns = [
        {name: text(one.get(name), 80) for name in ("name", "label", "kind")}
        for one in dictionaries(section.get("columns"), _MOST_COLUMNS)
    ]
    rows = section.get("rows") if isinstance(section.get("rows"), list) else []
    told = []
    for row in dictionaries(rows, MOST_ROWS):
        cells = {one["name"]: _value(row.get(one["name"])) for one in columns}
        room -= sum(len(value) for value in cells.values() if isinstance(value, str))
        if room < 0:
            break
        told.append(cells)
    about = {"title": text(section.get("title")), "columns": columns}
    return {**about, "rows": told, "left_off": len(rows) - len(told)}, max(room, 0)


def _value(value):
    if value is None or isinstance(value, bool):
        return value
    return text(value) if isinstance(value, str) else number(value)

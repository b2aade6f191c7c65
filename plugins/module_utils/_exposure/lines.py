# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An exposure as lines of text: a sentence, what is not known, a table of what is new or odd, and what is left.

Pure. Private to this collection.
"""

from __future__ import annotations

from ansible_collections.wharf.registry.plugins.module_utils._exposure.exposure import WHERE
from ansible_collections.wharf.registry.plugins.module_utils._exposure.history import History, key_of
from ansible_collections.wharf.registry.plugins.module_utils._exposure.places import CURRENT
from ansible_collections.wharf.registry.plugins.module_utils._gate.findings import clean

_HEAD = ("HOST", "CONTAINER", "IMAGE", "WHAT", "FIXED IN")
# The most findings of one container, and rows of all, that the table shows.
_MOST_OF_ONE = 5
_MOST_ROWS = 400
_MOST_SENTENCES = 50


def lines_of(document):
    """The lines of the document of an Exposure."""
    rows = document["containers"]
    images, judged = len(document["images"]), sum(1 for one in document["images"] if not one["problems"])
    counted = _count(images, "image") if judged == images else f"{judged} of {_count(images, 'image')}"
    dated = f" by the database of {document['database_date']}" if document["database_date"] else ""
    fleet = f"{_count(len(document['hosts']), 'host')}, {_count(len(rows), 'container')}"
    lines = [f"{fleet}; {counted} of the registry scanned{dated}."]
    lines += _short([f"{one['name']}: {_of_host(one)}" for one in document["hosts"] if one["problem"]])
    lines += _short(_problems(document["images"]))
    news = {_where(one): group["findings"] for group in document["new"] for one in group["where"]}
    table = [line for row in rows for line in _rows(row, news.get(_where(row), []))]
    if table:
        lines += ["", *_aligned([_HEAD, *table[:_MOST_ROWS]])]
        lines += [f"... and {_count(len(table) - _MOST_ROWS, 'row')} more, see the file"] if table[_MOST_ROWS:] else []
        lines.append("")
    return [*lines, _last(document)]


def _where(row):
    return tuple(row[name] for name in WHERE)


def _short(lines):
    more = lines[_MOST_SENTENCES:]
    return [*lines[:_MOST_SENTENCES], f"... and {len(more)} more, see the file"] if more else lines


def _of_host(host):
    seen = f"; what it ran at {host['seen']} stands for it" if host["seen"] and host["containers"] else ""
    return f"{clean(host['problem'])}{seen}"


def _problems(images):
    """A line for each problem, which many images may have."""
    found = {}
    for one in images:
        for problem in one["problems"]:
            found.setdefault(clean(problem), []).append(one["image"])
    return [
        f"Not judged: {names[0] if len(names) == 1 else _count(len(names), 'image')}: {problem}"
        for problem, names in sorted(found.items())
    ]


def _rows(row, news):
    where = (row["host"], row["container"], row["image"])
    rows = [(*where, row["said"], "")] if row["said"] else []
    rows += [
        (*where, f"{one['id']} ({one['severity']}) in {one['package']} {one['installed']}", one["fixed"])
        for one in news[:_MOST_OF_ONE]
    ]
    if len(news) > _MOST_OF_ONE:
        rows.append((*where, f"{len(news) - _MOST_OF_ONE} more, see the file", ""))
    return rows


def _aligned(table):
    widths = [max(len(row[column]) for row in table) for column in range(len(_HEAD))]
    return ["  ".join(text.ljust(width) for text, width in zip(row, widths)).rstrip() for row in table]


def _last(document):
    """How much is new and how much is not, each counted once for a host and a repository."""
    history = History(document["known"])
    running = {(row["host"], row["repository"]) for row in document["containers"] if row["repository"]}
    known = sum(len(history.of(*one)) for one in running)
    # {(host, repository): sets of new findings, of which most have one}
    sets = {}
    for group in document["new"]:
        keys = frozenset(map(key_of, group["findings"]))
        for one in group["where"]:
            sets.setdefault((one["host"], group["image"].partition("@")[0]), set()).add(keys)
    new = sum(len(frozenset().union(*found)) if len(found) > 1 else len(next(iter(found))) for found in sets.values())
    quiet = sum(1 for row in document["containers"] if row["judged"] and not row["new"] and row["state"] == CURRENT)
    first = " (this is the first run)" if document["run"] == 1 else ""
    return (
        f"{_count(new, 'new finding')}{first}; {_count(known - new, 'finding')} known from before. "
        f"{_count(quiet, 'container')} with nothing new."
    )


def _count(number, what):
    return f"{number} {what}{'' if number == 1 else 's'}"

# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A report as one HTML file for people: no script, nothing from elsewhere, and all text in it is inert."""

from __future__ import annotations

import html
import re

from ansible_collections.wharf.registry.plugins.plugin_utils._reports.style import STYLE
from ansible_collections.wharf.registry.plugins.plugin_utils._reports.tables import BAD, FAILED_TITLE, size
from ansible_collections.wharf.registry.plugins.plugin_utils._reports.visible import shown

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_TITLES = {
    "rollout": "Rollout",
    "doctor": "Doctor",
    "maintain": "Maintenance",
    "exposure": "Exposure",
    "mirror": "Mirror",
    "backup": "Backup",
}
_COLOURS = {
    **dict.fromkeys(BAD | {"critical", "high"}, "bad"),
    **dict.fromkeys(("stale", "medium", "running"), "care"),
    **dict.fromkeys(("changed", "would change"), "change"),
    "ok": "good",
}
# Columns whose text is a name or a path, and those that hold sentences.
_CODE = frozenset(["changes", "digest", "image", "to", "package", "installed", "fixed", "id", "snapshot", "repository"])
_WIDE = frozenset(["said", "what", "cure", "reason"])
# Texts that stay on one line, and words that may be broken within.
_SHORT, _LONG = 34, re.compile(r"[^\s/]{34}")
_TIME = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d)(:\d\d(?:\.\d+)?)?Z\Z")
# The text of the playbook, which says again what the tables say.
_MOST_LINES = 500
_RIGHT = ("number", "bytes", "seconds")


def page(document):
    """The text of the file, of the document of a report."""
    kind = _TITLES.get(document["kind"], document["kind"])
    title = f"{kind} of {document['registry']}" if document["registry"] else kind
    shares, overview = _overview(document["sections"])
    body = [
        _head(document, kind),
        overview,
        *(_section(number, one) for number, one in enumerate(document["sections"])),
    ]
    return "".join(
        [
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n',
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n',
            '<meta name="referrer" content="no-referrer">\n<meta name="robots" content="noindex">\n',
            f"<title>{html.escape(_one_line(title))}</title>\n<style>{STYLE}{_labels(document['sections'])}{shares}</style>\n",
            "</head>\n<body>\n<main>\n",
            *body,
            _text(document["lines"]),
            f"<footer>Written by the playbook {html.escape(document['kind'])}.yml of wharf.registry at ",
            f"{_time(document['made'])}</footer>\n</main>\n</body>\n</html>\n",
        ]
    )


def _one_line(text):
    return "".join(one if one.isprintable() else " " for one in str(text))[:200]


def _head(document, kind):
    failed = document["outcome"] != "ok"
    verdict = ("bad", "Failed") if failed else ("good", "Ended well")
    check = (
        '<p class="check">Made in check mode: this is what a run would do. Nothing was changed.</p>\n'
        if document["check"]
        else ""
    )
    return (
        f"<header>\n<h1>{html.escape(kind)} report</h1>\n"
        f'<span class="verdict {verdict[0]}">{verdict[1]}</span>\n'
        f'<p class="of">{shown(document["registry"] or "no registry")}, {_time(document["made"])}</p>\n</header>\n'
        f'{check}<p class="summary">{shown(document["summary"])}</p>\n'
    )


def _overview(sections):
    """(rules of style, HTML) on how the outcomes share the rows of the first table that has all of them."""
    told = [one for one in sections if one["title"] != FAILED_TITLE and _outcome_of(one) and len(one["rows"]) > 1]
    if not told:
        return "", ""
    name, numbers = _outcome_of(told[0]), {}
    for row in told[0]["rows"]:
        numbers[row[name]] = numbers.get(row[name], 0) + 1
    order = sorted(numbers, key=lambda one: (("bad", "care", "rest", "change", "good").index(_colour(one)), str(one)))
    bar = "".join(f'<i class="{_colour(one)} share{number}"></i>' for number, one in enumerate(order))
    key = "".join(f"<li>{_outcome(one)} <b>{numbers[one]:,}</b></li>" for one in order)
    grow = "".join(f".share{number} {{ flex: {numbers[one]}; }} " for number, one in enumerate(order))
    return grow, f'<div class="bar" aria-hidden="true">{bar}</div>\n<ul class="key">{key}</ul>\n'


def _outcome_of(section):
    """The name of its column of outcomes, or an empty string."""
    return next((one["name"] for one in section["columns"] if one["kind"] == "outcome"), "")


def _colour(outcome):
    return _COLOURS.get(outcome, "rest")


def _outcome(outcome):
    return f'<span class="outcome {_colour(outcome)}">{shown(str(outcome).replace("_", " "), 40)}</span>'


def _labels(sections):
    """On a narrow screen each cell stands on its own line, and says what it is."""
    rules = []
    for number, section in enumerate(sections):
        for place, column in enumerate(section["columns"], 1):
            label = re.sub(r"[^A-Za-z0-9 ,%-]", " ", column["label"])
            rules.append(f'#s{number} td:nth-child({place})::before {{ content: "{label}"; }}\n')
    return f"@media (max-width: 720px) {{\n{''.join(rules)}}}\n"


def _section(number, section):
    columns, rows = section["columns"], section["rows"]
    failed = ' class="failed"' if section["title"] == FAILED_TITLE else ""
    heads = "".join(
        f'<th scope="col" role="columnheader"{_class(_of_column(one))}>{html.escape(one["label"])}</th>'
        for one in columns
    )
    told = [_row(columns, row) for row in rows]
    if not rows:
        told.append(f'<tr role="row"><td role="cell" class="none" colspan="{len(columns)}">None</td></tr>\n')
    return (
        f'<section{failed} aria-labelledby="h{number}">\n<h2 id="h{number}">{html.escape(section["title"])} '
        f'<small>{len(rows):,}</small></h2>\n<div class="table" role="region" tabindex="0" aria-labelledby="h{number}">'
        f'<table id="s{number}" role="table">\n<thead role="rowgroup"><tr role="row">{heads}</tr></thead>\n'
        f'<tbody role="rowgroup">\n{"".join(told)}</tbody>\n</table></div>\n</section>\n'
    )


def _row(columns, row):
    # What a row is about stands in its first column.
    first, *others = columns
    value = row.get(first["name"])
    told = [f'<tr role="row"><th scope="row" role="rowheader"{_class(_of_text(value))}>{_cell(first, value)}</th>']
    for column in others:
        value = row.get(column["name"])
        names = _of_column(column)
        if value is None or value == "":
            names = [*names, "empty"]
        elif column["kind"] == "text":
            names = [*names, *(one for one in _of_text(value) if one == "long" or "wide" not in names)]
        told.append(f'<td role="cell"{_class(names)}>{_cell(column, value)}</td>')
    return "".join([*told, "</tr>\n"])


def _of_column(column):
    name, kind = column["name"], column["kind"]
    if kind in _RIGHT:
        return ["number"]
    if name == "changes":
        return ["code", "paths"]
    return ["code"] if name in _CODE else ["wide"] if name in _WIDE else []


def _of_text(value):
    text = str(value)
    return ["long"] if _LONG.search(text) else ["short"] if len(text) <= _SHORT else []


def _class(names):
    return f' class="{" ".join(names)}"' if names else ""


def _cell(column, value):
    kind = column["kind"]
    if value is None or value == "":
        return '<span class="none">&ndash;</span>'
    if kind == "outcome":
        return _outcome(value)
    if kind == "time":
        return _time(value)
    if kind in _RIGHT and isinstance(value, (int, float)) and not isinstance(value, bool):
        return {"bytes": size, "seconds": _seconds}.get(kind, _number)(value)
    return shown(value, breaks=column["name"] in _CODE)


def _number(value):
    return f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"


def _seconds(value):
    if value < 60:
        return f"{value:.1f} s"
    minutes, seconds = divmod(round(value), 60)
    return f"{minutes:,} min {seconds} s"


def _time(value):
    found = _TIME.match(str(value))
    return f'<time datetime="{found[0]}">{found[1]} {found[2]} UTC</time>' if found else shown(value)


def _text(lines):
    if not lines:
        return ""
    more = len(lines) - _MOST_LINES
    told = "\n".join(shown(one) for one in lines[:_MOST_LINES])
    rest = f"\n<small>{more:,} more lines; the JSON file beside this one has them</small>" if more > 0 else ""
    return f"<details>\n<summary>The text that the playbook has shown</summary>\n<pre>{told}{rest}</pre>\n</details>\n"

# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values in the TOML files of other programs, which can be taken out without a trace. Private to this collection.

Each line that is added ends with a comment that says so. A line that is replaced is kept in that comment.
"""

from __future__ import annotations

import json
import re

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError
from ansible_collections.wharf.registry.plugins.module_utils._common.managed_lines import (
    former,
    indentation_of,
    is_managed,
    marked,
)
from ansible_collections.wharf.registry.plugins.module_utils._common.secret_keys import shown_value
from ansible_collections.wharf.registry.plugins.module_utils._common.toml_text import TomlText

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def with_value(document, path, value):
    """A TomlText with the value (text, truth, or a list of them) at the path, and every other line as it was.

    Raises InputError where the file has it in a form that can't be edited line by line.
    """
    if document.get(path) == value:
        return document
    place = document.places.get(path)
    if place is not None and _is_managed(document, place.line):
        # The comment on its line says what was there before, and stays.
        text = document.text[: place.start] + text_of(value) + document.text[place.end :]
    elif place is not None:
        text = _replaced(document, place, value, path)
    elif document.get(path) is not None:
        raise _not_to_be_edited(document, path, value)
    else:
        text = _added(document, path, value)
    edited = _parsed(document, text)
    if edited is None:
        raise _not_to_be_edited(document, path, value)
    check_value(edited, path, value)
    return edited


def check_value(document, path, value):
    """Raises InputError where the value is not at the path."""
    if document.get(path) != value:
        raise _not_to_be_edited(document, path, value)


def with_table(document, path):
    """A TomlText with the table at the path, empty where it is not there. Raises InputError."""
    if document.get(path) is not None:
        return document
    edited = _parsed(document, _inserted(document, len(document.text), [f"[{_key_text(path)}]"]))
    if edited is None:
        raise _not_to_be_edited(document, path, {})
    return edited


def without_values(document, matches):
    """A TomlText without those values and tables of ours whose path `matches`; a line that was replaced is there again.

    The header of a table stays where its owner has added a value below it.
    """
    lines = [
        place.line for path, place in document.places.items() if matches(path) and _is_managed(document, place.line)
    ]
    document = _without_lines(document, lines)
    headers = [
        line
        for path, line in document.headers.items()
        if matches(path) and path not in document.last and _is_managed(document, line)
    ]
    return _without_lines(document, headers)


def managed_paths(document):
    """The paths of the values of ours."""
    return [
        path
        for path, place in document.places.items()
        if _is_managed(document, place.line) and not isinstance(document.get(path), dict)
    ]


def _parsed(document, text):
    try:
        return TomlText(text.encode(), document.path)
    except InputError:
        return None


def _not_to_be_edited(document, path, value):
    return InputError(
        f"{document.path} has {_key_text(path)} in a form that can't be edited line by line",
        f"Write there by hand: {_key_text(path)} = {shown_value(path, text_of(value))}. Nothing was changed",
    )


def _is_managed(document, line):
    """Whether the statement from line[0] to line[1] is one of ours, which never spans lines."""
    return is_managed(document.text[line[0] : line[1]])


def _replaced(document, place, value, path):
    start, end = place.line
    line = document.text[start:end]
    content = line.rstrip("\r\n")
    if "\n" in content:
        raise _not_to_be_edited(document, path, value)
    key, after = document.text[start : place.start], document.text[place.end : start + len(content)]
    # Behind the value nothing but the end of tables in braces stays: a comment is kept with the line.
    closing = after.partition("#")[0].rstrip() if place.inline else ""
    if place.inline and "#" in closing:
        raise _not_to_be_edited(document, path, value)
    new = marked(f"{key}{text_of(value)}{closing}", before=content)
    return document.text[:start] + new + line[len(content) :] + document.text[end:]


def _added(document, path, value):
    table = path[:-1]
    if table in document.dotted and table not in document.headers:
        base, line = document.dotted[table]
        return _inserted(
            document, line[1], [f"{_indent(document, line)}{_key_text(path[len(base) :])} = {text_of(value)}"]
        )
    new = f"{_key_text(path[-1:])} = {text_of(value)}"
    if table in document.last:
        line = document.last[table]
        return _inserted(document, line[1], [_indent(document, line) + new])
    if table in document.headers:
        line = document.headers[table]
        return _inserted(document, line[1], [f"{_indent(document, line)}  {new}"])
    if not table:
        first = min((start for start, _end in document.headers.values()), default=len(document.text))
        return _inserted(document, first, [new])
    return _inserted(document, len(document.text), [f"[{_key_text(table)}]", f"  {new}"])


def _indent(document, line):
    return indentation_of(document.text[line[0] : line[1]])


def _inserted(document, at, lines):
    end = document.line_end()
    before, after = document.text[:at], document.text[at:]
    new = end.join(map(marked, lines))
    # A text without an end of its last line has none afterwards, either.
    return f"{before}{end}{new}{after}" if before and not before.endswith("\n") else f"{before}{new}{end}{after}"


def _without_lines(document, lines):
    text = document.text
    for start, end in sorted(set(lines), reverse=True):
        line = text[start:end]
        if former(line):
            text = text[:start] + former(line) + text[end:]
        elif not line.endswith("\n"):
            # It had taken the end of the line before it.
            text = re.sub(r"\r?\n\Z", "", text[:start])
        else:
            text = text[:start] + text[end:]
    return TomlText(text.encode(), document.path)


def _key_text(path):
    return ".".join(key if _BARE.fullmatch(key) else _quoted(key) for key in path if isinstance(key, str))


def text_of(value):
    """A value in TOML, on one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return "[" + ", ".join(text_of(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_key_text((key,))} = {text_of(item)}" for key, item in value.items()) + "}"
    return str(value) if isinstance(value, int) else _quoted(value)


def _quoted(text):
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")

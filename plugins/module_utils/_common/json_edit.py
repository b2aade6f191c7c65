# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Members of JSON objects that are added to and removed from a text. Private to this collection.

Every other character of the text stays as it was, and what was added last is removed without a trace. The text must
have been parsed by `json_text.parse`.
"""

from __future__ import annotations

import json
import json.decoder
import re

from ansible_collections.wharf.registry.plugins.module_utils._common.json_text import dump, indentation, quoted

_SPACE = re.compile(r"[ \t\n\r]*")
# Numbers as text: Python refuses to read one of thousands of digits.
_DECODER = json.JSONDecoder(parse_int=str, parse_float=str)


class _Member:
    """A member of an object: text[start:end] with its key, and text[value:end] without."""

    def __init__(self, key, start, value, end):
        self.key = key
        self.start = start
        self.value = value
        self.end = end


class _Object:
    """The object that opens at text[at]: its members, and text[close], which is its closing brace."""

    def __init__(self, text, at):
        self.at = at
        self.members = []
        place = _skip(text, at + 1)
        while text[place] != "}":
            key, place_after = json.decoder.scanstring(text, place + 1)
            value = _skip(text, _skip(text, place_after) + 1)
            end = _DECODER.raw_decode(text, value)[1]
            self.members.append(_Member(key, place, value, end))
            place = _skip(text, end)
            if text[place] == ",":
                place = _skip(text, place + 1)
        self.close = place

    def find(self, key):
        return next((member for member in self.members if member.key == key), None)


def with_member(text, path, value):
    """The text with the value at a path of keys. Objects of the path that are missing are added."""
    found = _Object(text, text.index("{"))
    for depth, key in enumerate(path):
        member = found.find(key)
        if member is None:
            for inner in reversed(path[depth + 1 :]):
                value = {inner: value}
            return _inserted(text, found, key, value)
        if depth + 1 < len(path):
            found = _Object(text, member.value)
    return text[: member.value] + _written(text, found, value) + text[member.end :]


def without_member(text, path):
    """The text without the member at a path of keys, which must be there."""
    found = _Object(text, text.index("{"))
    for key in path[:-1]:
        found = _Object(text, found.find(key).value)
    member = found.find(path[-1])
    number = found.members.index(member)
    if number:
        return text[: found.members[number - 1].end] + text[member.end :]
    if len(found.members) > 1:
        return text[: member.start] + text[found.members[1].start :]
    # White space that stood in an empty object stays; a line that was begun for the member does not.
    space = text[found.at + 1 : member.start] if text[member.end : found.close] == "" else ""
    return text[: found.at + 1] + space + text[found.close :]


def with_list(text, key, items):
    """The text of an object with this list of strings under the key, and every other character as it was.

    The text must have been parsed. A list that stood on one line stays on one, and a new key comes last.
    """
    found = _Object(text, text.index("{"))
    indent = indentation(text, "  ")
    line_end = "\r\n" if "\r\n" in text else "\n"
    there = found.find(key)
    if there is not None:
        one_line = "\n" not in text[there.value : there.end]
        return text[: there.value] + _list(items, indent, one_line, line_end) + text[there.end :]
    one_line = bool(found.members) and "\n" not in text.strip()
    added = f"{quoted(key)}: {_list(items, indent, one_line or len(items) < 2, line_end)}"
    if not found.members:
        return f"{text[: text.index('{')]}{{{line_end}{indent}{added}{line_end}}}{text[text.rindex('}') + 1 :]}"
    last = found.members[-1].end
    return text[:last] + (", " if one_line else "," + line_end + indent) + added + text[last:]


def _list(items, indent, one_line, line_end):
    if one_line or not items:
        return "[" + ", ".join(quoted(item) for item in items) + "]"
    return dump(list(items), line_end + indent, indent)


def _inserted(text, found, key, value):
    if found.members:
        lead = text[found.at + 1 : found.members[0].start]
        end = found.members[-1].end
        added = f"{quoted(key)}: {_written(text, found, value)}"
        return text[:end] + "," + (lead if "\n" in lead else " ") + added + text[end:]
    if text[found.at + 1 : found.close]:
        return text[: found.close] + json.dumps({key: value}, ensure_ascii=False)[1:-1] + text[found.close :]
    return (
        text[: found.at]
        + dump({key: value}, _line(text, found.at), indentation(text, "    "))
        + text[found.close + 1 :]
    )


def _written(text, found, value):
    """The value as it stands in this object: on one line where its members do."""
    lead = text[found.at + 1 : found.members[0].start]
    if "\n" not in lead:
        return json.dumps(value, ensure_ascii=False)
    return dump(
        value, lead[lead.rindex("\n") - (lead[: lead.rindex("\n")].endswith("\r")) :], indentation(text, "    ")
    )


def _line(text, at):
    """The end of a line and the indentation of the line that text[at] stands on."""
    start = text.rfind("\n", 0, at) + 1
    line = text[start:at]
    return ("\r\n" if "\r\n" in text else "\n") + line[: len(line) - len(line.lstrip(" \t"))]


def _skip(text, at):
    return _SPACE.match(text, at).end()

# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings in YAML as people write them, with the place of each. Private to this collection.

Managed hosts have no reader of YAML. What is read here is a part of it: mappings and lists in block style, their
scalars, and lists on one line. Anything else, such as anchors, is refused, so that no file is changed that is not
understood.
"""

from __future__ import annotations

import json
import re

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError
from ansible_collections.wharf.registry.plugins.module_utils._common.json_text import UNCHANGED, utf8_text
from ansible_collections.wharf.registry.plugins.module_utils._common.managed_lines import (
    former,
    indentation_of,
    is_managed,
    marked,
)
from ansible_collections.wharf.registry.plugins.module_utils._common.secret_keys import shown_value

_BLANK = re.compile(r"^ *(?:#.*)?$")
_SINGLE = re.compile(r"'((?:[^']|'')*)'")
_DOUBLE = re.compile(r'"((?:[^"\\]|\\["\\/bfnrt]|\\u[0-9A-Fa-f]{4})*)"')
# A scalar without quotes: it ends before a colon that a space follows, and before a comment.
_PLAIN = re.compile(r"(?![-?:](?: |$))[^\s,\[\]{}#&*!|>'\"%@`](?:[^\s:#]|:(?! |$)|(?<! )#| +(?![ #]|$|:(?: |$)))*")
_ITEM = re.compile(
    r"(?![-?:](?: |,|$))[^\s,\[\]{}#&*!|>'\"%@`](?:[^\s:#,\[\]{}]|:(?=[^ ,\]])| +(?![ #,\]]|$|:(?: |$)))*"
)
_REST = re.compile(r"(?: +#.*| *)$")
# Numbers and dates as YAML 1.1 has them.
_NUMBER = re.compile(
    r"[-+]?(?:0b[01_]+|0x[0-9a-fA-F_]+|0[0-7_]*|[1-9][0-9_]*(?::[0-5]?[0-9])*)"
    r"|[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+][0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?"
    r"|[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
    r"|[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt]|[ \t]+)[0-9]{1,2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]*)?"
    r"(?:[ \t]*(?:Z|[-+][0-9]{1,2}(?::[0-9]{2})?))?"
)
_WORDS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


class Other(str):
    """A scalar that is no text, as it stands there: a number, a date, or what old readers take for a truth."""

    __slots__ = ()


class Place:
    """Where a key stands: the numbers of its line and of the line after all below it, and its indentation.

    `items`: the numbers of the lines of its list, empty where that stands on the line of the key.
    """

    def __init__(self, line, indent):
        self.line = line
        self.end = line + 1
        self.indent = indent
        self.items = []


class YamlText:
    """A document: `content`, and the `places` of its keys by their path, a tuple. Raises InputError."""

    def __init__(self, raw, path):
        self.path = path
        self.text = utf8_text(raw, path)
        self.lines = self.text.splitlines(keepends=True)
        self.content = {}
        self.places = {}
        self._number = 0
        # The mappings that a line can still add to: (indentation, path).
        self._open = [(0, ())]
        self._read()

    def get(self, path, default=None):
        found = self.content
        for key in path:
            if not isinstance(found, dict) or key not in found:
                return default
            found = found[key]
        return found

    def line_end(self):
        return "\r\n" if "\r\n" in self.text else "\n"

    def _fail(self, why="this form of YAML is not read here"):
        raise InputError(f"{self.path}, line {self._number + 1}: {why}", UNCHANGED)

    def _read(self):
        last, began = (), False
        for number, line in enumerate(self.lines):
            self._number = number
            text = line.rstrip("\r\n")
            if _BLANK.match(text):
                continue
            if text.startswith("---") and not began and _REST.match(text[3:]):
                began = True
                continue
            began = True
            if "\t" in text or "\x85" in text or "\u2028" in text or "\u2029" in text or not text.isprintable():
                self._fail("a character that is not expected, such as a tab")
            indent = len(text) - len(text.lstrip(" "))
            item = text[indent:].startswith("- ") or text[indent:] == "-"
            last = self._item(text, indent, last) if item else self._pair(text, indent, last)

    def _pair(self, text, indent, last):
        """Read the line of a key. Returns its path."""
        key, at = self._scalar(text, indent, _PLAIN)
        if not isinstance(key, str) or isinstance(key, Other):
            self._fail("a key that is no text")
        if not text[at:].startswith(":") or (len(text) > at + 1 and text[at + 1] != " "):
            self._fail("a key is expected")
        path = (*self._parent(indent, last), key)
        table = self.get(path[:-1])
        if key in table:
            self._fail(f"{key} is there twice")
        table[key] = self._value(text, at + 1)
        place = self.places[path] = Place(self._number, indent)
        self._grow(path)
        place.end = self._number + 1
        return path

    def _parent(self, indent, last):
        """The path of the mapping that a line of this indentation belongs to, which is made below the last key."""
        while self._open[-1][0] > indent:
            self._open.pop()
        own, path = self._open[-1]
        if own == indent:
            return path
        if not last or last not in self.places or self.get(last) is not None or self.places[last].indent >= indent:
            self._fail("the indentation does not fit")
        self._check_opens(last)
        table = self.get(last[:-1])
        table[last[-1]] = {}
        self._open.append((indent, last))
        return last

    def _check_opens(self, path):
        """Refuses to read below a key that has nothing as its value: that has to be left out."""
        if self.lines[self.places[path].line].rstrip("\r\n").partition(" #")[0].rstrip()[-1:] != ":":
            self._fail("the indentation does not fit")

    def _item(self, text, indent, last):
        """Read a line of a list, which belongs to the last key. Returns the path of that."""
        value, at = self._scalar(text, indent + 1 + (len(text) - indent > 1), _PLAIN)
        place = self.places.get(last)
        known = self.get(last) if place else None
        if place is None or not _REST.match(text[at:]) or place.indent > indent:
            self._fail()
        if known is None:
            self._check_opens(last)
            self.get(last[:-1])[last[-1]] = []
        elif not place.items or len(self.lines[place.items[0]]) - len(self.lines[place.items[0]].lstrip(" ")) != indent:
            self._fail("the indentation does not fit")
        self.get(last).append(value)
        place.items.append(self._number)
        self._grow(last)
        return last

    def _grow(self, path):
        for length in range(1, len(path) + 1):
            self.places[path[:length]].end = self._number + 1

    def _value(self, text, at):
        at += len(text[at:]) - len(text[at:].lstrip(" "))
        if text[at : at + 1] == "[":
            return self._flow_list(text, at)
        if not text[at:] or text[at:].startswith("#"):
            return None
        value, at = self._scalar(text, at, _PLAIN)
        if not _REST.match(text[at:]):
            self._fail()
        return value

    def _flow_list(self, text, at):
        items = []
        at += 1
        while True:
            at += len(text[at:]) - len(text[at:].lstrip(" "))
            if text[at : at + 1] == "]":
                break
            value, at = self._scalar(text, at, _ITEM)
            items.append(value)
            at += len(text[at:]) - len(text[at:].lstrip(" "))
            if text[at : at + 1] == ",":
                at += 1
            elif text[at : at + 1] != "]":
                self._fail()
        if not _REST.match(text[at + 1 :]):
            self._fail()
        return items

    def _scalar(self, text, at, plain):
        """(value, place behind it)."""
        at += len(text[at:]) - len(text[at:].lstrip(" "))
        if found := _SINGLE.match(text, at):
            return found.group(1).replace("''", "'"), found.end()
        if found := _DOUBLE.match(text, at):
            return json.loads(found.group()), found.end()
        found = plain.match(text, at)
        if found is None:
            self._fail()
        word = found.group()
        if word in _WORDS:
            return _WORDS[word], found.end()
        old = word.lower() in ("yes", "no", "on", "off", "y", "n", "=", "<<")
        return (Other(word) if old or _NUMBER.fullmatch(word) else word), found.end()


def with_value(document, path, value):
    """A YamlText with the value (text, truth, or a list of texts) at the path, and every other line as it was.

    To a list that stands on lines of its own, what is missing is added. Raises InputError.
    """
    place = document.places.get(path)
    if document.get(path) == value:
        return document
    if place is not None and is_managed(document.lines[place.line]):
        document = without_values(document, lambda found: found == path)
        place = document.places.get(path)
    there = document.get(path)
    if _holds(there, value):
        return document
    if place is None:
        lines = _added(document, path, value)
    elif place.items and isinstance(value, list):
        lines = _with_items(document, place, [item for item in value if item not in there])
    elif isinstance(there, dict) or place.items:
        raise _not_to_be_edited(document, path, value)
    else:
        lines = list(document.lines)
        lines[place.line] = _replaced(lines[place.line], path, value)
    edited = YamlText("".join(lines).encode(), document.path)
    if not _holds(edited.get(path), value):
        raise _not_to_be_edited(document, path, value)
    return edited


def _holds(found, value):
    """Whether what is found is the value, or a list with all of its items."""
    if isinstance(value, list) and isinstance(found, list):
        return all(item in found for item in value)
    return found == value and isinstance(found, bool) is isinstance(value, bool)


def without_values(document, matches):
    """A YamlText without our lines of those paths that `matches`; a line that was replaced is there again.

    A key that we have added stays while its owner has something below it.
    """
    lines = list(document.lines)
    for path, place in document.places.items():
        numbers = [place.line, *place.items] if not isinstance(document.get(path), dict) else []
        for number in numbers if matches(path) else ():
            lines[number] = _without(lines[number])
    document = _joined(lines, document)
    while True:
        empty = [
            place.line
            for path, place in document.places.items()
            if document.get(path) is None and is_managed(document.lines[place.line])
        ]
        if not empty:
            return document
        lines = list(document.lines)
        for number in empty:
            lines[number] = _without(lines[number])
        document = _joined(lines, document)


def managed_paths(document):
    """The paths of values that we have written, whole or in part."""
    return [
        path
        for path, place in document.places.items()
        if not isinstance(document.get(path), dict)
        and any(is_managed(document.lines[number]) for number in (place.line, *place.items))
    ]


def text_of(value):
    """A value on one line, in the form that JSON has as well."""
    if isinstance(value, list):
        return "[" + ", ".join(text_of(item) for item in value) + "]"
    return json.dumps(value, ensure_ascii=False)


def _joined(lines, document):
    # One of ours at the end had taken the end of the line before it.
    if lines and lines[-1] == "" and document.lines[-1:] and not document.lines[-1].endswith("\n"):
        kept = [line for line in lines if line]
        if kept:
            kept[-1] = kept[-1].rstrip("\r\n")
        return YamlText("".join(kept).encode(), document.path)
    return YamlText("".join(lines).encode(), document.path)


def _without(line):
    return former(line) if is_managed(line) else line


def _not_to_be_edited(document, path, value):
    keys = " → ".join(path)
    return InputError(
        f"{document.path} has {keys} in a form that can't be edited line by line",
        f"Write there by hand: {path[-1]}: {shown_value(path, text_of(value))}. Nothing was changed",
    )


def _replaced(line, path, value):
    content = line.rstrip("\r\n")
    return marked(f"{indentation_of(content)}{_key(path[-1])}: {text_of(value)}", before=content) + line[len(content) :]


def _with_items(document, place, items):
    last = document.lines[place.items[-1]]
    return _inserted(document, place.items[-1] + 1, [f"{indentation_of(last)}- {text_of(item)}" for item in items])


def _added(document, path, value):
    """The lines with a key that is not there, below those of its parents that are not there, either."""
    known = next(length for length in range(len(path) - 1, -1, -1) if not length or path[:length] in document.places)
    parent = path[:known]
    table = document.get(parent)
    if known and not isinstance(table, dict) and table is not None:
        raise _not_to_be_edited(document, path, value)
    child = next((place for found, place in document.places.items() if found[:-1] == parent), None)
    step = _step(document)
    below = document.places[parent].indent + step if known else 0
    indent = child.indent if child is not None else below
    if known and table is None and not _opens(document.lines[document.places[parent].line]):
        raise _not_to_be_edited(document, path, value)
    at = document.places[parent].end if known else len(document.lines)
    keys = path[known:]
    new = [f"{' ' * (indent + step * number)}{_key(key)}:" for number, key in enumerate(keys)]
    new[-1] += f" {text_of(value)}"
    return _inserted(document, at, new)


def _opens(line):
    """Whether a key has nothing on its own line but a comment, so that something can stand below it."""
    return is_managed(line) or line.partition(" #")[0].rstrip().endswith(":")


def _step(document):
    """By how much the file indents."""
    deeper = [place.indent for place in document.places.values() if place.indent]
    return min(deeper, default=2)


def _inserted(document, at, new):
    end = document.line_end()
    lines = list(document.lines)
    added = [marked(line) + end for line in new]
    if at == len(lines) and lines and not lines[-1].endswith("\n"):
        # A text without an end of its last line has none afterwards, either.
        lines[-1] += end
        added[-1] = added[-1].rstrip("\r\n")
    return lines[:at] + added + lines[at:]


def _key(key):
    return (
        key
        if re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", key)
        and key.lower() not in ("y", "n", "yes", "no", "on", "off", "true", "false", "null")
        else json.dumps(key, ensure_ascii=False)
    )

# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""TOML as it stands in the files of other programs, with the place of each part. Private to this collection.

Python has a reader from 3.11 on, and managed hosts may have an older one. That reader also tells no places, without
which a file can't be edited so that its comments and its order stay.
"""

from __future__ import annotations

import itertools
import re

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError
from ansible_collections.wharf.registry.plugins.module_utils._common.json_text import UNCHANGED, utf8_text

_SPACE = re.compile(r"[ \t]*")
_COMMENT = re.compile(r"#[^\x00-\x08\x0a-\x1f\x7f]*")
_LINE_END = re.compile(r"\r?\n|\Z")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_LITERAL = re.compile(r"'([^'\x00-\x08\x0a-\x1f\x7f]*)'")
_BASIC = re.compile(r'"((?:[^"\\\x00-\x08\x0a-\x1f\x7f]|\\[btnfr"\\]|\\u[0-9A-Fa-f]{4}|\\U[0-9A-Fa-f]{8})*)"')
# Up to two quotes may stand at the end of the text, before those that close it.
_LONG_LITERAL = re.compile(r"'''(?:\r?\n)?((?:[^'\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|'(?!''))*'{0,2})'''")
_LONG_BASIC = re.compile(
    r'"""(?:\r?\n)?((?:[^"\\\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|"(?!"")|\\[btnfr"\\]|\\u[0-9A-Fa-f]{4}|\\U[0-9A-Fa-f]{8}'
    r'|\\[ \t]*\r?\n)*"{0,2})"""'
)
_CONTINUED = re.compile(r"\\[ \t]*\r?\n[ \t\r\n]*")
_LONE_RETURN = re.compile(r"\r(?!\n)")
_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(.))")
_ESCAPED = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", '"': '"', "\\": "\\"}
_WHOLE = r"(?:0|[1-9](?:_?[0-9])*)"
_INTEGER = re.compile(rf"[+-]?{_WHOLE}")
_SCALAR = re.compile(
    rf"""
    0x[0-9A-Fa-f](?:_?[0-9A-Fa-f])* | 0o[0-7](?:_?[0-7])* | 0b[01](?:_?[01])* |
    \d{{4}}-\d\d-\d\d (?:[Tt\ ]\d\d:\d\d:\d\d(?:\.\d+)? (?:[Zz]|[+-]\d\d:\d\d)?)? | \d\d:\d\d:\d\d(?:\.\d+)? |
    [+-]?{_WHOLE} (?:\.[0-9](?:_?[0-9])*)? (?:[eE][+-]?[0-9](?:_?[0-9])*)? | [+-]?(?:inf|nan) | true | false
    """,
    re.VERBOSE,
)
_DEEPEST = 64


class Scalar(str):
    """A number or a date as it stands in the text: all that is done with it is to keep it."""

    __slots__ = ()


class Place:
    """Where a value stands: text[start:end]. `line`: (start, end) of its whole statement, with the line's end.

    `inline` tells that the value stands inside of a table in braces.
    """

    def __init__(self, start, end, line, inline):
        self.start = start
        self.end = end
        self.line = line
        self.inline = inline


class TomlText:
    """A TOML document: `content`, its tables as dictionaries, `places` of its values and `headers` of its tables.

    Both are found by a path, a tuple of keys; tables of an array have their number, from 0, in it. Raises InputError
    where the bytes are no TOML.
    """

    def __init__(self, raw, path):
        self.path = path
        self.text = utf8_text(raw, path)
        self.content = {}
        self.places = {}
        # Header line of each table, and its last statement: (start, end).
        self.headers = {}
        self.last = {}
        # The same of tables that keys with dots have made: below which table, and their last statement.
        self.dotted = {}
        self._at = 0
        self._table = ()
        # Tables that nothing may be added to: those in braces.
        self._closed = set()
        self._arrays = set()
        # Tables that a key with dots made, which no header may name again.
        self._by_key = {}
        self._read()

    def get(self, path, default=None):
        """The value at a path, or the default."""
        found = self.content
        try:
            for key in path:
                found = found[key]
        except (KeyError, IndexError, TypeError):
            return default
        return found

    def line_end(self):
        return "\r\n" if "\r\n" in self.text else "\n"

    # Reading

    def _fail(self, why=""):
        line = self.text.count("\n", 0, self._at) + 1
        raise InputError(f"{self.path} is not valid TOML (line {line}{why and ': '}{why})", UNCHANGED)

    def _read(self):
        while self._at < len(self.text):
            start = self._at
            self._space()
            at = self.text[self._at : self._at + 1]
            if at == "[":
                self._header(start)
            elif at not in ("", "#", "\r", "\n"):
                self._statement(start)
            self._end_line()

    def _space(self):
        self._at = _SPACE.match(self.text, self._at).end()

    def _end_line(self):
        self._space()
        if comment := _COMMENT.match(self.text, self._at):
            self._at = comment.end()
        found = _LINE_END.match(self.text, self._at)
        if found is None:
            self._fail()
        self._at = found.end()

    def _take(self, token):
        if not self.text.startswith(token, self._at):
            self._fail(f"{token} is expected")
        self._at += len(token)

    def _key(self):
        keys = []
        while True:
            self._space()
            keys.append(self._simple_key())
            self._space()
            if not self.text.startswith(".", self._at):
                return tuple(keys)
            self._at += 1

    def _simple_key(self):
        for pattern, read in ((_BARE, None), (_LITERAL, None), (_BASIC, self._unescaped)):
            if found := pattern.match(self.text, self._at):
                self._at = found.end()
                text = found.group(found.lastindex or 0)
                return read(text) if read else text
        return self._fail("a key is expected")

    def _header(self, start):
        array = self.text.startswith("[[", self._at)
        self._take("[[" if array else "[")
        keys = self._key()
        self._take("]]" if array else "]")
        self._table = self._open(keys, array)
        at = self._at
        self._end_line()
        self.headers[self._table] = (start, self._at)
        self._at = at

    def _open(self, keys, array):
        """The path of the table that a header names, which is made."""
        path, table = (), self.content
        for key in keys[:-1]:
            path, table = self._step(path, table, key)
        last = (*path, keys[-1])
        there = table.get(keys[-1])
        if array:
            if there is None:
                table[keys[-1]] = there = []
                self._arrays.add(last)
            if last not in self._arrays:
                self._fail(f"{'.'.join(keys)} is no array of tables")
            there.append({})
            return (*last, len(there) - 1)
        if there is None:
            table[keys[-1]] = {}
        elif not isinstance(there, dict) or last in self.headers or last in self._closed or last in self._by_key:
            self._fail(f"{'.'.join(keys)} is there twice")
        return last

    def _step(self, path, table, key):
        """One table further on the way of a header, made where it is not there."""
        path = (*path, key)
        found = table.setdefault(key, {})
        if path in self._arrays:
            return (*path, len(found) - 1), found[-1]
        if not isinstance(found, dict) or path in self._closed:
            self._fail(f"{key} is no table")
        return path, found

    def _statement(self, start):
        before = len(self.places)
        path = self._pair(self._table, self.get(self._table, {}), inline=False)
        at = self._at
        self._end_line()
        line = self.last[self._table] = (start, self._at)
        for length in range(len(self._table) + 1, len(path)):
            self.dotted[path[:length]] = (self._table, line)
        for place in itertools.islice(self.places.values(), before, None):
            place.line = line
        # A line that ends the text ends once.
        self._at = at

    def _pair(self, base, table, inline):
        keys = self._key()
        path = base
        for key in keys[:-1]:
            path = (*path, key)
            found = table.setdefault(key, {})
            # A header names a table once, and keys with dots of another table can't add to it.
            fits = isinstance(found, dict) and not {path} & (self._closed | self._arrays | self.headers.keys())
            if not fits or self._by_key.setdefault(path, base) != base:
                self._fail(f"{key} is there twice")
            table = found
        path = (*path, keys[-1])
        if keys[-1] in table:
            self._fail(f"{keys[-1]} is there twice")
        self._take("=")
        self._space()
        start = self._at
        table[keys[-1]] = self._value(path)
        self.places[path] = Place(start, self._at, None, inline)
        return path

    def _value(self, path, depth=0):
        if depth > _DEEPEST:
            self._fail("it is nested too deeply")
        at = self.text[self._at : self._at + 1]
        if at in ("'", '"'):
            return self._string()
        if at == "[":
            return self._array(path, depth)
        if at == "{":
            return self._inline_table(path)
        found = _SCALAR.match(self.text, self._at)
        if found is None:
            self._fail("a value is expected")
        self._at = found.end()
        text = found.group()
        if text in ("true", "false"):
            return text == "true"
        return int(text.replace("_", "")) if _INTEGER.fullmatch(text) and len(text) < 20 else Scalar(text)

    def _string(self):
        for pattern, basic, long in (
            (_LONG_LITERAL, False, True),
            (_LONG_BASIC, True, True),
            (_LITERAL, False, False),
            (_BASIC, True, False),
        ):
            opening = pattern.pattern[: 3 if long else 1]
            if not self.text.startswith(opening, self._at):
                continue
            found = pattern.match(self.text, self._at)
            if found is None or _LONE_RETURN.search(found.group()):
                self._fail("a text does not end, or has characters that it can't have")
            self._at = found.end()
            text = found.group(1).replace("\r\n", "\n")
            return self._unescaped(_CONTINUED.sub("", text) if long else text) if basic else text
        return self._fail()

    def _unescaped(self, text):
        def character(found):
            if found.group(3):
                return _ESCAPED[found.group(3)]
            number = int(found.group(1) or found.group(2), 16)
            if 0xD800 <= number < 0xE000 or number > 0x10FFFF:
                self._fail("an escape is no character")
            return chr(number)

        return _ESCAPE.sub(character, text)

    def _blank(self):
        """Over white space, ends of lines and comments, as they may stand in an array."""
        while True:
            self._space()
            if comment := _COMMENT.match(self.text, self._at):
                self._at = comment.end()
            found = _LINE_END.match(self.text, self._at)
            if found is None or not found.group():
                return
            self._at = found.end()

    def _array(self, path, depth):
        self._take("[")
        items = []
        self._blank()
        while not self.text.startswith("]", self._at):
            items.append(self._value((*path, len(items)), depth + 1))
            self._blank()
            if not self.text.startswith(",", self._at):
                break
            self._at += 1
            self._blank()
        self._take("]")
        return items

    def _inline_table(self, path):
        if len(path) > _DEEPEST:
            self._fail("it is nested too deeply")
        self._take("{")
        table = {}
        self._space()
        if self.text.startswith("}", self._at):
            self._at += 1
        else:
            self._pair(path, table, inline=True)
            while self.text.startswith(",", self._at) or self._comma():
                self._take(",")
                self._pair(path, table, inline=True)
            self._take("}")
        self._closed.add(path)
        self._closed.update(made for made in self._by_key if made[: len(path)] == path)
        return table

    def _comma(self):
        self._space()
        return self.text.startswith(",", self._at)

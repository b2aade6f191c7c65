# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""JSON as it stands in the files of other programs: read strictly, written as found. Private to this collection."""

from __future__ import annotations

import codecs
import json
import json.decoder
import re

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError

UNCHANGED = "Nothing was changed: mend the file or move it away"
PLAIN = "Save it as UTF-8 without a byte order mark. Nothing was changed"

# White space, as JSON knows it.
SPACE = b" \t\n\r"


class Number(str):
    """A number as it stands in the text. Reading it as a float would round it."""

    __slots__ = ()


def parse(raw, path):
    """The object in the bytes of a file. Raises InputError, which shows nothing of the content."""
    text = utf8_text(raw, path)
    try:
        document = json.loads(
            text,
            object_pairs_hook=_pairs,
            parse_int=Number,
            parse_float=Number,
            parse_constant=_no_constant,
        )
    except RecursionError:
        raise InputError(f"{path} is nested too deeply", UNCHANGED) from None
    except json.JSONDecodeError as error:
        what = "is empty" if not raw.strip(SPACE) else f"is not valid JSON (line {error.lineno}, column {error.colno})"
        raise InputError(f"{path} {what}", UNCHANGED) from None
    except _NotJsonError as error:
        raise InputError(f"{path} is not valid JSON ({error})", UNCHANGED) from None
    if not isinstance(document, dict):
        raise InputError(f"{path} does not hold a JSON object", UNCHANGED)
    return document


def utf8_text(raw, path):
    """The text in the bytes of a file. Raises InputError where it is not plain UTF-8."""
    unusual = unusual_encoding(raw)
    if unusual:
        raise InputError(f"{path} {unusual}", PLAIN)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8 text", UNCHANGED) from None


def unusual_encoding(raw):
    """What the bytes of a text are, where they are not plain UTF-8 but what Windows writes, or an empty string."""
    if raw.startswith(codecs.BOM_UTF8):
        return "begins with a byte order mark (BOM), which some editors of Windows write"
    if raw.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "is UTF-32 text"
    # Without a mark: of two bytes each of a plain text, one is NUL.
    half = len(raw) // 2
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or (
        half and raw.strip(b"\0") and half in (raw[::2].count(0), raw[1::2].count(0))
    ):
        return "is UTF-16 text, as some programs of Windows write it"
    return ""


class _NotJsonError(ValueError):
    """What Python's parser takes and Docker's does not, or reads in another way."""


def _pairs(pairs):
    found = dict(pairs)
    if len(found) != len(pairs):
        # Docker reads the second of two objects into the first; writing only one of them would lose what it held.
        raise _NotJsonError("a key occurs twice in one object")
    return found


def _no_constant(_text):
    raise _NotJsonError("NaN and Infinity are no numbers of JSON")


def is_text(value):
    return isinstance(value, str) and not isinstance(value, Number)


def indentation(text, default="\t"):
    """What one level of the text is indented by."""
    found = re.search(r'\n([ \t]+)"', text)
    return found.group(1) if found else default


def serialise(document, like=""):
    """The bytes of the document, indented as the text `like` is, or as Docker does it."""
    text = dump(document, "\n", indentation(like))
    return (text + ("\n" if like.endswith("\n") else "")).encode()


def dump(value, line, indent):
    """The text of a value that begins on a line which `line` begins, a line end and the indentation."""
    inner = line + indent
    if isinstance(value, dict) and value:
        items = (f"{quoted(key)}: {dump(item, inner, indent)}" for key, item in value.items())
        return "{" + inner + ("," + inner).join(items) + line + "}"
    if isinstance(value, list) and value:
        return "[" + inner + ("," + inner).join(dump(item, inner, indent) for item in value) + line + "]"
    if isinstance(value, Number):
        return str(value)
    return quoted(value) if isinstance(value, str) else json.dumps(value)


def quoted(text):
    """A text as JSON has it, readable where UTF-8 has all of its characters."""
    readable = json.dumps(text, ensure_ascii=False)
    try:
        readable.encode()
    except UnicodeEncodeError:
        # Half of a surrogate pair, which JSON can hold and UTF-8 can't.
        return json.dumps(text)
    return readable

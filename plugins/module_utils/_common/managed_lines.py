# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines of ours in the files of others, known by the comment at their end. Private to this collection.

A line that replaces one of the file's owner keeps that in its comment.
"""

from __future__ import annotations

import re

MARK = "# wharf.registry manages this line"
_BEFORE = ", before: "
_MANAGED = re.compile(rf"^(?P<indent>[ \t]*)(?:.*[^ \t])?[ \t]*{re.escape(MARK)}(?:{_BEFORE}(?P<before>.*))?$")


def is_managed(line):
    """Whether a line is one of ours, with or without its end."""
    return _MANAGED.match(line.rstrip("\r\n")) is not None


def indentation_of(line):
    return line[: len(line) - len(line.lstrip(" \t"))]


def marked(text, before=None):
    """A line of ours without its end; before: the line that it replaces."""
    return f"{text} {MARK}" if before is None else f"{text} {MARK}{_BEFORE}" + before.lstrip(" \t")


def former(line):
    """The line that one of ours replaces, with its end, or an empty text where it replaces none."""
    content = line.rstrip("\r\n")
    found = _MANAGED.match(content)
    return "" if found["before"] is None else found["indent"] + found["before"] + line[len(content) :]

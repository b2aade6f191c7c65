# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values of documents that anything may stand in: of the type that was asked for, and bounded.

Private to this collection.
"""

from __future__ import annotations

LONGEST = 500


def text(value, most=LONGEST):
    """A text that JSON and UTF-8 can hold, cut with its length told. An empty one for what is none."""
    if not isinstance(value, str):
        return ""
    told = value if len(value) <= most else f"{value[:most]}… ({len(value)} characters)"
    return told.encode("utf-8", "replace").decode("utf-8")


def when(value):
    """A time as text, or None."""
    return text(value, 40) or None


def number(value):
    """An int or a float that JSON can hold, or None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return value if abs(value) < 1 << 60 else None


def mapping(value):
    return value if isinstance(value, dict) else {}


def items(value, most):
    """The first ones of a list, an empty list for what is none."""
    return value[:most] if isinstance(value, list) else []


def dictionaries(value, most):
    return [one for one in items(value, most) if isinstance(one, dict)]


def texts(value, most):
    return [told for told in map(text, items(value, most)) if told]

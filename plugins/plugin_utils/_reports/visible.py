# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hostile text, made visible: a report shows what hosts, images and registries say of themselves."""

from __future__ import annotations

import html
import re
import unicodedata

# Characters of a cell that are shown, and of a line of the table.
LONGEST = 1000
# Above all, all that moves, hides or turns round other characters.
_HIDDEN = frozenset(["Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"])
# Fast where there is none, as nearly everywhere.
_PLAIN = re.compile(r"[\x20-\x7e\n]*\Z")


def shown(value, most=LONGEST, breaks=False):
    """A text as HTML: inert, in its own direction, with what does not show made visible, and cut with its length told.

    breaks: whether a line may end behind each slash.
    """
    text = str(value)
    more = len(text) - most
    text = text[:most] if more > 0 else text
    if not _PLAIN.match(text):
        text = "".join(map(_visible, text))
    told = html.escape(text).replace("\n", "<br>")
    if breaks:
        told = told.replace("/", "/<wbr>")
    if more > 0:
        told += f"… <small>({len(str(value)):,} characters)</small>"
    return f"<bdi>{told}</bdi>"


def _visible(one):
    if one == "\n" or unicodedata.category(one) not in _HIDDEN:
        return one
    return f"⟨U+{ord(one):04X}⟩"

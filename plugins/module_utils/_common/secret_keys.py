# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys of configuration files whose values no message may show. Private to this collection."""

from __future__ import annotations

_SECRET = {"header", "auth", "password", "authorization"}


def shown_value(path, text):
    """The text of a value at a path, as a message may show it."""
    return "(the login)" if _SECRET & {str(key).lower() for key in path} else text

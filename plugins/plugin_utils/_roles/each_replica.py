# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One description of a replica for each of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def _filled(value, words):
    if isinstance(value, str):
        for placeholder, word in words.items():
            value = value.replace(placeholder, word)
        return value
    if isinstance(value, Mapping):
        return {_filled(key, words): _filled(item, words) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [_filled(item, words) for item in value]
    return value


def each_replica(description, count):
    """A list of `count` copies; the placeholders are those that the documentation of the filter names."""
    return [
        _filled(description, {"@replica@": str(number), "@first@": "true" if number == 1 else "false"})
        for number in range(1, int(count) + 1)
    ]

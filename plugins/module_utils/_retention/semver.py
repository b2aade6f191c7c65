# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Semantic versions in the names of tags, and ranges of them. Private to this collection."""

from __future__ import annotations

import re

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError

_LEAST = (0,)
_RELEASE = (1,)
_PRERELEASE = r"(?:-(?P<pre>[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?"
# A tag holds no plus sign; Helm writes an underscore in its place.
_BUILD = r"(?:[+_][0-9A-Za-z.-]+)?"
# One number alone is as often a build or a date, and no version.
_VERSION = re.compile(r"[vV]?(?P<major>\d{1,18})\.(?P<minor>\d{1,18})(?:\.(?P<patch>\d{1,18}))?" + _PRERELEASE + _BUILD)
_PART = r"\d{1,18}|[xX*]"
_COMPARATOR = re.compile(
    rf"(?P<sign>[<>]=?|==?|\^|~>?|)\s*[vV]?(?P<major>{_PART})(?:\.(?P<minor>{_PART})(?:\.(?P<patch>{_PART}){_PRERELEASE}{_BUILD})?)?"
)
_HYPHEN = re.compile(r"\s*(\S+)\s+-\s+(\S+)\s*")
_CURE = "Give for example '>=1.2 <2.0', '^1.4', '~1.4.2', '1.x', '1.2 - 1.6', or several with || between them"


def parse_version(tag):
    """The version that the name of a tag is, as a tuple that sorts by precedence, or None. 1.4 is 1.4.0."""
    found = _VERSION.fullmatch(tag)
    if not found:
        return None
    numbers = tuple(int(found.group(name) or 0) for name in ("major", "minor", "patch"))
    return (*numbers, _prerelease(found.group("pre")))


def _prerelease(text):
    """The part of a precedence that follows the numbers: a release comes after its prereleases."""
    if text is None:
        return _RELEASE
    # Numbers come before words, and a shorter list before a longer one that begins with it.
    return (0, tuple((0, int(part), "") if _is_number(part) else (1, 0, part) for part in text.split(".")))


def _is_number(part):
    return part.isdigit() and part.isascii()


class Range:
    """A range of semantic versions as npm, Cargo and Helm understand it. Raises InputError."""

    def __init__(self, text):
        self.text = text
        self._alternatives = [self._comparators(part) for part in text.split("||")]

    def holds(self, version):
        """Whether a version is in it. A prerelease is only where one of the same numbers is named, and in order."""
        return any(self._fits(version, comparators) for comparators in self._alternatives)

    @staticmethod
    def _fits(version, comparators):
        if not all(_COMPARE[sign](version, bound) for sign, bound, _named in comparators):
            return False
        if version[3] == _RELEASE:
            return True
        return any(named and bound[:3] == version[:3] for _sign, bound, named in comparators)

    def _comparators(self, text):
        """[(sign, bound, whether the bound is a prerelease that the user has named)], all of which must hold."""
        hyphen = _HYPHEN.fullmatch(text)
        if hyphen:
            text = f">={hyphen.group(1)} <={hyphen.group(2)}"
        comparators, position = [], 0
        text = text.strip().replace(",", " ") or "*"
        while position < len(text):
            found = _COMPARATOR.match(text, position)
            ends = found and (found.end() == len(text) or text[found.end()].isspace() or text[found.end()] in "<>=^~")
            if not ends:
                raise InputError(f"{self.text!r} is no range of versions", _CURE)
            comparators += _bounds(found)
            position = found.end()
            while position < len(text) and text[position].isspace():
                position += 1
        return comparators


def _bounds(found):
    numbers = []
    for name in ("major", "minor", "patch"):
        part = found.group(name)
        if part is None or not part.isdigit():
            break
        numbers.append(int(part))
    named = len(numbers) == 3 and found.group("pre") is not None
    low = (*numbers, *[0] * (3 - len(numbers)), _prerelease(found.group("pre")) if named else _RELEASE)
    sign = found.group("sign")
    if sign in ("^", "~", "~>"):
        return [(">=", low, named), *_below(_cut(sign, numbers))]
    if sign in ("<", ">="):
        # Below 2.0 are none of the prereleases of 2.0.0, unless one of these is the bound itself.
        bound = low if named or sign == ">=" else (*low[:3], _LEAST)
        return [(sign, bound, named)]
    if len(numbers) == 3:
        return [(sign if sign in ("<=", ">") else "==", low, named)]
    if sign == ">":
        # Above 1.2 begins with 1.3; above any version is nothing.
        return [(">=", (*_next(numbers), _RELEASE), False)] if numbers else [("<", (0, 0, 0, _LEAST), False)]
    return [*([] if sign == "<=" else [(">=", low, False)]), *_below(numbers)]


def _cut(sign, numbers):
    """The numbers that may not change."""
    if sign != "^":
        return numbers[:2]
    leading = next((place for place, number in enumerate(numbers) if number), len(numbers) - 1)
    return numbers[: leading + 1]


def _next(numbers):
    bumped = [*numbers[:-1], numbers[-1] + 1]
    return (*bumped, *[0] * (3 - len(bumped)))


def _below(numbers):
    return [("<", (*_next(numbers), _LEAST), False)] if numbers else []


_COMPARE = {
    "<": lambda version, bound: version < bound,
    "<=": lambda version, bound: version <= bound,
    ">": lambda version, bound: version > bound,
    ">=": lambda version, bound: version >= bound,
    "==": lambda version, bound: version == bound,
}

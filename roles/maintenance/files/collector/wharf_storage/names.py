# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names and digests that the registry itself could have made, and how any other name is shown."""

from __future__ import annotations

import re

# The algorithms of a registry, and how many hexadecimal digits their digests have.
ALGORITHMS = {"sha256": 64, "sha384": 96, "sha512": 128}
# What the directory of a repository holds, beside repositories whose names go on.
PARTS = ("_layers", "_manifests", "_uploads")
MOST_CHARACTERS = 255

_COMPONENT = re.compile(r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_ENCODED = {name: re.compile(f"[0-9a-f]{{{digits}}}").fullmatch for name, digits in ALGORITHMS.items()}
_DIGEST = re.compile("|".join(f"{name}:[0-9a-f]{{{digits}}}" for name, digits in ALGORITHMS.items()))


def is_component(text):
    """Whether it may be a part of the name of a repository."""
    return bool(_COMPONENT.fullmatch(text))


def is_repository(text):
    return len(text) <= MOST_CHARACTERS and all(is_component(part) for part in text.split("/"))


def is_tag(text):
    return bool(_TAG.fullmatch(text))


def is_encoded(algorithm, text):
    """Whether it may be the part of a digest that comes after the algorithm."""
    fits = _ENCODED.get(algorithm)
    return bool(fits and fits(text))


def is_digest(value):
    return isinstance(value, str) and bool(_DIGEST.fullmatch(value))


def split(digest):
    """(algorithm, digits) of a digest."""
    algorithm, _colon, encoded = digest.partition(":")
    return algorithm, encoded


def shown(path):
    """A path for people: in quotes, so that no name in it can end a line or colour a terminal."""
    text = ascii(path)
    return text if len(text) <= 600 else f"{text[:600]}…"

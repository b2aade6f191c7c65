# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is found in a storage: links, and what is odd."""

from __future__ import annotations

import typing

from . import names
from .files import DIRECTORY, FILE, LINK, OddError

_MOST_TOLD = 20


class Link(typing.NamedTuple):
    """A link: the digest that it says, or None where it says nothing of use, and when it was written.

    The registry writes a blob that was pushed as sha512 once, by its sha256, and links it by both: the digest in the
    path is what clients ask for, and that in the link is where the content lies.
    """

    target: str | None
    time: float
    nanoseconds: int = 0


class Oddities:
    """What the registry would not make, or can't be read. The first ones are told, and all are counted.

    hides is whether there may be links behind one that the registry would follow, and this library does not.
    """

    def __init__(self):
        self.told = []
        self.count = 0
        self.hides = False

    def __len__(self):
        return self.count

    def add(self, what, hides=False):
        self.count += 1
        self.hides = self.hides or hides
        if len(self.told) < _MOST_TOLD:
            self.told.append(str(what))

    def merge(self, other):
        self.count += other.count
        self.hides = self.hides or other.hides
        self.told += other.told[: _MOST_TOLD - len(self.told)]

    def add_entry(self, directory, name, kind, hides=False):
        path = directory.join(name)
        if kind in (DIRECTORY, FILE):
            self.add(f"the registry makes no {kind} of this name: {names.shown(path)}", hides)
        else:
            self.add(OddError(path, kind), hides or kind == LINK)

    def add_error(self, error, path):
        """The registry may read what this library can't, but for what is neither a file nor a directory."""
        if isinstance(error, OddError):
            self.add(error, hides=error.kind == LINK)
        else:
            self.add(f"{names.shown(path)}: {error.strerror}", hides=True)

# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the manifests of a storage name. What was read once is remembered: a digest is its content."""

from __future__ import annotations

from wharf_storage.files import OddError
from wharf_storage.manifests import MOST_BYTES, ManifestError, parse


class UnreadableError(Exception):
    """A manifest that is missing or damaged."""


class Contents:
    def __init__(self, storage):
        self.storage = storage
        self._known = {}

    def named(self, digest):
        """(digests, subject) that a manifest names. Raises UnreadableError, and OSError where the disk does."""
        if digest not in self._known:
            self._known[digest] = self._read(digest)
        found = self._known[digest]
        if isinstance(found, str):
            raise UnreadableError(found)
        return found

    def _read(self, digest):
        try:
            # A layer, of which there may be thousands, is known by its first bytes.
            content = self.storage.read_blob(digest, MOST_BYTES + 1, begins=b"{")
        except (FileNotFoundError, OddError):
            # What can't be found may come yet.
            raise UnreadableError("is missing") from None
        try:
            manifest = parse(content)
        except ManifestError as error:
            return str(error)
        return manifest.digests, manifest.subject

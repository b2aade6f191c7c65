# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images on a disk of this host."""

from __future__ import annotations

import os
import types

from stored import Stream
from wharf_storage.files import OddError
from wharf_storage.found import Oddities
from wharf_storage.names import is_digest
from wharf_storage.storage import Storage

_PIECE = 1 << 20
_MOST_LINK = 256


class DiskPlace:
    """A storage directory. Raises OSError where there is none. `bucket_place.BucketPlace` is the same for a bucket."""

    # Of each turn, what goes into a look at all of it: the registry comes first.
    look_seconds = 0.3

    def __init__(self, directory):
        self._directory = directory
        self._storage = Storage(directory)

    def close(self):
        self._storage.close()

    def answers(self):
        """Whether it can be used at all."""
        return True

    def room(self):
        """{size, free} in bytes, or None where that is not known."""
        try:
            disk = os.statvfs(self._directory)
        except OSError:
            return None
        return {"size": disk.f_frsize * disk.f_blocks, "free": disk.f_frsize * disk.f_bavail}

    # --- repositories -------------------------------------------------------------------------------------------------

    def names(self):
        """The names of all repositories."""
        return self._storage.repositories(Oddities())

    def repository(self, name):
        """What a repository has: tags and revisions, {tag or digest: Link}."""
        odd = Oddities()
        return types.SimpleNamespace(tags=self._storage.tags(name, odd), revisions=self._storage.revisions(name, odd))

    def tag(self, name, tag):
        """The Link of a tag, or None."""
        return self._storage.tags(name, Oddities(), only=[tag]).get(tag)

    def link(self, name, directory, digest):
        """(the digest under which the content lies, seconds), or None where the repository does not have it."""
        algorithm, _colon, encoded = digest.partition(":")
        try:
            with self._storage.enter_repository(name, *directory.split("/"), algorithm) as place:
                about, content = place.read(encoded, "link", _MOST_LINK)
        except (FileNotFoundError, OddError):
            return None
        target = content.decode("ascii", "replace").strip()
        return (target, int(about.st_mtime)) if is_digest(target) else None

    # --- contents -----------------------------------------------------------------------------------------------------

    def read_blob(self, digest, most):
        """The first bytes of a blob, or None where there is none."""
        try:
            return self._storage.read_blob(digest, most)
        except (FileNotFoundError, OddError):
            return None

    def blob_size(self, digest):
        return self._storage.blob_size(digest)

    def open_blob(self, digest):
        """The Stream of a blob, or None where there is none."""
        try:
            descriptor = self._storage.open_blob(digest)
        except (FileNotFoundError, OddError):
            return None
        file = open(descriptor, "rb")  # noqa: SIM115 - the pieces close it
        return Stream(os.fstat(descriptor).st_size, _pieces(file))


def _pieces(file):
    with file:
        while True:
            piece = file.read(_PIECE)
            if not piece:
                return
            yield piece

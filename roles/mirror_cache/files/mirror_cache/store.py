# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of the cache, which nginx sends: blobs/UPSTREAM/sha256/ab/abcd…, no more bytes in all than it may have."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import threading

# Of the file system, which the registry may share: it must never run full by the cache.
_FREE_SHARE = 0.05
_UNFINISHED = ".unfinished"


class Store:
    """Files below a directory, and the Index of them. limit is in bytes. Threads may share it."""

    def __init__(self, directory, index, limit):
        self._directory = directory
        self._index = index
        self.limit = limit
        self._lock = threading.RLock()
        # What is held, and what is on its way, in bytes.
        self._total = 0
        self._reserved = 0
        self._count = 0
        self._reconcile()

    @property
    def total(self):
        return self._total

    def _path(self, upstream, digest):
        algorithm, _colon, name = digest.partition(":")
        return os.path.join(self._directory, upstream, algorithm, name[:2], name)

    def place(self, upstream, digest):
        """Where a file lies below the directory, as a path of a URL."""
        return os.path.relpath(self._path(upstream, digest), self._directory)

    def has(self, upstream, digest):
        """Whether the file is there, which a person may have removed."""
        return os.path.isfile(self._path(upstream, digest))

    def _reconcile(self):
        """Removes files that the index does not know, such as unfinished ones, and entries without their file."""
        known = {self._path(*key): key for key in self._index.digests()}
        for folder, _folders, names in os.walk(self._directory):
            for name in names:
                path = os.path.join(folder, name)
                if known.pop(path, None) is None:
                    os.unlink(path)
        for upstream, digest in known.values():
            self._index.forget(upstream, digest)
        self._total = self._index.total()
        self.make_room(0)

    # --- room ---------------------------------------------------------------------------------------------------------

    def make_room(self, size):
        """Whether there is room for so many bytes more, after what was used least was removed for them."""
        with self._lock:
            if size > self.limit:
                return False
            while self._total + self._reserved + size > self.limit or not self._disk_has(size):
                least = self._index.least_used()
                if least is None:
                    return False
                self.remove(*least)
            return True

    def _disk_has(self, size):
        usage = shutil.disk_usage(self._directory)
        return usage.free - size > _FREE_SHARE * usage.total

    def reserve(self, size):
        """As make_room; the bytes are taken until they are released."""
        with self._lock:
            if not self.make_room(size):
                return False
            self._reserved += size
            return True

    def release(self, size):
        with self._lock:
            self._reserved -= size

    def remove(self, upstream, digest):
        """Removes a file, and those that belong to it alone. One that is being sent is sent to its end."""
        with self._lock:
            for entry in self._index.forget(upstream, digest):
                self._total -= entry.size
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self._path(upstream, entry.digest))

    # --- files --------------------------------------------------------------------------------------------------------

    def unfinished(self, upstream):
        """(path, open file) of a file that has no name yet."""
        folder = os.path.join(self._directory, upstream)
        os.makedirs(folder, 0o750, exist_ok=True)
        with self._lock:
            self._count += 1
            path = os.path.join(folder, f"{_UNFINISHED}-{self._count}")
        return path, open(path, "xb")

    def finish(self, path, upstream, repository, digest, size, **known):
        """Gives a file that is whole and verified its name, and returns its path. known is for the index."""
        final = self._path(upstream, digest)
        os.makedirs(os.path.dirname(final), 0o750, exist_ok=True)
        with self._lock:
            held = self._index.entry(upstream, digest)
            os.replace(path, final)
            self._index.add(upstream, repository, digest, size, **known)
            self._total += size - (held.size if held else 0)
        return final

    def put(self, upstream, repository, digest, content, **known):
        """Writes a small file, such as a manifest. Without room it is not kept, which is no error."""
        if not self.make_room(len(content)):
            return
        path, file = self.unfinished(upstream)
        try:
            with file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            self.finish(path, upstream, repository, digest, len(content), **known)
        except OSError as error:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise

    def read(self, upstream, digest):
        """The content of a small file, or None where it is not there. One that is damaged is removed."""
        try:
            with open(self._path(upstream, digest), "rb") as file:
                content = file.read()
        except FileNotFoundError:
            content = b""
        algorithm, _colon, name = digest.partition(":")
        if hashlib.new(algorithm, content).hexdigest() == name:
            return content
        self.remove(upstream, digest)
        return None

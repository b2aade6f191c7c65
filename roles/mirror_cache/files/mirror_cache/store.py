# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of the cache, which nginx sends: blobs/UPSTREAM/sha256/ab/abcd…, no more bytes in all than it may have."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import sqlite3
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
        # What is held, what is on its way, and what of that has not come to the disk yet, in bytes.
        self._total = 0
        self._reserved = 0
        self._unwritten = 0
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
        """Whether there is room for so many bytes more, after what was used least was removed for them.

        No more is removed than they need, and nothing where all of it would not do.
        """
        with self._lock:
            usage = shutil.disk_usage(self._directory)
            of_limit = self._total + self._reserved + size - self.limit
            of_disk = self._unwritten + size + int(_FREE_SHARE * usage.total) - usage.free
            lacking = max(of_limit, of_disk)
            if size > self.limit or lacking > self._total:
                return False
            while lacking > 0:
                least = self._index.least_used()
                if least is None:
                    return False
                # Not asked of the disk again: what is being sent is freed later.
                lacking -= self.remove(*least)
            return True

    def reserve(self, size):
        """As make_room; the bytes are taken until they are released."""
        with self._lock:
            if not self.make_room(size):
                return False
            self._reserved += size
            self._unwritten += size
            return True

    def wrote(self, size):
        """So many bytes of a reservation are on the disk, which counts them itself from now on."""
        with self._lock:
            self._unwritten -= size

    def release(self, size, written):
        """Ends a reservation, of which so many bytes were written."""
        with self._lock:
            self._reserved -= size
            self._unwritten -= size - written

    def remove(self, upstream, digest):
        """Removes a file, and those that belong to it alone, and returns their bytes.

        One that is being sent is sent to its end.
        """
        freed = 0
        with self._lock:
            for entry in self._index.forget(upstream, digest):
                freed += entry.size
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self._path(upstream, entry.digest))
            self._total -= freed
        return freed

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
            try:
                self._index.add(upstream, repository, digest, size, **known)
            except sqlite3.Error:
                # What it does not know would be counted by nothing.
                os.unlink(final)
                raise
            self._total += size - (held.size if held else 0)
        return final

    def put(self, upstream, repository, digest, content, **known):
        """Writes a small file, such as a manifest. One that can't be kept is served all the same."""
        path = None
        try:
            if not self.make_room(len(content)):
                return
            path, file = self.unfinished(upstream)
            with file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            self.finish(path, upstream, repository, digest, len(content), **known)
        except (OSError, sqlite3.Error) as error:
            print(f"{upstream}: {digest} can't be kept: {error}", flush=True)
            if path is not None:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)

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

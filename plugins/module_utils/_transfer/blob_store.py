# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The blobs of a layout as files, in parts where the medium takes no large ones. Private to this collection.

The parts of a blob are named after it, `.part-0002-of-0003`. One of which a part is missing counts as absent.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import tempfile
import threading
import time

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError
from ansible_collections.wharf.registry.plugins.module_utils._distribution.transport_errors import AnswerError

_PIECE = 1 << 20
_DIGEST = re.compile(r"(sha256|sha384|sha512):([0-9a-f]+)")
_PART = re.compile(r"([0-9a-f]+)\.part-([0-9]{4})-of-([0-9]{4})")
_MOST_PARTS = 9999
# In blobs/, which no digest can be.
_UNFINISHED = ".wharf-"
_SECONDS_TO_LOCK = 60


class BlobStore:
    """The directory blobs/ of a layout. part_size is the most bytes of one file, 0 for any. Threads may share it."""

    def __init__(self, layout, part_size=0):
        self._layout = layout
        self._path = os.path.join(layout, "blobs")
        self._part_size = part_size
        self._lock = threading.Lock()
        # Whether it was looked for what killed runs have left.
        self._tidy = False

    # --- what is there ------------------------------------------------------------------------------------------------

    def _file(self, digest):
        found = _DIGEST.fullmatch(digest)
        if found is None:
            raise AnswerError(f"{digest} is no digest that a layout can hold", "Push the image again with SHA-256")
        return os.path.join(self._path, found[1], found[2])

    def files(self, digest):
        """The paths of the files that hold a blob, none where not all of them are there."""
        path = self._file(digest)
        if os.path.isfile(path):
            return [path]
        folder, name = os.path.split(path)
        try:
            parts = sorted(filter(None, map(_PART.fullmatch, os.listdir(folder))), key=lambda part: part[2])
        except FileNotFoundError:
            return []
        parts = [part for part in parts if part[1] == name]
        whole = parts and [int(part[2]) for part in parts] == list(range(1, int(parts[0][3]) + 1))
        return [os.path.join(folder, part.string) for part in parts] if whole else []

    def size(self, digest):
        """The bytes of a blob, or None where it is not there."""
        with self._explained(f"{digest} can't be read"):
            files = self.files(digest)
            return sum(map(os.path.getsize, files)) if files else None

    def read(self, digest, start=0):
        """Yields the pieces of a blob that is there, from the byte `start` on."""
        with self._explained(f"{digest} can't be read"):
            for path in self.files(digest):
                size = os.path.getsize(path)
                if start >= size:
                    start -= size
                    continue
                with open(path, "rb") as file:
                    file.seek(start)
                    start = 0
                    piece = file.read(_PIECE)
                    while piece:
                        yield piece
                        piece = file.read(_PIECE)

    def damage(self, digest):
        """What is wrong with a blob, in words, or an empty text. Each byte is read."""
        if not self.files(digest):
            return "is not there"
        algorithm, _colon, wanted = digest.partition(":")
        hashed = hashlib.new(algorithm)
        for piece in self.read(digest):
            hashed.update(piece)
        return "" if hashed.hexdigest() == wanted else "does not match its digest"

    # --- what is written ----------------------------------------------------------------------------------------------

    def write(self, digest, size, pieces):
        """Writes a blob. Its digest is verified where the pieces come from, which end with an error otherwise."""
        path = self._file(digest)
        with self._explained(f"{digest} can't be written"):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            self._remove_unfinished()
            if not self._part_size or size <= self._part_size:
                self._write([path], pieces, size)
                return
            count = -(-size // self._part_size)
            if count > _MOST_PARTS:
                raise InputError(f"part_size would make {count} parts of {digest}", "Give a larger part_size")
            parts = [f"{path}.part-{number:04}-of-{count:04}" for number in range(1, count + 1)]
            self._write(parts, pieces, self._part_size)

    def _write(self, paths, pieces, most):
        """Files of at most so many bytes, which get their names when the last piece has come."""
        unfinished = []
        source = _Taken(pieces)
        try:
            for path in paths:
                handle, name = tempfile.mkstemp(prefix=_UNFINISHED, dir=self._path)
                unfinished.append((name, path))
                with os.fdopen(handle, "wb") as file:
                    _hold(file.fileno())
                    for piece in source.take(most):
                        file.write(piece)
                    # Media such as FAT have no permissions.
                    with contextlib.suppress(OSError):
                        os.fchmod(file.fileno(), 0o644)
                    file.flush()
                    os.fsync(file.fileno())
            source.end()
            for name, path in unfinished:
                os.replace(name, path)
        except BaseException:
            for name, _path in unfinished:
                with contextlib.suppress(OSError):
                    os.unlink(name)
            raise

    def _remove_unfinished(self):
        """What killed runs have left. A file that another run is writing is locked."""
        with self._lock:
            if self._tidy:
                return
            self._tidy = True
        for name in os.listdir(self._path):
            path = os.path.join(self._path, name)
            # One that was made just now may not be locked yet.
            with contextlib.suppress(FileNotFoundError, BlockingIOError):
                if name.startswith(_UNFINISHED) and time.time() - os.stat(path).st_mtime > _SECONDS_TO_LOCK:
                    with open(path, "rb") as file:
                        _hold(file.fileno())
                        os.unlink(path)

    def sweep(self, needed):
        """Removes all but the blobs of these digests, and returns the bytes that this frees."""
        freed = 0
        for folder, _folders, files in os.walk(self._path):
            for name in files:
                if f"{os.path.basename(folder)}:{name.partition('.part-')[0]}" not in needed:
                    path = os.path.join(folder, name)
                    freed += os.path.getsize(path)
                    os.unlink(path)
        return freed

    @contextlib.contextmanager
    def _explained(self, what):
        try:
            yield
        except OSError as error:
            raise InputError(
                f"{self._layout}: {what}: {error.strerror}", "Check the medium and its free space"
            ) from None


class _Taken:
    """Pieces that are taken by numbers of bytes."""

    def __init__(self, pieces):
        self._pieces = iter(pieces)
        self._rest = b""

    def take(self, size):
        """Yields at most so many bytes."""
        while size:
            piece = self._rest or next(self._pieces, b"")
            if not piece:
                return
            taken, self._rest = piece[:size], piece[size:]
            size -= len(taken)
            yield taken

    def end(self):
        """Has the source come to its end, which may be an error."""
        for _piece in self._pieces:
            pass


def _hold(handle):
    """Locks a file while it is written. Some media know no locks."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        pass

# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A blob on its way from the upstream: one request there, however many clients wait for it here."""

from __future__ import annotations

import contextlib
import itertools
import os
import threading

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._transfer.blob_mover import Download


class _Room:
    """The room that a download takes: all of it at once, or piece by piece where its size is not told."""

    def __init__(self, store, download):
        self._store = store
        self._download = download
        self._reserved = 0
        self._written = 0

    def reserve(self, size):
        """Whether there is room for a piece of so many bytes."""
        if self._download.size is not None:
            size = self._download.size - self._reserved
        if size and not self._store.reserve(size):
            return False
        self._reserved += size
        return True

    def wrote(self, size):
        self._store.wrote(size)
        self._written += size

    def release(self):
        self._store.release(self._reserved, self._written)


class Fetch:
    """A blob that a thread of its own writes to a file, which clients follow as it grows.

    size is in bytes, None until the upstream has told it, or where it does not tell.
    """

    def __init__(self, upstream, store, origin, digest):
        self._upstream = upstream
        self._store = store
        self._origin = origin
        self._digest = digest
        self._changed = threading.Condition()
        self._written = 0
        self._ended = False
        self._error = None
        self.size = None
        self._path = None
        # Whether there is no room for it: each client gets it by a request of its own then.
        self.passes_by = False
        self._begun = False

    def start(self, ended):
        """ended is called when it is over, however it ended."""
        threading.Thread(target=self._run, args=(ended,), daemon=True).start()

    def _run(self, ended):
        error = None
        try:
            with self._upstream.slots, self._upstream.asking(self._origin):
                self._fetch()
        except RegistryError as failure:
            error = failure
        except Exception as failure:  # noqa: BLE001 - those who follow must hear of it, or they would wait for the rest
            print(f"{self._upstream.name}: {self._digest} can't be kept: {failure!r}", flush=True)
            if self._begun:
                error = RegistryError("The cache can't write what it fetches", "Check its disk, and its journal")
            else:
                # No client has a part of it yet: each gets it without the disk.
                self.passes_by = True
        finally:
            # Requests that come from now on find it in the store.
            ended()
            with self._changed:
                self._ended, self._error = True, error
                self._changed.notify_all()

    def _fetch(self):
        download = Download(self._upstream.pool, self._origin, self._digest)
        pieces = download.pieces()
        room = _Room(self._store, download)
        path = None
        try:
            piece = next(pieces, b"")
            if not room.reserve(len(piece)):
                self.passes_by = True
                return
            path, file = self._store.unfinished(self._upstream.name)
            with file:
                with self._changed:
                    self._path, self.size = path, download.size
                    # Without a size, an end would not tell whether it is whole: it is followed when all of it is there.
                    self._begun = self.size is not None
                while piece:
                    self._write(file, piece)
                    room.wrote(len(piece))
                    piece = next(pieces, b"")
                    if not room.reserve(len(piece)):
                        self.passes_by = True
                        return
                os.fsync(file.fileno())
            # Nothing opens it between its former name and the new one.
            with self._changed:
                name = self._upstream.name
                path, self._path = None, self._store.finish(path, name, self._origin, self._digest, self._written)
                self.size, self._begun = self._written, True
        finally:
            pieces.close()
            room.release()
            if path is not None:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)

    def _write(self, file, piece):
        file.write(piece)
        file.flush()
        with self._changed:
            self._written += len(piece)
            self._changed.notify_all()

    # --- for those who follow -----------------------------------------------------------------------------------------

    def open(self):
        """The file, once it has begun, or None where it passes by.

        Raises RegistryError, and FileNotFoundError where it was removed meanwhile.
        """
        with self._changed:
            while not (self._begun or self._ended):
                self._changed.wait()
            if self._error is not None:
                raise self._error
            # Before it has its name, or is gone: under the lock of the thread that writes.
            return None if self.passes_by else open(self._path, "rb")

    def wait(self, offset):
        """(bytes that are there from an offset on, whether no more will come). Raises RegistryError."""
        with self._changed:
            while self._written <= offset and not self._ended:
                self._changed.wait()
            if self._error is not None:
                raise self._error
            return self._written - offset, self._ended

    @contextlib.contextmanager
    def passing(self):
        """(size in bytes or None, its pieces), by a request of one's own. They are verified as they come."""
        with self._upstream.slots, self._upstream.asking(self._origin):
            download = Download(self._upstream.pool, self._origin, self._digest)
            pieces = download.pieces()
            first = next(pieces, b"")
            yield download.size, itertools.chain([first], pieces)

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
from upstream import AwayError


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
            with self._upstream.slots:
                self._upstream.check_pause()
                self._fetch()
        except AwayError as failure:
            error = failure
        except RegistryError as failure:
            error = self._upstream.failed(failure)
        except OSError as failure:
            print(f"{self._upstream.name}: {self._digest} can't be kept: {failure}", flush=True)
            error = RegistryError(f"The cache can't write: {failure.strerror}", "Check its disk", "cache_full")
        finally:
            # Requests that come from now on find it in the store.
            ended()
            with self._changed:
                self._ended, self._error = True, error
                self._changed.notify_all()

    def _fetch(self):
        download = Download(self._upstream.pool, self._origin, self._digest)
        pieces = download.pieces()
        piece = next(pieces, b"")
        reserved = download.size or 0
        if not self._store.reserve(reserved):
            pieces.close()
            self.passes_by = True
            return
        path = None
        try:
            path, file = self._store.unfinished(self._upstream.name)
            with file:
                with self._changed:
                    self._path, self.size, self._begun = path, download.size, True
                while piece:
                    file.write(piece)
                    file.flush()
                    with self._changed:
                        self._written += len(piece)
                        self._changed.notify_all()
                    piece = next(pieces, b"")
                os.fsync(file.fileno())
            self._upstream.succeeded()
            if download.size is not None or self._store.make_room(self._written):
                # Nothing opens it between its former name and the new one.
                with self._changed:
                    self._path = self._store.finish(
                        path, self._upstream.name, self._origin, self._digest, self._written
                    )
            else:
                os.unlink(path)
        except BaseException:
            if path is not None:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)
            raise
        finally:
            self._store.release(reserved)

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

    def passing(self):
        """(size in bytes or None, its pieces), by a request of one's own. They are verified as they come."""
        download = Download(self._upstream.pool, self._origin, self._digest)
        pieces = download.pieces()
        first = next(pieces, b"")
        return download.size, itertools.chain([first], pieces)

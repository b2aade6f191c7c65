# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Holds back what writes to the registry, for as long as this process wants and lives.

The proxy asks at a socket before it lets anything through that writes. It is not answered while the registry is held: a
client sees a slow request and no error. Who has waited for long hears no, which the client is told as 503 with
Retry-After. Without a listener nothing is held: the kernel sees to that when this process ends, in whatever way. The
file beside the socket only spares the proxy the question while there is no collection.
"""

from __future__ import annotations

import collections
import contextlib
import errno
import grp
import os
import socket
import stat
import threading
import time

_YES = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"
_NO = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_BACKLOG = 4096


def _give_to_group(path, group):
    """Gives a socket to a group, and nothing else that may have come in its place."""
    descriptor = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        about = os.fstat(descriptor)
        if not stat.S_ISSOCK(about.st_mode) or about.st_nlink != 1:
            raise OSError(errno.EEXIST, "Something has come in the place of the socket of the collection", path)
        os.chown(f"/proc/self/fd/{descriptor}", -1, group)
    finally:
        os.close(descriptor)


class Hold:
    """A context in which the registry is held. patience is how long a request waits before it hears no, in seconds."""

    def __init__(self, path, group, patience):
        self._path = path
        self._flag = os.path.splitext(path)[0]
        self._group = group
        self._patience = patience
        self._waiting = collections.deque()
        self._over = threading.Event()
        self.refused = 0

    def __enter__(self):
        self._listener = socket.socket(socket.AF_UNIX)
        # Only once it listens does it get its name: a request must never find a socket that refuses.
        temporary = f"{self._path}.new"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        # The directory is another account's, which may put something in the place of what was made here.
        before = os.umask(0o117)
        try:
            self._listener.bind(temporary)
        finally:
            os.umask(before)
        if self._group:
            number = grp.getgrnam(self._group).gr_gid if isinstance(self._group, str) else self._group
            _give_to_group(temporary, number)
        self._listener.listen(_BACKLOG)
        self._listener.settimeout(0.1)
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()
        os.rename(temporary, self._path)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._flag)
        os.close(os.open(self._flag, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))
        return self

    def stands(self):
        """Whether what writes is still held back here."""
        return self._thread.is_alive() and os.path.exists(self._flag)

    def __exit__(self, *_exception):
        for path in (self._flag, self._path):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        self._over.set()
        self._thread.join()
        self._listener.close()

    def _accept(self):
        while not self._over.is_set():
            self._take()
            self._refuse(time.monotonic() - self._patience)
        # Those who came in last, too.
        while self._take(final=True):
            pass
        for _since, connection in self._waiting:
            self._answer(connection, _YES)
        self._waiting.clear()

    def _take(self, final=False):
        """Whether there was one that asks."""
        if final:
            self._listener.settimeout(0)
        try:
            connection, _address = self._listener.accept()
        except (TimeoutError, socket.timeout, BlockingIOError):
            return False
        except OSError:
            # Too many wait for this process to hold one more.
            self._refuse(time.monotonic(), most=len(self._waiting) // 2 + 1)
            return True
        self._waiting.append((time.monotonic(), connection))
        return True

    def _refuse(self, before, most=None):
        """Sends those away that have waited since before then: all of them, or the first so many."""
        while self._waiting and self._waiting[0][0] < before and most != 0:
            self._answer(self._waiting.popleft()[1], _NO)
            self.refused += 1
            most = None if most is None else most - 1

    def _answer(self, connection, answer):
        # Read first: to close with something unread would take the answer back.
        with contextlib.suppress(OSError), connection:
            connection.settimeout(1)
            connection.recv(65536)
            connection.sendall(answer)

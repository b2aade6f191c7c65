# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Follows a log by its inode, over rotations: each line once, also over a restart.

nginx.sh renames the log to NAME.1, and nginx goes on in a new one. A worker may write to the renamed file for some
seconds more. A position is an inode, an offset, and a digest of what the file begins with: the inode of a file that is
gone may be another one's.
"""

from __future__ import annotations

import hashlib
import os
import time

_CHUNK = 1 << 20
_HEAD = 1024
# Seconds without anything new, after which a renamed file is done.
_QUIET_SECONDS = 10


class _Open:
    """A file of the log, and how far it was read: to the beginning of a line."""

    def __init__(self, path, offset=0):
        self.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        about = os.fstat(self.descriptor)
        self.identity = (about.st_dev, about.st_ino)
        self.offset = offset
        self.grown = time.monotonic()
        self._skips = False

    def close(self):
        os.close(self.descriptor)

    @property
    def size(self):
        return os.fstat(self.descriptor).st_size

    def read(self):
        """The lines of the next chunk, as bytes, and None for one that is longer. Empty where there is nothing."""
        chunk = os.pread(self.descriptor, _CHUNK, self.offset)
        end = chunk.rfind(b"\n") + 1
        if not end:
            if len(chunk) < _CHUNK:
                return []
            self.offset += len(chunk)
            begins, self._skips = not self._skips, True
            return [None] if begins else []
        self.offset += end
        self.grown = time.monotonic()
        lines = chunk[: end - 1].split(b"\n")
        if self._skips:
            self._skips = False
            del lines[0]
        return lines

    def head(self, length):
        return hashlib.sha256(os.pread(self.descriptor, length, 0)).hexdigest()

    def position(self):
        length = min(_HEAD, self.offset)
        return {"inode": self.identity[1], "offset": self.offset, "length": length, "head": self.head(length)}

    def is_at(self, position):
        """Whether the position is one in this file."""
        return (
            self.identity[1] == position["inode"]
            and self.size >= position["offset"]
            and self.head(position["length"]) == position["head"]
        )


class Tail:
    """The log at a path. positions: those that were kept, or None to begin at its end."""

    def __init__(self, path, positions):
        self._path = path
        # Lines that were never read: the log was rotated twice meanwhile, or cut.
        self.gaps = 0
        # How often the log was seen to be rotated.
        self.rotations = 0
        self._current = self._open(path)
        # Those that were renamed, and may grow still.
        self._leaving = []
        if positions is None:
            if self._current:
                self._current.offset = self._last_line()
        else:
            self._resume(positions)

    def _last_line(self):
        """Where a line begins at the end of the log."""
        size = self._current.size
        begin = max(0, size - _CHUNK)
        return begin + os.pread(self._current.descriptor, size - begin, begin).rfind(b"\n") + 1

    def _resume(self, positions):
        former = self._open(f"{self._path}.1")
        missing = list(positions)
        found = False
        for file in (former, self._current):
            for position in positions:
                if file and position in missing and file.is_at(position):
                    file.offset = position["offset"]
                    missing.remove(position)
                    found = found or file is former
        # Those before the last one were renamed already, and read to what was their end then.
        if positions and positions[-1] in missing:
            self.gaps += 1
        # One that was renamed meanwhile is read to its end. Where nothing that was known is there, so is what came
        # between. Otherwise it was done before.
        if former and (found or len(missing) == len(positions) > 0):
            self._leaving.append(former)
        elif former:
            former.close()

    @staticmethod
    def _open(path):
        try:
            return _Open(path)
        except OSError:
            return None

    @property
    def readable(self):
        """Whether there is a log."""
        return self._current is not None

    @property
    def unread(self):
        """Bytes that were not read yet."""
        return sum(max(0, file.size - file.offset) for file in self._files())

    def _files(self):
        return [*self._leaving, *([self._current] if self._current else [])]

    def positions(self):
        return [file.position() for file in self._files()]

    def chunks(self):
        """Yields lines() until all is read that was there at first, however fast more comes."""
        self._look()
        ends = [(file, file.size) for file in self._files()]
        while any(file.offset < end for file, end in ends):
            lines = self.lines()
            if not lines:
                return
            yield lines

    def lines(self):
        """The next lines, a chunk of them; None stands for one that is too long. Empty once all was read."""
        self._look()
        for file in list(self._leaving):
            lines = file.read()
            if lines:
                return lines
            if time.monotonic() - file.grown > _QUIET_SECONDS:
                self._leaving.remove(file)
                file.close()
        return self._current.read() if self._current else []

    def _look(self):
        """Notice a rotation, and a log that was cut."""
        try:
            about = os.stat(self._path, follow_symlinks=False)
        except OSError:
            # Between the two names; or it is not there yet.
            return
        if self._current is None or (about.st_dev, about.st_ino) != self._current.identity:
            opened = self._open(self._path)
            if opened is None:
                return
            if self._current:
                self._leave()
            self._current = opened
        elif about.st_size < self._current.offset:
            self._current.offset = 0
            self.gaps += 1

    def _leave(self):
        """The current file has another name now. One that came and went between two looks is that of this name."""
        self.rotations += 1
        self._current.grown = time.monotonic()
        self._leaving.append(self._current)
        between = self._open(f"{self._path}.1")
        if between and between.identity not in [file.identity for file in self._leaving]:
            self._leaving.append(between)
        elif between:
            between.close()

    def close(self):
        for file in self._files():
            file.close()

# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Follows the log of requests over its rotations: what was read once is not read again, and nothing is left out."""

from __future__ import annotations

import contextlib
import json
import os
import time

# How long nothing may come in a file that was renamed: a worker of nginx writes to it until it has opened the new one.
_SILENCE_SECONDS = 15
_PIECE = 1 << 20
# No line of nginx is longer: its headers are not.
_MOST_LINE = 1 << 16


class FollowedLog:
    """The log at a path. places: [[number of the file, bytes that were read]] of an earlier run."""

    def __init__(self, path, places=()):
        self._path = path
        self._places = dict(places)
        self._open = {}
        # A program that knows nothing begins with what comes from now on.
        self._skips = not self._places

    @property
    def places(self):
        """What the next run is to be told."""
        return [[number, file.offset] for number, file in self._open.items()]

    def lines(self):
        """Yields what has come since, a line at a time, as bytes."""
        self._look()
        for number, file in list(self._open.items()):
            yield from file.lines()
            if file.renamed and time.monotonic() - file.grown > _SILENCE_SECONDS:
                file.close()
                del self._open[number]

    def entries(self):
        """Yields the lines that are objects of JSON."""
        for line in self.lines():
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if isinstance(entry, dict):
                yield entry

    def _look(self):
        found = {path: _number(path) for path in (f"{self._path}.1", self._path)}
        # It was renamed twice while this program did not run: of what is lost, the last part lies there still.
        lost = bool(self._places) and not self._places.keys() & set(found.values())
        for path, number in found.items():
            wanted = path == self._path or number in self._places or lost
            if number and number not in self._open and wanted:
                with contextlib.suppress(OSError):
                    self._open[number] = _File(path, self._places.get(number), self._skips)
        for number, file in self._open.items():
            file.renamed = number != found[self._path]
        self._places, self._skips = {}, False

    def close(self):
        for file in self._open.values():
            file.close()


def _number(path):
    try:
        return os.stat(path).st_ino
    except OSError:
        return None


class _File:
    def __init__(self, path, offset, skips):
        self._stream = open(path, "rb", buffering=0)  # noqa: SIM115 - until it is closed
        size = os.fstat(self._stream.fileno()).st_size
        # A file that is shorter than it was is another one, with a number that was used before.
        self.offset = (size if skips else 0) if offset is None else offset if offset <= size else 0
        self._stream.seek(self.offset)
        self._rest = b""
        self.renamed = False
        self.grown = time.monotonic()

    def lines(self):
        while True:
            piece = self._stream.read(_PIECE)
            if not piece:
                return
            self.grown = time.monotonic()
            *whole, rest = (self._rest + piece).split(b"\n")
            for line in whole:
                self.offset += len(line) + 1
                yield line
            self._rest = rest
            if len(rest) > _MOST_LINE:
                # None of nginx's. What comes of it later is no line, either.
                self.offset += len(rest)
                self._rest = b""

    def close(self):
        self._stream.close()

# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Moves the images of a registry from one place to another while it serves: in rounds, each of which copies what has
changed since the one before, and once more while nothing is written. Private to this collection.

Nothing counts as copied that was not read back: a blob has the hash that its name is, a link the bytes of its source.
"""

from __future__ import annotations

import concurrent.futures
import hashlib
import time
from typing import NamedTuple

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._storage.move_places import (
    Bucket,
    GoneError,
    digest_of,
    is_full,
)
from ansible_collections.wharf.registry.plugins.module_utils._storage.s3_errors import S3Error

_WORKERS = 8
_ATTEMPTS = 3
# A file that was written within so many seconds may be written again with the same time.
_RECENT = 2
# What is little enough to be copied while the registry waits, and how often it is tried to get there.
_FEW, _LITTLE, _MOST_ROUNDS = 200, 256 << 20, 10
_MOST_TOLD = 3
_AGAIN = "Nothing was switched. Mend it, and run this again, which copies only what is missing"


class MoveError(RegistryError):
    """The move can't go on. Nothing was switched."""


class Done(NamedTuple):
    """What one round did."""

    copied: int
    bytes: int
    removed: int


class Move:
    """From a Disk to a Bucket or back. journal: a Journal."""

    def __init__(self, source, target, journal, workers=_WORKERS):
        self._source, self._target, self._journal = source, target, journal
        self._workers = workers

    def look(self):
        """(entries, bytes) that are to be copied, and (entries, bytes) of all. Changes nothing that lasts."""
        count = size = missing = missing_bytes = 0
        for entry in self._source.entries():
            count, size = count + 1, size + entry.size
            if not self._journal.knows(entry):
                missing, missing_bytes = missing + 1, missing_bytes + entry.size
        return (missing, missing_bytes), (count, size)

    def rounds(self):
        """Copies until little is left. Yields a Done for each round."""
        if isinstance(self._target, Bucket):
            self._target.abort_uploads()
        for _round in range(_MOST_ROUNDS):
            done = self.round()
            yield done
            if done.copied <= _FEW and done.bytes <= _LITTLE:
                return

    def round(self, final=False):
        """Copies what has changed, and removes what has gone. With final, nothing changes meanwhile."""
        journal = self._journal
        journal.begin_round()
        copied = size = 0
        failures = []
        with concurrent.futures.ThreadPoolExecutor(self._workers) as pool:
            waiting = set()
            try:
                for entry in self._source.entries():
                    if journal.knows(entry):
                        continue
                    waiting.add(pool.submit(self._copy, entry))
                    if len(waiting) >= 4 * self._workers:
                        number, more = self._take(waiting, failures, final)
                        copied, size = copied + number, size + more
                while waiting:
                    number, more = self._take(waiting, failures, final)
                    copied, size = copied + number, size + more
            finally:
                for one in waiting:
                    one.cancel()
        if failures:
            told = "; ".join(failures[:_MOST_TOLD])
            many = f", and {len(failures) - _MOST_TOLD} more" if len(failures) > _MOST_TOLD else ""
            raise MoveError(
                f"What {self._source.name} has can't be proven at {self._target.name}: {told}{many}",
                _AGAIN,
            )
        gone = journal.gone()
        for path in gone:
            self._target.delete(path)
            journal.forget(path)
        journal.save()
        return Done(copied, size, len(gone))

    def finish(self):
        """The last round, while nothing is written, and the count of both sides. (blobs, links, bytes)."""
        done = self.round(final=True)
        counted = self._journal.figures()
        for place in (self._source, self._target):
            found = _counted(place)
            if found != counted:
                raise MoveError(
                    f"{place.name} has {_told(found)}, and {_told(counted)} were proven",
                    "Nothing was switched. Let nothing else write there, and run this again",
                )
        return done, counted

    def _take(self, waiting, failures, final):
        """(number, bytes) of copies that have ended, which are noted. Raises what ends the move at once."""
        done, _rest = concurrent.futures.wait(waiting, return_when=concurrent.futures.FIRST_COMPLETED)
        waiting -= done
        number = size = 0
        for one in done:
            entry, problem = one.result()
            if problem:
                failures.append(problem)
            elif entry is not None:
                recent = not final and entry.changed and time.time() - entry.changed < _RECENT
                self._journal.prove(entry, "" if recent else entry.stamp)
                number, size = number + 1, size + entry.size
        return number, size

    def _copy(self, entry):
        """(entry, what is wrong); no entry where it has gone meanwhile."""
        attempt = 1
        while True:
            try:
                return self._copy_once(entry)
            except S3Error as error:
                # Refused for good, or gone without an answer.
                if attempt == _ATTEMPTS or 400 <= error.status < 500:
                    raise
            time.sleep(attempt)
            attempt += 1

    def _copy_once(self, entry):
        try:
            # A tag may be moved meanwhile: what is proven is what was read. The next round sees the other one.
            source = self._source if digest_of(entry.path) else _Read(self._source, entry.path)
            self._target.write(entry, source)
        except GoneError:
            return None, ""
        except OSError as error:
            where = f"{self._target.name} is full" if is_full(error) else f"{entry.path}: {error.strerror}"
            raise MoveError(f"The copy to {self._target.name} has ended: {where}", _AGAIN) from None
        return entry, self._prove(entry, source)

    def _prove(self, entry, source):
        """What is wrong with the copy of an entry, or an empty text."""
        digest = digest_of(entry.path)
        try:
            if digest is None:
                same = b"".join(self._target.pieces(entry.path)) == source.content
                return "" if same else f"{entry.path} does not have the bytes of its source"
            found = hashlib.new(digest[0])
            for piece in self._target.pieces(entry.path):
                found.update(piece)
        except GoneError:
            return f"{entry.path} is not there after it was written"
        except ValueError:
            return f"{entry.path} is named by a hash that this host can't make"
        return "" if found.hexdigest() == digest[1] else f"{entry.path} has the hash {found.hexdigest()}"


class _Read:
    """A link that was read once."""

    def __init__(self, source, path):
        self.content = b"".join(source.pieces(path))

    def pieces(self, _path):
        return iter([self.content])


def _counted(place):
    blobs = links = size = 0
    for entry in place.entries():
        is_blob = digest_of(entry.path) is not None
        blobs, links, size = blobs + is_blob, links + (not is_blob), size + entry.size
    return blobs, links, size


def _told(figures):
    return f"{figures[0]} blobs and {figures[1]} links of {figures[2]} bytes"

# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Blobs of one bucket brought to another one, and what is there proven.

A blob is hashed while it is copied, and its last piece is sent only if all of it is what its digest says: what is
damaged at its source never gets a name at the target. Then it is read back.
"""

from __future__ import annotations

import collections
import concurrent.futures
import hashlib
import time
from typing import Any, Callable, Iterable, Iterator, NamedTuple

from ansible_collections.wharf.registry.plugins.module_utils._storage.move_places import Entry, GoneError, digest_of
from ansible_collections.wharf.registry.plugins.module_utils._storage.s3_client import PAGE
from ansible_collections.wharf.registry.plugins.module_utils._storage.s3_errors import S3Error

from ..common import BackupError
from .buckets import Place, path_of
from .ledger import Ledger

WORKERS = 8
TRIES = 3


class DamagedError(Exception):
    """Its content is not what its digest says."""


def each(function: Callable, items: Iterable, workers: int = WORKERS) -> Iterator:
    """map() with threads, which runs ahead by a few items alone."""
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        waiting: collections.deque = collections.deque()
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) >= 4 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for one in waiting:
                one.cancel()


class _Hashed:
    """A blob that is read once, from its beginning to its end."""

    def __init__(self, place: Place, entry: Entry) -> None:
        self._bucket, self._size = place.bucket, entry.size
        algorithm, self._expected = digest_of(entry.path)
        self._hash = hashlib.new(algorithm)

    def pieces(self, path: str, first: int = 0, size: int | None = None) -> Iterator[bytes]:
        held = b""
        for piece in self._bucket.pieces(path, first, size):
            self._hash.update(piece)
            if held:
                yield held
            held = piece
        ends = size is None or first + size >= self._size
        if ends and self._hash.hexdigest() != self._expected:
            raise DamagedError(path)
        yield held


def wrong_in(place: Place, path: str, digest: tuple[str, str] | None = None) -> str:
    """What is wrong with a blob, read whole; empty where nothing is. It may be known by another digest as well."""
    algorithm, expected = digest or digest_of(path)
    found = hashlib.new(algorithm)
    try:
        for piece in place.bucket.pieces(path):
            found.update(piece)
    except GoneError:
        return "missing"
    return "" if found.hexdigest() == expected else "damaged"


class Brought(NamedTuple):
    """What a run has done: blobs and bytes copied, and {digest: what is wrong} of those that could not be."""

    blobs: int
    bytes: int
    bad: dict[str, str]


class Copies:
    """The blobs of the target, of which the ledger says what is proven."""

    def __init__(self, source: Place, target: Place, ledger: Ledger) -> None:
        self._source, self._target, self._ledger = source, target, ledger
        # {path: size}
        self._there: dict[str, int] = {}
        # What was proven once, or is there, and is not what it should be: by its path.
        self.hurt: dict[str, str] = {}
        self.repaired: set[str] = set()

    def compare(self, *, trusting: bool) -> None:
        """List the target. What is not as it was proven is read; so is what is not known, unless nothing is known yet
        and those are trusted that are there: their turn comes."""
        ledger, trusted = self._ledger, trusting and self._ledger.is_new()
        self._target.bucket.abort_uploads()
        ledger.begin_round()
        doubtful = []
        for entry in self._target.blobs():
            if ledger.knows(entry):
                self._there[entry.path] = entry.size
            elif trusted:
                self._note(entry)
            else:
                doubtful.append(entry)
        for path in set(ledger.gone()) - {entry.path for entry in doubtful}:
            self._take_for_hurt(path, "missing")
        for entry, said in zip(doubtful, each(self._wrong, (entry.path for entry in doubtful))):
            if said:
                self._take_for_hurt(entry.path, said)
            else:
                self._note(entry)
        ledger.save()

    def bring(self, sizes: dict[str, int]) -> Brought:
        """Copy those of these digests that are not there, each with its size at the source."""
        paths = {path_of(digest): digest for digest in sizes}
        missing = [
            Entry(path, sizes[digest], "")
            for path, digest in sorted(paths.items())
            if self._there.get(path) != sizes[digest]
        ]
        count = size = 0
        bad = {}
        for entry, said in each(self._copy, missing):
            if said:
                bad[paths[entry.path]] = said
                continue
            self._note(entry)
            count, size = count + 1, size + entry.size
            if entry.path in self.hurt:
                self.repaired.add(entry.path)
        self._ledger.save()
        return Brought(count, size, bad)

    def forget(self, needed: set[str]) -> tuple[int, int]:
        """Remove what none of these digests is. (blobs, bytes) that went."""
        kept = set(map(path_of, needed))
        sizes = {entry.path: entry.size for entry in self._target.blobs() if entry.path not in kept}
        gone = sorted(sizes)
        for first in range(0, len(gone), PAGE):
            page = gone[first : first + PAGE]
            failed = self._target.client.delete_all([self._target.bucket.key(path) for path in page])
            if failed:
                key, why = failed[0]
                raise BackupError(
                    f"{self._target.name} has not deleted {len(failed)} blobs that no snapshot needs, such as {key} "
                    f"({why})",
                    "Give backup_bucket.access_key the right to delete, or set all backup_keep_* to 0, which removes "
                    "nothing",
                )
            for path in page:
                self._ledger.forget(path)
        self._ledger.save()
        return len(gone), sum(sizes.values())

    def check(self, share: float) -> tuple[int, int]:
        """Read a share of what is there, the next one each time. (blobs, bytes) that were read."""
        paths = self._ledger.turn(share)
        size = 0
        for path, said in zip(paths, each(self._wrong, paths)):
            if said:
                self._take_for_hurt(path, said)
            else:
                size += self._ledger.size_of(path)
        self._ledger.save()
        return len(paths), size

    def repair(self) -> None:
        """Copy anew what is hurt, where its source has it."""
        left = self.hurt.keys() - self.repaired
        for entry, said in each(self._copy, [Entry(path, self._size(path), "") for path in sorted(left)]):
            if not said:
                self._note(entry)
                self.repaired.add(entry.path)
        self._ledger.save()

    def _size(self, path: str) -> int:
        found = self._source.client.head(self._source.bucket.key(path))
        return found.size if found else 0

    def _note(self, entry: Entry) -> None:
        self._there[entry.path] = entry.size
        self._ledger.prove(entry, entry.stamp)

    def _take_for_hurt(self, path: str, said: str) -> None:
        self._there.pop(path, None)
        self._ledger.forget(path)
        self.hurt[path] = said

    def _wrong(self, path: str) -> str:
        return _tried(lambda: wrong_in(self._target, path))

    def _copy(self, entry: Entry) -> tuple[Entry, str]:
        """The entry as it is at the target, and what is wrong."""
        return _tried(lambda: self._copy_once(entry))

    def _copy_once(self, entry: Entry) -> tuple[Entry, str]:
        try:
            self._target.bucket.write(entry, _Hashed(self._source, entry))
        except DamagedError:
            return entry, "damaged"
        except GoneError:
            return entry, "missing"
        said = wrong_in(self._target, entry.path)
        if said:
            raise S3Error(
                f"{self._target.name} has taken {entry.path}, and it is {said} there when it is read back",
                "Probe that storage with the module registry_storage_probe",
                status=500,
            )
        found = self._target.client.head(self._target.bucket.key(entry.path))
        return entry._replace(stamp=f"{found.size}:{found.etag}" if found else ""), ""


def _tried(ask: Callable[[], Any]) -> Any:
    """What it returns, tried again where the storage fails for a moment."""
    for attempt in range(1, TRIES + 1):
        try:
            return ask()
        except S3Error as error:
            # Refused for good.
            if attempt == TRIES or 400 <= error.status < 500:
                raise
        time.sleep(attempt)
    return None

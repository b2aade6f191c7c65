# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Blobs on their way into a registry or a layout: each once, verified, and resumed. Private to this collection."""

from __future__ import annotations

import collections
import concurrent.futures
import hashlib
import threading

from ansible_collections.wharf.registry.plugins.module_utils._distribution.manifest import size_of
from ansible_collections.wharf.registry.plugins.module_utils._distribution.transport_errors import (
    AnswerError,
    UnreachableError,
)

# How often a blob is begun anew, and how often a download goes on in a row that brings nothing.
_ATTEMPTS = 3
_KNOWN_ALGORITHMS = frozenset(["sha256", "sha384", "sha512"])


class DamagedError(AnswerError):
    """What came is not what its digest stands for."""


class MissingError(DamagedError):
    """The source has no such blob."""


class Moved:
    """What one blob, or several, took: bytes that were copied, and bytes that were there or were mounted."""

    def __init__(self, copied=0, present=0):
        self.copied = copied
        self.present = present

    def __iadd__(self, other):
        self.copied += other.copied
        self.present += other.present
        return self


class BlobMover:
    """Brings blobs from one place to another, for several threads.

    sources and destinations are Pools. With dry_run, nothing is written, and what would be copied is counted. places
    are {digest: repository} of blobs that the destination is known to hold.
    """

    def __init__(self, sources, destinations, dry_run=False, places=None):
        self._sources = sources
        self._destinations = destinations
        self._dry_run = dry_run
        self._lock = threading.Lock()
        # The repositories of the destination that hold a blob, as far as it is known.
        self._places = collections.defaultdict(list, {digest: [name] for digest, name in (places or {}).items()})
        self._moving = {}

    def move(self, origin, repository, blob):
        """The Moved of a blob that is at the destination now. origin and repository are those of the two sides."""
        digest, size = blob["digest"], size_of(blob)
        while True:
            with self._lock:
                if repository in self._places[digest]:
                    return Moved(present=size)
                moving = self._moving.get(digest)
                if moving is None:
                    future = self._moving[digest] = concurrent.futures.Future()
                    known = self._places[digest][-1:]
            if moving is None:
                break
            # Another thread brings it, into another repository perhaps, from where it is mounted then.
            concurrent.futures.wait([moving])
        there = False
        try:
            moved = self._bring(origin, repository, digest, size, known)
            there = True
            return moved
        finally:
            with self._lock:
                del self._moving[digest]
                if there:
                    self._places[digest].append(repository)
            future.set_result(None)

    def _bring(self, origin, repository, digest, size, known):
        with self._destinations.client() as destination:
            if self._dry_run:
                there = bool(known) or destination.has_blob(repository, digest)
                return Moved(present=size) if there else Moved(copied=size)
            for other in known:
                if destination.mount(repository, digest, other):
                    return Moved(present=size)
            if destination.has_blob(repository, digest):
                return Moved(present=size)
            return Moved(copied=self._copy(destination, origin, repository, digest, size))

    def _copy(self, destination, origin, repository, digest, size):
        attempt = 1
        while True:
            download = Download(self._sources, origin, digest, size)
            try:
                destination.upload_blob(repository, digest, size, download.pieces())
            except (AnswerError, UnreachableError):
                # Of the source, it was tried often enough.
                if download.failed or attempt == _ATTEMPTS:
                    raise
                attempt += 1
            else:
                return size


class Download:
    """A blob as it comes from its source. Where that breaks off, it goes on from there.

    sources is a Pool, and origin the repository there. size is in bytes. None stands for a size that the source is to
    tell; it is in `size` from the first piece on, if the source tells it.
    """

    def __init__(self, sources, origin, digest, size=None):
        self._sources = sources
        self._origin = origin
        self._digest = digest
        self.size = size
        self._offset = 0
        # Whether it was the source that ended it.
        self.failed = False

    def pieces(self):
        """Yields it. The last piece comes when all of it is verified, so that nothing can be made of a damaged one."""
        algorithm, _colon, wanted = self._digest.partition(":")
        hashed = hashlib.new(algorithm) if algorithm in _KNOWN_ALGORITHMS else None
        held = b""
        try:
            for piece in self._persistently():
                if self.size is not None and self._offset + len(piece) > self.size:
                    raise self._other_size("more than")
                self._offset += len(piece)
                if hashed is not None:
                    hashed.update(piece)
                if held:
                    yield held
                held = piece
            if hashed is None or hashed.hexdigest() != wanted:
                raise self._damaged("does not match its digest")
        except (AnswerError, UnreachableError):
            self.failed = True
            raise
        if held:
            yield held

    def _persistently(self):
        attempt = 1
        while True:
            before = self._offset
            try:
                yield from self._once()
            except DamagedError:
                raise
            except (AnswerError, UnreachableError):
                # One that brings something each time may go on for as long as it takes.
                attempt = 1 if self._offset > before else attempt + 1
                if attempt > _ATTEMPTS:
                    raise
            else:
                return

    def _once(self):
        with self._sources.client() as source:
            stream = source.open_blob(self._origin, self._digest, self._offset)
            if stream is None:
                raise self._damaged("is not there", MissingError)
            if self.size is None:
                self.size = stream.size
            elif stream.size not in (None, self.size):
                raise self._other_size(f"{stream.size} and not")
            yield from stream.pieces
            if self.size is not None and self._offset < self.size:
                raise AnswerError(
                    f"{source.registry.name} sent {self._offset} of the {self.size} bytes of the blob {self._digest} "
                    f"of {self._origin}"
                )

    def _other_size(self, how_much):
        return self._damaged(f"has {how_much} the {self.size} bytes that its manifest tells")

    def _damaged(self, what, kind=DamagedError):
        return kind(
            f"the blob {self._digest} of {self._origin} {what}",
            "The image is damaged at its source, or something between here and there changes it: push it there again",
        )

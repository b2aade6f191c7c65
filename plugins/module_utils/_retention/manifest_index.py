# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What manifests hold, read whole and kept small, for registries of many thousand tags. Private to this collection."""

from __future__ import annotations

import array
import concurrent.futures
import sys
import threading

from ansible_collections.wharf.registry.plugins.module_utils._distribution.describe import (
    CREATED,
    MOST_LEVELS,
    describe_manifest,
)
from ansible_collections.wharf.registry.plugins.module_utils._distribution.manifest import KNOWN_TYPES, size_of
from ansible_collections.wharf.registry.plugins.module_utils._distribution.promote import REMOVES
from ansible_collections.wharf.registry.plugins.module_utils._distribution.transport_errors import AnswerError
from ansible_collections.wharf.registry.plugins.module_utils._retention.policy import parse_created


class Holding:
    """What a manifest holds.

    digests: of itself, its children, what it lists beside these, and their configurations.
    created and labels: as of a Tag of the policy.
    contents: numbers of all blobs and manifests that it needs, as Holdings counts them.
    removes: the tag for whose removal it was made, if it was.
    """

    __slots__ = ("contents", "created", "digests", "labels", "removes", "repository")

    def __init__(self, repository, digests, contents, created, *, labels=(), removes=""):
        self.repository = repository
        self.digests = digests
        self.contents = contents
        self.created = created
        self.labels = labels
        self.removes = removes


class Holdings:
    """Reads manifests for several threads. Each is read once, however many tags, indexes and repositories hold it.

    Neither manifests nor configurations are kept. Of labels, only those of the names given are.
    """

    def __init__(self, labels=frozenset()):
        self._labels = labels
        self._lock = threading.Lock()
        self._known = {}
        self._numbers = {}
        self._sizes = array.array("q")
        self._seen = set()

    def read(self, api, repository, digest, level=0):
        """The Holding of a manifest. Raises RegistryError where any part of it, but for layers, can't be read."""
        while True:
            with self._lock:
                known = self._known.get(digest)
                mine = known is None
                if mine:
                    known = self._known[digest] = concurrent.futures.Future()
            if mine:
                return self._make(known, api, repository, digest, level)
            if isinstance(known, Holding):
                self._check_is_here(api, repository, known)
                return known
            # Another thread is reading it, in another repository perhaps: what goes wrong there need not go wrong here.
            concurrent.futures.wait([known])

    def reclaimable_bytes(self, kept, deleted):
        """The bytes of what the deleted manifests hold and the kept ones do not. Both are digests that were read."""
        needed = self._contents(kept)
        return sum(self._sizes[number] for number in self._contents(deleted) - needed)

    def _contents(self, digests):
        found = set()
        for digest in digests:
            found.update(self._known[digest].contents)
        return found

    def _make(self, future, api, repository, digest, level):
        made = None
        try:
            made = self._read(api, repository, digest, level)
            return made
        finally:
            with self._lock:
                if made is None:
                    del self._known[digest]
                else:
                    self._known[digest] = made
            future.set_result(None)

    def _read(self, api, repository, digest, level):
        if level > MOST_LEVELS:
            raise AnswerError(f"it holds indexes more than {MOST_LEVELS} deep", "Push it anew")
        manifest = api.manifest(repository, digest)
        if manifest is None:
            raise AnswerError(f"the manifest {digest} is not there", "Push the image again, or remove what names it")
        if manifest.media_type not in KNOWN_TYPES:
            raise AnswerError(
                f"the manifest {digest} has the media type {manifest.media_type}",
                "Only the formats of Docker (version 2, schema 2) and OCI are understood; remove it by hand",
            )
        if manifest.is_index:
            return self._of_index(api, repository, manifest, level)
        facts = describe_manifest(api, repository, manifest, whole=True)
        configuration = [manifest.config["digest"]] if manifest.config else []
        numbers, digests = self._count(facts["sizes"], [digest, *configuration])
        labels = tuple((name, value) for name, value in sorted(facts["labels"].items()) if name in self._labels)
        return Holding(
            repository,
            digests,
            numbers,
            parse_created(facts["created"]),
            labels=labels,
            removes=manifest.annotation(REMOVES),
        )

    def _of_index(self, api, repository, manifest, level):
        """An index is as new as the newest of its children, and has the labels of all of them.

        What it lists beside manifests are blobs, which need not be there, as layers.
        """
        children = [self.read(api, repository, child["digest"], level + 1) for child in manifest.children]
        listed = {blob["digest"]: size_of(blob) for blob in manifest.parts.listed}
        sizes = {manifest.digest: len(manifest.content), **listed}
        numbers, digests = self._count(sizes, [manifest.digest, *listed])
        times = [parse_created(manifest.annotation(CREATED)), *(child.created for child in children)]
        return Holding(
            repository,
            tuple(dict.fromkeys([*digests, *(held for child in children for held in child.digests)])),
            array.array("I", sorted({*numbers, *(number for child in children for number in child.contents)})),
            max((time for time in times if time is not None), default=None),
            labels=tuple(sorted({label for child in children for label in child.labels})),
        )

    def _count(self, sizes, digests):
        """(numbers of the contents, the same digests as one text each, however many manifests name them)."""
        with self._lock:
            for digest, size in sizes.items():
                if digest not in self._numbers:
                    self._numbers[sys.intern(digest)] = len(self._sizes)
                    self._sizes.append(size)
            return array.array("I", (self._numbers[digest] for digest in sizes)), tuple(map(sys.intern, digests))

    def _check_is_here(self, api, repository, holding):
        """What a digest stands for is the same everywhere; whether the children of an index are there is not."""
        if holding.repository == repository:
            return
        for digest in holding.digests[1:]:
            # Configurations, and what indexes list beside manifests, were not read as manifests.
            if not isinstance(self._known.get(digest), Holding) or (repository, digest) in self._seen:
                continue
            if api.head(repository, digest) is None:
                raise AnswerError(
                    f"the manifest {digest} is not there", "Push the image again, or remove what names it"
                )
            self._seen.add((repository, digest))

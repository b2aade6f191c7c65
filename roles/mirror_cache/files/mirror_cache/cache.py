# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is served from here, what is asked of the upstream, and what is served although the upstream is away.

A digest that is held is never asked for again. A tag is asked for when it was not for `seconds`.
"""

from __future__ import annotations

import collections
import contextlib
import re
import threading
import time

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._common.reference import fits_digest, is_digest
from ansible_collections.wharf.registry.plugins.module_utils._distribution.blobs import digest_of
from ansible_collections.wharf.registry.plugins.module_utils._distribution.transport_errors import AnswerError
from fetch import Fetch

# How long it is remembered that there is no such tag, in seconds, and how many of those.
_ABSENT_SECONDS = 30
_MOST_ABSENT = 10000
_HUB = "docker.io"
_MEDIA_TYPE = re.compile(r"application/[a-z0-9!#$&^_.+-]{1,127}\Z")


class AbsentError(RegistryError):
    """There is no such thing, by what the upstream says."""


class Found:
    """A manifest: stale tells whether the upstream could not be asked."""

    def __init__(self, content, digest, media_type, *, stale=False):
        self.content = content
        self.digest = digest
        self.media_type = media_type
        self.stale = stale


class Cache:
    """The caches of several Upstreams, in one Store with its Index. Threads share it."""

    def __init__(self, store, index, upstreams, seconds):
        self._store = store
        self._index = index
        self._upstreams = {one.name: one for one in upstreams}
        self._seconds = seconds
        self._lock = threading.Lock()
        self._locks = collections.defaultdict(lambda: [threading.Lock(), 0])
        self._fetches = {}
        self._absent = collections.OrderedDict()
        # For the state, by the name of an upstream.
        self.counts = {name: collections.Counter() for name in self._upstreams}

    def upstream(self, name):
        """The Upstream of a name. Raises AbsentError."""
        if name not in self._upstreams:
            raise AbsentError(f"{name} has no cache here", "Add it to mirror_caches")
        return self._upstreams[name]

    @staticmethod
    def origin(upstream, repository):
        """The name of a repository at the upstream. Docker Hub has the images without a path below library/."""
        return f"library/{repository}" if upstream.name == _HUB and "/" not in repository else repository

    @contextlib.contextmanager
    def _alone(self, *key):
        """One thread at a time for a key."""
        with self._lock:
            entry = self._locks[key]
            entry[1] += 1
        try:
            with entry[0]:
                yield
        finally:
            with self._lock:
                entry[1] -= 1
                if not entry[1]:
                    del self._locks[key]

    # --- manifests ----------------------------------------------------------------------------------------------------

    def manifest(self, name, repository, reference):
        """The Found of a tag or a digest. Raises RegistryError."""
        upstream = self.upstream(name)
        origin = self.origin(upstream, repository)
        if is_digest(reference):
            if not fits_digest(reference):
                raise AbsentError(f"{reference} is no digest that a registry has", "Correct it")
            found = self._held(upstream, origin, reference)
            if found is None:
                with self._alone(name, origin, reference):
                    found = self._held(upstream, origin, reference) or self._ask(upstream, origin, reference)
            return found
        return self._fresh(upstream, origin, reference) or self._resolve(upstream, origin, reference)

    def _held(self, upstream, origin, digest, *, stale=False):
        """The Found of a digest that was served from this repository before, or None."""
        entry = self._index.entry(upstream.name, digest)
        if entry is None or entry.media_type is None or not self._index.is_linked(upstream.name, origin, digest):
            return None
        content = self._store.read(upstream.name, digest)
        if content is None:
            return None
        self._index.use(upstream.name, entry)
        self.counts[upstream.name]["stale" if stale else "hits"] += 1
        return Found(content, digest, entry.media_type, stale=stale)

    def _fresh(self, upstream, origin, tag):
        """The Found of a tag that the upstream has told of lately, or None."""
        known = self._index.tag(upstream.name, origin, tag)
        if known is None or not 0 <= time.time() - known[1] < self._seconds:
            return None
        return self._held(upstream, origin, known[0])

    def _resolve(self, upstream, origin, tag):
        with self._alone(upstream.name, origin, tag):
            # Another thread may have asked meanwhile.
            found = self._fresh(upstream, origin, tag)
            if found is not None:
                return found
            self._check_absent(upstream, origin, tag)
            known = self._index.tag(upstream.name, origin, tag)
            try:
                found = self._ask_for_tag(upstream, origin, tag)
            except RegistryError as error:
                held = known and self._held(upstream, origin, known[0], stale=True)
                if not held:
                    raise
                if isinstance(error, AbsentError):
                    print(f"{upstream.name}: {error} It is served from here all the same.", flush=True)
                    self._index.set_tag(upstream.name, origin, tag, known[0])
                return held
            self._index.set_tag(upstream.name, origin, tag, found.digest)
            return found

    def _check_absent(self, upstream, origin, tag):
        until, error = self._absent.get((upstream.name, origin, tag), (0, None))
        if time.monotonic() < until:
            raise error

    def _ask_for_tag(self, upstream, origin, tag):
        """A HEAD is no pull to upstreams that count them."""
        with upstream.client(origin) as client:
            head = client.head(origin, tag)
        if head is None:
            error = AbsentError(f"{upstream.name} has no {origin}:{tag}", "Check the name and the tag")
            self._absent[upstream.name, origin, tag] = time.monotonic() + min(_ABSENT_SECONDS, self._seconds), error
            while len(self._absent) > _MOST_ABSENT:
                self._absent.popitem(last=False)
            raise error
        return self._held(upstream, origin, head.digest) or self._ask(upstream, origin, head.digest)

    def _ask(self, upstream, origin, digest):
        with upstream.client(origin) as client:
            manifest = client.manifest(origin, digest)
        if manifest is None:
            raise AbsentError(f"{upstream.name} has no {origin}@{digest}", "Check the name and the digest")
        if not _MEDIA_TYPE.match(manifest.media_type):
            # It becomes a header of answers.
            raise AnswerError(f"{upstream.name} gives {origin}@{digest} a media type that is none", "Push it again")
        parts = [blob["digest"] for blob in manifest.parts.blobs]
        # The digest of the first schema leaves a part of the content out: such a manifest is not kept.
        if digest_of(manifest.content, digest.partition(":")[0]) == digest:
            self._store.put(
                upstream.name, origin, digest, manifest.content, media_type=manifest.media_type, parts=parts
            )
        self.counts[upstream.name]["misses"] += 1
        return Found(manifest.content, digest, manifest.media_type)

    # --- blobs --------------------------------------------------------------------------------------------------------

    def blob(self, name, repository, digest):
        """(size in bytes, place below the directory of the Store) of a blob that is held, or the Fetch of another one.

        Raises RegistryError.
        """
        upstream = self.upstream(name)
        origin = self.origin(upstream, repository)
        held = self._held_blob(upstream, origin, digest)
        if held:
            return held
        with self._lock:
            # By repository: one that may be read says nothing of another one.
            key = name, origin, digest
            fetch = self._fetches.get(key)
            if fetch is None:
                # It may have come meanwhile.
                entry = self._index.entry(name, digest)
                if entry is not None and self._index.is_linked(name, origin, digest):
                    return entry.size, self._store.place(name, digest)
                fetch = Fetch(upstream, self._store, origin, digest)
                # Known before it can end, and not where no thread can be had for it.
                self._fetches[key] = fetch
                try:
                    fetch.start(lambda: self._fetches.pop(key, None))
                except RuntimeError as error:
                    del self._fetches[key]
                    raise RegistryError(f"The cache has no more threads ({error})", "Try again shortly") from None
                self.counts[name]["misses"] += 1
        return fetch

    def _held_blob(self, upstream, origin, digest):
        entry = self._index.entry(upstream.name, digest)
        if entry is None:
            return None
        if not self._store.has(upstream.name, digest):
            self._store.remove(upstream.name, digest)
            return None
        if not self._index.is_linked(upstream.name, origin, digest):
            with self._alone(upstream.name, origin, digest):
                self._ask_for_link(upstream, origin, digest)
        self._index.use(upstream.name, entry)
        self.counts[upstream.name]["hits"] += 1
        return entry.size, self._store.place(upstream.name, digest)

    def _ask_for_link(self, upstream, origin, digest):
        """Of another repository: whether it is in this one, too, is the upstream's to say."""
        if self._index.is_linked(upstream.name, origin, digest):
            # Another thread has asked.
            return
        with upstream.client(origin) as client:
            if not client.has_blob(origin, digest):
                raise AbsentError(f"{upstream.name} has no blob {digest} in {origin}", "Check the name")
        self._index.link(upstream.name, origin, digest)

    def blob_size(self, name, repository, digest):
        """The bytes of a blob, None where the upstream does not tell. Raises RegistryError."""
        upstream = self.upstream(name)
        origin = self.origin(upstream, repository)
        if self._index.entry(name, digest) is not None:
            held = self._held_blob(upstream, origin, digest)
            if held:
                return held[0]
        with upstream.client(origin) as client:
            there, size = client.blob_size(origin, digest)
        if not there:
            raise AbsentError(f"{upstream.name} has no blob {digest} in {origin}", "Check the name")
        return size

    # --- lists --------------------------------------------------------------------------------------------------------

    def tags(self, name, repository):
        """The tags of a repository; those that were asked for here where the upstream is away."""
        upstream = self.upstream(name)
        origin = self.origin(upstream, repository)
        try:
            with upstream.client(origin) as client:
                tags = client.tags(origin)
        except RegistryError:
            tags = self._index.tags(name, origin)
            if not tags:
                raise
        if tags is None:
            raise AbsentError(f"{name} has no repository {origin}", "Check the name")
        return sorted(tags)

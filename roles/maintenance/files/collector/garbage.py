# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of a storage nothing needs: found by walking from the tags, through indexes and subjects, to the layers."""

from __future__ import annotations

import collections
import contextlib
import itertools
import typing

from storage import UnreadableError


class Usage(typing.NamedTuple):
    """A repository: how many tags it has, and the bytes of all that it needs."""

    name: str
    tags: int
    bytes: int


class Keep:
    """What is kept although no tag leads to it. Times are seconds of the clock.

    digests are manifests that somebody needs. Kept is also what was written, or asked for by somebody who may rely on
    it, after since; looked_at is {digest: time} of the latter. A repository with an upload that was written to after
    uploading_since is being pushed to: there it is what came after pushing_since, since a push may take long.
    """

    def __init__(self, digests=(), since=float("inf"), looked_at=None, uploading_since=float("inf"), pushing_since=0.0):
        self.digests = frozenset(digests)
        self._since = since
        self._looked_at = looked_at or {}
        self._uploading_since = uploading_since
        self._pushing_since = pushing_since

    def since(self, last_upload):
        pushing = last_upload > self._uploading_since
        return min(self._since, self._pushing_since) if pushing else self._since

    def recent(self, links, since):
        """Those of {digest: time} that are kept for being recent."""
        return {digest for digest, time in links.items() if max(time, self._looked_at.get(digest, 0)) > since}


class Garbage:
    """What nothing needs: manifests and links by repository, and blobs; and what was found on the way.

    revisions and layers hold (repository, digest); blobs maps digests to bytes; empty names repositories with nothing
    in them. tags are (repository, tag) of those whose manifest is gone: version 2 leaves them when it is killed while
    it deletes, and nobody can pull them. problems tells what could not be read: of that repository nothing is garbage.
    """

    def __init__(self):
        self.tags = set()
        self.revisions = set()
        self.layers = set()
        self.blobs = {}
        self.empty = set()
        self.problems = []
        self.usage = []
        self.bytes = 0

    def __len__(self):
        return sum(len(part) for part in (self.tags, self.revisions, self.layers, self.blobs, self.empty))

    def both(self, earlier):
        """Only what was garbage earlier, too."""
        self.tags &= earlier.tags
        self.revisions &= earlier.revisions
        self.layers &= earlier.layers
        self.blobs = {digest: size for digest, size in self.blobs.items() if digest in earlier.blobs}
        self.empty &= earlier.empty
        return self

    def first(self, most):
        """A part of it, with all links to a blob before the blob."""
        part = Garbage()
        part.tags = set(itertools.islice(sorted(self.tags), most))
        part.revisions = set(itertools.islice(sorted(self.revisions), most - len(part)))
        part.layers = set(itertools.islice(sorted(self.layers), most - len(part)))
        part.blobs = dict(itertools.islice(sorted(self.blobs.items()), most - len(part)))
        part.empty = set(itertools.islice(sorted(self.empty), most - len(part)))
        return part


def find(storage, keep):
    """The Garbage of a storage, without what is to be kept."""
    garbage = Garbage()
    # Before the links: a blob that is linked after this look is not in the list, and so no garbage.
    blobs = {digest: (size, time) for digest, size, time in storage.blobs()}
    needed = set(keep.digests) | keep.recent({digest: time for digest, (_size, time) in blobs.items()}, keep.since(0))
    for repository in storage.repositories():
        needed |= _look_into(repository, storage, keep, blobs, garbage)
    garbage.blobs = {digest: size for digest, (size, _time) in blobs.items() if digest not in needed}
    garbage.bytes = sum(size for size, _time in blobs.values())
    return garbage


def _look_into(repository, storage, keep, blobs, garbage):
    """The digests that a repository needs. What it does not need is added to garbage."""
    # Links before tags, for the same reason.
    layers = storage.layers(repository)
    revisions = storage.revisions(repository)
    tags = dict(storage.tags(repository))
    last_upload = storage.last_upload(repository)
    since = keep.since(last_upload)
    lost = {tag for tag, digest in tags.items() if digest not in revisions}
    roots = revisions.keys() & {*tags.values(), *keep.digests}
    try:
        manifests, named = _walk(storage, revisions, roots)
        recent = keep.recent(revisions, since) - manifests
        # They may lead to something that can't be read: no tag says that it is needed.
        late, named_late = _walk(storage, revisions, recent, strict=False)
    except (UnreadableError, OSError) as error:
        garbage.problems.append(f"{repository}: {error}; nothing of this repository is removed")
        return {*layers, *revisions, *roots, *_all_named(storage, revisions)}
    manifests, named = manifests | late, named | named_late
    needed = manifests | named | roots
    unneeded = layers.keys() - needed - keep.recent(layers, since)
    unreached = revisions.keys() - manifests
    garbage.tags.update((repository, tag) for tag in lost)
    garbage.layers.update((repository, digest) for digest in unneeded)
    garbage.revisions.update((repository, digest) for digest in unreached)
    if len(lost) == len(tags) and not last_upload and len(unneeded) == len(layers) and len(unreached) == len(revisions):
        garbage.empty.add(repository)
    used = needed | (layers.keys() - unneeded)
    garbage.usage.append(Usage(repository, len(tags), sum(blobs[digest][0] for digest in used if digest in blobs)))
    return used


def _walk(storage, revisions, roots, strict=True):
    """(manifests, digests): what is reached from the roots, and all that these name.

    Raises UnreadableError where one is missing or damaged, unless it is not to be strict.
    """
    referrers = _referrers(storage, revisions)
    manifests, named, waiting = set(), set(), list(roots)
    while waiting:
        digest = waiting.pop()
        if digest in manifests:
            continue
        manifests.add(digest)
        try:
            digests, _subject = storage.references(digest)
        except UnreadableError as error:
            if strict:
                raise UnreadableError(f"the manifest {digest} {error}") from None
            continue
        named.update(digests)
        # Among them are manifests where this is an index.
        waiting += [one for one in digests if one in revisions]
        waiting += referrers[digest]
    return manifests, named


def _referrers(storage, revisions):
    """{subject: manifests} of signatures, attestations and the like that name what they belong to."""
    referrers = collections.defaultdict(list)
    for digest in revisions:
        try:
            _named, subject = storage.references(digest)
        except UnreadableError:
            # Where a tag leads to it, the walk says so.
            continue
        if subject:
            referrers[subject].append(digest)
    return referrers


def _all_named(storage, revisions):
    """What those of the manifests name that can be read."""
    digests = set()
    for digest in revisions:
        with contextlib.suppress(UnreadableError, OSError):
            digests.update(storage.references(digest)[0])
    return digests

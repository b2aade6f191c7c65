# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of a storage nothing needs: found by walking from the tags, through indexes and subjects, to the layers."""

from __future__ import annotations

import collections
import contextlib
import errno
import itertools
import os
import time
import typing

from contents import UnreadableError
from wharf_storage.found import Oddities
from wharf_storage.manifests import MOST_BYTES
from wharf_storage.storage import ROOT

# How often a tag that says nothing is looked at, and how many seconds lie in between.
_TRIES, _PAUSE_SECONDS = 5, 0.05


class Usage(typing.NamedTuple):
    """A repository: how many tags it has, and the bytes of all that it needs."""

    name: str
    tags: int
    bytes: int


class Keep:
    """What is kept although no tag leads to it. Times are seconds of the clock.

    digests are manifests that are needed. Kept is also what was written, or asked for by a client that may rely on
    it, after since; looked_at is {digest: time} of the latter. While a repository is being pushed to, which is so when
    a part of a push came after active_since, it is what came after pushing_since: a push may take long. Layers that no
    manifest has ever named are such parts, and kept as long, whatever their origin.
    """

    def __init__(
        self,
        digests=(),
        since=float("inf"),
        looked_at=None,
        active_since=float("inf"),
        pushing_since=float("inf"),
    ):
        self.digests = frozenset(digests)
        self.since = since
        self.pushing_since = pushing_since
        self._active_since = active_since
        self._looked_at = looked_at or {}

    def recent(self, links, since):
        """Those of {digest: time} that are kept for being recent."""
        return {digest for digest, time in links.items() if self._last(digest, time) > since}

    def active(self, last_upload, unfinished):
        """Whether a push is on its way, by the time of an upload and {digest: time} of layers without a manifest."""
        return last_upload > self._active_since or bool(self.recent(unfinished, self._active_since))

    def looked_at(self):
        """The digests that a client has asked for after since."""
        return {digest for digest, time in self._looked_at.items() if time > self.since}

    def _last(self, digest, time):
        return max(time, self._looked_at.get(digest, 0))


class Garbage:
    """What nothing needs: manifests and links by repository, and blobs; and what was found on the way.

    revisions and layers hold (repository, digest); blobs maps digests to bytes; empty names repositories with nothing
    in them. tags are (repository, tag) of those whose manifest is gone: version 2 leaves them when it is killed while
    it deletes, and they can't be pulled. problems tells what could not be read: of that repository nothing is garbage.
    """

    def __init__(self):
        self.tags = set()
        self.revisions = set()
        self.layers = set()
        self.blobs = {}
        self.empty = set()
        self.problems = []
        self.warnings = []
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

    def without(self, part):
        """All but a part of it."""
        left = Garbage()
        left.tags, left.revisions = self.tags - part.tags, self.revisions - part.revisions
        left.layers, left.empty = self.layers - part.layers, self.empty - part.empty
        left.blobs = {digest: size for digest, size in self.blobs.items() if digest not in part.blobs}
        left.problems, left.warnings, left.usage = list(self.problems), list(self.warnings), list(self.usage)
        left.bytes = self.bytes - sum(part.blobs.values())
        return left

    def repositories(self):
        """The names of all that it has something of."""
        return {name for name, _what in (*self.tags, *self.revisions, *self.layers)} | self.empty

    def first(self, most):
        """A part of it, with all links to a blob before the blob."""
        part = Garbage()
        part.tags = set(itertools.islice(sorted(self.tags), most))
        part.revisions = set(itertools.islice(sorted(self.revisions), most - len(part)))
        part.layers = set(itertools.islice(sorted(self.layers), most - len(part)))
        part.blobs = dict(itertools.islice(sorted(self.blobs.items()), most - len(part)))
        part.empty = set(itertools.islice(sorted(self.empty), most - len(part)))
        return part


class Taken(typing.NamedTuple):
    """Garbage that was removed, whether that was all of it, and what was in the way."""

    part: Garbage
    whole: bool
    problems: list
    warnings: list


class _Repository:
    """One repository: what it has, what its tags lead to, and what these name.

    A link is known by the digest in its path, by which manifests and clients name it, and needs the content that it
    says, which may have another digest.
    """

    def __init__(self, name, contents, keep):
        self.name, storage = name, contents.storage
        self.oddities = Oddities()
        # Links before tags: what comes after these looks is in none of the lists, and so no garbage.
        self.layers = storage.layers(name, self.oddities)
        self.revisions = storage.revisions(name, self.oddities)
        self.tags = {}
        self.last_upload = storage.last_upload(name)
        self.problem = None
        try:
            self.tags = _settled_tags(storage, name, self.oddities)
            roots = self.revisions.keys() & {*self.tags.values(), *keep.digests}
            self._referrers = _referrers(contents, self.revisions)
            self.manifests, self.named = _walk(contents, self.revisions, self._referrers, roots)
        except (UnreadableError, OSError) as error:
            hidden = ", and no blob" if self.oddities.hides else ""
            self.problem = f"{name}: {error}; nothing of this repository is removed{hidden}"
            self.named = _all_named(contents, self.revisions)
            self.manifests = set(self.revisions)
            self.named.update(self.layers, self.tags.values())
            self._close()

    def _close(self):
        """Collects what is needed: all that is named, and where the content of that lies."""
        self.needed = self.manifests | self.named
        self.needed |= _targets(self.layers, self.needed) | _targets(self.revisions, self.needed)

    def keep_recent(self, contents, keep, ever_named):
        """Keeps what is recent, too. ever_named holds what any manifest names, here or elsewhere."""
        self._close()
        left = {digest: link for digest, link in self.layers.items() if not _is_one_of(digest, link, self.needed)}
        unfinished = {digest: link.time for digest, link in left.items() if not _is_one_of(digest, link, ever_named)}
        left = {digest: link.time for digest, link in left.items()}
        since = keep.since
        if keep.active(self.last_upload, unfinished):
            since = min(since, keep.pushing_since)
        self.named |= keep.recent(left, since) | keep.recent(unfinished, keep.pushing_since)
        # They may lead to something that can't be read: no tag says that it is needed.
        times = {digest: link.time for digest, link in self.revisions.items()}
        recent = keep.recent(times, since) - self.manifests
        manifests, named = _walk(contents, self.revisions, self._referrers, recent, strict=False)
        self.manifests |= manifests
        self.named |= named
        self._close()

    def tell(self, garbage, sizes):
        """Adds what is not needed here."""
        lost = {tag for tag, digest in self.tags.items() if digest not in self.revisions}
        # What has another link that is needed stays with it.
        layers = {digest for digest, link in self.layers.items() if not _is_one_of(digest, link, self.needed)}
        manifests = self.manifests | _targets(self.revisions, self.manifests)
        revisions = {digest for digest, link in self.revisions.items() if not _is_one_of(digest, link, manifests)}
        garbage.tags.update((self.name, tag) for tag in lost)
        garbage.layers.update((self.name, digest) for digest in layers)
        garbage.revisions.update((self.name, digest) for digest in revisions)
        left = len(self.tags) - len(lost), len(self.layers) - len(layers), len(self.revisions) - len(revisions)
        if any(left) or self.last_upload:
            used = sum(sizes.get(digest, 0) for digest in self.needed)
            garbage.usage.append(Usage(self.name, left[0], used))
        else:
            garbage.empty.add(self.name)


def find(contents, keep):
    """The Garbage of a storage, without what is to be kept."""
    return Survey(contents, keep).garbage


class Survey:
    """The Garbage of a storage, and what is needed to look at some of its repositories again."""

    def __init__(self, contents, keep):
        self._contents = contents
        storage, garbage = contents.storage, Garbage()
        stray, lost = Oddities(), Oddities()
        # Before the links: a blob that is linked after this look is not in the list, and so no garbage.
        blobs = {digest: (size, time) for digest, size, time in storage.blobs(lost)}
        self._sizes = sizes = {digest: size for digest, (size, _time) in blobs.items()}
        repositories = [_Repository(name, contents, keep) for name in _names(storage, stray, sizes)]
        self._problems = {one.name: one.problem for one in repositories if one.problem}
        garbage.problems = list(self._problems.values())
        # Behind a place that can't be read may be repositories, whose links can't be seen.
        self._hidden = [f"{what}; no blob is removed until it is gone" for what in stray.told] if stray.hides else []
        garbage.problems += self._hidden
        garbage.warnings = [*_told(lost), *([] if stray.hides else _told(stray))]
        self._named = _ever_named(contents, sizes, repositories)
        _tell(repositories, contents, keep, self._named, (garbage, sizes))
        needed = set(keep.digests) | keep.recent({digest: time for digest, (_size, time) in blobs.items()}, keep.since)
        needed.update(*(one.needed for one in repositories))
        if not (stray.hides or any(one.oddities.hides for one in repositories)):
            garbage.blobs = {digest: size for digest, size in sizes.items() if digest not in needed}
        garbage.bytes = sum(sizes.values())
        self._times = {digest: blobs[digest][1] for digest in garbage.blobs}
        self._usage = {usage.name: usage for usage in garbage.usage}
        self.garbage = garbage

    def again(self, keep, names):
        """The Garbage that is left where repositories with these names are looked at once more.

        All others have what they had, and need what they needed. What is to be kept for being recent counts in them,
        too: those are looked at again of which a client has asked for garbage.
        """
        storage, former, fresh = self._contents.storage, self.garbage, Garbage()
        looked_at = keep.looked_at()
        names = {*names, *(name for name, digest in (*former.revisions, *former.layers) if digest in looked_at)}
        repositories = [_Repository(name, self._contents, keep) for name in sorted(names) if storage.has(name)]
        for one in repositories:
            self._named |= _all_named(self._contents, one.revisions)
        for one in repositories:
            self._named |= _targets(one.layers, self._named)
        _tell(repositories, self._contents, keep, self._named, (fresh, self._sizes))
        found = Garbage()
        for kind in ("tags", "revisions", "layers"):
            before, now = getattr(former, kind), getattr(fresh, kind)
            setattr(found, kind, {one for one in before if one[0] not in names or one in now})
        found.empty = {name for name in former.empty if name not in names or name in fresh.empty}
        if not any(one.oddities.hides for one in repositories):
            times = {digest: self._times[digest] for digest in former.blobs}
            needed = keep.recent(times, keep.since).union(*(one.needed for one in repositories))
            found.blobs = {digest: size for digest, size in former.blobs.items() if digest not in needed}
        for told, new in (
            (self._problems, {one.name: one.problem for one in repositories if one.problem}),
            (self._usage, {usage.name: usage for usage in fresh.usage}),
        ):
            for name in names:
                told.pop(name, None)
            told.update(new)
        found.problems, found.warnings = [*self._problems.values(), *self._hidden], list(former.warnings)
        found.usage, found.bytes = list(self._usage.values()), former.bytes
        self.garbage = found
        return found.without(Garbage())

    def forget(self, part):
        """Takes note of what was removed."""
        self.garbage = self.garbage.without(part)
        for digest in part.blobs:
            self._sizes.pop(digest, None)


def _tell(repositories, contents, keep, ever_named, told):
    """Adds to (garbage, sizes) what is not needed in those that can be read."""
    for one in repositories:
        if not one.problem:
            one.keep_recent(contents, keep, ever_named)
            one.tell(*told)


def _names(storage, oddities, blobs):
    """The names of all repositories. Raises FileNotFoundError where there is no place for them."""
    names = storage.repositories(oddities)
    # Blobs alone would all be garbage: this is a storage that is not whole, or not mounted. Of the last repository that
    # was removed, a directory is left.
    if blobs and not names and not oddities.hides and not storage.has_entries_of_repositories():
        raise FileNotFoundError(
            errno.ENOENT,
            "Nothing was removed: there are blobs, and no repositories. Mount what is missing, or remove the "
            "directory blobs beside it if it is not needed",
            os.path.join(storage.directory, *ROOT, "repositories"),
        )
    return names


def _told(oddities):
    more = oddities.count - len(oddities.told)
    return [f"{what}; it is ignored" for what in oddities.told] + ([f"and {more} more of that kind"] if more else [])


def _settled_tags(storage, repository, oddities):
    """{tag: digest}. Raises UnreadableError where one says nothing, and goes on doing so, or another thing is odd."""
    for _try in range(_TRIES):
        found = Oddities()
        links = storage.tags(repository, found)
        damaged = [tag for tag, link in links.items() if link.target is None]
        # The registry may be writing it just now.
        if not damaged:
            break
        time.sleep(_PAUSE_SECONDS)
    for tag in damaged:
        found.add(f"the tag {tag} is damaged")
    oddities.merge(found)
    if oddities:
        raise UnreadableError("; ".join(oddities.told))
    return {tag: link.target for tag, link in links.items()}


def _is_one_of(digest, link, digests):
    """Whether a link is among them, by its own name or by that of its content."""
    return digest in digests or link.target in digests


def _targets(links, digests):
    """What those of the links say that are among the digests."""
    if len(digests) > len(links):
        return {link.target for digest, link in links.items() if digest in digests and link.target}
    return {links[digest].target for digest in digests if digest in links} - {None}


def _ever_named(contents, sizes, repositories):
    """What any manifest names: those of the repositories, and those that were deleted, whose blobs are still there."""
    named = set().union(*(_all_named(contents, one.revisions) for one in repositories))
    linked = set()
    for one in repositories:
        for links in (one.revisions, one.layers):
            linked.update(links)
            linked.update(link.target for link in links.values())
    for digest, size in sizes.items():
        if digest not in linked and size <= MOST_BYTES:
            with contextlib.suppress(UnreadableError, OSError):
                named.update(contents.named(digest)[0])
    # What is named by another digest than that of its content is named all the same.
    return named.union(*(_targets(one.layers, named) for one in repositories))


def _walk(contents, revisions, referrers, roots, strict=True):
    """(manifests, digests): what is reached from the roots, and all that these name.

    Raises UnreadableError where one is missing or damaged, unless it is not to be strict.
    """
    manifests, named, waiting = set(), set(), list(roots)
    while waiting:
        digest = waiting.pop()
        if digest in manifests:
            continue
        manifests.add(digest)
        content = _content(revisions, digest)
        try:
            digests, _subject = contents.named(content)
        except UnreadableError as error:
            if strict:
                raise UnreadableError(f"the manifest {digest} {error}") from None
            continue
        named.update(digests)
        # Among them are manifests where this is an index.
        waiting += [one for one in digests if one in revisions]
        waiting += {*referrers.get(digest, ()), *referrers.get(content, ())}
    return manifests, named


def _content(revisions, digest):
    return revisions[digest].target or digest


def _referrers(contents, revisions):
    """{subject: manifests} of signatures, attestations and the like that name what they belong to."""
    referrers = collections.defaultdict(list)
    for digest in revisions:
        try:
            _named, subject = contents.named(_content(revisions, digest))
        except UnreadableError:
            # Where a tag leads to it, the walk says so.
            continue
        if subject:
            referrers[subject].append(digest)
    return referrers


def _all_named(contents, revisions):
    """What those of the manifests name that can be read."""
    digests = set()
    for digest in revisions:
        with contextlib.suppress(UnreadableError, OSError):
            digests.update(contents.named(_content(revisions, digest))[0])
    return digests

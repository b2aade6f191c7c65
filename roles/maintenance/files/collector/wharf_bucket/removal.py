# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Removes garbage from a bucket, in an order that leaves nothing that points to nothing, wherever it ends."""

from __future__ import annotations

import collections
import time

from ansible_collections.wharf.registry.plugins.module_utils._storage.s3_client import PAGE
from ansible_collections.wharf.registry.plugins.module_utils._storage.s3_errors import S3Error
from garbage import Garbage

_TRIES = 3


class Removal:
    """check is called before each request, and raises where nothing may be removed any more."""

    def __init__(self, client, storage, check):
        self._client, self._storage, self._check = client, storage, check
        self.done = Garbage()

    def run(self, garbage, seconds):
        """Whether all was removed. It begins nothing after so many seconds, but always makes one request.

        Links first: a blob without a link is garbage, a link without a blob would be damage.
        """
        end = time.monotonic() + seconds
        for steps in (self._links(garbage), self._blobs(garbage), self._rests(garbage)):
            for keys, marks in _requests(steps):
                if len(self.done) and time.monotonic() > end:
                    return False
                self._delete(keys)
                for mark in marks:
                    mark()
            # Without links, there is nothing of a repository.
            self.done.empty.update(one for one in garbage.empty if not self._storage.tags_with_history(one))
        return True

    def _links(self, garbage):
        """Yields (keys, what to call once they are deleted)."""
        storage, done = self._storage, self.done
        for repository, tag in sorted(garbage.tags):
            history = storage.history(repository, tag, None)
            keys = [storage.key_of_tag(repository, tag), *self._of_history(repository, tag, history)]
            yield keys, _adding(done.tags, (repository, tag))
        for links, added, parts in (
            (garbage.revisions, done.revisions, ("_manifests", "revisions")),
            (garbage.layers, done.layers, ("_layers",)),
        ):
            for repository, digest in sorted(links):
                yield [storage.key_of_link(repository, digest, *parts)], _adding(added, (repository, digest))

    def _blobs(self, garbage):
        for digest, size in sorted(garbage.blobs.items()):
            yield [self._storage.key_of_blob(digest)], lambda one=digest, size=size: self.done.blobs.update({one: size})

    def _rests(self, garbage):
        """The registry keeps a link for all that a tag has pointed to. Those to what is gone go, too."""
        storage, gone = self._storage, collections.defaultdict(set)
        for repository, digest in garbage.revisions:
            gone[repository].add(digest)
        for repository in {one for one, _digest in garbage.revisions | garbage.layers} | garbage.empty:
            revisions = storage.revisions(repository, None)
            there = {link.target for link in revisions.values()}.union(revisions) - gone[repository]
            for tag in storage.tags_with_history(repository):
                history = [one for one in storage.history(repository, tag, None) if one not in there]
                yield self._of_history(repository, tag, history), _nothing
            if repository in garbage.empty:
                yield [], _adding(self.done.empty, repository)

    def _of_history(self, repository, tag, digests):
        parts = ("_manifests", "tags", tag, "index")
        return [self._storage.key_of_link(repository, digest, *parts) for digest in digests]

    def _delete(self, keys):
        """Deletes up to a page of objects. Raises S3Error, also where some of them stay."""
        for number in range(1, _TRIES + 1):
            self._check()
            try:
                failed = self._client.delete_all(keys) if keys else []
                break
            except S3Error as error:
                # What may pass. To delete once more does no harm.
                if number == _TRIES or 0 < error.status < 500:
                    raise
                time.sleep(number)
        stay = {key for key, _why in failed}
        self._storage.gone(key for key in keys if key not in stay)
        if failed:
            key, why = failed[0]
            raise S3Error(
                f"The storage has not deleted {len(failed)} of {len(keys)} objects, such as {key} ({why}), and no blob "
                "that they may need was removed",
                "Give the user of access_key the right to delete in the bucket, and look for locks of objects",
            )


def _requests(steps):
    """Yields (keys, marks) of requests: keys up to a page, and the marks of what is gone with them."""
    keys, marks = [], []
    for added, mark in steps:
        for key in added:
            if len(keys) == PAGE:
                yield keys, marks
                keys, marks = [], []
            keys.append(key)
        marks.append(mark)
    if keys or marks:
        yield keys, marks


def _adding(found, one):
    return lambda: found.add(one)


def _nothing():
    pass

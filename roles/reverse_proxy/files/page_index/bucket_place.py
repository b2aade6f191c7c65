# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images in a bucket."""

from __future__ import annotations

import contextlib

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._storage.s3_errors import S3Error
from stored import StorageError, Stream
from wharf_bucket.clock import seconds_of
from wharf_bucket.groups import Groups
from wharf_bucket.repository import Repository, etag_of
from wharf_bucket.storage import BucketStorage
from wharf_storage.found import Link, Oddities
from wharf_storage.names import is_digest

# Sizes of blobs that are remembered: images have their lowest layers in common.
_MOST_SIZES = 50000


class BucketPlace:
    """Reads by an S3Client. root is the directory in the bucket. Raises StorageError in place of S3Error."""

    # Of each turn, what goes into a look at all of it: most of that is spent waiting for answers.
    look_seconds = 1.5

    def __init__(self, client, root):
        self._client = client
        # Of what it knows of all images, which a collection needs, nothing is asked here.
        self._storage = BucketStorage(client, root, push_seconds=0)
        self._groups = Groups(client, f"{self._storage.top}/repositories/")
        # The repository that the list of all has come to, with its objects as they were listed.
        self._ahead = ("", [])
        # Those that something was asked of since that list began: what was listed may be older.
        self._asked = set()
        # The repository that was read last: which layers it has is known.
        self._last = Repository("", None)
        self._sizes = {}

    def close(self):
        self._client.close()

    def room(self):
        """A bucket does not tell how much fits into it."""
        return

    def answers(self):
        """Whether the bucket can be used at all."""
        try:
            self._client.head_bucket()
        except S3Error:
            return False
        return True

    # --- repositories -------------------------------------------------------------------------------------------------

    def names(self):
        """Yields the names of all repositories, page by page of the list: memory is that of the largest one."""
        self._asked.clear()
        with _telling():
            for name, objects in self._groups.each(Oddities()):
                self._ahead = (name, objects)
                yield name
        self._ahead = ("", [])

    def repository(self, name):
        """What a repository has: tags and revisions, {tag or digest: Link}."""
        with _telling():
            self._last = Repository(name, None).read(self._objects(name), self._groups.read_link)
        for links in (self._last.tags, self._last.revisions, self._last.layers):
            links.update({one: _as_listed(link) for one, link in links.items()})
        return self._last

    def _objects(self, name):
        """The objects of a repository, as the list of all has just shown them, or by a list of their own."""
        (ahead, objects), self._ahead = self._ahead, ("", [])
        if name == ahead and name not in self._asked:
            return objects
        self._asked.add(name)
        # No repository within this one begins like that.
        return [one for found, these in self._groups.each(Oddities(), f"{name}/_") for one in these if found == name]

    def tag(self, name, tag):
        """The Link of a tag, or None."""
        self._asked.add(name)
        with _telling():
            found = self._look(self._storage.key_of_tag(name, tag))
            target = self._groups.read_link(found.key) if found else None
            return None if target is None else _as_listed(Link(target or None, seconds_of(found)))

    def link(self, name, directory, digest):
        """(the digest under which the content lies, seconds), or None where the repository does not have it."""
        if directory == "_layers" and name == self._last.name and digest in self._last.layers:
            known = self._last.layers[digest]
            return (known.target, int(known.time)) if known.target else None
        self._asked.add(name)
        with _telling():
            found = self._look(self._storage.key_of_link(name, digest, directory))
            if found is None:
                return None
            target = digest if found.etag == etag_of(digest) else self._groups.read_link(found.key)
            return (target, int(seconds_of(found)) - 1) if is_digest(target) else None

    def _look(self, key):
        """The object as a list of its key alone tells it, with its time, or None."""
        return next((one for one in self._client.objects(key) if one.key == key), None)

    # --- contents -----------------------------------------------------------------------------------------------------

    def read_blob(self, digest, most):
        """The first bytes of a blob, or None where there is none."""
        with _telling():
            try:
                return self._storage.read_blob(digest, most)
            except FileNotFoundError:
                return None

    def blob_size(self, digest):
        """The bytes of a blob, or None where there is none."""
        if digest not in self._sizes:
            with _telling():
                size = self._storage.blob_size(digest)
            if size is None:
                return None
            if len(self._sizes) >= _MOST_SIZES:
                self._sizes.clear()
            self._sizes[digest] = size
        return self._sizes[digest]

    def open_blob(self, digest):
        """The Stream of a blob, or None where there is none."""
        with _telling():
            size = self._storage.blob_size(digest)
        return None if size is None else Stream(size, self._pieces(digest))

    def _pieces(self, digest):
        with _telling():
            yield from self._client.pieces(self._storage.key_of_blob(digest))


def _as_listed(link):
    """The Link with its time as the list tells it: a collection counts it as a second younger."""
    return link._replace(time=link.time - 1)


@contextlib.contextmanager
def _telling():
    try:
        yield
    except RegistryError as error:
        raise StorageError(str(error)) from None

# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The storage of a registry, asked as modules ask a registry: what they know of images holds here, too."""

from __future__ import annotations

import hashlib

from ansible_collections.wharf.registry.plugins.module_utils._distribution.manifest import Manifest
from ansible_collections.wharf.registry.plugins.module_utils._distribution.transport_errors import AnswerError
from wharf_storage.manifests import MOST_BYTES
from wharf_storage.names import is_digest

_NO_TYPE = "application/octet-stream"
# A configuration is a few kilobytes.
_MOST_CONFIGURATION = 4 << 20


class Host:
    """What messages call the registry."""

    name = "the storage"


class StorageError(Exception):
    """The storage does not answer, or not as it should. This says nothing of any image."""


class Stream:
    """A blob as it comes: size in bytes, and its pieces."""

    def __init__(self, size, pieces):
        self.size = size
        self.pieces = pieces


class StoredRegistry:
    """Reads a DiskPlace or a BucketPlace. Raises AnswerError for what is damaged, and StorageError."""

    registry = Host()

    def __init__(self, place):
        self._place = place

    def manifest(self, repository, reference):
        """The Manifest, or None where the repository has none of this tag or digest."""
        digest = reference if is_digest(reference) else self._tagged(repository, reference)
        link = self.revision(repository, digest)
        return None if link is None else self.content_of(digest, link[0])

    def revision(self, repository, digest):
        """(the digest under which a manifest of the repository lies, when it was pushed, in seconds), or None."""
        return self._link(repository, "_manifests/revisions", digest)

    def content_of(self, digest, stored):
        """The Manifest of a digest, whose content lies under another digest where that is one of SHA-512."""
        content = self._place.read_blob(stored, MOST_BYTES + 1)
        if content is None:
            raise AnswerError(f"the manifest {digest} is missing", "Push the image again")
        algorithm, _colon, encoded = digest.partition(":")
        if len(content) > MOST_BYTES or hashlib.new(algorithm, content).hexdigest() != encoded:
            raise AnswerError(f"the manifest {digest} is damaged", "Push the image again")
        found = Manifest(content, digest, _NO_TYPE)
        named = found.document.get("mediaType")
        if found.media_type == _NO_TYPE and isinstance(named, str):
            found.media_type = named
        return found

    def blob(self, repository, digest):
        link = self._link(repository, "_layers", digest)
        content = None if link is None else self._place.read_blob(link[0], _MOST_CONFIGURATION + 1)
        if content is not None and len(content) > _MOST_CONFIGURATION:
            raise AnswerError(f"the configuration {digest} is too large", "Push the image again")
        return content

    def has_blob(self, repository, digest):
        return self._link(repository, "_layers", digest) is not None

    def blob_size(self, repository, digest):
        """The bytes of a blob that the repository has, or None."""
        link = self._link(repository, "_layers", digest)
        return None if link is None else self._place.blob_size(link[0])

    def open_blob(self, repository, digest):
        link = self._link(repository, "_layers", digest)
        return None if link is None else self._place.open_blob(link[0])

    def referrers(self, _repository, _subject, _odd=None):
        """This registry keeps no list: clients do."""
        return

    def _tagged(self, repository, tag):
        link = self._place.tag(repository, tag)
        return None if link is None else link.target

    def _link(self, repository, directory, digest):
        """(the digest under which the content lies, seconds), or None where the repository does not have it."""
        return None if digest is None else self._place.link(repository, directory, digest)

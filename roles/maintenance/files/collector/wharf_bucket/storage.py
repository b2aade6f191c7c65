# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What lies in the bucket of a registry, in the words of `wharf_storage.storage.Storage`."""

from __future__ import annotations

import errno
import sys

from ansible_collections.wharf.registry.plugins.module_utils._storage.s3_errors import S3Error
from wharf_storage import names
from wharf_storage.found import Oddities
from wharf_storage.storage import ROOT

from wharf_bucket.clock import seconds_of
from wharf_bucket.scan import Scan

# A layer, of which there may be thousands, is known by its first bytes, and most manifests are shorter.
_FIRST_BYTES = 16384
_NO_SUCH_RANGE = 416


class BucketStorage:
    """Reads by an S3Client. root is the directory in the bucket; a push takes no longer than push_seconds."""

    def __init__(self, client, root, push_seconds):
        self._client = client
        self.top = "/".join([*root.strip("/").split("/"), *ROOT]).lstrip("/")
        # For messages.
        self.directory = f"s3://{client.bucket}/{root.strip('/')}".rstrip("/")
        self._push_seconds = push_seconds
        self._scan = Scan(client, f"{self.top}/repositories/")
        # {digest: (size, time)}, once they were listed.
        self._blobs = None
        self._emptied = False

    # --- repositories -------------------------------------------------------------------------------------------------

    def repositories(self, oddities):
        """The names of all repositories, sorted. Lists them anew, and reads those that have changed."""
        self._scan.again(oddities)
        return sorted(self._scan.repositories)

    def look_again_at(self, repositories):
        """Lists these anew, and reads those that have changed. What is odd is told in the next list of all."""
        self._scan.again_of(repositories, Oddities())

    def has(self, repository):
        return repository in self._scan.repositories

    def has_entries_of_repositories(self):
        """Whether it is known that there may be none."""
        return self._emptied

    def tags(self, repository, _oddities, only=None):
        """{tag: Link}."""
        found = self._scan.repositories[repository].tags
        return found if only is None else {tag: found[tag] for tag in only if tag in found}

    def history(self, repository, tag, _oddities):
        """The digests of all that a tag points to and has pointed to."""
        return self._scan.repositories[repository].history.get(tag, [])

    def tags_with_history(self, repository):
        """Names of tags, and of those that are gone and have left links."""
        return list(self._scan.repositories[repository].history)

    def revisions(self, repository, _oddities):
        """{digest: Link} of the manifests that the repository has."""
        return self._scan.repositories[repository].revisions

    def layers(self, repository, oddities):
        """{digest: Link} of the blobs that the repository has."""
        found = self._scan.repositories[repository]
        oddities.merge(found.oddities)
        return found.layers

    def last_upload(self, repository):
        """When an upload that is not finished was last written to, or 0.

        Its parts are in no list until it ends. One that has begun within the time of a push is taken for one that goes
        on.
        """
        last = self._scan.repositories[repository].last_upload
        return self._scan.time if last > self._scan.time - self._push_seconds else last

    # --- blobs --------------------------------------------------------------------------------------------------------

    def blobs(self, oddities):
        """Yields (digest, size, time) of all blobs, listed once.

        What has come since is none that was garbage before. What an image needs again has a new link, which is enough:
        the registry does not write a blob again that is there.
        """
        if self._blobs is None:
            self._blobs = dict(self._listed(oddities))
        for digest, (size, seconds) in self._blobs.items():
            yield digest, size, seconds

    def _listed(self, oddities):
        prefix = f"{self.top}/blobs/"
        for listed in self._client.objects(prefix):
            parts = listed.key[len(prefix) :].split("/")
            if (
                len(parts) == 4
                and parts[3] == "data"
                and names.is_encoded(parts[0], parts[2])
                and parts[2].startswith(parts[1])
                and len(parts[1]) == 2
                and listed.size >= 0
            ):
                yield sys.intern(f"{parts[0]}:{parts[2]}"), (listed.size, seconds_of(listed))
            elif listed.size or not listed.key.endswith("/"):
                oddities.add(f"the registry makes no object of this name: {names.shown(listed.key)}")

    def read_blob(self, digest, most, begins=b""):
        """The first bytes of a blob's content; none where it begins otherwise, but for white space."""
        content = self._part_of_blob(digest, 0, min(most, _FIRST_BYTES))
        if not content.lstrip().startswith(begins):
            return b""
        if _FIRST_BYTES == len(content) < most:
            content += self._part_of_blob(digest, len(content), most)
        return content

    def _part_of_blob(self, digest, first, end):
        """Its bytes from the first to those before the end, as far as there are any."""
        try:
            return self._client.get(self.key_of_blob(digest), first, end - 1, limit=end - first)
        except S3Error as error:
            if error.code == "NoSuchKey":
                raise FileNotFoundError(errno.ENOENT, "There is no such blob", digest) from None
            if error.status == _NO_SUCH_RANGE:
                return b""
            raise

    def blob_size(self, digest):
        """The bytes of a blob, or None where there is none."""
        found = self._client.head(self.key_of_blob(digest))
        return None if found is None else found.size

    # --- what a removal needs -----------------------------------------------------------------------------------------

    def key_of_blob(self, digest):
        algorithm, encoded = names.split(digest)
        return f"{self.top}/blobs/{algorithm}/{encoded[:2]}/{encoded}/data"

    def key_of_link(self, repository, digest, *parts):
        return "/".join((self.top, "repositories", repository, *parts, *names.split(digest), "link"))

    def key_of_tag(self, repository, tag):
        return f"{self.top}/repositories/{repository}/_manifests/tags/{tag}/current/link"

    def gone(self, keys):
        """Takes note of objects that were deleted."""
        for key in keys:
            self._scan.gone(key)

    def forget(self, garbage):
        """Takes note of what was removed."""
        for digest in garbage.blobs:
            self._blobs.pop(digest, None)
        # Where the last repository has gone, blobs that are left are no sign of a bucket that is not whole.
        self._emptied = self._emptied or bool(garbage.layers or garbage.revisions)

    def figures(self):
        """{objects, size}: all that the lists have shown."""
        blobs = self._blobs or {}
        size = sum(size for size, _time in blobs.values())
        return {"objects": len(blobs) + self._scan.objects, "size": size + self._scan.bytes}

# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Blobs of any size, read and uploaded in pieces, so that none is held in memory. Private to this collection."""

from __future__ import annotations

import re
import urllib.parse

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._distribution.blobs import BlobClient, content_length
from ansible_collections.wharf.registry.plugins.module_utils._distribution.http_message import Upload
from ansible_collections.wharf.registry.plugins.module_utils._distribution.transport_errors import AnswerError

_RANGE = re.compile(r"bytes ([0-9]{1,18})-[0-9]{1,18}/(?:[0-9]{1,18}|\*)\Z")


class BlobStream:
    """A blob as it comes: size in bytes of the whole, None where the registry does not tell, and its pieces."""

    def __init__(self, size, pieces):
        self.size = size
        self.pieces = pieces


class BlobStreamClient(BlobClient):
    """The part of the API that moves blobs."""

    def open_blob(self, repository, digest, start=0):
        """The BlobStream of a blob from the byte `start` on, or None where there is no such blob.

        Nothing is checked of what comes. The pieces are to be read before the next request of this client, or never.
        """
        headers = {"Range": f"bytes={start}-"} if start else {}
        target = f"/v2/{repository}/blobs/{digest}"
        response = self._ask("GET", target, repository, headers=headers, stream=True)
        if response.status == 404:
            return None
        if response.pieces is None:
            raise self._errors.no(response, f"read the blob {digest} of {repository}")
        if response.status == 200:
            # Not every server knows parts.
            return BlobStream(content_length(response), _without(response.pieces, start))
        found = _RANGE.match(response.headers.get("Content-Range") or "")
        if found is None or int(found[1]) != start:
            raise AnswerError(
                f"{self.registry.name} was asked for the blob {digest} of {repository} from byte {start} on, and sends "
                "another part of it",
                "Check the proxies in front of it",
            )
        length = content_length(response)
        return BlobStream(None if length is None else start + length, response.pieces)

    def upload_blob(self, repository, digest, size, pieces):
        """Uploads a blob of so many bytes as they come. Raises RegistryError, also for those that come.

        The registry keeps nothing of one that is broken off or does not match its digest.
        """
        response = self._ask("POST", f"/v2/{repository}/blobs/uploads/", repository)
        if response.status != 202:
            raise self._errors.no(response, f"write to {repository}")
        target = self._location(response)
        target += ("&" if "?" in target else "?") + urllib.parse.urlencode({"digest": digest})
        try:
            sent = self._ask(
                "PUT",
                target,
                repository,
                headers={"Content-Type": "application/octet-stream"},
                body=Upload(size, pieces),
            )
            if sent.status not in (201, 204):
                raise self._errors.no(sent, f"write the blob {digest} to {repository}")
        except RegistryError:
            self._cancel(repository, response)
            raise


def _without(pieces, skipped):
    """The pieces without their first bytes."""
    for piece in pieces:
        if skipped >= len(piece):
            skipped -= len(piece)
        else:
            yield piece[skipped:]
            skipped = 0

# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Blobs of a registry: looked for, read, mounted and uploaded. Private to this collection."""

from __future__ import annotations

import contextlib
import hashlib
import urllib.parse

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._distribution.auth import RefusedError
from ansible_collections.wharf.registry.plugins.module_utils._distribution.client_errors import DeniedError
from ansible_collections.wharf.registry.plugins.module_utils._distribution.session import Session
from ansible_collections.wharf.registry.plugins.module_utils._distribution.transport_errors import AnswerError


class BlobClient(Session):
    """The part of the API that knows blobs."""

    def blob(self, repository, digest):
        """A small blob, such as a configuration, or None. Raises AnswerError where it does not match its digest."""
        response = self._ask("GET", f"/v2/{repository}/blobs/{digest}", repository)
        if response.status == 404:
            return None
        if response.status != 200:
            raise self._errors.no(response, f"read the blob {digest} of {repository}")
        self._check_content(repository, digest, response.body)
        return response.body

    def has_blob(self, repository, digest):
        return self.blob_size(repository, digest)[0]

    def blob_size(self, repository, digest):
        """(whether there is such a blob, its bytes or None where the registry does not tell them)."""
        response = self._ask("HEAD", f"/v2/{repository}/blobs/{digest}", repository)
        if response.status not in (200, 404):
            raise self._errors.no(response, f"look for the blob {digest} of {repository}")
        return response.status == 200, content_length(response)

    def blob_begins(self, repository, digest):
        """Whether the first bytes of a blob come. Of one that is sent only as a whole, no more than a HEAD is asked."""
        target = f"/v2/{repository}/blobs/{digest}"
        response = self._ask("HEAD", target, repository)
        if response.status == 200 and response.headers.get("Accept-Ranges") == "bytes":
            response = self._ask("GET", target, repository, headers={"Range": "bytes=0-1023"})
        if response.status not in (200, 206, 404, 416):
            raise self._errors.no(response, f"read the blob {digest} of {repository}")
        return response.status != 404

    def mount(self, repository, digest, source):
        """Whether the registry has taken a blob over from another repository. No byte of it passes here."""
        query = urllib.parse.urlencode({"mount": digest, "from": source})
        response = self._ask("POST", f"/v2/{repository}/blobs/uploads/?{query}", repository, mount_from=source)
        if response.status == 201:
            return True
        if response.status == 202:
            # It has begun an upload instead, which is not needed.
            self._cancel(repository, response)
            return False
        raise self._errors.no(response, f"take blobs of {source} over into {repository}")

    def refuses_uploads(self, repository):
        """Whether this user may begin no upload. One that begins is cancelled. Raises RegistryError."""
        try:
            response = self._ask("POST", f"/v2/{repository}/blobs/uploads/", repository)
        except (DeniedError, RefusedError):
            return True
        if response.status in (401, 403, 405):
            return True
        if response.status == 202:
            self._cancel(repository, response)
            return False
        raise self._errors.no(response, f"write to {repository}")

    def try_upload(self, repository, size):
        """Uploads bytes of no use, and cancels that: whether a registry can store them. Raises RegistryError."""
        response = self._ask("POST", f"/v2/{repository}/blobs/uploads/", repository)
        if response.status != 202:
            raise self._errors.no(response, f"write to {repository}")
        try:
            sent = self._ask(
                "PATCH",
                self._location(response),
                repository,
                headers={"Content-Type": "application/octet-stream"},
                body=bytes(size),
            )
            if sent.status not in (202, 204):
                raise self._errors.no(sent, f"write to {repository}")
            response = sent
        finally:
            self._cancel(repository, response)

    def put_blob(self, repository, content):
        """Uploads a small blob, and returns its digest."""
        digest = digest_of(content)
        response = self._ask("POST", f"/v2/{repository}/blobs/uploads/", repository)
        if response.status != 202:
            raise self._errors.no(response, f"write to {repository}")
        target = self._location(response)
        target += ("&" if "?" in target else "?") + urllib.parse.urlencode({"digest": digest})
        response = self._ask(
            "PUT", target, repository, headers={"Content-Type": "application/octet-stream"}, body=content
        )
        if response.status not in (201, 204):
            raise self._errors.no(response, f"write to {repository}")
        return digest

    def _cancel(self, repository, response):
        # A courtesy: registries purge what was begun and never finished.
        with contextlib.suppress(RegistryError):
            self._ask("DELETE", self._location(response), repository)

    def _check_content(self, repository, digest, content):
        algorithm = digest.partition(":")[0]
        if algorithm in ("sha256", "sha384", "sha512") and digest_of(content, algorithm) == digest:
            return
        raise AnswerError(
            f"What {self.registry.name} sent of {repository} does not match its digest {digest}",
            "Something between here and the registry changes answers, or its storage is damaged",
        )


def content_length(response):
    """The bytes that a header tells, or None."""
    length = response.headers.get("Content-Length") or ""
    return int(length) if length.isascii() and length.isdecimal() else None


def digest_of(content, algorithm="sha256"):
    return f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}"

# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A client of one bucket of an S3 storage. Private to this collection.

What S3 does not do is an S3Error, also where it says so in an answer of status 200. Bodies are bytes where they are
small, and else come and go in pieces.
"""

from __future__ import annotations

import base64
import email.utils
import hashlib
import time
import urllib.parse
from typing import NamedTuple

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._distribution.http_message import Upload
from ansible_collections.wharf.registry.plugins.module_utils._distribution.transport import BODY_LIMIT
from ansible_collections.wharf.registry.plugins.module_utils._storage.s3_errors import ErrorWording, S3Error, shown
from ansible_collections.wharf.registry.plugins.module_utils._storage.s3_multipart import (
    LIST_LIMIT,
    Multipart,
    etag_of,
    number_of,
)
from ansible_collections.wharf.registry.plugins.module_utils._storage.s3_signature import (
    EMPTY,
    UNSIGNED,
    canonical_query,
    quoted,
)
from ansible_collections.wharf.registry.plugins.module_utils._storage.s3_xml import XmlError, deletions_text, parse

# Names that one request lists or deletes.
PAGE = 1000


class Listed(NamedTuple):
    """An object as a list tells it; modified is the text of S3."""

    key: str
    size: int
    etag: str
    modified: str


class Page(NamedTuple):
    """The objects and the common prefixes of one page of a list."""

    objects: list
    prefixes: list


class S3Client(Multipart):
    """Sends requests to one bucket over one kept connection. Each thread needs a client of its own."""

    def __init__(self, access, http, signer):
        self.bucket = access.bucket
        self._url = access.url
        self._http = http
        self._signer = signer
        self._errors = ErrorWording(access.endpoint, access.bucket)
        # Seconds that the clock of this host is ahead of S3's, by the last answer; None before.
        self.clock_ahead = None

    def __enter__(self):
        return self

    def __exit__(self, *_exception):
        self.close()

    def open(self):
        """Opens the connection before it is needed. Where that fails, the first request says why."""
        self._http.open(self._url)

    def close(self):
        self._http.close()

    # --- the bucket ---------------------------------------------------------------------------------------------------

    def head_bucket(self):
        """Raises S3Error where the bucket can't be used, with S3's reason."""
        try:
            self._ask("HEAD", "look for the bucket")
        except S3Error as error:
            if not error.status or error.code:
                raise
            # An answer to HEAD has no reason. That to a list has.
            self._ask("GET", "look for the bucket", query=[("list-type", 2), ("max-keys", 1)], limit=LIST_LIMIT)
            raise

    def pages(self, prefix="", delimiter="", start_after="", size=PAGE):
        """Yields a Page after the other. With a delimiter, what lies deeper is told as common prefixes."""
        query = [("list-type", 2), ("encoding-type", "url"), ("max-keys", size), ("prefix", prefix)]
        query += [("delimiter", delimiter)] if delimiter else []
        query += [("start-after", start_after)] if start_after else []
        operation = f"list what begins with {prefix!r}" if prefix else "list the bucket"
        token, known = None, set()
        while True:
            more = [("continuation-token", token)] if token else []
            response = self._ask("GET", operation, query=query + more, limit=LIST_LIMIT)
            listed = self._document(response, "ListBucketResult", operation)
            decode = urllib.parse.unquote_plus if listed.get("EncodingType") == "url" else str
            yield Page(
                [_listed(one, decode) for one in listed.all("Contents")],
                [decode(one.get("Prefix")) for one in listed.all("CommonPrefixes")],
            )
            if listed.get("IsTruncated") != "true":
                return
            token = listed.get("NextContinuationToken")
            # Each page must lead on, or it would never end.
            if not token or hash(token) in known:
                raise self._errors.odd(operation, "says that there is more, and not where", "Look for a newer version")
            known.add(hash(token))

    def objects(self, prefix="", start_after=""):
        """Yields each object as Listed, in the order of S3."""
        for page in self.pages(prefix, start_after=start_after):
            yield from page.objects

    # --- objects ------------------------------------------------------------------------------------------------------

    def put(self, key, body, *, digest=None, only_new=False):
        """Writes an object and returns its ETag.

        body is bytes or an Upload, of which digest may be the SHA-256. With only_new, an object that is there is an
        S3Error of the status 412. A client that asks again after a broken answer may meet its own object.
        """
        headers = {"If-None-Match": "*"} if only_new else {}
        response = self._ask("PUT", f"write {key}", key, headers=headers, body=body, digest=digest)
        return etag_of(response)

    def get(self, key, first=None, last=None, limit=BODY_LIMIT):
        """The bytes of an object, or those from the first to the last."""
        response = self._ask("GET", f"read {key}", key, headers=_range(first, last), limit=limit)
        self._check_range(response, key, first)
        return response.body

    def pieces(self, key, first=None, last=None):
        """Yields an object in pieces as they come, read before the next request. Memory stays flat."""
        response = self._ask("GET", f"read {key}", key, headers=_range(first, last), stream=True)
        self._check_range(response, key, first)
        try:
            yield from response.pieces if response.body is None else [response.body]
        except RegistryError as error:
            raise self._errors.no_answer(error, f"read {key}") from None

    def head(self, key):
        """The Listed of an object, or None where it is not there."""
        try:
            response = self._ask("HEAD", f"look for {key}", key)
        except S3Error as error:
            if error.status == 404:
                return None
            raise
        size = response.headers.get("Content-Length") or ""
        return Listed(key, number_of(size), etag_of(response), response.headers.get("Last-Modified"))

    def delete(self, key):
        """Deletes an object; one that is not there is no error."""
        try:
            self._ask("DELETE", f"delete {key}", key)
        except S3Error as error:
            if error.code != "NoSuchKey":
                raise

    def delete_all(self, keys):
        """Deletes up to 1000 objects by one request. Returns pairs of those that stay and why."""
        body = deletions_text(keys)
        operation = f"delete {len(keys)} objects"
        response = self._ask(
            "POST", operation, query=[("delete", "")], headers=_checksum(body), body=body, limit=LIST_LIMIT
        )
        result = self._document(response, "DeleteResult", operation)
        return [
            (one.get("Key"), shown(f"{one.get('Code')} {one.get('Message')}"))
            for one in result.all("Error")
            if one.get("Code") != "NoSuchKey"
        ]

    def copy(self, source, key):
        """Copies an object within the bucket and returns its ETag."""
        operation = f"copy {source} to {key}"
        response = self._ask("PUT", operation, key, headers={"x-amz-copy-source": self._source(source)})
        return self._document(response, "CopyObjectResult", operation).get("ETag")

    def signed_url(self, key, seconds=1200):
        """A URL by which an object can be read without a login for so many seconds."""
        return self._signer.signed_url(self.address(key), seconds)

    def fetch(self, url, limit=BODY_LIMIT):
        """(status, bytes) of a URL that is asked without a login."""
        try:
            response = self._http.request("GET", url, limit=limit)
        except RegistryError as error:
            raise self._errors.no_answer(error, "read a URL") from None
        return response.status, response.body

    # --- requests -----------------------------------------------------------------------------------------------------

    def address(self, key, query=()):
        """The URL of an object, without a signature."""
        text = canonical_query(query)
        # The bucket itself has no slash behind its name, where that is the path.
        named = f"/{quoted(key)}" if key or not urllib.parse.urlsplit(self._url).path else ""
        return self._url + named + (f"?{text}" if text else "")

    def _source(self, key):
        return quoted(f"/{self.bucket}/{key}")

    def _ask(self, method, operation, key="", *, query=(), headers=None, body=None, digest=None, **sent):
        """The Response to one request. Raises S3Error for all but a success."""
        url = self.address(key, query)
        signed = self._signer.headers(method, url, headers, digest or _digest(body))
        began = time.time()
        try:
            response = self._http.request(method, url, signed, body, **sent)
        except RegistryError as error:
            raise self._errors.no_answer(error, operation) from None
        self._compare_clocks(response, began)
        if not 200 <= response.status < 300:
            raise self._errors.refused(response, operation)
        return response

    def _compare_clocks(self, response, began):
        date = email.utils.parsedate_tz(response.headers.get("Date") or "")
        if date is not None:
            # The Date has whole seconds, and was written between the request and now.
            earliest = email.utils.mktime_tz(date)
            behind, ahead = earliest - time.time(), began - (earliest + 1)
            self.clock_ahead = ahead if ahead > 0 else -max(0.0, behind)

    def _document(self, response, name, operation):
        """The document of an answer. An error may come with the status 200: S3 begins to answer before it knows."""
        try:
            root = parse(response.body)
        except XmlError:
            raise self._errors.odd(operation, f"answers {response.status} without a {name}") from None
        if root.name == "Error":
            raise self._errors.refused(response, operation)
        if root.name != name:
            raise self._errors.odd(operation, f"answers {shown(root.name)} in place of {name}")
        return root

    def _check_range(self, response, key, first):
        if first is not None and response.status != 206:
            # A whole object in place of its end would be taken for the end.
            if response.pieces is not None:
                response.pieces.close()
            operation = f"read {key} from byte {first} on"
            raise self._errors.odd(operation, "sends the whole object", status=response.status, code="RangeIgnored")


def _listed(element, decode):
    return Listed(
        decode(element.get("Key")),
        number_of(element.get("Size")),
        element.get("ETag").strip('"'),
        element.get("LastModified"),
    )


def _digest(body):
    """What is signed of a body."""
    if isinstance(body, Upload):
        return UNSIGNED
    return hashlib.sha256(body).hexdigest() if body else EMPTY


def _range(first, last):
    if first is None:
        return {}
    return {"Range": f"bytes={first}-{'' if last is None else last}"}


def _checksum(body):
    """The header that S3 wants with a list of deletions. MD5 is all that old servers know."""
    try:
        return {"Content-MD5": base64.b64encode(hashlib.md5(body).digest()).decode()}  # noqa: S324 - no secret rests on it
    except ValueError:
        # A host that is set to FIPS has no MD5.
        return {"x-amz-checksum-sha256": base64.b64encode(hashlib.sha256(body).digest()).decode()}

# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects of S3 that are written in parts. Private to this collection."""

from __future__ import annotations

import urllib.parse
from typing import NamedTuple

from ansible_collections.wharf.registry.plugins.module_utils._storage.s3_errors import S3Error
from ansible_collections.wharf.registry.plugins.module_utils._storage.s3_xml import parts_text

# The least size of a part, but for the last one.
LEAST_PART = 5 << 20
# Bytes of one page of a list: 1000 names of 1024 bytes, each of which may take three.
LIST_LIMIT = 8 << 20


class Part(NamedTuple):
    """A part as a list tells it."""

    number: int
    size: int
    etag: str


class Begun(NamedTuple):
    """An upload that is under way; initiated is the text of S3."""

    key: str
    upload_id: str
    initiated: str


class Multipart:
    """What S3Client can do in parts."""

    def begin(self, key):
        """Begins an upload and returns its ID."""
        operation = f"begin an upload of {key}"
        response = self._ask("POST", operation, key, query=[("uploads", "")])
        upload_id = self._document(response, "InitiateMultipartUploadResult", operation).get("UploadId")
        if not upload_id:
            raise self._errors.odd(operation, "answers without an UploadId")
        return upload_id

    def put_part(self, key, upload_id, number, body):
        """Writes a part, bytes or an Upload, and returns its ETag."""
        query = [("partNumber", number), ("uploadId", upload_id)]
        response = self._ask("PUT", f"write part {number} of {key}", key, query=query, body=body)
        return etag_of(response)

    def copy_part(self, begun, number, source, first, last):
        """Makes a part of a range of another object, and returns its ETag. begun is (key, upload ID)."""
        key, upload_id = begun[:2]
        operation = f"copy part {number} of {key} from {source}"
        headers = {"x-amz-copy-source": self._source(source), "x-amz-copy-source-range": f"bytes={first}-{last}"}
        query = [("partNumber", number), ("uploadId", upload_id)]
        response = self._ask("PUT", operation, key, query=query, headers=headers)
        return self._document(response, "CopyPartResult", operation).get("ETag").strip('"')

    def parts(self, key, upload_id, size=1000):
        """Yields the parts that an upload has."""
        marker = "0"
        while True:
            operation = f"list the parts of the upload of {key}"
            query = [("uploadId", upload_id), ("max-parts", size), ("part-number-marker", marker)]
            listed = self._document(
                self._ask("GET", operation, key, query=query, limit=LIST_LIMIT), "ListPartsResult", operation
            )
            for one in listed.all("Part"):
                yield Part(number_of(one.get("PartNumber")), number_of(one.get("Size")), one.get("ETag").strip('"'))
            if listed.get("IsTruncated") != "true":
                return
            former, marker = marker, listed.get("NextPartNumberMarker")
            if number_of(marker) <= number_of(former):
                raise self._errors.odd(operation, "says that there is more, and not where")

    def uploads(self, prefix="", size=1000):
        """Yields the uploads that are under way."""
        markers, known = [], set()
        operation = f"list the uploads of what begins with {prefix!r}"
        while True:
            query = [("uploads", ""), ("prefix", prefix), ("max-uploads", size), ("encoding-type", "url"), *markers]
            listed = self._document(
                self._ask("GET", operation, query=query, limit=LIST_LIMIT), "ListMultipartUploadsResult", operation
            )
            decode = urllib.parse.unquote_plus if listed.get("EncodingType") == "url" else str
            for one in listed.all("Upload"):
                yield Begun(decode(one.get("Key")), one.get("UploadId"), one.get("Initiated"))
            if listed.get("IsTruncated") != "true":
                return
            marker = decode(listed.get("NextKeyMarker")), listed.get("NextUploadIdMarker")
            if marker in known:
                raise self._errors.odd(operation, "says that there is more, and not where")
            known.add(marker)
            markers = [("key-marker", marker[0]), ("upload-id-marker", marker[1])]

    def complete(self, key, upload_id, parts):
        """Makes an object of parts, pairs of number and ETag, and returns its ETag."""
        operation = f"complete the upload of {key}"
        body = parts_text(sorted(parts))
        response = self._ask("POST", operation, key, query=[("uploadId", upload_id)], body=body)
        return self._document(response, "CompleteMultipartUploadResult", operation).get("ETag").strip('"')

    def abort(self, key, upload_id):
        """Ends an upload and removes its parts; one that is not there is no error."""
        try:
            self._ask("DELETE", f"abort the upload of {key}", key, query=[("uploadId", upload_id)])
        except S3Error as error:
            if error.code != "NoSuchUpload":
                raise


def etag_of(response):
    """The ETag in the headers of an answer, or an empty string."""
    return (response.headers.get("ETag") or "").strip('"')


def number_of(text):
    """The number that a text of S3 is, or -1 where it is none."""
    return int(text) if text.isdigit() else -1

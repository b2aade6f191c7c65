# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What S3 refuses and why, in words that tell each case apart, with the cure. Private to this collection."""

from __future__ import annotations

import re

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._storage.s3_xml import XmlError, parse

_CLOCK = "Set the clocks of this host and of the storage by NTP: S3 refuses more than 15 minutes"
_REGION = "Set region to the one of the bucket, and endpoint to that of the region"
_FULL = "Make room in the storage, or raise the quota of the bucket"
_BUSY = "Try again later; if it lasts, look at the load and at the log of the storage"
_NOT_S3 = "Check that endpoint is the S3 API of the storage, and not its console, its filer or another service"

# The cure for each code. Servers differ in the codes that they use for the same.
_CURES = {
    "SignatureDoesNotMatch": "Correct secret_key; if it is right, let no proxy change the Host header or the path",
    "InvalidAccessKeyId": "Correct access_key: the storage does not know it",
    "InvalidSecurity": "Correct access_key and secret_key",
    "AccessDenied": "Give the user of access_key the right to do this in the bucket, or correct secret_key",
    "AllAccessDisabled": "Give the user of access_key the right to do this in the bucket",
    "NoSuchBucket": "Create the bucket, or correct its name; check force_path_style as well",
    "InvalidBucketName": "Correct bucket; check force_path_style as well",
    "RequestTimeTooSkewed": _CLOCK,
    "RequestExpired": _CLOCK,
    "AuthorizationHeaderMalformed": _REGION,
    "AuthorizationQueryParametersError": _REGION,
    "IllegalLocationConstraintException": _REGION,
    "InvalidRegion": _REGION,
    "PermanentRedirect": _REGION,
    "TemporaryRedirect": _REGION,
    "SlowDown": _BUSY,
    "ServiceUnavailable": _BUSY,
    "InternalError": "Look at the log of the storage",
    "NotImplemented": "The storage cannot do this: use a newer version of it, or another storage",
    "QuotaExceeded": _FULL,
    "XMinioStorageFull": _FULL,
    "InsufficientStorage": _FULL,
    "NoSuchUpload": "The storage does not know the upload: it was completed, aborted, or lost",
}
# Where no code came, which is so for an answer to HEAD.
_CURES_OF_STATUS = {
    301: _REGION,
    302: _REGION,
    307: _REGION,
    308: _REGION,
    403: _CURES["AccessDenied"],
    501: _CURES["NotImplemented"],
    502: _BUSY,
    503: _BUSY,
    504: _BUSY,
    507: _FULL,
}
# In place of what is told of a registry, where no answer came.
_CURES_OF_THE_WAY = {
    "refused": "Check whether the storage runs, and whether the port of endpoint is right",
    "timed_out": "Check whether a firewall drops the packets or the storage is overloaded, or raise timeout",
    "https_for_http": "Begin endpoint with https://",
    "http_for_https": "Begin endpoint with http://, which sends images in clear, or give the port where it speaks TLS",
    "unknown_ca": "Give its CA by ca_path",
    "other_name": "Use the name that it was issued for as endpoint. With names of buckets in the host, it must be for "
    "those, too: otherwise set force_path_style to true",
    "no_such_name": "Correct endpoint, or give the name an address. With names of buckets in the host, these need "
    "addresses, too: otherwise set force_path_style to true",
    "expired": "Renew it on the storage, or set this host's clock",
    "not_yet_valid": "Set the clocks of this host and of the storage",
    "client_certificate": "Client certificates are not supported: let the storage ask for none",
    "proxy": "Correct HTTP_PROXY or HTTPS_PROXY, or add the storage to NO_PROXY",
}
_MOST_SHOWN = 200
_WORD = re.compile(r"[A-Za-z0-9._-]{1,80}\Z")


class S3Error(RegistryError):
    """S3 did not do what was asked. code is that of S3, or empty; status is that of HTTP, or 0 where no answer came."""

    def __init__(self, message, cure="", *, status=0, code="", mistake=""):
        super().__init__(message, cure, mistake)
        self.status = status
        self.code = code


class ErrorWording:
    """Makes the errors of one bucket at one endpoint."""

    def __init__(self, endpoint, bucket):
        self._endpoint = endpoint
        self._bucket = bucket

    def refused(self, response, operation):
        """What an answer says that refuses an operation."""
        code, message = told(response.body)
        # An answer to HEAD has no body, and so no code. AWS names the region of the bucket in a header.
        region = response.headers.get("x-amz-bucket-region") or ""
        status = response.status
        answer = f"{status} {code}".strip() + (f" ({message})" if message else "")
        cure = _CURES.get(code) or _CURES_OF_STATUS.get(status) or ""
        if cure == _REGION and _WORD.match(region):
            cure = f"Set region to {region}, and endpoint to that of the region"
        elif not code and b"<html" in (response.body or b"")[:1000].lower():
            answer, cure = f"{status} with a page of HTML", cure or _NOT_S3
        elif not code:
            cure = cure or _NOT_S3
        return S3Error(self._named(operation, f"answers {answer}"), cure, status=status, code=code)

    def odd(self, operation, what, cure=_NOT_S3, *, status=200, code=""):
        """An answer that is no error, and not what S3 answers either."""
        return S3Error(self._named(operation, what), cure, status=status, code=code)

    def no_answer(self, error, operation):
        """What the transport says, with the cures for a storage in place of those for a registry."""
        cure = _CURES_OF_THE_WAY.get(error.mistake, error.cure)
        if "Check that it is a registry" in cure:
            cure = _NOT_S3
        message = f"{error.message}, when asked to {operation} (bucket {self._bucket} at {self._endpoint})"
        return S3Error(message, cure, mistake=error.mistake)

    def _named(self, operation, what):
        return f"The storage {self._endpoint} {what} when asked to {operation} (bucket {self._bucket})"


def told(body):
    """(code, message) of an error document, empty where it is none. Both are text for a line."""
    try:
        root = parse(body) if body else None
    except XmlError:
        root = None
    if root is None or root.name != "Error":
        return "", ""
    code = root.get("Code").strip()
    return code if _WORD.match(code) else "", shown(root.get("Message"))


def shown(text):
    """A text of a server, as a part of a line."""
    line = " ".join("".join(one if one.isprintable() else " " for one in text).split())
    return line if len(line) <= _MOST_SHOWN else line[:_MOST_SHOWN] + "…"

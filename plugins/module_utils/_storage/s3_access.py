# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One bucket and the way to it, as options describe them. Private to this collection."""

from __future__ import annotations

import re
import urllib.parse

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError
from ansible_collections.wharf.registry.plugins.module_utils._distribution.http_connection import host_header
from ansible_collections.wharf.registry.plugins.module_utils._distribution.tls import TLSConfig
from ansible_collections.wharf.registry.plugins.module_utils._distribution.transport import HttpClient, check_timeout
from ansible_collections.wharf.registry.plugins.module_utils._storage.s3_client import S3Client
from ansible_collections.wharf.registry.plugins.module_utils._storage.s3_signature import Signer

# The options that describe it, for an argument spec.
ACCESS_OPTIONS = {
    "endpoint": {"type": "str", "required": True},
    "bucket": {"type": "str", "required": True},
    "region": {"type": "str", "default": "us-east-1"},
    # The name of a user rather than a secret.
    "access_key": {"type": "str", "required": True, "no_log": False},
    "secret_key": {"type": "str", "required": True, "no_log": True},
    "force_path_style": {"type": "bool", "default": True},
    "ca_path": {"type": "path"},
    "validate_certs": {"type": "bool", "default": True},
    "timeout": {"type": "int", "default": 30},
}
# Buckets that are older than the rules of today have upper case and underscores.
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]\Z")
_WORD = re.compile(r"[!-~]+\Z")
_REGION = re.compile(r"[A-Za-z0-9-]+\Z")


class S3Access:
    """Makes clients of one bucket. params maps the names of ACCESS_OPTIONS to their values. Raises InputError."""

    def __init__(self, params):
        check_timeout(params["timeout"])
        self.scheme, netloc = _endpoint(params["endpoint"])
        self.bucket = params["bucket"]
        if not _BUCKET.match(self.bucket) or ".." in self.bucket:
            raise InputError(f"bucket is {self.bucket!r}", "Give the name of a bucket, without a path")
        if not _REGION.match(params["region"]):
            raise InputError(f"region is {params['region']!r}", "Give the region of the bucket, such as us-east-1")
        for name in ("access_key", "secret_key"):
            if not _WORD.match(params[name]):
                raise InputError(
                    f"{name} is empty, or has a space, a line break or a letter that is not ASCII",
                    "Give it as the storage gave it, without a line break at its end",
                )
        self.endpoint = f"{self.scheme}://{netloc}"
        host = netloc if params["force_path_style"] else f"{self.bucket.lower()}.{netloc}"
        # The address of the bucket, to which the names of objects are added.
        self.url = f"{self.scheme}://{host}" + (f"/{self.bucket}" if params["force_path_style"] else "")
        self._timeout = params["timeout"]
        self._tls = TLSConfig(netloc, params["ca_path"], validate_certs=params["validate_certs"])
        # A Signer keeps the secret. Each client has one of its own, as it remembers the key of the day.
        self._signer = lambda: Signer(params["access_key"], params["secret_key"], params["region"])

    def client(self, attempts=4):
        """An S3Client with a connection of its own. Each thread needs one."""
        http = HttpClient(self._tls, self._timeout, attempts, follow=False)
        return S3Client(self, http, self._signer())


def _endpoint(text):
    """(scheme, host and port) of an endpoint, as a request names them."""
    try:
        parts = urllib.parse.urlsplit(text.strip())
        fits = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and not parts.username
        netloc = host_header(parts.scheme, parts.hostname, parts.port) if fits else ""
    except ValueError:
        fits = False
    if not fits or parts.path not in ("", "/") or parts.query or parts.fragment:
        # What stands before an @ may be a secret.
        raise InputError(
            "endpoint is no address of a storage",
            "Give http://host:port or https://host:port, without path and user",
        )
    return parts.scheme, netloc

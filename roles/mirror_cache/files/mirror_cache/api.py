# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of the distribution API that reads, on a socket that only the proxy reaches.

The first part of a path after /v2/ is the upstream. What is held as a file is sent by nginx, which X-Accel-Redirect
tells where it lies. Passwords and rules are the proxy's to check.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import re
import socket
import socketserver
import sys
import traceback
import urllib.parse

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._common.reference import fits_digest
from ansible_collections.wharf.registry.plugins.module_utils._distribution.client_errors import DeniedError
from ansible_collections.wharf.registry.plugins.module_utils._transfer.blob_mover import MissingError
from cache import AbsentError
from upstream import AwayError

_PATH = re.compile(r"/v2/([^/]+)/(.+)/(?:(manifests|blobs)/([^/]+)|(tags)/list)\Z")
_RANGE = re.compile(r"bytes=([0-9]{1,18})-\Z")
# Seconds: nginx waits for a client that takes nothing for less time.
_SOCKET_TIMEOUT = 300
_ATTEMPTS = 3
_CODES = {403: "DENIED", 429: "TOOMANYREQUESTS"}
_UNKNOWN = {"manifests": "MANIFEST_UNKNOWN", "blobs": "BLOB_UNKNOWN", "tags": "NAME_UNKNOWN"}


class Handler(http.server.BaseHTTPRequestHandler):
    """One connection of the proxy."""

    protocol_version = "HTTP/1.1"
    server_version = "wharf"
    sys_version = ""
    timeout = _SOCKET_TIMEOUT
    # Headers and small bodies in one packet.
    wbufsize = -1

    def address_string(self):
        return "proxy"

    def log_request(self, code="-", size="-"):
        """The proxy logs each request."""

    def do_HEAD(self):
        self._answer()

    def do_GET(self):
        self._answer()

    def _answer(self):
        path = urllib.parse.urlsplit(self.path)
        found = _PATH.match(path.path)
        self._begun = False
        if found is None:
            self._refuse(404, "UNSUPPORTED", "A cache serves manifests, blobs and lists of tags.")
            return
        upstream, repository, kind, reference, tags = found.groups()
        try:
            if tags:
                self._send_tags(upstream, repository, path.query)
            elif kind == "manifests":
                self._send_manifest(self.server.cache.manifest(upstream, repository, reference))
            else:
                self._send_blob(upstream, repository, reference)
        except RegistryError as error:
            if not self._begun:
                self._explain(error, kind or tags)
        except (ConnectionError, socket.timeout):
            self.close_connection = True
            raise
        except Exception:  # noqa: BLE001 - a client is to have an answer
            traceback.print_exc()
            self.close_connection = True
            if not self._begun:
                self._refuse(503, "UNAVAILABLE", "The cache has failed: see its journal.", 5)

    def _explain(self, error, kind):
        if isinstance(error, (AbsentError, MissingError)):
            self._refuse(404, _UNKNOWN[kind], str(error))
        elif isinstance(error, DeniedError):
            self._refuse(403, "DENIED", str(error))
        else:
            status = error.status if isinstance(error, AwayError) else 503
            seconds = error.seconds if isinstance(error, AwayError) else 5
            self._refuse(status, _CODES.get(status, "UNAVAILABLE"), str(error), seconds)

    # --- answers ------------------------------------------------------------------------------------------------------

    def _begin(self, status, headers):
        self._begun = True
        self.send_response_only(status)
        for name, value in {"Docker-Distribution-Api-Version": "registry/2.0", **headers}.items():
            self.send_header(name, str(value))
        self.end_headers()

    def _send(self, status, content, media_type, headers=None):
        self._begin(status, {"Content-Type": media_type, "Content-Length": len(content), **(headers or {})})
        if self.command != "HEAD":
            self.wfile.write(content)

    def _refuse(self, status, code, message, seconds=None):
        document = {"errors": [{"code": code, "message": message, "detail": None}]}
        headers = {} if seconds is None else {"Retry-After": seconds}
        self._send(status, json.dumps(document).encode() + b"\n", "application/json", headers)

    def _send_manifest(self, found):
        headers = {"Docker-Content-Digest": found.digest, "Etag": f'"{found.digest}"'}
        if found.stale:
            headers["Warning"] = '110 - "Response is Stale"'
        self._send(200, found.content, found.media_type, headers)

    def _send_tags(self, upstream, repository, query):
        tags = self.server.cache.tags(upstream, repository)
        asked = dict(urllib.parse.parse_qsl(query))
        headers = {}
        if asked.get("last"):
            tags = [tag for tag in tags if tag > asked["last"]]
        most = int(asked["n"]) if asked.get("n", "").isdecimal() else 0
        if 0 < most < len(tags):
            tags = tags[:most]
            link = urllib.parse.urlencode({"last": tags[-1], "n": most})
            headers["Link"] = f'</v2/{upstream}/{repository}/tags/list?{link}>; rel="next"'
        content = json.dumps({"name": f"{upstream}/{repository}", "tags": tags}).encode() + b"\n"
        self._send(200, content, "application/json", headers)

    def _send_head(self, digest, size):
        self._begin(200, {**_of_blob(digest), **({} if size is None else {"Content-Length": size})})

    def _send_blob(self, upstream, repository, digest):
        if not fits_digest(digest):
            self._refuse(404, "DIGEST_INVALID", "This is no digest of a blob.")
            return
        if self.command == "HEAD":
            self._send_head(digest, self.server.cache.blob_size(upstream, repository, digest))
            return
        for _attempt in range(_ATTEMPTS):
            found = self.server.cache.blob(upstream, repository, digest)
            if isinstance(found, tuple):
                # nginx knows the length, and parts of it.
                place = urllib.parse.quote(found[1])
                self._begin(
                    200, {**_of_blob(digest), "Content-Length": 0, "X-Accel-Redirect": self.server.files + place}
                )
                return
            # It may be removed before it is followed.
            with contextlib.suppress(FileNotFoundError):
                file = found.open()
                if file is None:
                    self._pass(found, digest)
                else:
                    with file:
                        self._follow(found, file, digest)
                return
        self._refuse(503, "UNAVAILABLE", "The cache is too small for what is pulled: raise mirror_cache_size.", 5)

    # --- blobs that come ----------------------------------------------------------------------------------------------

    def _begin_blob(self, digest, size, offset=0):
        headers = _of_blob(digest)
        headers["Content-Length"] = size - offset
        if offset:
            headers["Content-Range"] = f"bytes {offset}-{size - 1}/{size}"
        self._begin(206 if offset else 200, headers)
        self.wfile.flush()

    def _follow(self, fetch, file, digest):
        size = fetch.size
        asked = _RANGE.match(self.headers.get("Range") or "")
        offset = int(asked[1]) if asked and int(asked[1]) < size else 0
        # An error of the upstream that comes early is told as one.
        there, ended = fetch.wait(offset)
        self._begin_blob(digest, size, offset)
        try:
            while there or not ended:
                self.connection.sendfile(file, offset, there)
                offset += there
                there, ended = fetch.wait(offset)
        except RegistryError:
            # It has begun: an end before its end is the only sign.
            self.close_connection = True
        self.close_connection = self.close_connection or offset < size

    def _pass(self, fetch, digest):
        with fetch.passing() as (size, pieces):
            if size is None:
                # A part that says that it is the last one tells that it is whole.
                self._begin(200, {**_of_blob(digest), "Transfer-Encoding": "chunked"})
            else:
                self._begin_blob(digest, size)
            try:
                for piece in pieces:
                    self.wfile.write(piece if size is not None else b"%x\r\n%b\r\n" % (len(piece), piece))
                if size is None:
                    self.wfile.write(b"0\r\n\r\n")
            except RegistryError:
                self.close_connection = True
                raise


def _of_blob(digest):
    return {
        "Content-Type": "application/octet-stream",
        "Docker-Content-Digest": digest,
        "Etag": f'"{digest}"',
    }


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Listens on a socket at a path. files is where nginx has the files of the cache."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 1024

    def __init__(self, path, cache, files):
        self.cache = cache
        self.files = files
        # The name is there once it listens.
        new = f"{path}.new"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(new)
        super().__init__(new, Handler)
        os.chmod(new, 0o660)
        os.replace(new, path)

    def handle_error(self, request, client_address):
        """A client that goes, or takes nothing for too long, is no error of the server."""
        if not isinstance(sys.exc_info()[1], (ConnectionError, socket.timeout)):
            super().handle_error(request, client_address)

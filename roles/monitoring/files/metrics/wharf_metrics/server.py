# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Serves the metrics over HTTP on a Unix socket. Each client has a thread of its own, and there are only so many."""

from __future__ import annotations

import contextlib
import http.server
import os
import socketserver
import threading

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_MOST_CLIENTS = 16
_SECONDS = 10


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "wharf-registry-metrics"
    sys_version = ""
    # Of each read and write.
    timeout = _SECONDS

    def do_GET(self):
        if self.path.partition("?")[0] != "/metrics":
            self._answer(404, b"The metrics are at /metrics\n", "text/plain; charset=utf-8")
            return
        self._answer(200, self.server.text(), CONTENT_TYPE)

    def do_HEAD(self):
        self.do_GET()

    def _answer(self, status, content, kind):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_arguments):
        """The proxy has a log of requests."""

    # A client of a Unix socket has no address.
    def address_string(self):
        return "proxy"


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Listens at a path, which gets its name once it listens. text() returns the metrics as bytes."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, path, text):
        self.text = text
        self._path = path
        self._places = threading.BoundedSemaphore(_MOST_CLIENTS)
        temporary = f"{path}.new"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        before = os.umask(0o117)
        try:
            super().__init__(temporary, _Handler)
        finally:
            os.umask(before)
        # In the place of one that a killed program has left.
        os.rename(temporary, path)

    def start(self):
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.5}, daemon=True).start()

    def stop(self):
        self.shutdown()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)
        self.server_close()

    def process_request(self, request, client_address):
        if not self._places.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request, client_address):
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, _request, _client_address):
        """A client that went away is no error."""

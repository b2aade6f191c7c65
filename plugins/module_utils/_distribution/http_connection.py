# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An HTTP connection to a server, direct or by a proxy, with a time limit for answers. Private to this collection."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
import time
import urllib.parse

from ansible_collections.wharf.registry.plugins.module_utils._common.password import encoded_pair
from ansible_collections.wharf.registry.plugins.module_utils._distribution.http_message import (
    Answer,
    Upload,
    request_bytes,
)
from ansible_collections.wharf.registry.plugins.module_utils._distribution.http_proxy import proxy_for

# Bytes in a second, on average over the time limit, below which a download counts as hung.
_SLOWEST = 1 << 10


class _HTTPSConnection(http.client.HTTPConnection):
    """HTTPS in two steps, TCP and TLS. Asks proxies for IPv6 addresses in brackets, as Python does only since 3.12."""

    default_port = 443

    def __init__(self, host, port, timeout, trust, server):
        super().__init__(host, port, timeout=timeout)
        self._trust = trust
        self._server = server

    def connect(self):
        self.reach()
        self.secure()

    def reach(self):
        super().connect()

    def secure(self):
        self.sock = self._trust.context.wrap_socket(self.sock, server_hostname=self._server)

    def _tunnel(self):
        host = self._tunnel_host
        self._tunnel_host = f"[{host}]" if ":" in host else host
        try:
            super()._tunnel()
        finally:
            self._tunnel_host = host


class ServerConnection:
    """One connection to one server, direct or by the proxy of the environment."""

    def __init__(self, scheme, netloc, trust, timeout):
        host, port = split_netloc(netloc)
        self.used = False
        self._timeout = timeout
        self._prefix = ""
        self._host = host_header(scheme, host, port)
        self._proxy_headers = {}
        proxy = proxy_for(scheme, netloc)
        to_host, to_port = (host, port) if proxy is None else (proxy.hostname, proxy.port or 80)
        if scheme == "https":
            self._client = _HTTPSConnection(to_host, to_port or 443, timeout, trust, host)
            if proxy is not None:
                self._client.set_tunnel(host, port or 443, _proxy_authorization(proxy))
        else:
            # Always with a port: without one, the end of an IPv6 address is taken for it.
            self._client = http.client.HTTPConnection(to_host, to_port or 80, timeout=timeout)
            if proxy is not None:
                self._prefix = f"{scheme}://{netloc}"
                self._proxy_headers = _proxy_authorization(proxy)

    def open(self):
        if self._client.sock is None:
            self._client.connect()

    def close(self):
        self._client.close()

    @property
    def address(self):
        """Host and port that are connected to: the server's, or the proxy's."""
        return self._client.host, self._client.port

    def reach(self):
        """Connects, by the proxy where there is one, and does not speak TLS yet."""
        (self._client.reach if isinstance(self._client, _HTTPSConnection) else self._client.connect)()

    def secure(self):
        """Begins TLS on a connection that is there, as a request would by itself, and returns its version."""
        self._client.secure()
        return self._client.sock.version()

    def certificate(self):
        sock = self._client.sock
        return (isinstance(sock, ssl.SSLSocket) and sock.getpeercert(True)) or b""

    def exchange(self, method, target, headers, body, limit, *, stream=False):
        """The Answer, within the time limit as a whole.

        body is bytes, an Upload or None. With stream, the body of a success is still to be read by pieces(), and
        close() is for the caller where the answer closes. Raises OSError, http.client.HTTPException, TooLongError and
        ValueError, and what the pieces of an Upload raise.
        """
        deadline = time.monotonic() + self._timeout
        request = request_bytes(method, self._prefix + target, self._host, {**headers, **self._proxy_headers}, body)
        self.open()
        sock = self._client.sock
        sock.settimeout(self._timeout)
        sock.sendall(request)
        if isinstance(body, Upload):
            _send(sock, body.pieces)
            deadline = time.monotonic() + self._timeout
        wait = _Pace(sock, self._timeout).receive if stream else None

        def receive(size):
            # However steadily it drips: the answer as a whole has its time.
            left = deadline - time.monotonic()
            if left <= 0:
                raise socket.timeout("timed out")
            sock.settimeout(left)
            return sock.recv(size)

        answer = Answer(wait or receive, method, limit, stream)
        self.used = True
        if answer.body is not None and answer.closes:
            self.close()
        return answer


class _Pace:
    """Receives what may take hours as a whole, as long as it comes at some speed."""

    def __init__(self, sock, timeout):
        self._sock = sock
        self._timeout = timeout
        self._began = time.monotonic()
        self._received = 0

    def receive(self, size):
        self._sock.settimeout(self._timeout)
        piece = self._sock.recv(size)
        self._received += len(piece)
        now = time.monotonic()
        if now - self._began >= self._timeout:
            if piece and self._received < _SLOWEST * self._timeout:
                raise socket.timeout("too slow")
            self._began, self._received = now, 0
        return piece


def _send(sock, pieces):
    """Sends pieces, until the server takes no more: it may have answered already, and that is to be read."""
    with contextlib.suppress(BrokenPipeError, ConnectionResetError, ssl.SSLEOFError):
        for piece in pieces:
            sock.sendall(piece)


def resolved(host, port, timeout):
    """The addresses of a name. The resolver has no time limit of its own that could be set."""
    results = []

    def ask():
        try:
            results.append(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            results.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(timeout)
    if not results:
        raise socket.gaierror(socket.EAI_AGAIN, f"no answer within {timeout} seconds")
    if isinstance(results[0], Exception):
        raise results[0]
    return list(dict.fromkeys(found[4][0] for found in results[0]))


def split_netloc(netloc):
    parts = urllib.parse.urlsplit("//" + netloc)
    return parts.hostname, parts.port


def host_header(scheme, host, port):
    """The Host header, as Python's own client has it: without the port that the scheme has anyway."""
    try:
        name = host.encode("ascii").decode()
    except UnicodeEncodeError:
        name = host.encode("idna").decode()
    if ":" in name:
        name = f"[{name.partition('%')[0]}]"
    return name if port in (None, 443 if scheme == "https" else 80) else f"{name}:{port}"


def _proxy_authorization(proxy):
    if proxy.username is None:
        return {}
    pair = (urllib.parse.unquote(part) for part in (proxy.username, proxy.password or ""))
    return {"Proxy-Authorization": "Basic " + encoded_pair(*pair)}

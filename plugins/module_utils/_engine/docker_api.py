# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The API of a Docker Engine, over its socket. Private to this collection."""

from __future__ import annotations

import http.client
import json
import socket

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import RegistryError

SOCKET = "/var/run/docker.sock"
# An empty tar archive. An engine imports it as an image without content.
EMPTY_ARCHIVE = bytes(1024)
_CHUNK = 64 << 10
_CONTAINERD = ["driver-type", "io.containerd.snapshotter.v1"]


class EngineDownError(RegistryError):
    """No engine answers on the socket."""


class EngineError(RegistryError):
    """The engine refused a request, or the host cannot fulfil it. The message quotes the engine."""


class _SocketConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path, timeout):
        # The engine ignores the host name, but HTTP/1.1 requires one.
        super().__init__("docker", timeout=timeout)
        self._path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def has_containerd_store(info):
    """Whether an engine keeps images in the store of containerd, by the digests of their manifests.

    info is the body of its answer to GET /info.
    """
    return _CONTAINERD in (info.get("DriverStatus") or [])


class DockerApi:
    """The API of a Docker Engine. timeout: seconds without any data after which the engine counts as down."""

    def __init__(self, path=SOCKET, timeout=30):
        self.path = path
        self._timeout = timeout

    def request(self, method, path, body=None, headers=None):
        """(status, parsed body). Raises EngineDownError."""
        connection = _SocketConnection(self.path, self._timeout)
        try:
            connection.request(method, path, body=body, headers=headers or {})
            response = connection.getresponse()
            raw = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise self._down(error) from None
        finally:
            connection.close()
        return response.status, _parsed(raw)

    def stream(self, method, path, body=None, headers=None):
        """Yields the progress messages of the engine, as dictionaries. Raises EngineDownError or EngineError.

        The timeout applies to the wait between two messages, and not to the whole request.
        """
        connection = _SocketConnection(self.path, self._timeout)
        try:
            connection.request(method, path, body=body, headers=headers or {})
            response = connection.getresponse()
            if response.status >= 300:
                raise EngineError(_error_text(_parsed(response.read())))
            for line in _lines(response):
                message = _parsed(line)
                if isinstance(message, dict):
                    if message.get("error"):
                        raise EngineError(str(message["error"]))
                    yield message
        except (OSError, http.client.HTTPException) as error:
            raise self._down(error) from None
        finally:
            connection.close()

    def _down(self, error):
        user = "--user " if self.path.startswith("/run/user/") else ""
        cure = f'Check "journalctl {user}-u docker"'
        if isinstance(error, socket.timeout):
            return EngineDownError(
                f"the Docker Engine on {self.path} said nothing for {self._timeout} seconds",
                f"{cure}, or raise timeout",
            )
        if isinstance(error, http.client.HTTPException):
            return EngineDownError(
                f"the Docker Engine on {self.path} closed the connection in the middle of its answer", cure
            )
        if isinstance(error, PermissionError):
            cure = "Let this account use the engine, by become or the group docker"
        return EngineDownError(
            f"no Docker Engine answers on {self.path} ({getattr(error, 'strerror', None) or error})", cure
        )

    def info(self):
        """The body of GET /info. Raises EngineDownError or EngineError."""
        status, answer = self.request("GET", "/info")
        if status != 200 or not isinstance(answer, dict):
            raise EngineError(f"the Docker Engine on {self.path} answered {status} to /info: {_error_text(answer)}")
        return answer


def _lines(response):
    """Yields the lines of a response as they arrive.

    Iterating over the response would not detect that the connection was closed in the middle of a line.
    """
    rest = b""
    while True:
        part = response.read1(_CHUNK)
        if not part:
            break
        *lines, rest = (rest + part).split(b"\n")
        yield from lines
    yield rest


def _parsed(raw):
    """The parsed JSON of a body, or its text where it is not JSON."""
    try:
        return json.loads(raw) if raw.strip() else None
    except ValueError:
        return raw.decode("utf-8", "replace")


def _error_text(answer):
    return str(answer.get("message") if isinstance(answer, dict) else answer)[:500]


def repository_name(reference):
    """The name of a repository in requests to an engine."""
    return f"{reference.registry.name}/{reference.repository}"

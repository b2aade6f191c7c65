# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The API of a Docker Engine, over its socket. Private to this collection."""

from __future__ import annotations

import http.client
import json
import socket

from ansible_collections.wharf.registry.plugins.module_utils._errors import RegistryError

SOCKET = "/var/run/docker.sock"
_CHUNK = 64 << 10


class EngineDownError(RegistryError):
    """No engine answers on the socket."""


class EngineError(RegistryError):
    """The engine refused, in its own words."""


class _Connection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        # The engine looks at no host name, but HTTP/1.1 wants one.
        super().__init__("docker", timeout=timeout)
        self._path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Engine:
    """A Docker Engine. timeout: seconds without any sign of it after which it counts as down."""

    def __init__(self, path=SOCKET, timeout=30):
        self.path = path
        self._timeout = timeout

    def request(self, method, path, body=None, headers=None):
        """(status, what the JSON of the answer says). Raises EngineDownError."""
        connection = _Connection(self.path, self._timeout)
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
        """Yields what the engine tells of its progress, as dictionaries. Raises EngineDownError or EngineError.

        The time limit is for the wait between two of them, not for the whole.
        """
        connection = _Connection(self.path, self._timeout)
        try:
            connection.request(method, path, body=body, headers=headers or {})
            response = connection.getresponse()
            if response.status >= 300:
                raise EngineError(_said(_parsed(response.read())))
            for line in _lines(response):
                told = _parsed(line)
                if isinstance(told, dict):
                    if told.get("error"):
                        raise EngineError(str(told["error"]))
                    yield told
        except (OSError, http.client.HTTPException) as error:
            raise self._down(error) from None
        finally:
            connection.close()

    def _down(self, error):
        if isinstance(error, socket.timeout):
            return EngineDownError(
                f"the Docker Engine on {self.path} said nothing for {self._timeout} seconds",
                'Look at "journalctl -u docker", or raise timeout',
            )
        cure = 'Look at "journalctl -u docker"'
        if isinstance(error, http.client.HTTPException):
            return EngineDownError(f"the Docker Engine on {self.path} broke its answer off", cure)
        if isinstance(error, PermissionError):
            cure = "Let this account use the engine, by become or the group docker"
        return EngineDownError(
            f"no Docker Engine answers on {self.path} ({getattr(error, 'strerror', None) or error})", cure
        )

    def info(self):
        """What GET /info says. Raises EngineDownError or EngineError."""
        status, answer = self.request("GET", "/info")
        if status != 200 or not isinstance(answer, dict):
            raise EngineError(f"the Docker Engine on {self.path} answered {status} to /info: {_said(answer)}")
        return answer


def _lines(response):
    """Yields the lines of an answer as they come. Iterating it would take one that is cut short for whole."""
    rest = b""
    while True:
        part = response.read1(_CHUNK)
        if not part:
            break
        *lines, rest = (rest + part).split(b"\n")
        yield from lines
    yield rest


def _parsed(raw):
    """What the JSON of an answer says, or its text where it is none."""
    try:
        return json.loads(raw) if raw.strip() else None
    except ValueError:
        return raw.decode("utf-8", "replace")


def _said(answer):
    return str(answer.get("message") if isinstance(answer, dict) else answer)[:500]

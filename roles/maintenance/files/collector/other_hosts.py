# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The other hosts of a registry, which a collection asks and holds as it does this one.

Each has a program that listens at a socket, to which its proxy leads the hosts of this registry and nothing else. A
connection is one session of lines of JSON: a question, and its answer. What is held there is let go when the session
ends, or when it has been silent for long: so a collection that is killed, or cut off, holds nothing for good.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import signal
import socket
import ssl
import sys
import threading
import time

from holds import HoldError, LocalHost

# Of the proxy's own: the name by which hosts of a registry call each other, and the path of these sessions.
_HOST, _PATH = "wharf-peer", "/hold"
_PROTOCOL = "wharf-hold"
_QUESTIONS = frozenset(
    (
        *("looks", "forget_looks", "begin_record", "written_to", "written", "wait_for_quiet"),
        *("hold", "stands", "let_go"),
    )
)
# Seconds: how long the program waits for the next question, which is more than a request to the storage may take; how
# often a collection asks at least; and how long it waits for an answer.
_SILENCE, _HEARTBEAT, _PATIENCE = 45, 2, 10
# Seconds for which one question about quiet waits, so that its answer comes in time.
_QUIET = 2
_MOST_HEAD = 65536


class OtherHost:
    """What LocalHost is, for a host that is reached by its proxy. Raises HoldError where it does not answer."""

    def __init__(self, name, peer, settings):
        self.name = name
        self._address = (peer["address"], peer["port"])
        self._settings = settings
        self._stream = None
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._heart = None
        self.refused = 0

    def looks(self):
        return self._ask("looks")

    def forget_looks(self, seconds):
        self._ask("forget_looks", seconds)

    def begin_record(self):
        return self._ask("begin_record")

    def written_to(self, since):
        return self._ask("written_to", since)

    def written(self):
        return self._ask("written")

    def wait_for_quiet(self, seconds, strict=False):
        end = time.monotonic() + seconds
        while True:
            left = max(0, end - time.monotonic())
            if self._ask("wait_for_quiet", min(left, _QUIET), strict):
                return True
            if left <= _QUIET:
                return False

    def hold(self, seconds):
        self._ask("hold", seconds)
        self._over.clear()
        self._heart = threading.Thread(target=self._beat, daemon=True)
        self._heart.start()

    def stands(self):
        try:
            return self._ask("stands")
        except HoldError:
            return False

    def let_go(self):
        """Also where it answers no more: it lets go by itself then."""
        self._over.set()
        if self._heart is not None:
            self._heart.join()
            self._heart = None
            with contextlib.suppress(HoldError):
                self.refused = self._ask("let_go")

    def _beat(self):
        while not self._over.wait(_HEARTBEAT):
            if not self.stands():
                return

    def _ask(self, what, *arguments):
        with self._lock:
            begun = self._stream is not None
            try:
                try:
                    answer = self._exchange(what, arguments)
                except (OSError, ValueError):
                    # One that was silent for long is ended by the other host, as while a large storage was looked at.
                    # Not so while it is held: a session that has ended has let go.
                    if not begun or self._heart is not None:
                        raise
                    self._close()
                    answer = self._exchange(what, arguments)
            except (OSError, ValueError) as error:
                self._close()
                raise HoldError(
                    f"{self.name} does not answer ({error}), and what it writes meanwhile could be removed. Nothing is "
                    "removed without it: have it serve again, or take it out of the group registry and run site.yml"
                ) from None
        if "error" in answer:
            raise HoldError(f"{self.name}: {answer['error']}")
        return answer["value"]

    def _exchange(self, what, arguments):
        if self._stream is None:
            self._stream = self._connect()
        self._stream.write(json.dumps([what, *arguments]).encode() + b"\n")
        self._stream.flush()
        return json.loads(self._stream.readline())

    def _connect(self):
        context = ssl.create_default_context(cafile=self._settings.peer_ca)
        plain = socket.create_connection(self._address, timeout=_PATIENCE)
        try:
            connection = context.wrap_socket(plain, server_hostname=self._settings.hostname)
        except OSError:
            plain.close()
            raise
        stream = connection.makefile("rwb")
        # The file keeps the connection open.
        connection.close()
        stream.write(
            f"GET {_PATH} HTTP/1.1\r\nHost: {_HOST}\r\nX-Wharf-Peer: {_secret(self._settings)}\r\n"
            f"Connection: Upgrade\r\nUpgrade: {_PROTOCOL}\r\n\r\n".encode()
        )
        stream.flush()
        status = _read_head(stream).split(b"\r\n", 1)[0]
        if b" 101 " not in status:
            stream.close()
            raise OSError(f"its proxy says {status.decode(errors='replace')[:80] or 'nothing'}")
        return stream

    def _close(self):
        stream, self._stream = self._stream, None
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()


def serve(settings):
    """Answers one session at standard input, which is a connection, until it ends or is silent for long."""
    connection = socket.socket(fileno=sys.stdin.fileno())
    connection.settimeout(_SILENCE)
    stream = connection.makefile("rwb")
    _read_head(stream)
    stream.write(f"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: {_PROTOCOL}\r\n\r\n".encode())
    stream.flush()
    host = LocalHost(settings)
    try:
        while line := stream.readline():
            stream.write(json.dumps(_answer(host, line)).encode() + b"\n")
            stream.flush()
    except OSError as error:
        print(f"wharf-registry: the collection of another host was cut off: {error}", file=sys.stderr)
    finally:
        # Not by a signal in between.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        host.let_go()


def _answer(host, line):
    try:
        what, *arguments = json.loads(line)
        if what not in _QUESTIONS:
            return {"error": "it does not know what is asked: run site.yml, which brings all hosts to one version"}
        value = getattr(host, what)(*arguments)
    except (HoldError, OSError, ValueError, TypeError) as error:
        return {"error": str(error)}
    return {"value": host.refused if what == "let_go" else value}


def _read_head(stream):
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        line = stream.readline(_MOST_HEAD)
        if not line or len(head) > _MOST_HEAD:
            break
        head += line
    return head


def _secret(settings):
    """What the hosts of a registry prove themselves by; the proxies know it as well."""
    with open(settings.http_secret) as stream:
        return hashlib.sha256(f"peers {stream.read().strip()}".encode()).hexdigest()

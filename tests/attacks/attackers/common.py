"""What all attackers share: where to, from which addresses, for how long, how fast, and what was answered."""

from __future__ import annotations

import base64
import collections
import dataclasses
import itertools
import secrets
import socket
import ssl
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

PATIENCE = 5


@dataclasses.dataclass
class Plan:
    """The document that starts an attacker."""

    kind: str
    host: str
    port: int
    sources: list[str]
    seconds: float
    options: dict
    # What a trusted proxy would say of its clients, one a request in turn.
    forwarded: list[str] = dataclasses.field(default_factory=list)

    def __post_init__(self) -> None:
        self.end = time.monotonic() + self.seconds
        self.answers: collections.Counter[str] = collections.Counter()
        self.lock = threading.Lock()
        self.engaged: set[int] = set()
        self.pace = Pace(self.options.get("rate", 400))
        self._serial = itertools.count()

    def over(self) -> bool:
        return time.monotonic() > self.end or self._spent()

    def _spent(self) -> bool:
        count = self.options.get("count")
        return count is not None and self.answers["sent"] >= count

    def count(self, what: object, number: int = 1) -> None:
        with self.lock:
            self.answers[str(what)] += number

    def address(self, number: int) -> str:
        return self.sources[number % len(self.sources)]

    def client(self) -> str | None:
        """The address that the next request claims, if any."""
        return self.forwarded[next(self._serial) % len(self.forwarded)] if self.forwarded else None

    def connect(self, number: int, protocol: str | None, buffer: int | None = None) -> ssl.SSLSocket:
        """A TLS connection; its source depends on its number."""
        plain = self.connect_plain(number, buffer)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        if protocol:
            context.set_alpn_protocols([protocol])
        try:
            return context.wrap_socket(plain, server_hostname="localhost")
        except OSError:
            plain.close()
            raise

    def connect_plain(self, number: int, buffer: int | None = None) -> socket.socket:
        plain = socket.socket()
        plain.settimeout(PATIENCE)
        try:
            if buffer:
                plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
            plain.bind((self.address(number), 0))
            plain.connect((self.host, self.port))
        except OSError:
            plain.close()
            raise
        return plain


class Pace:
    """At most so many a second, for all threads together; a burst at the beginning where `burst` is set."""

    def __init__(self, rate: float) -> None:
        self.interval = 1 / rate
        self.due = time.monotonic()
        self.lock = threading.Lock()

    def wait(self, number: int = 1) -> None:
        with self.lock:
            now = time.monotonic()
            self.due = max(self.due, now - 0.25) + number * self.interval
            delay = self.due - now
        if delay > 0:
            time.sleep(min(delay, 1))


def basic(name: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


def credentials(spec: dict | None) -> Iterator[str | None]:
    """Values for the header Authorization, as the scheme says; `size` is how long they are."""
    spec = spec or {"scheme": "none"}
    scheme, size, names = spec["scheme"], spec.get("size", 12), spec.get("names")
    unique = secrets.token_hex(6)
    for serial in itertools.count():
        filler = f"{unique}{serial}".ljust(size, "x")
        if scheme == "fixed":
            yield spec["value"]
        elif scheme == "bearer":
            yield f"Bearer {filler}"
        elif scheme == "basic":
            yield basic(names[serial % len(names)] if names else f"u{unique}{serial}", filler)
        elif scheme == "malformed":
            # No colon, no base64, an empty name: in turn.
            yield (f"Basic {filler}", f"Basic !{filler}", basic("", filler))[serial % 3]
        else:
            yield None

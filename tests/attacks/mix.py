"""What legitimate clients do all day: log in for the first time, pull, push under a new tag, list tags."""

from __future__ import annotations

import collections
import http.client
import secrets
import socket
import ssl
import threading
import time
from typing import TYPE_CHECKING

from http_client import ACCEPT, OCI, Client, digest_of, manifest, with_digest
from measures import Measures

if TYPE_CHECKING:
    from collections.abc import Callable

    from target import Target

PATIENCE = 10
LAYER = secrets.token_bytes(64 * 1024)
# How long each operation pauses before it comes again, in seconds.
PAUSES = {"login": 0.6, "pull": 0.05, "push": 0.15, "tags": 0.05}


class FromConnection(http.client.HTTPSConnection):
    """To the container of the proxy itself, from an address of the caller's choice."""

    def __init__(self, target: Target, source: str | None, context: ssl.SSLContext | None = None) -> None:
        super().__init__("localhost", 443, timeout=PATIENCE, context=context or target.front.context)
        self.peer, self.source = (target.host, target.port), source

    def connect(self) -> None:
        source = (self.source, 0) if self.source else None
        plain = socket.create_connection(self.peer, timeout=self.timeout, source_address=source)
        self.sock = self._context.wrap_socket(plain, server_hostname="localhost")


class Mix:
    """The operations, each on a connection of its own, from one address."""

    def __init__(self, target: Target, source: str, forwarded: str | None = None) -> None:
        self.target, self.source = target, source
        self.headers = {"X_Forwarded_For": forwarded} if forwarded else {}

    def client(self, user: str) -> Client:
        return Client(FromConnection(self.target, self.source), self.target.front.basic(user))

    def ask(self, client: Client, expected: int, method: str, path: str, body: bytes | None = None, **headers: str):
        answer = client.ask(method, path, body, **headers, **self.headers)
        if answer.status != expected:
            raise AssertionError(f"{method} {path}: {answer.status} {answer.body[:120]!r}")
        return answer

    # ---- operations --------------------------------------------------------------------------------------------------

    def login(self) -> None:
        client = self.client(self.target.fresh())
        self.ask(client, 200, "GET", "/v2/")
        client.connection.close()

    def pull(self) -> None:
        client = self.client("puller")
        self.ask(client, 200, "GET", "/v2/apps/base/manifests/one", Accept=ACCEPT)
        answer = self.ask(client, 200, "GET", f"/v2/apps/base/blobs/{digest_of(LAYER)}")
        assert answer.body == LAYER, "another blob came"
        client.connection.close()

    def push(self) -> None:
        client = self.client("pusher")
        layer = secrets.token_bytes(1024)
        location = self.ask(client, 202, "POST", "/v2/apps/pushed/blobs/uploads/", b"").headers["Location"]
        self.ask(
            client, 201, "PUT", with_digest(location, digest_of(layer)), layer, Content_Type="application/octet-stream"
        )
        tag = f"t{secrets.token_hex(6)}"
        self.ask(client, 201, "PUT", f"/v2/apps/pushed/manifests/{tag}", manifest(layer), Content_Type=OCI)
        client.connection.close()

    def tags(self) -> None:
        client = self.client("puller")
        self.ask(client, 200, "GET", "/v2/apps/base/tags/list")
        client.connection.close()

    # ---- runs --------------------------------------------------------------------------------------------------------

    def once(self) -> list[str]:
        """Each operation once; what failed."""
        measures = Measures()
        for name in PAUSES:
            self._try(name, measures)
        return measures.failures

    def run(self, seconds: float) -> Measures:
        """All operations at once, again and again."""
        self.target.rest(int(seconds / PAUSES["login"]) + 1)
        measures, end = Measures(), time.monotonic() + seconds
        threads = [threading.Thread(target=self._loop, args=(name, measures, end)) for name in PAUSES]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return measures

    def _loop(self, name: str, measures: Measures, end: float) -> None:
        while time.monotonic() < end:
            self._try(name, measures)
            time.sleep(PAUSES[name])

    def _try(self, name: str, measures: Measures) -> None:
        operation: Callable[[], None] = getattr(self, name)
        began = time.monotonic()
        try:
            operation()
        except (AssertionError, http.client.HTTPException, OSError, ssl.SSLError) as error:
            measures.failures.append(f"{name}: {type(error).__name__}: {error} after {time.monotonic() - began:.1f} s")
        else:
            measures.times[name].append(time.monotonic() - began)


def summary(failures: list[str]) -> list[str]:
    """Each kind of failure once, with how often it came."""
    kinds = collections.Counter(failure.split(" after ")[0].split("?")[0] for failure in failures)
    return [f"{number} x {kind}" for kind, number in kinds.most_common(6)]

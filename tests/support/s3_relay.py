"""A way to an object storage that can be watched and broken: requests pass as they are, on a connection each."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import socket
import ssl
import threading
from typing import TYPE_CHECKING

from engine import bridge_address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Self

    from certificates import Pair

NAME = "s3.storage.test"


@dataclasses.dataclass(frozen=True)
class Seen:
    """One request that came, and what it had of headers."""

    method: str
    target: str
    headers: dict[str, str]

    @property
    def blob(self) -> str:
        """The hexadecimal digits of the blob whose content is asked for."""
        found = re.search(r"/blobs/sha256/../([0-9a-f]{64})/data(?:\?|$)", self.target)
        return found.group(1) if found and self.method == "GET" else ""

    @property
    def range(self) -> str:
        return self.headers.get("range", "")


@dataclasses.dataclass
class Fault:
    """What becomes of an answer: another one, more headers, or an end after so many bytes of its body."""

    answer: bytes = b""
    headers: bytes = b""
    cut: int | None = None
    # Called before the answer, and may wait.
    before: Callable[[], object] | None = None


class Relay:
    """Listens where containers reach it, by HTTPS where there is a certificate, and hands on to a port of this machine.

    It is the name server for its own name as well.
    """

    def __init__(self, port: int, pair: Pair | None = None) -> None:
        self.upstream = port
        self.address = bridge_address()
        self.requests: list[Seen] = []
        self.fault: Callable[[Seen], Fault | bytes | None] = lambda _seen: None
        self.listener = socket.create_server((self.address, 0), backlog=128)
        self.port = self.listener.getsockname()[1]
        self.names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.names.bind((self.address, 0))
        self.resolver = f"{self.address}:{self.names.getsockname()[1]}"
        self.context = None
        if pair:
            self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            self.context.load_cert_chain(pair.certificate, pair.key)

    @property
    def endpoint(self) -> str:
        return f"{'https' if self.context else 'http'}://{NAME}:{self.port}"

    def __enter__(self) -> Self:
        for serve in (self.accept, self.resolve):
            threading.Thread(target=serve, daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.names.close()

    def blobs(self, digest: str) -> list[Seen]:
        """Requests for the content of a blob."""
        return [seen for seen in self.requests if seen.blob == digest.partition(":")[2]]

    def broken(self, fault: Callable[[Seen], Fault | bytes | None]) -> contextlib.AbstractContextManager[None]:
        """While this lasts, `fault` says what becomes of a request."""

        @contextlib.contextmanager
        def lasting() -> Iterator[None]:
            self.fault = fault
            try:
                yield
            finally:
                self.fault = lambda _seen: None

        return lasting()

    # --- connections --------------------------------------------------------------------------------------------------

    def accept(self) -> None:
        while True:
            try:
                client, _address = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError), contextlib.ExitStack() as stack:
            stack.enter_context(client)
            if self.context:
                client = stack.enter_context(self.context.wrap_socket(client, server_side=True))
            # Also for the thread that reads from it.
            stack.callback(end, client)
            head, rest = read_head(client)
            if not head:
                return
            first, *lines = head.decode("latin-1").split("\r\n")
            method, target, _version = first.split(" ", 2)
            parted = [line.partition(":") for line in lines]
            headers = {name.strip().lower(): value.strip() for name, _colon, value in parted}
            seen = Seen(method, target, headers)
            self.requests.append(seen)
            self.answer(seen, client, head, rest)

    def answer(self, seen: Seen, client: socket.socket, head: bytes, rest: bytes) -> None:
        fault = self.fault(seen) or Fault()
        if isinstance(fault, bytes):
            fault = Fault(answer=fault)
        if fault.before:
            fault.before()
        if fault.answer:
            client.sendall(fault.answer)
            return
        kept = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"connection:")]
        with socket.create_connection(("127.0.0.1", self.upstream)) as server:
            server.sendall(b"\r\n".join([*kept, b"Connection: close"]) + b"\r\n\r\n" + rest)
            threading.Thread(target=pass_on, args=(client, server), daemon=True).start()
            said, begun = read_head(server)
            # To a client that waits for it before it sends.
            while said.startswith(b"HTTP/1.1 100"):
                client.sendall(said + b"\r\n\r\n")
                said, begun = read_head(server, begun)
            client.sendall(said + b"\r\n" + fault.headers + b"\r\n")
            left = fault.cut
            piece = begun
            while True:
                client.sendall(piece if left is None else piece[:left])
                if left is not None:
                    left -= len(piece)
                    if left <= 0:
                        return
                if not (piece := server.recv(1 << 18)):
                    return

    # --- names --------------------------------------------------------------------------------------------------------

    def resolve(self) -> None:
        """Answer each question for an IPv4 address by that of the relay."""
        wanted = b"".join(bytes([len(part)]) + part.encode() for part in NAME.split("."))
        while True:
            try:
                question, client = self.names.recvfrom(512)
            except OSError:
                return
            end = question.index(b"\0", 12) + 5
            known = question[12 : end - 5] == wanted and question[end - 4 : end - 2] == b"\0\1"
            record = b"\xc0\x0c\0\1\0\1\0\0\0\x05\0\4" + socket.inet_aton(self.address) if known else b""
            counts = b"\0\1" + (b"\0\1" if known else b"\0\0") + b"\0\0\0\0"
            self.names.sendto(question[:2] + b"\x81\x80" + counts + question[12:end] + record, client)


def read_head(source: socket.socket, begun: bytes = b"") -> tuple[bytes, bytes]:
    """The lines before the body, without the empty one, and what has come of the body."""
    while b"\r\n\r\n" not in begun:
        piece = source.recv(1 << 16)
        if not piece:
            return b"", begun
        begun += piece
    head, _empty, rest = begun.partition(b"\r\n\r\n")
    return head, rest


def end(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def pass_on(one: socket.socket, other: socket.socket) -> None:
    with contextlib.suppress(OSError, ValueError):
        while piece := one.recv(1 << 18):
            other.sendall(piece)

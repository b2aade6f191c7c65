"""A server that misbehaves as a test needs it: no real one can be made to cut answers short or send them for ever."""

from __future__ import annotations

import contextlib
import datetime as dt
import ipaddress
import socket
import ssl
import threading
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Callable
    from typing import Self

    # Is given the request, and sends what it likes on the connection. True keeps the connection for another request.
    Behaviour = Callable[["Request", socket.socket], object]


class Request:
    """What came: method, target, headers in lower case, body."""

    def __init__(self, head: bytes, body: bytes) -> None:
        first, *lines = head.decode("latin-1").split("\r\n")
        self.method, self.target, _version = first.split(" ", 2)
        self.headers = {name.lower(): value.strip() for name, _colon, value in (line.partition(":") for line in lines)}
        self.body = body


class Misbehaving:
    """Answers each target by its behaviour, in order where several are given, the last one for ever."""

    def __init__(self, certificate: pathlib.Path | None = None, host: str = "127.0.0.1") -> None:
        self.requests: list[Request] = []
        self.connections = 0
        self._behaviours: dict[str, list[Behaviour]] = {}
        # What answers all other targets.
        self.otherwise: Behaviour = reply(404)
        if host.startswith("/"):
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.bind(host)
            self._socket.listen()
        else:
            self._socket = socket.create_server((host, 0))
        self._context = None
        if certificate is not None:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(certificate)
        # Of a Unix socket, its path.
        self.netloc = host if host.startswith("/") else f"{host}:{self._socket.getsockname()[1]}"
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        # Closing alone does not wake a thread that waits in accept.
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def answer(self, target: str, *behaviours: Behaviour) -> None:
        self._behaviours[target] = list(behaviours)

    def seen(self, target: str) -> list[Request]:
        return [request for request in self.requests if request.target.split("?")[0] == target]

    def _accept(self) -> None:
        while True:
            try:
                connection, _address = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        self._open.add(connection)
        with contextlib.suppress(OSError, ValueError), contextlib.ExitStack() as stack:
            stack.callback(self._open.discard, connection)
            stack.enter_context(connection)
            if self._context is not None:
                connection = stack.enter_context(self._context.wrap_socket(connection, server_side=True))
            file = stack.enter_context(connection.makefile("rb"))
            if file.peek(1)[:1] == b"\x16":
                # The beginning of TLS, which servers of HTTP answer like this.
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
                return
            while request := self._read(file):
                self.requests.append(request)
                behaviours = self._behaviours.get(request.target) or self._behaviours.get(request.target.split("?")[0])
                if not behaviours:
                    behaviour = self.otherwise
                else:
                    behaviour = behaviours.pop(0) if len(behaviours) > 1 else behaviours[0]
                if not behaviour(request, connection):
                    return

    @staticmethod
    def _read(file) -> Request | None:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = file.readline(65536)
            if not line:
                return None
            head += line
        request = Request(head[:-4], b"")
        request.body = file.read(int(request.headers.get("content-length", 0)))
        return request


def reply(status: int, body: bytes | str = b"", keep: bool = True, **headers: str) -> Behaviour:
    """A well-formed answer; headers by their name with underscores."""
    body = body.encode() if isinstance(body, str) else body

    def behave(request: Request, connection: socket.socket) -> bool:
        lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        content = b"" if request.method == "HEAD" else body
        connection.sendall("\r\n".join([*lines, "", ""]).encode("latin-1") + content)
        return keep

    return behave


def raw(*parts: bytes, pause: float = 0) -> Behaviour:
    """These bytes, with a pause before each but the first, and the end of the connection."""

    def behave(request: Request, connection: socket.socket) -> bool:
        event = threading.Event()
        for number, part in enumerate(parts):
            if number:
                event.wait(pause)
            connection.sendall(part)
        return False

    return behave


def endless(head: bytes, part: bytes, pause: float = 0) -> Behaviour:
    """The head, and then the part again and again until the client hangs up."""

    def behave(request: Request, connection: socket.socket) -> bool:
        event = threading.Event()
        connection.sendall(head)
        while True:
            connection.sendall(part)
            if pause:
                event.wait(pause)

    return behave


def make_certificate(path: pathlib.Path, *, days: int = 2, begins: int = -1, names: tuple[str, ...] = ("127.0.0.1",)):
    """A certificate of its own CA with its key in one file; `begins` and `days` in days from now."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "misbehaving")])
    now = dt.datetime.now(dt.UTC)
    alternatives = [
        x509.IPAddress(ipaddress.ip_address(name)) if name[0].isdigit() else x509.DNSName(name) for name in names
    ]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + dt.timedelta(days=begins))
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + private)
    return path

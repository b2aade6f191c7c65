"""A client of the registry's HTTP API, by TLS or by a socket, which pushes and looks without a module's code."""

from __future__ import annotations

import concurrent.futures
import hashlib
import http.client
import json
import socket
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import ssl
    from pathlib import Path


DOCKER = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
OCI = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
CONFIGS = {
    DOCKER: "application/vnd.docker.container.image.v1+json",
    OCI: "application/vnd.oci.image.config.v1+json",
}
LAYERS = {
    DOCKER: "application/vnd.docker.image.rootfs.diff.tar.gzip",
    OCI: "application/vnd.oci.image.layer.v1.tar+gzip",
}
MANIFESTS = (DOCKER, DOCKER_LIST, OCI, OCI_INDEX)
ACCEPT = ", ".join(MANIFESTS)


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


class Answer(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> dict:
        return json.loads(self.body)

    @property
    def code(self) -> str | None:
        """The code of the error, in the words of the protocol."""
        try:
            return self.json["errors"][0]["code"]
        except (ValueError, LookupError, TypeError):
            return None

    @property
    def codes(self) -> list[str]:
        """The codes of all errors."""
        return [error["code"] for error in self.json["errors"]]


def connection_to(
    address: str, context: ssl.SSLContext | None = None, timeout: float = 30
) -> http.client.HTTPConnection:
    """A connection to host:port, by TLS where there is a context for it."""
    host, port = address.split(":")
    if context is None:
        return http.client.HTTPConnection(host, int(port), timeout=timeout)
    return http.client.HTTPSConnection(host, int(port), timeout=timeout, context=context)


class SocketConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("registry", timeout=30)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self.path))


class Client:
    """One kept connection, and the user that speaks on it; `authorization` is the header as it is sent, if any."""

    def __init__(self, connection: http.client.HTTPConnection, authorization: str | None = None) -> None:
        self.connection = connection
        self.authorization = authorization

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.authorization is not None:
            named.setdefault("Authorization", self.authorization)
        kept = self.connection.sock is not None
        try:
            return self._ask(method, path, body, named)
        except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
            # The next request gets a connection of its own.
            self.connection.close()
            # nginx ends one, unannounced, when it has answered before all of the body had come.
            if not kept or not isinstance(body, (bytes, type(None))):
                raise
        return self._ask(method, path, body, named)

    def _ask(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> Answer:
        try:
            self.connection.request(method, path, body=body, headers=headers)
            answer = self.connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        except (http.client.HTTPException, OSError):
            self.connection.close()
            raise

    def begin(self, repository: str) -> str:
        """Begin an upload; its address, with the registry's state."""
        answer = self.ask("POST", f"/v2/{repository}/blobs/uploads/", b"")
        assert answer.status == 202, (repository, answer)
        return answer.headers["Location"]

    def put_blob(self, repository: str, content: bytes) -> str:
        """Upload a blob; its digest."""
        digest = digest_of(content)
        location = self.begin(repository)
        answer = self.ask("PUT", with_digest(location, digest), content, Content_Type="application/octet-stream")
        assert answer.status == 201, (repository, answer)
        return digest

    def put_image(self, repository: str, tag: str, layer: bytes) -> tuple[str, str]:
        """Push an image of one layer; the digests of its manifest and of the layer."""
        blob = self.put_blob(repository, layer)
        self.put_blob(repository, b"{}")
        content = manifest(layer)
        answer = self.ask("PUT", f"/v2/{repository}/manifests/{tag}", content, Content_Type=OCI)
        assert answer.status == 201, (repository, answer)
        return digest_of(content), blob

    def digest(self, repository: str, reference: str) -> str | None:
        """What a tag points to, or None."""
        answer = self.ask("HEAD", f"/v2/{repository}/manifests/{reference}", Accept=ACCEPT)
        return answer.headers["Docker-Content-Digest"] if answer.status == 200 else None

    def holds(self, repository: str, digest: str) -> bool:
        """Whether the blob can be read from the repository."""
        return self.ask("HEAD", f"/v2/{repository}/blobs/{digest}").status == 200


def with_digest(location: str, digest: str) -> str:
    return f"{location}{'&' if '?' in location else '?'}digest={digest}"


def manifest(layer: bytes, **more: object) -> bytes:
    """The manifest of an image of an empty configuration and one layer."""
    return json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": OCI,
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest_of(b"{}"), "size": 2},
            "layers": [
                {
                    "mediaType": "application/vnd.oci.image.layer.v1.tar",
                    "digest": digest_of(layer),
                    "size": len(layer),
                }
            ],
            **more,
        }
    ).encode()


def at_once(tasks: list) -> list:
    """What each of the tasks returns, all of which begin together."""
    with concurrent.futures.ThreadPoolExecutor(len(tasks)) as pool:
        return [future.result() for future in [pool.submit(task) for task in tasks]]

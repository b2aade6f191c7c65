# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the registry and the proxy answer, compared with the disk."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
from pathlib import Path
from typing import Callable, Iterator

from . import storage
from .common import BackupError, Config

KINDS = (
    "docker.distribution.manifest.v2",
    "docker.distribution.manifest.list.v2",
    "oci.image.manifest.v1",
    "oci.image.index.v1",
)
ACCEPT = ", ".join(f"application/vnd.{kind}+json" for kind in KINDS)


class _SocketConnection(http.client.HTTPConnection):
    """HTTP over a connection that the caller makes."""

    def __init__(self, host: str, connect: Callable[[], socket.socket]) -> None:
        super().__init__(host, timeout=60)
        self._connect = connect

    def connect(self) -> None:
        self.sock = self._connect()


def _unix(path: Path) -> Callable[[], socket.socket]:
    def connect() -> socket.socket:
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        made.settimeout(60)
        made.connect(str(path))
        return made

    return connect


def different(config: Config, expected: list[storage.Repository]) -> Iterator[dict[str, str]]:
    """The tags that a replica does not answer with the digest that the disk has."""
    sockets = sorted(config.sockets.glob("registry-*.sock"))
    if not sockets:
        raise BackupError(f"No replica listens in {config.sockets}", "Check docker ps")
    client = _SocketConnection("registry", _unix(sockets[0]))
    with contextlib.closing(client):
        for repository in expected:
            for tag, digest in repository.tags.items():
                try:
                    client.request("HEAD", f"/v2/{repository.name}/manifests/{tag}", headers={"Accept": ACCEPT})
                    answer = client.getresponse()
                    answer.read()
                except (OSError, http.client.HTTPException) as error:
                    raise BackupError(f"{sockets[0]} does not answer: {error}", "Check docker ps") from None
                said = answer.headers.get("Docker-Content-Digest", "")
                if answer.status != 200 or said != digest:
                    what = "another digest" if answer.status == 200 else f"answered {answer.status}"
                    yield {"image": f"{repository.name}:{tag}", "problem": what, "digest": said or digest}


def proxy_status(config: Config) -> int:
    """What the proxy says to a client without a password, over TLS with the CA that was restored."""
    address = config.addresses[0] if config.addresses else "127.0.0.1"
    ca = config.ca if Path(config.ca).exists() else None

    def connect() -> socket.socket:
        plain = socket.create_connection((address, config.port), timeout=30)
        return ssl.create_default_context(cafile=ca).wrap_socket(plain, server_hostname=config.hostname)

    client = _SocketConnection(config.hostname, connect)
    try:
        with contextlib.closing(client):
            client.request("GET", "/v2/")
            status = client.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        raise BackupError(
            f"The proxy does not answer on {address}:{config.port} as {config.hostname}: {error}",
            f"Check docker logs {config.instance.proxy}",
        ) from None
    # To know no user is right. 403 comes where this address may not ask.
    if status not in (200, 401, 403):
        raise BackupError(f"The proxy answered {status}", f"Check docker logs {config.instance.proxy}")
    return status

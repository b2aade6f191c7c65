"""Proxies of several hosts before one storage, each of which hands writes to the one that a repository belongs to."""

from __future__ import annotations

import contextlib
import secrets
import shutil
from typing import TYPE_CHECKING

from engine import bridge_address
from front import Front

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PEER_SECRET = secrets.token_hex(32)
SECRET_FILE = """map "" $wharf_peer_secret {{ default {0}; }}
map $http_x_wharf_peer $wharf_is_peer {{ default 0; {0} 1; }}
"""


class SharedFront(Front):
    """The proxy of one of several hosts. The registries are those of the first one."""

    def __init__(self, directory: Path, images: dict[str, str], first: SharedFront | None) -> None:
        super().__init__(directory, images)
        self.first = first
        # By their places in the inventory.
        self.peers: list[SharedFront] = []
        if first is not None:
            for name in ("sockets", "storage"):
                (directory / name).rmdir()
                (directory / name).symlink_to(first.directory / name)
            for name in ("server.crt", "server.key"):
                shutil.copy(first.tls / name, self.tls / name)
            self.context = first.context
        shutil.copy((first or self).ca, self.tls / "peers-ca.crt")

    @property
    def tls(self) -> Path:
        return self.directory / "config" / "nginx" / "tls"

    def configure(self, users: list[dict], **options: object) -> None:
        (self.directory / "config" / "nginx" / "peers.conf").write_text(SECRET_FILE.format(PEER_SECRET))
        peers = {
            # The play that renders runs for this host.
            "localhost" if peer is self else f"host-{place}": {"address": bridge_address(), "port": peer.port}
            for place, peer in enumerate(self.peers)
        }
        super().configure(users, **options, __reverse_proxy_peers=peers)

    def start(self) -> None:
        if self.first is None:
            self.start_replicas()
        self.start_proxy()


@contextlib.contextmanager
def several(
    directory: Path, images: dict[str, str], users: list[dict], count: int, **options: object
) -> Iterator[list[SharedFront]]:
    """So many hosts with these users and these options of the role, stopped in the end."""
    fronts: list[SharedFront] = []
    try:
        for place in range(count):
            fronts.append(SharedFront(directory / str(place), images, fronts[0] if fronts else None))
        for front in fronts:
            front.peers = fronts
            # The first one gives each user a password, which the others take.
            front.configure(users, **options)
        for front in fronts:
            front.start()
        yield fronts
    finally:
        for front in reversed(fronts):
            front.stop()

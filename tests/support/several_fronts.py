"""Proxies of several hosts before one storage, each of which hands writes to the one that a repository belongs to."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import socket
import threading
from typing import TYPE_CHECKING

from collecting import Collector
from engine import bridge_address
from front import Front

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

SECRET_FILE = """map "" $wharf_peer_secret {{ default {0}; }}
map $http_x_wharf_peer $wharf_is_peer {{ default 0; {0} 1; }}
"""


class SharedFront(Front):
    """The proxy and the registries of one of several hosts. The first one has the storage."""

    def __init__(self, directory: Path, images: dict[str, str], first: SharedFront | None) -> None:
        super().__init__(directory, images)
        # By their places in the inventory.
        self.peers: list[SharedFront] = []
        if first is not None:
            (directory / "storage").rmdir()
            (directory / "storage").symlink_to(first.directory / "storage")
            for name in ("server.crt", "server.key"):
                shutil.copy(first.tls / name, self.tls / name)
            self.context, self.ca, self.http_secret = first.context, first.ca, first.http_secret
        shutil.copy(self.ca, self.tls / "peers-ca.crt")
        (directory / "http.secret").write_text(self.http_secret)

    @property
    def tls(self) -> Path:
        return self.directory / "config" / "nginx" / "tls"

    @property
    def peer_secret(self) -> str:
        return hashlib.sha256(f"peers {self.http_secret}".encode()).hexdigest()

    def configure(self, users: list[dict], **options: object) -> None:
        (self.directory / "config" / "nginx" / "peers.conf").write_text(SECRET_FILE.format(self.peer_secret))
        peers = {
            # The play that renders runs for this host.
            "localhost" if peer is self else f"host-{place}": {"address": bridge_address(), "port": peer.port}
            for place, peer in enumerate(self.peers)
        }
        super().configure(users, **options, __reverse_proxy_peers=peers)

    def collector(self, **settings: object) -> Collector:
        """The collector of this host, which asks and holds the others."""
        others = {
            f"host-{place}": {"address": bridge_address(), "port": peer.port}
            for place, peer in enumerate(self.peers)
            if peer is not self
        }
        return Collector(
            self,
            **{
                "peers": others,
                "hostname": "localhost",
                "peer_ca": str(self.ca),
                "http_secret": str(self.directory / "http.secret"),
                **settings,
            },
        )


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
        for front in fronts:
            front.stop()


@contextlib.contextmanager
def holdable(front: SharedFront) -> Iterator[list[subprocess.Popen]]:
    """What systemd does for this host: a program for each connection to the socket of its collector. Yields those."""
    collector = front.collector(peers={})
    path = front.directory / "sockets" / "hold-agent.sock"
    programs: list[subprocess.Popen] = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        path.chmod(0o666)

        def accept() -> None:
            while True:
                try:
                    connection, _address = listener.accept()
                except OSError:
                    return
                with connection:
                    programs.append(collector.start("serve", stdin=connection))

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield programs
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            for program in programs:
                program.kill()
                program.wait()
            path.unlink()

"""SeaweedFS: a real S3 storage of processes of this machine, out of the package of the tests. It needs no engine.

Storages are asked here by code that shares nothing with that of the collection.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import http.client
import itertools
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
from pathlib import Path
from typing import TYPE_CHECKING

from engine import free_ports, listening, wait_for
from memory_s3 import ACCESS_KEY, BUCKET, REGION, SECRET_KEY, sign, sorted_query

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

    from certificates import Pair

WEED = Path(sys.executable).with_name("weed")
PR_SET_PDEATHSIG = 1
# Where its programs put sockets, whatever they are told.
SOCKETS = Path("/tmp")  # noqa: S108
IDENTITY = {
    "identities": [
        {
            "name": "registry",
            "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
    ]
}


class SeaweedFS:
    """Master, volume server, and a filer with an S3 gateway; `filers` of them, each with a store of its own."""

    def __init__(
        self, directory: Path, pair: Pair | None = None, filers: int = 1, *, outside: bool = False, volumes: int = 30
    ) -> None:
        self.directory = directory
        self.processes: list[subprocess.Popen[bytes]] = []
        self.sockets: list[Path] = []
        self.config = directory / "s3.json"
        self.config.touch(mode=0o600)
        self.config.write_text(json.dumps(IDENTITY), encoding="utf-8")
        # A gateway for each filer, by HTTP, and of the first one by HTTPS as well.
        self.ports = free_ports(5 + 4 * filers)
        self.gateways: list[int] = []
        self.https = self.take() if pair else 0
        self.pair = pair
        self.filers = filers
        # Whether its gateways listen where containers reach them.
        self.outside = outside
        # Of 64 MB each. What was deleted is still in them.
        self.volumes = volumes

    def take(self) -> int:
        return self.ports.pop()

    def __enter__(self) -> Self:
        try:
            self.begin()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def begin(self) -> None:
        master = self.take(), self.take()
        self.start("master", master, "-telemetry=false", f"-mdir={self.folder('master')}", "-volumeSizeLimitMB=64")
        server = f"-master={address(master)}"
        self.start(
            "volume", (self.take(), self.take()), f"-dir={self.folder('volume')}", f"-max={self.volumes}", server
        )
        for number in range(self.filers):
            filer = self.take(), self.take()
            store = self.folder(f"filer-{number}")
            self.start("filer", filer, server, f"-defaultStoreDir={store}", f"-localSocket={store}.sock")
            self.gateway(filer)
        for port in self.gateways:
            wait_for(f"the S3 gateway at {port}", lambda port=port: self.serves(port), 60)

    def gateway(self, filer: tuple[int, int]) -> None:
        ports = self.take(), self.take()
        options = ["-port.iceberg=0", "-port.lance=0", f"-localSocket={self.directory / str(ports[0])}.sock"]
        if self.outside:
            options.append("-ip.bind=0.0.0.0")
        if self.https and not self.gateways:
            options.append(f"-port.https={self.https}")
            options += [f"-cert.file={self.pair.certificate}", f"-key.file={self.pair.key}"]
        self.gateways.append(ports[0])
        self.start("s3", ports, f"-filer={address(filer)}", f"-config={self.config}", *options)

    def folder(self, name: str) -> Path:
        path = self.directory / name
        path.mkdir()
        return path

    def start(self, name: str, ports: tuple[int, int], *options: str) -> None:
        """Start one of the programs, at a port for its clients and one for the others."""
        where = ("-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-port={ports[0]}", f"-port.grpc={ports[1]}")
        self.sockets.append(SOCKETS / f"seaweedfs-{name}-grpc-{ports[1]}.sock")
        with (self.directory / f"{len(self.processes)}-{name}.log").open("wb") as log:
            self.processes.append(
                subprocess.Popen(
                    [WEED, name, *where, *options],
                    cwd=self.directory,
                    env={"PATH": os.environ["PATH"], "HOME": str(self.directory)},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    # Not even a test that is killed leaves it.
                    preexec_fn=_die_with_parent,  # noqa: PLW1509 - no thread holds a lock that this needs
                )
            )

        # A program that finds another one away tries again after seconds, and a filer that finds a filer away ends.
        wait_for(f"{name} at {ports[1]}", lambda: self.runs() and listening(ports[1]))

    def runs(self) -> bool:
        """Fails, with what was said, where a program has ended."""
        assert all(process.poll() is None for process in self.processes), self.said()
        return True

    def stop(self) -> None:
        """End each process with its group, by its ID, the last one first."""
        for process in reversed(self.processes):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self.processes.clear()
        for path in self.sockets:
            path.unlink(missing_ok=True)

    def said(self) -> str:
        logs = sorted(self.directory.glob("*.log"))
        return "\n".join(f"{log.name}: {log.read_text(encoding='utf-8', errors='replace')[-1500:]}" for log in logs)

    # --- requests -----------------------------------------------------------------------------------------------------

    def serves(self, port: int) -> bool:
        """Whether a gateway takes an object, once the bucket is there."""
        self.runs()
        try:
            if self.ask("HEAD", f"/{BUCKET}", port=port)[0] != 200:
                self.ask("PUT", f"/{BUCKET}", port=port)
            written = self.ask("PUT", f"/{BUCKET}/ready", body=b"x", port=port)[0]
            self.ask("DELETE", f"/{BUCKET}/ready", port=port)
        except OSError:
            return False
        return written == 200

    def ask(self, method: str, path: str, query: str = "", body: bytes = b"", port: int = 0) -> tuple[int, bytes]:
        """The status and body of a signed request."""
        port = port or self.gateways[0]
        date = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        payload = hashlib.sha256(body).hexdigest()
        headers = {"host": f"127.0.0.1:{port}", "x-amz-content-sha256": payload, "x-amz-date": date}
        lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
        names = ";".join(sorted(headers))
        signature = sign(date, f"{method}\n{path}\n{sorted_query(query)}\n{lines}\n{names}\n{payload}")
        scope = f"{ACCESS_KEY}/{date[:8]}/{REGION}/s3/aws4_request"
        headers["Authorization"] = f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders={names}, Signature={signature}"
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        try:
            connection.request(method, path + (f"?{query}" if query else ""), body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def objects(self) -> list[str]:
        """The keys of all objects of the bucket, of which there are less than a thousand."""
        status, body = self.ask("GET", f"/{BUCKET}", "list-type=2")
        assert status == 200, body
        return [urllib.parse.unquote(key) for key in re.findall("<Key>(.*?)</Key>", body.decode())]

    def uploads(self) -> list[str]:
        """The keys of all uploads that are under way."""
        status, body = self.ask("GET", f"/{BUCKET}", "uploads=")
        assert status == 200, body
        return re.findall("<Key>(.*?)</Key>", body.decode())


def address(ports: tuple[int, int]) -> str:
    """Of one of the programs, for another one."""
    return "127.0.0.1:{}.{}".format(*ports)


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


@contextlib.contextmanager
def in_turn(ports: list[int]) -> Iterator[int]:
    """The port of a balancer: each connection goes to the next of these ports, as those of one name would."""
    turn = itertools.cycle(ports)
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        while True:
            try:
                client, _address = listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", next(turn)))
            for one, other in ((client, server), (server, client)):
                threading.Thread(target=_pass_on, args=(one, other), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def _pass_on(one: socket.socket, other: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := one.recv(1 << 16):
            other.sendall(piece)
    for end in (one, other):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)

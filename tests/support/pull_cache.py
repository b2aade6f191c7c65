"""The program of the role mirror_cache behind a front, and an upstream that a test cuts off or has misbehave."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import yaml
from engine import wait_for
from front import ACCOUNT, ROLES
from misbehaving import Misbehaving, Request
from paths import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from misbehaving import Behaviour

PROGRAM = ROLES / "mirror_cache" / "files" / "mirror_cache"
CACHE_VARIABLES = yaml.safe_load((ROLES / "mirror_cache" / "vars" / "main.yml").read_text())
_PIECE = 1 << 20
_OWN = frozenset(["connection", "host", "content-length", "transfer-encoding"])


class PullCache:
    """The caches of upstreams, {name: options of a connection}, for a front that has been told of their names."""

    def __init__(self, directory: Path, upstreams: dict[str, dict], size: int = 1 << 30, seconds: int = 3600) -> None:
        self.directory = directory
        self.served = directory / "served"
        self.blobs = self.served / "blobs"
        self.state = directory / "state"
        self.process: subprocess.Popen | None = None
        for path in (directory, self.served, self.blobs, self.state):
            path.mkdir(parents=True, exist_ok=True)
            os.chown(path, -1, ACCOUNT)
        self.settings = {
            "socket": str(self.served / "cache.sock"),
            "files": CACHE_VARIABLES["__mirror_cache_files"],
            "directory": str(self.blobs),
            "state": str(self.state),
            "size": size,
            "seconds": seconds,
            "upstreams": [{"name": name, "options": one, "min_remaining": 0} for name, one in upstreams.items()],
        }

    def start(self, **settings: object) -> None:
        """Start it with these settings in place of those that it had, and wait until it listens."""
        self.settings.update(settings)
        (self.directory / "settings.json").write_text(json.dumps(self.settings))
        log = (self.directory / "log").open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-B", str(PROGRAM), str(self.directory / "settings.json")],
            env={"PYTHONPATH": str(ROOT / ".venv" / "collections"), "PATH": os.environ["PATH"]},
            stdout=log,
            stderr=log,
            # The proxy reads as a member of its group.
            group=ACCOUNT,
            umask=0o027,
        )
        log.close()
        wait_for("the cache listens", self.listens)

    def listens(self) -> bool:
        assert self.process.poll() is None, self.log()
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(self.settings["socket"]) == 0

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(30)
            self.process = None

    def restart(self, **settings: object) -> None:
        self.stop()
        self.start(**settings)

    def log(self) -> str:
        return (self.directory / "log").read_text()

    def held(self) -> dict[str, int]:
        """The sizes of the files that it holds, by their digests."""
        found = {}
        for path in self.blobs.rglob("*"):
            if re.fullmatch(r"[0-9a-f]{64}", path.name):
                found[f"sha256:{path.name}"] = path.stat().st_size
        return found

    def memory(self) -> int:
        """The most memory that it has had, in bytes."""
        status = (ROOT.__class__("/proc") / str(self.process.pid) / "status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024


class Upstream(Misbehaving):
    """Sends requests on to a registry, and notes them. `instead` is asked first: what it returns answers instead."""

    def __init__(self, registry: str) -> None:
        super().__init__()
        self.registry = registry
        self.otherwise = self.forward
        self.instead = lambda _request: None
        self.away = False

    @property
    def options(self) -> dict:
        return {"registry": self.netloc, "plain_http": True, "timeout": 5}

    def asked(self, *methods: str) -> list[str]:
        """The targets of requests, in their order."""
        return [one.target for one in self.requests if one.method in (methods or ("GET", "HEAD"))]

    def forward(self, request: Request, connection: socket.socket) -> bool:
        if self.away:
            return False
        other: Behaviour | None = self.instead(request)
        if other is not None:
            return bool(other(request, connection))
        headers = {name: value for name, value in request.headers.items() if name not in _OWN}
        there = http.client.HTTPConnection(self.registry, timeout=30)
        try:
            there.request(request.method, request.target, headers=headers)
            answer = there.getresponse()
            lines = [f"HTTP/1.1 {answer.status} X"]
            lines += [f"{name}: {value}" for name, value in answer.getheaders() if name.lower() != "connection"]
            connection.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))
            while piece := answer.read(_PIECE):
                connection.sendall(piece)
        finally:
            there.close()
        return True

"""The program of the role monitoring, installed as on a host, with a request log as nginx writes it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import programs
from http_client import SocketConnection
from paths import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE = ROOT / "roles" / "monitoring" / "files" / "metrics"
STORAGE = ROOT / "roles" / "maintenance" / "files" / "collector" / "wharf_storage"
# A pull of a tag, as nginx logs it.
LINE = {
    "time": 1764523117.123,
    "user": "ci",
    "login": "accepted",
    "call": "read",
    "action": "pull",
    "method": "GET",
    "status": 200,
    "repository": "apps/api",
    "reference": "1.4.2",
    "digest": f"sha256:{'a' * 64}",
    "bytes_in": 100,
    "bytes_out": 1000,
    "seconds": 0.004,
    "served": "registry",
    "password": "HIT",
    "page": "",
    "address": "192.0.2.7",
}
PUSH = {"call": "tag", "action": "push", "method": "PUT", "status": 201}
_SAMPLE = re.compile(r"([a-z_0-9]+)(?:\{(.*)\})? (\S+)")
_LABEL = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)"')


def install(target: Path) -> Path:
    """What the role places on a host."""
    return programs.install(SOURCE, target, wharf_storage=STORAGE)


def line(**changes: object) -> str:
    """A line of the log, with its end."""
    return json.dumps({**LINE, **changes}) + "\n"


def samples(text: str) -> dict[tuple, float]:
    """{(name, (label, value), …): number} of the text of Prometheus."""
    found = {}
    for row in text.splitlines():
        if not row.startswith("#"):
            name, labels, number = _SAMPLE.fullmatch(row).groups()
            found[(name, *_LABEL.findall(labels or ""))] = float(number)
    return found


def families(program: Path) -> dict[str, tuple[str, tuple[str, ...], str]]:
    """{name: (kind, labels, about)} of all that the program tells."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-B", "-c", _FAMILIES, str(program)], check=True, capture_output=True, text=True
    )
    return {name: (kind, tuple(labels), about) for name, kind, labels, about in json.loads(done.stdout)}


_FAMILIES = """
import json, sys
sys.path.insert(0, sys.argv[1])
from wharf_metrics.catalogue import GAUGES
from wharf_metrics.families import Counter
from wharf_metrics.program import GAPS
from wharf_metrics.traffic import Traffic
found = [*Traffic(1, {}).families, Counter(*GAPS), *GAUGES.values()]
print(json.dumps([[one.name, one.kind, one.labels, one.about] for one in found]))
"""


def series_of(known: dict[str, tuple]) -> dict[str, set[str]]:
    """{name: labels} of the series of families."""
    found = {}
    for name, (kind, labels, _about) in known.items():
        for suffix in ("_bucket", "_sum", "_count") if kind == "histogram" else ("",):
            found[name + suffix] = {*labels, *(["le"] if suffix == "_bucket" else [])}
    return found


def metrics_in(expression: str) -> set[str]:
    """The names of metrics in an expression of Prometheus."""
    return set(re.findall(r"\b(wharf_\w+)\b", expression))


class Metrics:
    """The program and all that it reads, in a directory."""

    def __init__(self, directory: Path, program: Path, python: str = sys.executable, **settings: object) -> None:
        self.directory, self.program, self.python = directory, program, python
        self.log, self.state, self.socket = (
            directory / name for name in ("requests.log", "state.json", "metrics.sock")
        )
        self.settings = {
            "log": str(self.log),
            "state": str(self.state),
            "socket": str(self.socket),
            "repositories": 200,
            "users": {"ci": "push", "runtime": "pull", "admin": "admin", "team": "rules"},
            **settings,
        }
        self.log, self.socket = Path(self.settings["log"]), Path(self.settings["socket"])
        self.process: subprocess.Popen | None = None
        self.errors = directory / "errors"
        # To whom the socket belongs, as on a host to a group that the proxy is in.
        self.owner: int | None = None

    def write(self, *lines: str | bytes) -> None:
        """Add to the log, all at once."""
        with self.log.open("ab") as stream:
            stream.write(b"".join(one if isinstance(one, bytes) else one.encode() for one in lines))

    def rotate(self) -> None:
        """As nginx.sh does: another file has the name from then on."""
        self.log.rename(f"{self.log}.1")
        self.log.touch()

    def start(self) -> None:
        """Start it, and wait until it serves."""
        path = self.directory / "settings.json"
        path.write_text(json.dumps(self.settings))
        # -I: nothing of this machine but Python's own library, and no directory but that of the program.
        with self.errors.open("ab") as errors:
            self.process = subprocess.Popen(
                [self.python, "-I", "-S", "-B", str(self.program), str(path)],
                stderr=errors,
                stdout=errors,
                env={"PATH": os.environ["PATH"]},
            )
        end = time.monotonic() + 60
        while True:
            with contextlib.suppress(OSError, http.client.HTTPException):
                self.text()
                if self.owner is not None:
                    os.chown(self.socket, self.owner, self.owner)
                return
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < end, f"it does not serve: {self.said()}"
            time.sleep(0.02)

    def stop(self, how: int = signal.SIGTERM) -> int:
        """End it, and return its status."""
        self.process.send_signal(how)
        return self.process.wait(timeout=30)

    def kill(self) -> None:
        self.stop(signal.SIGKILL)

    def said(self) -> str:
        return self.errors.read_text() if self.errors.exists() else ""

    def text(self) -> str:
        """What a scrape gets."""
        with contextlib.closing(SocketConnection(self.socket)) as connection:
            connection.request("GET", "/metrics")
            answer = connection.getresponse()
            assert answer.status == 200
            assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
            return answer.read().decode()

    def samples(self) -> dict[tuple, float]:
        return samples(self.text())

    def value(self, name: str, **labels: str) -> float | None:
        return self.samples().get((name, *labels.items()))

    def wait(self, what: str, expected: object, **labels: str) -> None:
        """Wait until a series has this value."""
        end = time.monotonic() + 20
        while (found := self.value(what, **labels)) != expected:
            assert time.monotonic() < end, f"{what} is {found}, not {expected}; {self.said()}"
            time.sleep(0.1)


@contextlib.contextmanager
def running(directory: Path, program: Path, **settings: object) -> Iterator[Metrics]:
    """The program, ended in the end."""
    metrics = Metrics(directory, program, **settings)
    try:
        metrics.start()
        yield metrics
    finally:
        if metrics.process and metrics.process.poll() is None:
            metrics.process.kill()
            metrics.process.wait()

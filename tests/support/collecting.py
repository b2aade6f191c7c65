"""The collector of the role maintenance, run on the storage of a Front as its systemd unit runs it."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import random
import secrets
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from content import Content
from engine import run_container, wait_for
from front import ACCOUNT, INSIDE
from http_client import ACCEPT, SocketConnection, connection_to
from paths import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from front import Front

COLLECTOR = ROOT / "roles" / "maintenance" / "files" / "collector"
# Of a front for tests of collections.
USERS = [{"name": "admin", "access": "admin"}, {"name": "runtime", "access": "pull"}]
MIB = 1 << 20


class Collector:
    """What a unit would start. Settings may be given for one run."""

    program = COLLECTOR

    def __init__(self, front: Front, python: str = sys.executable, **settings: object) -> None:
        self.front = front
        self.python = python
        self.settings = {
            "storage": str(front.directory / "storage"),
            "hold_socket": str(front.directory / "sockets" / "hold.sock"),
            "hold_group": ACCOUNT,
            "looked_at": str(front.directory / "looked-at"),
            "lock": str(front.directory / "lock"),
            "report": str(front.directory / "report.json"),
            "grace_seconds": 0,
            "attempts": 1,
            "pause_seconds": 0,
            "quiet_command": [
                *("docker", "exec", front.containers["proxy"], "curl", "--silent", "--fail", "--max-time", "3"),
                *("--output", "/dev/null", "--unix-socket", "/tmp/quiet.sock", "http://quiet/"),  # noqa: S108 (in the container)
            ],
            **settings,
        }

    def start(self, action: str = "collect", stdin: object = None, **settings: object) -> subprocess.Popen:
        path = self.front.directory / f"maintenance-{action}.json"
        path.write_text(json.dumps({**self.settings, **settings}))
        return subprocess.Popen(
            [self.python, str(self.program), action, str(path)],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        )

    def finish(self, process: subprocess.Popen) -> tuple[int, str, str]:
        """(status, output, errors) of one that was started."""
        output, errors = process.communicate(timeout=120)
        return process.returncode, output, errors

    def run(self, **settings: object) -> dict:
        """The report of a collection that did all."""
        status, output, errors = self.finish(self.start(**settings))
        assert status == 0, output + errors
        return json.loads(Path(self.settings["report"]).read_text())


def content_of(front: Front, user: str = "admin") -> Content:
    """The front's content by the user, through the proxy."""
    return Content(connection_to(f"localhost:{front.port}", front.context, timeout=60), front.basic(user))


def bytes_of(storage: Path) -> int:
    """The bytes of all files of a registry."""
    return sum(path.stat().st_size for path in (storage / "docker").rglob("*") if path.is_file())


def pull(content: Content, repository: str, reference: str) -> list[str]:
    """Pulls a manifest and all below it, and hashes each: the digests, or an AssertionError."""
    status, headers, body = content.ask("GET", f"/v2/{repository}/manifests/{reference}", Accept=ACCEPT)
    assert status == 200, (repository, reference, status, body)
    digest = headers["Docker-Content-Digest"]
    assert digest == f"sha256:{hashlib.sha256(body).hexdigest()}"
    pulled = [digest]
    document = json.loads(body)
    for child in document.get("manifests", []):
        pulled += pull(content, repository, child["digest"])
    for blob in [*document.get("layers", []), *([document["config"]] if "config" in document else [])]:
        status, _headers, data = content.ask("GET", f"/v2/{repository}/blobs/{blob['digest']}")
        assert status == 200, (repository, reference, blob, status, data[:200])
        assert blob["digest"] == f"sha256:{hashlib.sha256(data).hexdigest()}"
        pulled.append(blob["digest"])
    return pulled


def delete(content: Content, repository: str, digest: str) -> None:
    """Deletes a manifest, and with it every tag that points to it, as clients of registry 2 do."""
    assert content.ask("DELETE", f"/v2/{repository}/manifests/{digest}")[0] == 202


class Pusher(threading.Thread):
    """Pushes images of a few layers that come again and again, deletes some of them, and remembers what it was told."""

    def __init__(self, front: Front, number: int) -> None:
        super().__init__()
        self.front = front
        self.repository = f"apps/{number}"
        self.random = random.Random(number)  # noqa: S311
        self.layers = [secrets.token_bytes(50_000) for _each in range(4)]
        self.acknowledged: dict[str, str] = {}
        self.stopping = threading.Event()
        self.retries = 0
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            turn = 0
            while not self.stopping.is_set():
                turn += 1
                self.push(f"v{turn}")
                if turn % 3 == 0:
                    self.delete(self.random.choice(sorted(self.acknowledged)))
        except BaseException as failure:  # noqa: BLE001
            self.failure = failure

    def push(self, tag: str) -> None:
        layer = self.random.choice(self.layers)
        # What makes it another image, so that a deletion takes no other tag with it.
        descriptor = self.again(lambda content: content.image(self.repository, tag, layer=layer, labels={"is": tag}))
        self.acknowledged[tag] = descriptor["digest"]

    def delete(self, tag: str) -> None:
        # Whether it is done is not known until the answer comes.
        digest = self.acknowledged.pop(tag)
        self.again(lambda content: self._remove(content, digest))

    def _remove(self, content: Content, digest: str) -> None:
        status, _headers, said = content.ask("DELETE", f"/v2/{self.repository}/manifests/{digest}")
        assert status in (202, 404), said

    def again(self, action: Callable[[Content], object]) -> object:
        """As a client does that was cut off, or told to come back."""
        end = time.monotonic() + 60
        while True:
            try:
                return action(content_of(self.front))
            except (OSError, http.client.HTTPException):
                if time.monotonic() > end:
                    raise
            except (AssertionError, TypeError) as error:
                # TypeError: no Location where a 503 came in place of an upload. Another no is no client's to repeat.
                if time.monotonic() > end or not ("UNAVAILABLE" in str(error) or isinstance(error, TypeError)):
                    raise
            self.retries += 1
            time.sleep(0.2)


class Fresh:
    """A registry with nothing in it, to which tags can be copied: what it takes is what they need."""

    def __init__(self, directory: Path, images: dict[str, str]) -> None:
        self.directory = directory
        for name in ("storage", "sockets"):
            (directory / name).mkdir()
        (directory / "config.yml").write_text(
            json.dumps(
                {
                    "version": 0.1,
                    "log": {"level": "warn", "accesslog": {"disabled": True}},
                    "storage": {
                        "filesystem": {"rootdirectory": INSIDE["storage"]},
                        "maintenance": {"uploadpurging": {"enabled": False}},
                    },
                    "http": {"net": "unix", "addr": f"{INSIDE['sockets']}/registry.sock", "relativeurls": True},
                }
            )
        )
        for path in (directory, *directory.iterdir()):
            os.chown(path, ACCOUNT, ACCOUNT)
        self.container = run_container(
            images["registry"],
            *("-c", "umask 0007 && exec registry serve /etc/wharf-registry/config.yml"),
            options=(
                "--entrypoint=/bin/sh",
                f"--user={ACCOUNT}:{ACCOUNT}",
                f"--volume={directory / 'config.yml'}:/etc/wharf-registry/config.yml:ro",
                f"--volume={directory / 'storage'}:{INSIDE['storage']}",
                f"--volume={directory / 'sockets'}:{INSIDE['sockets']}",
            ),
            network="none",
        )
        wait_for("the fresh registry listens", (directory / "sockets" / "registry.sock").exists)
        self.content = Content(SocketConnection(directory / "sockets" / "registry.sock"))

    def bytes_with(self, source: Content, wanted: list[tuple[str, str]]) -> int:
        """The bytes that it takes when all of (repository, reference) are copied to it, and nothing else."""
        for entry in (self.directory / "storage").iterdir():
            subprocess.run(["rm", "-r", str(entry)], check=True)
        for repository, reference in wanted:
            self._copy(source, repository, reference)
        return bytes_of(self.directory / "storage")

    def _copy(self, source: Content, repository: str, reference: str) -> None:
        status, headers, body = source.ask("GET", f"/v2/{repository}/manifests/{reference}", Accept=ACCEPT)
        assert status == 200, (repository, reference)
        document = json.loads(body)
        for child in document.get("manifests", []):
            self._copy(source, repository, child["digest"])
        for blob in [*document.get("layers", []), *([document["config"]] if "config" in document else [])]:
            self.content.blob(repository, source.ask("GET", f"/v2/{repository}/blobs/{blob['digest']}")[2])
        status, _headers, said = self.content.ask(
            "PUT", f"/v2/{repository}/manifests/{reference}", body, Content_Type=headers["Content-Type"]
        )
        assert status == 201, said


@contextlib.contextmanager
def fresh(directory: Path, images: dict[str, str]) -> Iterator[Fresh]:
    registry = Fresh(directory, images)
    try:
        yield registry
    finally:
        subprocess.run(["docker", "rm", "--force", "--volumes", registry.container], check=True, capture_output=True)

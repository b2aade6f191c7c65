"""Replicas that stop between two parts of an upload, and while the proxy asks them before it decides."""

from __future__ import annotations

import secrets
import select
import socket
import threading
import time
from typing import TYPE_CHECKING, Self

import pytest
from engine import command, wait_for
from front import REPLICAS
from http_client import OCI, digest_of, manifest, with_digest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from front import Front

MIB = 1 << 20


@pytest.fixture(scope="module")
def proxy(fronts: Callable[..., Front]) -> Front:
    # nginx has words of its own where it looks up users.
    users = [{"name": name, "access": "push"} for name in ("ci", "ci2", "default", "include", "volatile", "hostnames")]
    return fronts(users, reverse_proxy_immutable_tags=["v*"])


def test_an_upload_goes_on_with_another_replica(proxy: Front) -> None:
    """Whichever of them took the part before, it is gone when the next part comes."""
    client = proxy.client("ci")
    location = client.begin("big/app")
    parts = [secrets.token_bytes(8 * MIB) for _each in REPLICAS]
    for number, part in enumerate(parts):
        if number:
            # nginx tries the former one again when more than its fail_timeout of five seconds is over, in whole ones.
            time.sleep(7)
        replica = REPLICAS[number % len(REPLICAS)]
        container = proxy.containers[f"registry-{replica}"]
        command("docker", "kill", "--signal=KILL", container)
        begin = number * 8 * MIB
        answer = client.ask(
            "PATCH",
            location,
            part,
            Content_Type="application/octet-stream",
            Content_Range=f"{begin}-{begin + len(part) - 1}",
        )
        assert answer.status == 202, (number, answer)
        location = answer.headers["Location"]
        command("docker", "start", container)
        wait_for("the replica is back", lambda replica=replica: proxy.answers(replica))
    digest = digest_of(b"".join(parts))
    assert client.ask("PUT", with_digest(location, digest), b"").status == 201
    answer = client.ask("GET", f"/v2/big/app/blobs/{digest}")
    assert digest_of(answer.body) == digest


class DiesBeforeItAnswers(threading.Thread):
    """Stands before a replica, and ends each connection on which that has just answered what ends an upload."""

    def __init__(self, path: Path) -> None:
        super().__init__(daemon=True)
        self.path, self.real = path, path.with_name("real.sock")
        self.swallowed = 0

    def __enter__(self) -> Self:
        self.path.rename(self.real)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(self.path))
        self.path.chmod(0o666)
        self.listener.listen()
        self.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.real.rename(self.path)
        self.listener.close()

    def run(self) -> None:
        while True:
            try:
                connection, _address = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.relay, args=(connection,), daemon=True).start()

    def relay(self, connection: socket.socket) -> None:
        with connection, socket.socket(socket.AF_UNIX) as replica:
            replica.connect(str(self.real))
            ends = False
            while True:
                ready, _writable, _failed = select.select([connection, replica], [], [], 60)
                for end in ready:
                    data = end.recv(65536)
                    ends = ends or (end is connection and data.startswith(b"PUT ") and b"/blobs/uploads/" in data)
                    if not data or (end is replica and ends):
                        self.swallowed += bool(data)
                        return
                    (replica if end is connection else connection).sendall(data)
                if not ready:
                    return


def test_what_ends_an_upload_is_sent_once(proxy: Front) -> None:
    """The replica has the blob, and dies: another one would say that the upload is not valid."""
    client = proxy.client("ci")
    with DiesBeforeItAnswers(proxy.socket(1)) as replica:
        end = time.monotonic() + 30
        while not replica.swallowed:
            assert time.monotonic() < end
            content = secrets.token_bytes(200)
            # They take turns: so it is not always the same one that gets what ends it.
            client.begin("app")
            answer = client.ask("PUT", with_digest(client.begin("app"), digest_of(content)), content)
            assert answer.status == (503 if replica.swallowed else 201), answer
    assert answer.headers["Retry-After"]
    client.put_blob("app", content)


def test_a_replica_that_is_gone_changes_no_answer(proxy: Front) -> None:
    """The first that is asked may be the one that is gone: what the other says counts."""
    ci, other, registry = proxy.client("ci"), proxy.client("ci2"), proxy.registry(2)
    ci.put_image("app", "v1", b"the first")
    digest = registry.digest("app", "v1")
    ci.put_blob("app", b"the second")
    container = proxy.containers["registry-1"]
    command("docker", "kill", "--signal=KILL", container)
    try:
        # Once it is known to be gone, it is asked again every five seconds.
        end = time.monotonic() + 9
        while time.monotonic() < end:
            answer = ci.ask("PUT", "/v2/app/manifests/v1", manifest(b"the second"), Content_Type=OCI)
            assert (answer.status, answer.code) == (403, "DENIED"), answer
            location = ci.begin("app")
            answer = other.ask("PUT", with_digest(location, digest_of(b"x")), b"x")
            assert (answer.status, answer.code) == (403, "DENIED"), answer
    finally:
        command("docker", "start", container)
    assert registry.digest("app", "v1") == digest
    wait_for("the replica is back", lambda: proxy.answers(1))


@pytest.mark.parametrize("name", ["default", "include", "volatile", "hostnames"])
def test_names_that_mean_something_to_nginx_are_names(proxy: Front, name: str) -> None:
    client = proxy.client(name)
    assert client.ask("GET", "/v2/").status == 200
    client.put_image("app", name, name.encode())
    assert proxy.client("ci").digest("app", name)
    assert proxy.client(name, "wrong").ask("GET", "/v2/").status == 401

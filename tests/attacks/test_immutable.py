"""A tag that stays keeps what it was acknowledged with, when a client, worker or replica goes away (issue 16, B6)."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import socket
import ssl
import time
from typing import TYPE_CHECKING

import h2.config
import h2.connection
import h2.errors
import h2.events
import pytest
from addresses import attackers
from engine import command, wait_for
from front import REPLICAS
from http_client import OCI, at_once, digest_of, manifest

if TYPE_CHECKING:
    from collections.abc import Callable

    from target import Target

REPOSITORY = "apps/fixed"
LAYERS = 12_000
# When the client goes, as a share of the time that such a push takes: nginx may still have the manifest then, or the
# registry has it already.
MOMENTS = (0.3, 0.7, 1.2)
# For how long the tag is looked at afterwards, as a multiple of that time.
AFTERWARDS = 3
PATIENCE = 60
LAYER = b"one of many layers"


def large() -> bytes:
    """A manifest that the registry reads for seconds."""
    document = json.loads(manifest(LAYER, annotations={"number": secrets.token_hex(8)}))
    document["layers"] *= LAYERS
    return json.dumps(document, separators=(",", ":")).encode()


def request(target: Target, tag: str, body: bytes) -> bytes:
    lines = [
        f"PUT /v2/{REPOSITORY}/manifests/{tag} HTTP/1.1",
        "Host: localhost",
        f"Authorization: {target.front.basic('attacker')}",
        f"Content-Type: {OCI}",
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


def connect(target: Target, protocol: str = "http/1.1") -> ssl.SSLSocket:
    plain = socket.create_connection((target.host, target.port), timeout=20, source_address=(attackers(1)[0], 0))
    context = ssl.create_default_context(cafile=target.front.ca)
    context.set_alpn_protocols([protocol])
    return context.wrap_socket(plain, server_hostname="localhost")


# ---- ways to go away, some time after all was sent; what is returned is kept open ------------------------------------


def waits(connection: ssl.SSLSocket, delay: float) -> None:
    """Read meanwhile: who closes with something unread takes back what the peer has not read."""
    connection.settimeout(delay)
    with contextlib.suppress(TimeoutError):
        connection.recv(4096)


def sends(target: Target, tag: str, body: bytes, delay: float) -> ssl.SSLSocket:
    connection = connect(target)
    connection.sendall(request(target, tag, body))
    waits(connection, delay)
    return connection


def closes(target: Target, tag: str, body: bytes, delay: float) -> None:
    sends(target, tag, body, delay).close()


def resets(target: Target, tag: str, body: bytes, delay: float) -> None:
    """By TCP, at once."""
    connection = sends(target, tag, body, delay)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    connection.close()


def half_closes(target: Target, tag: str, body: bytes, delay: float) -> ssl.SSLSocket:
    """Says that it sends no more, and would still read."""
    connection = sends(target, tag, body, delay)
    with socket.socket(fileno=os.dup(connection.fileno())) as plain:
        plain.shutdown(socket.SHUT_WR)
    return connection


def resets_the_stream(target: Target, tag: str, body: bytes, delay: float) -> ssl.SSLSocket:
    """By HTTP/2, and the connection stays."""
    connection = connect(target, "h2")
    session = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    session.initiate_connection()
    headers = {
        ":method": "PUT",
        ":scheme": "https",
        ":authority": "localhost",
        ":path": f"/v2/{REPOSITORY}/manifests/{tag}",
        "authorization": target.front.basic("attacker"),
        "content-type": OCI,
        "content-length": str(len(body)),
    }
    session.send_headers(1, list(headers.items()))
    while body:
        room = min(session.local_flow_control_window(1), session.max_outbound_frame_size, len(body))
        if room > 0:
            session.send_data(1, body[:room], end_stream=room == len(body))
            body = body[room:]
        connection.sendall(session.data_to_send())
        if room <= 0:
            for event in session.receive_data(connection.recv(65536)):
                assert not isinstance(event, h2.events.ResponseReceived), event
            connection.sendall(session.data_to_send())
    waits(connection, delay)
    session.reset_stream(1, h2.errors.ErrorCodes.CANCEL)
    connection.sendall(session.data_to_send())
    return connection


def dies_in_the_middle(target: Target, tag: str, body: bytes, delay: float) -> None:
    with connect(target) as connection:
        connection.sendall(request(target, tag, body)[: len(body) // 2])
        waits(connection, delay)


def has_its_worker_killed(target: Target, tag: str, body: bytes, delay: float) -> None:
    sends(target, tag, body, delay)
    before = target.use().workers
    for worker in before:
        # Another one of these tests may have been faster.
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(worker), signal.SIGKILL)
    wait_for("other workers", lambda: not before & target.use().workers)


def has_a_replica_killed(target: Target, tag: str, body: bytes, delay: float) -> ssl.SSLSocket:
    connection = sends(target, tag, body, delay)
    name = target.front.containers["registry-1"]
    command("docker", "kill", name, check=False)
    command("docker", "start", name)
    return connection


# ---- what must hold --------------------------------------------------------------------------------------------------


class Tag:
    """What a tag was seen to be, and what was acknowledged."""

    def __init__(self, target: Target) -> None:
        self.name = f"v1.{secrets.token_hex(4)}"
        self.target = target
        self.seen: list[str] = []
        self.statuses: list[int] = []

    def push(self) -> int:
        """Another user's push of another image; its status."""
        content = manifest(LAYER, annotations={"number": secrets.token_hex(8)})
        client = self.target.client("pusher")
        try:
            answer = client.ask("PUT", f"/v2/{REPOSITORY}/manifests/{self.name}", content, Content_Type=OCI)
        except OSError:
            return 0
        self.statuses.append(answer.status)
        if answer.status == 201:
            self.note(digest_of(content))
        return answer.status

    def look(self) -> None:
        for replica in REPLICAS:
            with contextlib.suppress(OSError):
                if digest := self.target.front.registry(replica).digest(REPOSITORY, self.name):
                    self.note(digest)

    def note(self, digest: str) -> None:
        if not self.seen or self.seen[-1] != digest:
            self.seen.append(digest)


@pytest.fixture(scope="module")
def seconds(target: Target) -> float:
    """How long the push of a large manifest takes where the client stays."""
    registry = target.front.registry()
    for content in (LAYER, b"{}"):
        registry.put_blob(REPOSITORY, content)
    client = target.client("attacker")
    client.ask("GET", "/v2/")
    began = time.monotonic()
    answer = client.ask("PUT", f"/v2/{REPOSITORY}/manifests/{Tag(target).name}", large(), Content_Type=OCI)
    assert answer.status == 201, answer
    return time.monotonic() - began


@pytest.mark.parametrize(
    "go",
    [closes, resets, half_closes, resets_the_stream, dies_in_the_middle, has_its_worker_killed, has_a_replica_killed],
)
def test_a_tag_stays_when_the_client_goes(target: Target, seconds: float, go: Callable[..., object]) -> None:
    tags = {moment: Tag(target) for moment in MOMENTS}

    def pursue(share: float, tag: Tag) -> object:
        kept = go(target, tag.name, large(), share * seconds)
        end = time.monotonic() + AFTERWARDS * seconds + 1
        # A tag may be busy for longer, and not for good.
        while (now := time.monotonic()) < end or (now < end + PATIENCE and not tag.seen):
            tag.push()
            tag.look()
            time.sleep(0.2)
        return kept

    at_once([lambda share=share, tag=tag: pursue(share, tag) for share, tag in tags.items()])
    for moment, tag in tags.items():
        print(f"gone after {moment * seconds:.1f} s: pushes heard {tag.statuses}; the tag was {tag.seen}")
    assert all(len(tag.seen) == 1 for tag in tags.values())


def test_two_pushes_at_once_acknowledge_one(target: Target) -> None:
    """Each of many clients pushes its own image; the one that is told so is the one that stays."""
    for _turn in range(3):
        tag = Tag(target)
        statuses = at_once([tag.push] * 8)
        assert statuses.count(201) <= 1, statuses
        # All may have been told that it is busy.
        wait_for("an answer about the tag", lambda tag=tag: tag.push() in {201, 403}, PATIENCE)
        tag.look()
        assert len(tag.seen) == 1, (tag.seen, statuses)

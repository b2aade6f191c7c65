"""Memory of the workers, and what comes back when one of them is killed (issue 16, A3)."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
from typing import TYPE_CHECKING

import pytest
from addresses import attackers
from attack import attacked, withstands
from engine import wait_for
from http_client import OCI, manifest
from target import VICTIMS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from target import Target

MEGABYTE = 1 << 20
# Seconds for which a worker that died may lock a client out, at most.
PATIENCE = 120


@pytest.mark.parametrize(
    ("addresses", "method", "path"),
    [
        (1, "POST", "/v2/apps/pushed/blobs/uploads/"),
        (20, "PUT", "/v2/apps/pushed/manifests/one"),
    ],
)
def test_bodies_while_a_password_is_checked(target: Target, addresses: int, method: str, path: str) -> None:
    """9 connections with 110 streams, each with a megabyte that is there before the password is known to be wrong."""
    connections = max(9, addresses)
    withstands(
        target,
        "streams",
        addresses,
        connections=connections,
        streams=990 // connections,
        method=method,
        path=path,
        credential={"scheme": "basic", "names": VICTIMS[:9]},
        length=2 * MEGABYTE,
        first=MEGABYTE,
        rate=10,
        ready=4,
    )


def test_bodies_without_a_password(target: Target) -> None:
    options = {
        "method": "PUT",
        "path": "/v2/apps/pushed/manifests/one",
        "length": 2 * MEGABYTE,
        "first": MEGABYTE,
        "rate": 100,
    }
    withstands(target, "streams", 20, connections=20, streams=49, ready=4, **options)


@pytest.mark.parametrize("frame", ["settings", "continuation"])
def test_frames_that_no_client_sends(target: Target, frame: str) -> None:
    withstands(target, "frames", 20, connections=20, frame=frame, rate=400)


def test_blocks_of_headers_on_many_streams(target: Target) -> None:
    """Each as large as nginx takes them, by a client that never reads what it is answered."""
    headers = {f"x-{number}": "y" * 3500 for number in range(7)}
    withstands(
        target, "streams", 20, connections=20, streams=50, headers=headers, window=0, path="/v2/", rate=100, ready=4
    )


# ---- a worker that is killed -----------------------------------------------------------------------------------------


@contextlib.contextmanager
def in_flight(target: Target) -> Iterator[str]:
    """Pushes of manifests and blobs, and reads, that are under way; the tag that is being pushed."""
    tag = f"v{secrets.token_hex(4)}"
    fixed = target.remembered("attacker")
    body = len(manifest(b"x"))
    stalled = {"connections": 4, "credential": fixed, "length": body, "first": body - 1, "every": 600}
    with contextlib.ExitStack() as stack:
        for number, (method, path) in enumerate(
            [
                ("PUT", f"/v2/apps/pushed/manifests/{tag}"),
                ("POST", "/v2/apps/pushed/blobs/uploads/"),
                ("GET", "/healthz"),
            ]
        ):
            options = {"method": method, "path": path, "streams": 3, "headers": {"content-type": OCI}, **stalled}
            stack.enter_context(attacked(target, "streams", attackers(1, 1 + number), **options))
        yield tag


@pytest.mark.parametrize("turn", range(2))
def test_what_a_killed_worker_held_comes_back(narrow: Target, turn: int) -> None:
    """Slots of the replicas, tags that are being pushed, the count of what is written: their memory outlives it."""
    with in_flight(narrow) as tag:
        kill(narrow, len(narrow.use().workers))
    came_back(narrow, tag)


def test_what_several_killed_workers_held_comes_back(narrow: Target) -> None:
    """One after another, as by an attacker who can have one killed: together they held more slots than there are."""
    for _turn in range(4):
        with in_flight(narrow) as tag:
            kill(narrow, 1)
    came_back(narrow, tag)
    # As many at once as before.
    assert not narrow.mix().run(2).failures


def kill(target: Target, count: int) -> None:
    killed: set[str] = set()
    while len(killed) < count:
        for worker in sorted(target.use().workers - killed)[: count - len(killed)]:
            # nginx may have replaced it since, as it does a while after another one was killed.
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(worker), signal.SIGKILL)
                killed.add(worker)
    wait_for("other workers", lambda: len(target.use().workers - killed) == len(target.use().workers))


def came_back(target: Target, tag: str) -> None:
    wait_for("the mix is served", lambda: not target.mix().once(), PATIENCE)
    wait_for("the tag can be pushed", lambda: pushed(target, tag), PATIENCE)
    wait_for("a moment in which nothing is written", target.quiet, PATIENCE)


def pushed(target: Target, tag: str) -> bool:
    client = target.client("pusher")
    client.put_blob("apps/pushed", b"{}")
    client.put_blob("apps/pushed", b"again")
    return client.ask("PUT", f"/v2/apps/pushed/manifests/{tag}", manifest(b"again"), Content_Type=OCI).status == 201

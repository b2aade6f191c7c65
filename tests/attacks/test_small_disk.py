"""The small disk of the proxy, which bodies, the owners of uploads and remembered passwords share (issue 16, A2)."""

from __future__ import annotations

import concurrent.futures
import time
from typing import TYPE_CHECKING

import pytest
from addresses import attackers
from attack import DISK, Watch, attacked, withstands
from http_client import OCI
from target import VICTIMS

if TYPE_CHECKING:
    from target import Target

# With the framing of a file each, more than the 64 MiB of the disk.
COUNT, SIZE = 7500, 7000


def flood(
    target: Target, addresses: int, credential: dict, *, shared: bool = False, count: int = COUNT
) -> dict[str, int]:
    """Requests with credentials that are all different, as fast as they are answered."""
    connections = max(8, addresses)
    options = {"connections": connections, "credential": credential, "count": count, "rate": 5000}
    return withstands(target, "flood", addresses, shared=shared, **options)


@pytest.mark.parametrize(("addresses", "shared"), [(1, False), (20, False), (1, True)])
def test_distinct_tokens(target: Target, addresses: int, shared: bool) -> None:
    answers = flood(target, addresses, {"scheme": "bearer", "size": SIZE}, shared=shared)
    assert not set(answers) & {"500", "502", "503"}, answers


def test_distinct_passwords_of_names_that_are_invented(target: Target) -> None:
    flood(target, 20, {"scheme": "basic", "size": 5000})


def test_distinct_passwords_of_users(target: Target) -> None:
    flood(target, 20, {"scheme": "basic", "size": 5000, "names": VICTIMS}, count=2000)


def test_headers_that_are_no_credentials(target: Target) -> None:
    flood(target, 20, {"scheme": "malformed", "size": SIZE})


@pytest.mark.parametrize(
    ("size", "method", "path"),
    [
        (8_000_000, "PUT", "/v2/apps/stalled/manifests/one"),
        (3_900_000, "PUT", "/v2/apps/stalled/manifests/v1"),
    ],
)
def test_bodies_of_one_user_that_stall(target: Target, size: int, method: str, path: str) -> None:
    """All but the last byte of each is there."""
    withstands(
        target,
        "streams",
        1,
        connections=4,
        streams=20,
        method=method,
        path=path,
        headers={"content-type": OCI},
        credential=target.remembered("attacker"),
        length=size,
        first=size - 1,
        every=600,
        ready=4,
        rate=20,
    )


def test_uploads_that_are_begun_and_never_ended(target: Target) -> None:
    """Each is remembered with its owner for a day."""
    options = {"connections": 4, "method": "POST", "path": "/v2/apps/begun/blobs/uploads/", "rate": 5000, "count": 3000}
    fixed = target.remembered("attacker")
    with attacked(target, "flood", attackers(1), credential=fixed, **options) as attacker, Watch(target) as watch:
        answers = attacker.finish(20)
    assert watch.peak_disk < DISK, answers
    assert not target.well()
    # One of another user goes on after a pause.
    client = target.client("pusher")
    location = client.begin("apps/pushed")
    time.sleep(0.5)
    assert client.ask("PATCH", location, b"x").status == 202


def test_uploads_that_many_begin_at_once_do_not_forget_whose_they_are(target: Target) -> None:
    """An owner that was forgotten to make room would leave the upload to any user."""
    owner = target.client("pusher")
    location = owner.begin("apps/pushed")

    def begin(_number: int) -> int:
        return target.client("attacker").ask("POST", "/v2/apps/begun/blobs/uploads/", b"").status

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(begin, range(200)))
    assert set(statuses) <= {202, 429, 503}, statuses
    assert target.client("attacker").ask("PATCH", location, b"x").status in {401, 403}
    assert owner.ask("PATCH", location, b"x").status == 202

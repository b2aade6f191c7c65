"""Uploads whose replica stops between two of their parts."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING

import pytest
from content import digest_of
from engine import command, wait_for
from front import REPLICAS, with_digest

if TYPE_CHECKING:
    from collections.abc import Callable

    from front import Front

MIB = 1 << 20


@pytest.fixture(scope="module")
def proxy(fronts: Callable[..., Front]) -> Front:
    return fronts([{"name": "ci", "access": "push"}])


def answers(proxy: Front, replica: int) -> bool:
    try:
        return proxy.registry(replica).ask("GET", "/v2/").status == 200
    except OSError:
        return False


def test_an_upload_goes_on_with_another_replica(proxy: Front) -> None:
    """Whichever of them took the part before, it is gone when the next part comes."""
    client = proxy.client("ci")
    location = client.begin("big/app")
    parts = [secrets.token_bytes(8 * MIB) for _each in range(2 * len(REPLICAS))]
    for number, part in enumerate(parts):
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
        wait_for("the replica is back", lambda replica=replica: answers(proxy, replica))
        # nginx tries it again after its fail_timeout; both gone within that is another test.
        time.sleep(5)
    digest = digest_of(b"".join(parts))
    assert client.ask("PUT", with_digest(location, digest), b"").status == 201
    answer = client.ask("GET", f"/v2/big/app/blobs/{digest}")
    assert digest_of(answer.body) == digest

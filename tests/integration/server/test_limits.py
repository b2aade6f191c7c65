"""Limits of the proxy: from which networks it is used, and how much at once."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from http_client import ACCEPT, at_once

if TYPE_CHECKING:
    from collections.abc import Callable

    from front import Front


@pytest.fixture(scope="module")
def strict(fronts: Callable[..., Front]) -> Front:
    """One that serves no clients from here but those that a proxy before it forwards."""
    return fronts(
        [{"name": "ci", "access": "push"}, {"name": "far", "access": "push", "allowed_networks": ["198.51.100.0/24"]}],
        reverse_proxy_allowed_networks=["192.0.2.0/24", "198.51.100.0/24"],
        reverse_proxy_trusted_proxies=["127.0.0.0/8", "172.16.0.0/12"],
        reverse_proxy_connections_per_replica=1,
        reverse_proxy_connections_per_user=4,
    )


def test_networks_count_by_the_address_that_a_trusted_proxy_tells(strict: Front) -> None:
    for user, address, expected in (
        ("ci", "192.0.2.7", 200),
        ("ci", "198.51.100.7", 200),
        ("ci", "203.0.113.7", 403),
        ("ci", "192.0.2.7, 203.0.113.7", 403),
        ("far", "198.51.100.7", 200),
        ("far", "192.0.2.7", 403),
    ):
        answer = strict.client(user).ask("GET", "/v2/", X_Forwarded_For=address)
        assert answer.status == expected, (user, address, answer)
    # Before any password is looked at, and after it for a network that is one user's.
    assert strict.client("ci", "wrong").ask("GET", "/v2/", X_Forwarded_For="203.0.113.7").code == "DENIED"
    assert strict.client("far", "wrong").ask("GET", "/v2/", X_Forwarded_For="192.0.2.7").status == 401
    assert strict.client("ci").ask("GET", "/v2/").code == "DENIED"


def test_too_much_is_said_and_nobody_hangs(strict: Front) -> None:
    def push(number: int) -> Callable:
        address = f"192.0.2.{number}"
        client = strict.client("ci")

        def slow() -> object:
            for _each in range(8):
                time.sleep(0.2)
                yield b"x" * 1000

        def run() -> tuple[int, str | None, float]:
            began = time.monotonic()
            answer = client.ask("POST", "/v2/a/blobs/uploads/", b"", X_Forwarded_For=address)
            if answer.status == 202:
                answer = client.ask("PATCH", answer.headers["Location"], slow(), X_Forwarded_For=address)
            return answer.status, answer.headers["Retry-After"], time.monotonic() - began

        return run

    strict.client("ci").ask("GET", "/v2/", X_Forwarded_For="192.0.2.1")
    answers = at_once([push(number) for number in range(8)])
    statuses = [status for status, _again, _seconds in answers]
    assert {202, 503} == set(statuses), statuses
    assert all(again and seconds < 3 for status, again, seconds in answers if status == 503), answers
    # The same from one address is one user's, who may have four.
    # Where replicas say no to most of them at once, there are no four for a moment.
    statuses = set()
    for _turn in range(5):
        statuses |= {status for status, _again, _seconds in at_once([push(9) for _each in range(12)])}
        if 429 in statuses:
            break
    assert 429 in statuses, statuses
    assert strict.client("ci").ask("GET", "/v2/", X_Forwarded_For="192.0.2.1", Accept=ACCEPT).status == 200

"""What passwords cost the host: a right one is computed once, and guesses are counted."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from http_client import at_once

if TYPE_CHECKING:
    from collections.abc import Callable

    from front import Front
    from http_client import Client


@pytest.fixture(scope="module")
def proxy(fronts: Callable[..., Front]) -> Front:
    # What passwords cost by the role, and how long a wrong one waits for its answer.
    users = [{"name": "admin", "access": "admin"}, {"name": "ci2", "access": "push"}]
    return fronts(users, reverse_proxy_bcrypt_cost=12, reverse_proxy_wrong_password_seconds=3)


def seconds_of(client: Client) -> float:
    began = time.monotonic()
    assert client.ask("GET", "/v2/").status == 200
    return time.monotonic() - began


def test_passwords_are_computed_once_and_guesses_counted(proxy: Front) -> None:
    right = proxy.client("ci2")
    seconds_of(right)
    # bcrypt at cost 12 takes some 200 ms.
    assert min(seconds_of(right) for _each in range(5)) < 0.02
    guesses = [proxy.client("ci2", f"guess {number}") for number in range(20)]
    answers = at_once([lambda guess=guess: guess.ask("GET", "/v2/") for guess in guesses])
    assert {answer.status for answer in answers} == {401, 429}
    late = next(answer for answer in answers if answer.status == 429)
    assert (late.status, late.code) == (429, "TOOMANYREQUESTS")
    assert int(late.headers["Retry-After"]) > 0
    # Who is right is served on, and so is everybody else.
    assert seconds_of(right) < 0.2
    assert proxy.client("admin").ask("GET", "/v2/").status == 200

"""Guesses take nothing from others, and tell nothing (issue 16, A4)."""

from __future__ import annotations

import itertools
import statistics
import time
from typing import TYPE_CHECKING

import pytest
from addresses import LEGITIMATE, attackers, other_prefixes, same_prefix
from attack import attacked, withstands
from http_client import at_once
from target import NAMES, RATE, VICTIMS

if TYPE_CHECKING:
    from target import Target

# Two names whose answers come at times that differ by less look alike to those who ask over a network.
ALIKE_SECONDS = 0.02
PROBES = 20
# Much less than a check of a password takes.
REMEMBERED_WITHIN_SECONDS = 0.1
# As many guesses as may queue, each computed in a fifth of a second, or twice that on a busy machine.
BEHIND_GUESSES_SECONDS = 3
# nginx forgets how often an address has asked after so long; each test has addresses of its own instead.
HOSTS = itertools.count(100)


def wrong(*names: str, size: int = 12) -> dict[str, object]:
    return {"scheme": "basic", "names": list(names) or None, "size": size}


# ---- others at the same address --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "credential",
    [wrong(), wrong(size=3000), {"scheme": "malformed"}, {"scheme": "bearer"}],
    ids=["short", "long", "malformed", "token"],
)
def test_names_that_are_invented_behind_a_nat(target: Target, credential: dict) -> None:
    """500 in a moment, and on; the right passwords of others come from the same address."""
    withstands(target, "flood", 1, shared=True, connections=10, credential=credential, rate=1200)


@pytest.mark.parametrize("addresses", [1, 20])
def test_nine_names_at_once(target: Target, addresses: int) -> None:
    options = {"connections": max(9, addresses), "credential": wrong(*VICTIMS[:9]), "rate": 200}
    withstands(target, "flood", addresses, **options)


def test_nine_names_at_once_behind_a_nat(target: Target) -> None:
    """A login of the same address is computed after the guesses that came before it, and is not refused."""
    options = {"connections": 9, "credential": wrong(*VICTIMS[:9]), "rate": 200}
    withstands(target, "flood", shared=True, bounds={"login": BEHIND_GUESSES_SECONDS}, **options)


@pytest.mark.parametrize("addresses", [1, 20])
def test_one_name_with_many_passwords(target: Target, addresses: int) -> None:
    options = {"connections": 20, "credential": wrong("victim-10"), "rate": 200}
    withstands(target, "flood", addresses, **options)


def test_the_right_password_of_a_name_that_is_guessed_at(target: Target) -> None:
    """From another address, while many guess at it."""
    name = "victim-19"
    with attacked(target, "flood", attackers(20), connections=20, credential=wrong(name), rate=200):
        began = time.monotonic()
        answer = target.client(name).ask("GET", "/v2/")
    assert answer.status == 200, answer
    assert time.monotonic() - began < 2


# ---- IPv6 ------------------------------------------------------------------------------------------------------------


def throttled(target: Target, addresses: list[str], name: str, count: int = 60) -> int:
    """How many of so many guesses, each from the next address, are refused unheard."""

    def guess(number: int) -> int:
        client = target.client(name, f"wrong-{time.monotonic()}-{number}")
        try:
            return client.ask("GET", "/v2/", X_Forwarded_For=addresses[number % len(addresses)]).status
        except TimeoutError:
            # It waits for its password to be checked, and so was not refused unheard.
            return 0

    statuses = [
        status
        for first in range(0, count, 10)
        for status in at_once([lambda number=number: guess(number) for number in range(first, first + 10)])
    ]
    assert set(statuses) <= {0, 401, 429}, statuses
    return statuses.count(429)


def test_a_prefix_of_ipv6_counts_as_one_address(relayed: Target) -> None:
    assert throttled(relayed, same_prefix(60), "victim-00") >= 25
    # Any 64 bits of the host do.
    spread = [f"2001:db8:0:2:{number:x}:{number * 7919 % 65536:x}::{number:x}" for number in range(1, 61)]
    assert throttled(relayed, spread, "victim-01") >= 25
    assert throttled(relayed, ["203.0.113.1"], "victim-02") >= 25


def test_the_neighbours_of_a_prefix_are_not_throttled(relayed: Target) -> None:
    throttled(relayed, same_prefix(30, "2001:db8:0:3"), "victim-03", 30)
    client = relayed.client("victim-03")
    assert client.ask("GET", "/v2/", X_Forwarded_For="2001:db8:0:4::1").status == 200


@pytest.mark.parametrize("form", ["one /64", "many /64"])
def test_guesses_by_ipv6(relayed: Target, form: str) -> None:
    forwarded = same_prefix(200, "2001:db8:0:5") if form == "one /64" else other_prefixes(20)
    options = {"connections": 10, "credential": wrong(*VICTIMS[4:8]), "rate": 200}
    withstands(relayed, "flood", 1, forwarded=forwarded, legitimate="2001:db8:ffff::1", **options)


# ---- limits for users ------------------------------------------------------------------------------------------------


# The health check is answered from memory, and counts for no user.
@pytest.mark.parametrize(("path", "names"), [("/v2/", None), ("/v2/", ["reader"])])
def test_no_limit_is_passed_by_names(relayed: Target, path: str, names: list[str] | None) -> None:
    """What one user may have from an address is not multiplied by the names that are told."""
    forwarded = [f"203.0.113.{next(HOSTS)}"]
    flood = {"connections": 10, "credential": wrong(*(names or [])), "path": path, "count": 1500, "rate": 1500}
    began = time.monotonic()
    with attacked(relayed, "flood", attackers(1), forwarded, **flood) as attacker:
        answers = attacker.finish(30)
    # A burst of as many as in five seconds comes on top.
    allowed = RATE * (5 + time.monotonic() - began)
    assert answers["sent"] - answers.get("429", 0) < allowed, answers


# ---- what is remembered ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "credential",
    [{"scheme": "bearer", "size": 7000}, wrong(size=5000), {"scheme": "malformed", "size": 7000}],
    ids=["token", "name", "malformed"],
)
def test_no_flood_makes_the_proxy_forget_a_password(target: Target, credential: dict) -> None:
    """Of those who logged in before it, none waits for a check of the password again."""
    names = NAMES[:5]
    for name in names:
        assert target.client(name).ask("GET", "/v2/").status == 200
    flood = {"connections": 20, "credential": credential, "count": 4000, "rate": 5000}
    with attacked(target, "flood", attackers(20), **flood) as attacker:
        attacker.finish(8)
    times = []
    for name in names:
        began = time.monotonic()
        assert target.client(name).ask("GET", "/v2/").status == 200
        times.append(time.monotonic() - began)
    assert statistics.median(times) < REMEMBERED_WITHIN_SECONDS, times


# ---- what times tell -------------------------------------------------------------------------------------------------


def probe(target: Target, name: str, source: str) -> float:
    """Seconds until a wrong password is refused, TLS apart."""
    client = target.client(source=source)
    client.connection.connect()
    header = target.front.basic(name, f"wrong-{time.monotonic()}")
    began = time.monotonic()
    assert client.ask("GET", "/v2/", Authorization=header).status in {401, 429}
    took = time.monotonic() - began
    client.connection.close()
    return took


def medians(target: Target, known: list[str], unknown: list[str]) -> tuple[float, float]:
    """Of names that exist and names that don't, in turn, each from its own address and with a pause."""
    times: tuple[list[float], list[float]] = ([], [])
    for number, pair in enumerate(zip(known, unknown, strict=True)):
        for each, name in enumerate(pair):
            times[each].append(probe(target, name, attackers(1, 100 + 2 * number + each)[0]))
            time.sleep(0.05)
    return statistics.median(times[0]), statistics.median(times[1])


@pytest.mark.parametrize("flooded", [False, True], ids=["calm", "flooded"])
def test_no_name_can_be_told_by_the_time_of_the_answer(target: Target, flooded: bool) -> None:
    known, unknown = VICTIMS[:PROBES], [f"vacant-{number:02}" for number in range(PROBES)]
    if flooded:
        with attacked(target, "flood", attackers(5), connections=5, credential=wrong(), rate=50):
            of_known, of_unknown = medians(target, known, unknown)
    else:
        of_known, of_unknown = medians(target, known, unknown)
    assert abs(of_known - of_unknown) < ALIKE_SECONDS, f"known {of_known:.3f} s, unknown {of_unknown:.3f} s"


def test_nor_by_the_time_of_a_remembered_user(target: Target) -> None:
    """A name that has logged in just now is remembered, and a wrong password of it still looks as one of any name."""
    known = NAMES[:10]
    for name in known:
        assert target.client(name, source=LEGITIMATE).ask("GET", "/v2/").status == 200
    of_known, of_unknown = medians(target, known, [f"vacant-{number:02}" for number in range(10)])
    assert abs(of_known - of_unknown) < ALIKE_SECONDS, f"known {of_known:.3f} s, unknown {of_unknown:.3f} s"

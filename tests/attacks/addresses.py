"""Addresses of this machine from which the tests ask, so that the proxy really sees many clients.

The kernel takes all of a network as its own by one route ("AnyIP"), and the containers of Docker's bridge answer to
where their gateway is: here. The network is of the range that is kept for benchmarks, and differs by checkout.
"""

from __future__ import annotations

import contextlib
import hashlib
from typing import TYPE_CHECKING

from engine import command
from paths import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

NETWORK = f"198.18.{hashlib.sha256(str(ROOT).encode()).digest()[0]}.0/24"
# The legitimate clients; attackers have those from 1 on.
LEGITIMATE = NETWORK.replace(".0/24", ".200")


def attackers(count: int, first: int = 1) -> list[str]:
    return [NETWORK.replace(".0/24", f".{first + number}") for number in range(count)]


def same_prefix(count: int, prefix: str = "2001:db8:0:1") -> list[str]:
    """Addresses of one /64."""
    return [f"{prefix}::{number + 1:x}" for number in range(count)]


def other_prefixes(count: int) -> list[str]:
    """Addresses of as many /64."""
    return [f"2001:db8:1:{number + 1:x}::1" for number in range(count)]


def route(image: str, action: str, *, check: bool = True) -> None:
    # By the engine, so that an account that may use it is enough.
    command(
        *(
            "docker",
            "run",
            "--rm",
            "--pull=never",
            "--network=host",
            "--user=0",
            "--cap-drop=ALL",
            "--cap-add=NET_ADMIN",
        ),
        *("--entrypoint=ip", image, "route", action, "local", NETWORK, "dev", "lo"),
        check=check,
    )


@contextlib.contextmanager
def borrowed(image: str) -> Iterator[None]:
    """The addresses are this machine's meanwhile; those that a killed run left are taken over."""
    route(image, "replace")
    try:
        yield
    finally:
        route(image, "del", check=False)

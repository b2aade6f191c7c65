"""The bench's machinery: fronts as tests/integration runs them, and addresses to attack from. One run at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
from typing import TYPE_CHECKING

import engine
import front
import pytest
from addresses import borrowed
from paths import ROOT
from target import NARROW, OPTIONS, RATE, Target, started, users

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(scope="session")
def images() -> Iterator[dict[str, str]]:
    answers = engine.command("docker", "version", "--format={{.Server.Version}}", check=False)
    assert answers.returncode == 0, f"No Docker Engine answers (make engine starts one): {answers.stderr}"
    # One run at a time: the addresses are of this machine.
    with (ROOT / ".cache" / "attacks.lock").open("w") as lock, engine.run():
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        made = engine.make_images()
        with borrowed(made["clients"]):
            yield made


@pytest.fixture(scope="session")
def targets(images: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Target]]:
    """Starts a front under a name and with options of the role, once for all tests that ask for it."""
    found: dict[str, Target] = {}
    with contextlib.ExitStack() as stack:

        def get(name: str, names: list[str] | None = None, **options: object) -> Target:
            if name not in found:
                directory = tmp_path_factory.mktemp(name)
                running = front.running(directory, images, users(names), **OPTIONS, **options)
                found[name] = started(stack.enter_context(running))
            return found[name]

        yield get


@pytest.fixture(scope="session")
def target(targets: Callable[..., Target]) -> Target:
    """The role's own limits."""
    return targets("defaults")


@pytest.fixture(scope="session")
def narrow(targets: Callable[..., Target]) -> Target:
    """Few slots and few connections, which an attacker reaches at little cost; 20 addresses have two thirds of them."""
    return targets(
        "narrow",
        reverse_proxy_connections_per_replica=16,
        reverse_proxy_open_files=2048,
        reverse_proxy_connections_per_address=NARROW,
    )


@pytest.fixture(scope="session")
def relayed(targets: Callable[..., Target]) -> Target:
    """Behind a proxy that tells whom it speaks for; with limits for each user."""
    return targets(
        "relayed",
        reverse_proxy_trusted_proxies=["198.18.0.0/15"],
        reverse_proxy_connections_per_user=20,
        reverse_proxy_requests_per_second=RATE,
    )


@pytest.fixture(autouse=True)
def settled(request: pytest.FixtureRequest) -> Iterator[None]:
    """Each test finds proxies that are well, whatever the one before it has done to them."""
    wanted = {"target", "narrow", "relayed"} & set(request.fixturenames)
    found = [request.getfixturevalue(name) for name in wanted]
    yield
    for each in found:
        each.settle()


assert os.environ.get("PYTEST_XDIST_WORKER") is None, "the bench measures: it runs in one process"

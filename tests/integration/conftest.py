"""The suite's machinery: real peers, real clients and the Pythons of managed hosts."""

from __future__ import annotations

import contextlib
import functools
import secrets
from typing import TYPE_CHECKING

import clients
import engine
import front
import hosts
import managed
import peers as peers_module
import pytest
from content import Content
from http_client import connection_to
from runs import run_at_registry, run_login

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from front import Front
    from hosts import Machine
    from peers import Peers

PYTHONS = managed.pythons()


def pytest_report_header() -> str:
    return "modules run with: " + ", ".join([*PYTHONS, "the python3 of the clients' container"])


@pytest.fixture(scope="session")
def session() -> Iterator[None]:
    answers = engine.command("docker", "version", "--format={{.Server.Version}}", check=False)
    assert answers.returncode == 0, f"No Docker Engine answers (make engine starts one): {answers.stderr}"
    with engine.run():
        managed.build_tree()
        yield


@pytest.fixture(scope="session")
def images(session: None) -> dict[str, str]:
    return engine.make_images()


@pytest.fixture(scope="session")
def booting(images: dict[str, str], request: pytest.FixtureRequest) -> dict[str, Machine]:
    """The hosts of the lab that a test asks for, which boot while the peers start."""
    wanted = any("machines" in item.fixturenames for item in request.session.items)
    return hosts.start(images) if wanted else {}


@pytest.fixture(scope="session")
def machines(booting: dict[str, Machine]) -> dict[str, Machine]:
    hosts.wait(booting)
    return booting


@pytest.fixture(scope="session")
def all_peers(
    booting: dict[str, Machine], images: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Peers]:
    yield from peers_module.start(tmp_path_factory.mktemp("peers"), images)


@pytest.fixture
def peers(all_peers: Peers) -> Iterator[Peers]:
    """The peers, with all knobs where they belong and the passwords that they began with."""
    users, token_users = dict(all_peers.users), dict(all_peers.tokens.users)
    all_peers.tokens.reset()
    yield all_peers
    all_peers.tokens.users = token_users
    if all_peers.users != users:
        all_peers.users = users
        all_peers.set_password("ci", users["ci"])


@pytest.fixture(scope="session")
def box(images: dict[str, str], all_peers: Peers, tmp_path_factory: pytest.TempPathFactory) -> clients.Box:
    """The root account of the container of the clients."""
    read_only = tmp_path_factory.mktemp("read-only")
    (read_only / "config.json").write_text('{"auths": {}}\n')
    return clients.Box(clients.start(images["clients"], all_peers.ca, read_only), "root")


@pytest.fixture
def root_box(box: clients.Box) -> clients.Box:
    """Root, in a home without settings of a client."""
    return without_settings(box, box.user)


@pytest.fixture
def user_box(box: clients.Box) -> clients.Box:
    """An ordinary account, in a home without settings of a client."""
    return without_settings(box, clients.USER)


def without_settings(box: clients.Box, user: str) -> clients.Box:
    account = clients.Box(box.container, user)
    box.run(
        f"""
        for command in gpg-agent keyboxd; do pkill -u {user} -x $command || true; done
        find {account.home} -mindepth 1 -delete
        rm -rf /run/containers /run/user/*/containers /etc/docker /etc/containers/certs.d
        """
    )
    return account


@pytest.fixture
def host(tmp_path: Path, session: None) -> managed.Host:
    """This machine and the Python that runs the tests, with a home of its own."""
    return at_home(tmp_path, managed.Host().python)


# The oldest; the others in `make long`. The hosts of the scenarios of molecule have newer ones.
@pytest.fixture(
    params=[
        pytest.param(name, marks=[pytest.mark.long] if name in list(PYTHONS)[1:] else [])
        for name in PYTHONS or ["none"]
    ]
)
def any_host(request: pytest.FixtureRequest, tmp_path: Path, session: None) -> managed.Host:
    """This machine and each Python in turn that modules must run with and that is here."""
    assert request.param in PYTHONS, "there is no Python here that ansible-core supports on managed hosts"
    return at_home(tmp_path, PYTHONS[request.param])


def at_home(tmp_path: Path, python: str) -> managed.Host:
    (tmp_path / "home").mkdir()
    return managed.Host(python=python, env={"HOME": str(tmp_path / "home")})


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A credential file that is not there yet, nor is its directory."""
    return tmp_path / "docker" / "config.json"


@pytest.fixture
def login(host: managed.Host, peers: Peers, config: Path) -> Callable[..., dict]:
    """Runs registry_login against the Basic peer by default, as a user whose password is right."""
    return functools.partial(run_login, host, peers, config)


@pytest.fixture
def room() -> str:
    """A part of the registry's names that no other test uses."""
    return f"room-{secrets.token_hex(4)}"


@pytest.fixture
def content(peers: Peers) -> Content:
    """What the registry behind the Basic peer holds, straight from it."""
    return Content(connection_to(peers["registry"]))


@pytest.fixture
def info(host: managed.Host, peers: Peers) -> Callable[..., dict]:
    """Runs registry_info at the Basic peer by default."""
    return functools.partial(run_at_registry, host, peers, "registry_info")


@pytest.fixture
def tag(host: managed.Host, peers: Peers) -> Callable[..., dict]:
    """Runs registry_tag at the Basic peer by default."""
    return functools.partial(run_at_registry, host, peers, "registry_tag")


@pytest.fixture
def retention(host: managed.Host, peers: Peers) -> Callable[..., dict]:
    """Runs registry_retention at the Basic peer by default."""
    return functools.partial(run_at_registry, host, peers, "registry_retention")


@pytest.fixture(scope="module")
def fronts(images: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Front]]:
    """Starts the proxy before registries of its own, with users and options of the role; all stop after the module."""
    with contextlib.ExitStack() as stack:

        def start(users: list[dict], **options: object) -> Front:
            directory = tmp_path_factory.mktemp("front")
            # Where nothing is said of them, the least: a password of cost 12 takes a quarter of a second,
            # and an answer to a wrong one is waited for.
            options.setdefault("reverse_proxy_bcrypt_cost", 5)
            options.setdefault("reverse_proxy_wrong_password_seconds", 1)
            return stack.enter_context(front.running(directory, images, users, **options))

        yield start

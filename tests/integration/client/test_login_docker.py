"""registry_login and the real docker command: each understands what the other wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from engine import command
from managed import assert_silent
from peers import docker_config, push_image
from steps import auths

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from peers import Peers

STORED = {"username": None, "password": None}


def password(peers: Peers, peer: str) -> str:
    return (peers.tokens.users if peer == "bearer" else peers.users)["ci"]


@pytest.fixture(params=["basic", "bearer"])
def peer(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def docker(config: Path, peers: Peers, peer: str) -> Callable[..., object]:
    """Runs docker with the client configuration that the module writes.

    A login elsewhere is there already: with none, Docker would take a helper that it finds installed on this machine.
    """
    docker_config(config, "other.example.com", "other", "secret")
    config.chmod(0o600)

    def run(*arguments: str, **options: object) -> object:
        done = command("docker", "--config", str(config.parent), *arguments, **options)
        assert_silent(done.stdout + done.stderr, {"username": "ci", "password": password(peers, peer)})
        return done

    return run


@pytest.fixture
def image(peers: Peers, peer: str, tmp_path: Path) -> Iterator[str]:
    """The reference of an image that only the registry holds."""
    pusher = tmp_path / "pusher"
    docker_config(pusher / "config.json", peers[peer], "ci", password(peers, peer))
    reference = push_image(peers[peer], "private/x", pusher, tmp_path)
    yield reference
    command("docker", "rmi", "--force", reference, check=False)


def test_docker_pulls_with_what_the_module_wrote(
    login: Callable[..., dict], docker: Callable, config: Path, peer: str, image: str
) -> None:
    # What it says depends on the peer: after a 401 on loopback Docker asks once more in plain HTTP.
    assert docker("pull", image, check=False).returncode != 0
    login(peer=peer)
    docker("pull", image)
    login(peer=peer, **STORED, state="absent")
    command("docker", "rmi", "--force", image)
    assert docker("pull", image, check=False).returncode != 0


def test_the_module_takes_what_docker_wrote(
    login: Callable[..., dict], docker: Callable, peers: Peers, config: Path, peer: str
) -> None:
    docker("login", "--username", "ci", "--password-stdin", peers[peer], stdin=password(peers, peer))
    before = config.read_bytes()
    entry = auths(config)[peers[peer]]
    # Docker exchanges the password where there is a token server that gives something for it.
    assert ("identitytoken" in entry) is (peer == "bearer")
    for options in (STORED, {}):
        for check in (True, False):
            found = login(peer=peer, **options, check=check, secrets=(entry.get("identitytoken", entry["auth"]),))
            assert (found["changed"], found["verified"], found["username"]) == (False, True, "ci")
            assert found["stored_in"] == "file"
    assert config.read_bytes() == before


def test_docker_logs_out_of_what_the_module_wrote(
    login: Callable[..., dict], docker: Callable, peers: Peers, config: Path, peer: str
) -> None:
    login(peer=peer)
    assert "Removing login credentials" in docker("logout", peers[peer]).stdout
    assert list(auths(config)) == ["other.example.com"]
    assert login(peer=peer, check=True)["changed"]


def test_the_module_logs_out_of_what_docker_wrote(
    login: Callable[..., dict], docker: Callable, peers: Peers, config: Path, peer: str
) -> None:
    docker("login", "--username", "ci", "--password-stdin", peers[peer], stdin=password(peers, peer))
    assert login(peer=peer, **STORED, state="absent")["changed"]
    assert list(auths(config)) == ["other.example.com"]
    with pytest.raises(AssertionError, match=r"no credentials|401|denied|unauthorized|HTTP 400"):
        docker("pull", f"{peers[peer]}/private/any")

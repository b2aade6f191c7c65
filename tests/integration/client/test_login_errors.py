"""registry_login where the registry can't be reached or is none: nothing is stored, and the message says what to do."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

import pytest
from steps import content, says

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from peers import Peers

# By case: the peer or the name, the options, and words that the message must have.
CASES = {
    "unknown CA": ("basic", {"ca_path": "OTHER_CA"}, ["unknown CA", "ca_path"]),
    "expired": ("expired", {}, ["certificate", "expired"]),
    "another name": ("other_name", {}, ["certificate", "name"]),
    "HTTP where HTTPS is expected": ("plain", {}, ["HTTPS", "plain_http"]),
    "HTTPS where HTTP is expected": ("basic", {"plain_http": True}, ["HTTPS", "plain_http"]),
    "no such name": ("no-such-registry.invalid", {}, ["resolve", "DNS"]),
    "refused": ("refused", {}, ["refused", "port"]),
    "404": ("not_found", {}, ["404"]),
    "403": ("forbidden", {}, ["403"]),
    "429": ("too_many", {}, ["429", "again"]),
    "429, for an hour": ("too_many_for_long", {}, ["429", "3600"]),
    "503": ("unavailable", {}, ["503", "log"]),
    "a web page": ("web_page", {}, ["registry"]),
    "a redirect to nowhere": ("elsewhere", {}, ["127.0.0.1:1"]),
    "no challenge": ("no_challenge", {}, ["authentication"]),
    "a token server over HTTP": ("clear_realm", {}, ["token server", "clear"]),
    "no CA file": ("basic", {"ca_path": "NONE"}, ["ca_path"]),
}


@pytest.fixture
def failing(login: Callable[..., dict], peers: Peers, tmp_path: Path) -> Callable[[str], tuple[str, dict]]:
    def run(case: str) -> tuple[str, dict]:
        peer, options, _words = CASES[case]
        paths = {"OTHER_CA": str(peers.other_ca), "NONE": str(tmp_path / "none.crt")}
        options = {key: paths.get(value, value) for key, value in options.items()}
        address = peers[peer] if peer in peers.ports else peer
        return address, login(peer=peer, timeout=5, failed=True, **options)

    return run


@pytest.mark.parametrize("case", CASES)
def test_what_failed_and_what_to_do(failing: Callable[[str], tuple[str, dict]], config: Path, case: str) -> None:
    began = time.monotonic()
    address, result = failing(case)
    subject = "none.crt" if case == "no CA file" else address
    # A server that asks for an hour's patience is not waited for.
    assert time.monotonic() - began < 12
    says(result, subject, *CASES[case][2])
    assert content(config) is None


def test_messages_tell_the_cases_apart(failing: Callable[[str], tuple[str, dict]], peers: Peers) -> None:
    cases = ["unknown CA", "expired", "another name", "HTTP where HTTPS is expected", "HTTPS where HTTP is expected"]
    cases += ["no such name", "refused", "404", "403", "503"]
    messages = set()
    for case in cases:
        address, result = failing(case)
        messages.add(result["msg"].replace(address, "X"))
    assert len(messages) == len(cases)


def test_a_server_that_says_nothing(login: Callable[..., dict], config: Path) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        began = time.monotonic()
        says(login(peer=address, timeout=1, failed=True), address, "1 second", "timeout")
        assert time.monotonic() - began < 8
    assert content(config) is None


def test_what_is_stored_stays(
    login: Callable[..., dict], failing: Callable[[str], tuple[str, dict]], config: Path
) -> None:
    login()
    before = config.read_bytes()
    for case in ("unknown CA", "HTTPS where HTTP is expected"):
        failing(case)
        assert config.read_bytes() == before


def test_a_password_goes_nowhere_else(login: Callable[..., dict], peers: Peers) -> None:
    """The server that the redirect leads to is a Basic peer, whose log tells whether a user came along."""
    before = len(peers.requests("basic_again"))
    login(peer="sent_on", failed=True)
    assert all(user == "-" for _method, _path, _status, user in peers.requests("basic_again")[before:])


@pytest.mark.parametrize(
    "registry",
    ["", "https://", "user:secret@registry.test", "registry.test:port", "registry test", "-x", "registry.test:99999"],
)
def test_what_is_no_registry(login: Callable[..., dict], config: Path, registry: str) -> None:
    message = login(registry=registry, failed=True)["msg"]
    assert "registry" in message
    assert content(config) is None

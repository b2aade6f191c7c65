"""The peers themselves: a test of a module that fails should not have to suspect them."""

from __future__ import annotations

import json
import secrets
import ssl
from typing import TYPE_CHECKING

import pytest
from managed import encoded, pythons
from peers import ANSWERS, docker_config, push_image

if TYPE_CHECKING:
    from pathlib import Path

    from clients import Box
    from peers import Peers


def basic(user: str, password: str) -> str:
    return "Basic " + encoded(f"{user}:{password}")


@pytest.mark.parametrize("name", ["basic", "basic_again"])
def test_basic(peers: Peers, name: str) -> None:
    anonymous = peers.get(name)
    assert anonymous.status == 401
    assert anonymous.headers["WWW-Authenticate"] == 'Basic realm="registry"'
    assert peers.get(name, Authorization=basic("ci", secrets.token_hex())).status == 401
    answer = peers.get(name, Authorization=basic("ci", peers.users["ci"]))
    assert (answer.status, answer.headers["Docker-Distribution-Api-Version"]) == (200, "registry/2.0")


def test_limited(peers: Peers) -> None:
    """Of the requests of one moment it lets one through at most."""
    answers = [peers.get("limited") for _number in range(3)]
    assert [answer.status for answer in answers[1:]] == [429, 429]
    assert answers[-1].headers["Retry-After"] == "1"


def test_a_password_changes_at_once(peers: Peers) -> None:
    former = basic("ci", peers.users["ci"])
    peers.set_password("ci", secrets.token_urlsafe())
    assert peers.get("basic", Authorization=former).status == 401
    assert peers.get("basic", Authorization=basic("ci", peers.users["ci"])).status == 200


@pytest.mark.parametrize("name", ANSWERS)
def test_answers(peers: Peers, name: str) -> None:
    expected = {
        "not_found": 404,
        "forbidden": 403,
        "unavailable": 503,
        "web_page": 200,
        "elsewhere": 302,
        "sent_on": 307,
    }
    expected |= {"no_challenge": 401, "clear_realm": 401}
    assert peers.get(name).status == expected.get(name, 429)


@pytest.mark.parametrize(("name", "says"), [("expired", "expired"), ("other_name", "IP address mismatch")])
def test_bad_certificates(peers: Peers, name: str, says: str) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match=says):
        peers.get(name)


def test_a_bearer_token_is_believed(peers: Peers) -> None:
    challenge = peers.get("bearer").headers["WWW-Authenticate"]
    assert challenge == f'Bearer realm="{peers.tokens.realm}",service="wharf-tests"'
    answer = peers.get("tokens", "/token?service=wharf-tests", Authorization=basic("ci", peers.tokens.users["ci"]))
    token = json.loads(answer.content)["token"]
    assert peers.get("bearer", Authorization=f"Bearer {token}").status == 200
    assert peers.get("bearer", Authorization=f"Bearer {token[:-8]}AAAAAAAA").status == 401


@pytest.mark.parametrize("peer", ["basic", "bearer"])
def test_docker_pushes(peers: Peers, peer: str, tmp_path: Path) -> None:
    password = (peers.users if peer == "basic" else peers.tokens.users)["ci"]
    docker_config(tmp_path / "config.json", peers[peer], "ci", password)
    push_image(peers[peer], "private/probe", tmp_path, tmp_path)


def test_the_clients_are_there(box: Box) -> None:
    for name in ("docker", "podman", "pass", "gpg", "docker-credential-pass", "docker-credential-ecr-login"):
        assert box.output(f"command -v {name}")
    assert box.output("python3 -c 'import sys; print(sys.version_info[:2])'") == "(3, 13)"


def test_pythons() -> None:
    assert pythons(), "no Python is here that ansible-core supports on managed hosts"

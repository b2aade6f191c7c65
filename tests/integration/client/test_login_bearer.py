"""registry_login against a registry that believes a token server: passwords by GET, identity tokens by POST."""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING

import pytest
from managed import encoded
from steps import auths, content, entry, four_runs, says

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from peers import Peers

STORED = {"username": None, "password": None}


@pytest.fixture
def bearer(login: Callable[..., dict]) -> Callable[..., dict]:
    def run(**options: object) -> dict:
        return login(peer="bearer", **options)

    return run


@pytest.fixture
def identity(peers: Peers, config: Path) -> str:
    """The identity token of an entry that lies in the file as `docker login` writes it."""
    token = peers.tokens.issue_refresh("ci")
    config.parent.mkdir()
    login = {"auth": encoded("ci:"), "identitytoken": token}
    config.write_text(json.dumps({"auths": {peers["bearer"]: login}}, indent="\t"))
    config.chmod(0o600)
    return token


def test_a_password(bearer: Callable[..., dict], peers: Peers, config: Path) -> None:
    done = four_runs(bearer, lambda: content(config))
    assert (done["verified"], done["username"], done["stored_in"]) == (True, "ci", "file")
    assert auths(config) == {peers["bearer"]: entry("ci", peers.tokens.users["ci"])}
    assert set(peers.tokens.methods()) == {"GET"}
    for request in peers.tokens.requests:
        assert (request.status, request.account, request.fields["service"]) == (200, "ci", "wharf-tests")


def test_a_wrong_password(bearer: Callable[..., dict], peers: Peers, config: Path) -> None:
    says(bearer(password=secrets.token_urlsafe(), failed=True), peers["bearer"], "401", "password", "ci")
    assert content(config) is None


def test_a_password_that_was_revoked(bearer: Callable[..., dict], peers: Peers, config: Path) -> None:
    bearer()
    before, former = config.read_bytes(), peers.tokens.users["ci"]
    peers.tokens.users = {"ci": secrets.token_urlsafe()}
    says(bearer(**STORED, failed=True, secrets=(former,)), peers["bearer"], "401")
    assert config.read_bytes() == before


def test_an_identity_token_is_kept(bearer: Callable[..., dict], peers: Peers, config: Path, identity: str) -> None:
    before = config.read_bytes()
    for options in (STORED, {}):
        for check in (True, False):
            kept = bearer(**options, check=check, secrets=(identity,))
            assert (kept["changed"], kept["verified"], kept["username"]) == (False, True, "ci")
    assert config.read_bytes() == before
    assert "POST" in peers.tokens.methods()
    posts = [request for request in peers.tokens.requests if request.method == "POST"]
    assert all(request.fields["grant_type"] == "refresh_token" and request.status == 200 for request in posts)


@pytest.mark.parametrize("status", [404, 405])
def test_a_token_server_that_knows_get_alone(
    bearer: Callable[..., dict], peers: Peers, config: Path, identity: str, status: int
) -> None:
    before = config.read_bytes()
    peers.tokens.post_status = status
    peers.tokens.refresh_as_password = True
    assert bearer(**STORED, secrets=(identity,))["verified"]
    assert peers.tokens.methods() == ["POST", "GET"]
    assert config.read_bytes() == before
    # And one that takes passwords only: the token is worth nothing there.
    peers.tokens.refresh_as_password = False
    says(bearer(**STORED, failed=True, secrets=(identity,)), peers["bearer"], "401")
    assert config.read_bytes() == before


def test_an_identity_token_that_was_revoked(
    bearer: Callable[..., dict], peers: Peers, config: Path, identity: str
) -> None:
    before = config.read_bytes()
    peers.tokens.refresh.clear()
    says(bearer(**STORED, failed=True, secrets=(identity,)), peers["bearer"], "401")
    says(bearer(password=secrets.token_urlsafe(), failed=True, secrets=(identity,)), peers["bearer"], "401")
    assert config.read_bytes() == before
    four_runs(bearer, lambda: content(config))
    assert auths(config) == {peers["bearer"]: entry("ci", peers.tokens.users["ci"])}


def test_another_user_replaces_an_identity_token(
    bearer: Callable[..., dict], peers: Peers, config: Path, identity: str
) -> None:
    peers.tokens.users = {**peers.tokens.users, "other": secrets.token_urlsafe()}
    done = bearer(username="other", password=peers.tokens.users["other"], secrets=(identity,))
    assert (done["changed"], done["username"]) == (True, "other")
    assert auths(config) == {peers["bearer"]: entry("other", peers.tokens.users["other"])}


def test_a_token_server_that_can_not_serve(
    bearer: Callable[..., dict], peers: Peers, config: Path, identity: str
) -> None:
    before = config.read_bytes()
    peers.tokens.post_status = 503
    message = says(bearer(**STORED, timeout=3, failed=True, secrets=(identity,)), "503", "token server", "log")
    assert peers["tokens"] in message
    assert config.read_bytes() == before

"""Logins and tokens at a registry and a token server that misbehave: success or one clear error."""

from __future__ import annotations

import pytest
from ansible_collections.wharf.registry.plugins.module_utils._common.errors import RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._distribution.auth import Credential, RefusedError
from ansible_collections.wharf.registry.plugins.module_utils._distribution.client_errors import (
    DeniedError,
)
from ansible_collections.wharf.registry.plugins.module_utils._distribution.transport_errors import AnswerError
from api_answers import DIGEST, LATEST, as_json, challenge, make_api, manifest
from misbehaving import Misbehaving, endless, reply


def test_the_password_is_sent_once_asked_for_and_then_at_once(server):
    api = make_api(server, Credential("ci", "geheim"))
    server.answer(LATEST, challenge(), manifest())
    for _each in range(3):
        assert api.head("a/b", "1.0").digest == DIGEST
    assert ["authorization" in request.headers for request in server.requests] == [False, True, True, True]


def test_a_password_that_is_refused(server):
    api = make_api(server, Credential("ci", "geheim"))
    server.answer(LATEST, challenge())
    with pytest.raises(RefusedError, match="refuses user 'ci'") as error:
        api.head("a/b", "1.0")
    assert "geheim" not in str(error.value)
    assert len(server.requests) == 2


def test_a_user_who_may_not(server):
    api = make_api(server, Credential("ci", "geheim"))
    server.answer(LATEST, as_json({"errors": [{"code": "DENIED", "message": "not yours"}]}, 403))
    with pytest.raises(DeniedError, match=r"user .ci. may not read a/b:1\.0: not yours"):
        api.manifest("a/b", "1.0")


def test_tokens_are_asked_for_once_for_each_repository(server):
    api = make_api(server, Credential("ci", "geheim"))
    needs = f'Bearer realm="http://{server.netloc}/token",service="s",scope="repository:a/b:pull"'

    def guarded(request, connection):
        known = request.headers.get("authorization") == "Bearer abc"
        return (manifest() if known else challenge(needs))(request, connection)

    server.answer(LATEST, guarded)
    server.answer("/token", as_json({"access_token": "abc", "expires_in": 300}))
    for _each in range(3):
        assert api.head("a/b", "1.0").digest == DIGEST
    (asked,) = server.seen("/token")
    assert "scope=repository%3Aa%2Fb%3Apull" in asked.target and asked.headers["authorization"].startswith("Basic ")


def test_a_token_that_allows_less(server):
    """The token server takes the login, and the registry does not take the token."""
    api = make_api(server, Credential("reader", "geheim"))
    server.answer(LATEST, challenge(f'Bearer realm="http://{server.netloc}/token",service="s"'))
    server.answer("/token", as_json({"token": "abc"}))
    with pytest.raises(DeniedError, match="user 'reader' may not read a/b"):
        api.head("a/b", "1.0")
    with pytest.raises(DeniedError, match="user 'reader' may not delete a/b"):
        api.delete_manifest("a/b", "1.0")


def test_nobody_is_told_of_a_stored_token(server):
    api = make_api(server)
    server.answer("/v2/", challenge(f'Bearer realm="http://{server.netloc}/token",service="s"'))
    server.answer("/token", reply(401))
    with pytest.raises(RefusedError, match="refuses this client"):
        api.ping()


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (reply(200, "<html>"), "without a token"),
        (reply(200, "{}"), "without a token"),
        (reply(200, '{"token": "a\\nb"}'), "without a token"),
        (reply(200, '{"token": "x", "expires_in": "soon"}'), "without a token"),
        (reply(200, "[]"), "without a token"),
        (reply(401, '{"errors": [{"code": "UNAUTHORIZED", "message": "no such user"}]}'), "no such user"),
        (reply(404), "answered 404"),
        (reply(500), "answered 500"),
        (endless(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 65536), "more than"),
    ],
)
def test_token_servers_that_misbehave(server, answer, says):
    api = make_api(server, Credential("ci", "geheim"))
    server.answer("/token", answer)
    server.answer(LATEST, challenge(f'Bearer realm="http://{server.netloc}/token",service="s"'))
    with pytest.raises(RegistryError, match=says):
        api.head("a/b", "1.0")


@pytest.mark.parametrize("realm", ["", "file:///etc/passwd", "not a url", "http://[::1"])
def test_a_token_server_that_is_none(server, realm):
    api = make_api(server, Credential("ci", "geheim"))
    server.answer(LATEST, challenge(f'Bearer realm="{realm}",service="s"'))
    with pytest.raises(AnswerError, match="no token server"):
        api.head("a/b", "1.0")


def test_what_a_token_server_has_before_the_at_is_not_shown(server):
    api = make_api(server, Credential("ci", "geheim"))
    server.answer(LATEST, challenge(f'Bearer realm="http://ci:other@{server.netloc}/token",service="s"'))
    for answer in (reply(200, "{}"), reply(401), reply(404)):
        server.answer("/token", answer)
        with pytest.raises(RegistryError, match=f"token server {server.netloc}") as error:
            api.head("a/b", "1.0")
        assert "other" not in str(error.value)


@pytest.mark.parametrize("answer", [reply(200, '{"token": "abc", "expires_in": %s}' % ("9" * 400))])
def test_a_token_with_an_absurd_life_can_be_used(server, answer):
    api = make_api(server, Credential("ci", "geheim"))
    server.answer("/token", answer)
    server.answer(LATEST, challenge(f'Bearer realm="http://{server.netloc}/token",service="s"'), manifest())
    assert api.head("a/b", "1.0").digest == DIGEST


def test_a_registry_that_takes_the_password(server):
    server.answer("/v2/", challenge(), as_json({}))
    assert make_api(server, Credential("ci", "geheim")).ping() is True
    server.answer("/v2/", as_json({}))
    assert make_api(server, Credential("ci", "geheim")).ping() is False


def test_a_page_that_takes_any_password_is_no_registry(server):
    server.answer("/v2/", challenge(), reply(200, "<html>welcome", Content_Type="text/html"))
    with pytest.raises(AnswerError, match="not as a registry"):
        make_api(server, Credential("ci", "geheim")).ping()


@pytest.mark.parametrize("page", [as_json({}), reply(200, "<html>log in", Content_Type="text/html")])
def test_another_host_does_not_speak_for_the_registry(server, page):
    with Misbehaving() as other:
        server.answer("/v2/", challenge(), reply(302, Location=f"http://{other.netloc}/sso"))
        other.answer("/sso", page)
        with pytest.raises(AnswerError):
            make_api(server, Credential("ci", "geheim")).ping()
        assert "authorization" not in other.requests[0].headers

"""registry_check against engines and registries that misbehave: each case ends in one clear error, in bounded time."""

from __future__ import annotations

import email.utils
import json
import time
from types import SimpleNamespace

import pytest
from inprocess import run_module
from misbehaving import Misbehaving, make_certificate, reply

DIGEST = "sha256:" + "1" * 64


def run(server, engine=None, **options):
    args = {"registry": server.netloc, "plain_http": True, "username": "ci", "password": "geheim", "timeout": 2}
    socket = engine.netloc if engine else "/nonexistent.sock"
    return run_module("registry_check", {**args, "engine": "docker", "socket": socket, **options})


def challenge(request, connection):
    if "authorization" in request.headers:
        return reply(200, "{}", Content_Type="application/json")(request, connection)
    return reply(401, WWW_Authenticate='Basic realm="x"')(request, connection)


@pytest.fixture
def registry(server):
    server.answer("/v2/", challenge)
    return server


def test_an_upload_that_is_refused_in_any_way(registry, engine):
    for status in (401, 403, 405):
        registry.answer("/v2/a/blobs/uploads/", reply(status, WWW_Authenticate='Basic realm="x"'))
        registry.answer("/v2/a/manifests/latest", reply(404))
        engine.answer("/images/json", reply(200, "[]"))
        result = run(registry, engine, access="pull", image="a")
        assert result["failed_hop"] == "pull", result["msg"]
        assert "has no" in result["msg"]


@pytest.mark.parametrize("status", [400, 404, 500, 503])
def test_an_upload_that_is_neither_begun_nor_refused(registry, status):
    registry.answer("/v2/a/blobs/uploads/", reply(status))
    result = run(registry, access="pull", image="a")
    assert (result["failed_hop"], result["verified"]) == ("upload refused", False)
    assert str(status) in result["msg"]


def test_an_engine_that_pulls_something_else(registry, engine):
    registry.answer("/v2/a/blobs/uploads/", reply(403))
    registry.answer(
        "/v2/a/manifests/latest",
        reply(200, Docker_Content_Digest=DIGEST, Content_Type="application/vnd.docker.distribution.manifest.v2+json"),
    )
    other = "sha256:" + "2" * 64
    image = {"Id": other, "RepoTags": [f"{registry.netloc}/a:latest"], "RepoDigests": [f"{registry.netloc}/a@{other}"]}
    engine.answer("/images/json", reply(200, "[]"), reply(200, json.dumps([image])))
    engine.answer("/images/create", reply(200, '{"status": "done"}'))
    engine.otherwise = reply(200, "[]")
    result = run(registry, engine, access="pull", image="a")
    assert result["failed_hop"] == "digest"
    assert DIGEST in result["msg"]
    assert other in result["msg"]
    assert "changes or caches" in result["cure"]


ELSEWHERE = "this registry does not serve this address, or not for this user: connect from a network that it allows"
UNCERTIFIED = "this registry asks for a client certificate that its CA has signed"


def denied(words):
    return reply(403, json.dumps({"errors": [{"code": "DENIED", "message": words}]}), Content_Type="application/json")


@pytest.mark.parametrize(
    ("answer", "mistake", "says", "cure"),
    [
        (denied(ELSEWHERE), "address_refused", ELSEWHERE, "reverse_proxy_allowed_networks"),
        (denied(UNCERTIFIED), "client_certificate", UNCERTIFIED, "client_cert and client_key"),
        (reply(403, "<h1>no</h1>"), "address_refused", "as for an address that it does not serve", "Connect from"),
    ],
)
def test_who_is_turned_away_before_a_login(server, answer, mistake, says, cure):
    server.answer("/v2/", answer)
    result = run(server)
    assert (result["failed_hop"], result["mistake"]) == ("registry", mistake)
    assert f"403 before any login: {says}" in result["msg"] or f"403 before any login, {says}" in result["msg"]
    assert cure in result["cure"]
    # No user was logged in.
    assert "user 'ci'" not in result["msg"]


def test_who_is_turned_away_after_a_login(server):
    server.answer("/v2/", challenge_then(denied(ELSEWHERE)))
    result = run(server)
    assert (result["failed_hop"], result["mistake"]) == ("credentials", "wrong_account")
    assert "user 'ci' may not use it" in result["msg"]


def challenge_then(answer):
    def behave(request, connection):
        return (answer if "authorization" in request.headers else challenge)(request, connection)

    return behave


def test_how_far_the_clocks_differ_is_told(registry, tmp_path):
    """The server lives two days ago, when its certificate was valid."""
    certificate = make_certificate(tmp_path / "server.pem", begins=-3, days=-1)
    date = email.utils.formatdate(time.time() - 2 * 86400, usegmt=True)
    with Misbehaving(certificate) as server:
        server.answer("/v2/", reply(401, Date=date))
        result = run(server, plain_http=False, ca_path=str(certificate))
    assert (result["failed_hop"], result["mistake"]) == ("TLS", "clock_off"), result
    assert result["seen"]["clock_ahead"] == pytest.approx(2 * 86400, abs=30)
    assert run(registry)["seen"]["clock_ahead"] is None


def test_one_connection_serves_all_hops(registry, engine):
    registry.answer("/v2/a/blobs/uploads/", reply(403))
    assert run(registry, engine, access="pull", image="a")["failed"]
    assert registry.connections == 1


def test_a_name_that_nobody_answers_for(monkeypatch):
    def wait(*_arguments, **_options):
        time.sleep(20)

    monkeypatch.setattr("socket.getaddrinfo", wait)
    began = time.monotonic()
    result = run(SimpleNamespace(netloc="slow.example.com"), timeout=1)
    assert time.monotonic() - began < 15
    assert result["failed_hop"] == "name"
    assert "no answer within 1 seconds" in result["msg"]


def test_a_proxy_is_named_by_the_hops(registry, server, monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://user:pass@{server.netloc}")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server.answer("http://registry.example.com/v2/", challenge)
    result = run(SimpleNamespace(netloc="registry.example.com"))
    assert result["verified"], result
    assert [f"by the HTTP proxy {server.netloc}" in hop["said"] for hop in result["hops"]] == [True, True, False, False]
    assert "pass@" not in json.dumps(result)
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
    result = run(SimpleNamespace(netloc="registry.example.com"), plain_http=False)
    assert (result["failed_hop"], result["mistake"]) == ("connection", "proxy")
    assert "127.0.0.1:1" in result["msg"]
    assert "HTTPS_PROXY" in result["cure"]


def test_a_credential_file_at_fault_is_at_fault_at_the_credentials(registry, tmp_path):
    (tmp_path / "config.json").write_text("{")
    result = run(registry, username=None, password=None, config_path=str(tmp_path / "config.json"))
    assert result["failed_hop"] == "credentials"
    assert "config.json" in result["msg"]

"""registry_push without an engine: what engines say, and what stands for an image."""

from __future__ import annotations

import pytest
from ansible_collections.wharf.registry.plugins.module_utils._common.errors import RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._common.reference import RegistryName, parse_reference
from ansible_collections.wharf.registry.plugins.module_utils._distribution.auth import Credential
from ansible_collections.wharf.registry.plugins.module_utils._engine import docker_push
from ansible_collections.wharf.registry.plugins.module_utils._engine.docker_push import Image
from ansible_collections.wharf.registry.plugins.module_utils._engine.error_patterns import auth_config, failure
from ansible_collections.wharf.registry.plugins.modules import registry_push
from inprocess import run_module

ONE, TWO, THREE = (f"sha256:{digit * 64}" for digit in "123")
OPTIONS = {"registry": "127.0.0.1:1", "repository": "apps/web", "tag": "1.0", "image": "web"}


# As engines from 20.10 to 28 word it.
@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            'Get "https://r.example.com/v2/": http: server gave HTTP response to HTTPS client',
            ["speaks HTTP", "insecure-registries"],
        ),
        (
            'Get "https://r.example.com/v2/": x509: certificate signed by unknown authority',
            ["does not know the CA", "/etc/docker/certs.d/r.example.com/ca.crt"],
        ),
        (
            "tls: failed to verify certificate: x509: certificate has expired or is not yet valid",
            ["TLS", "/etc/docker/certs.d/r.example.com"],
        ),
        ("denied: requested access to the resource is denied", ["may not push", "push access"]),
        (
            "error parsing HTTP 403 response body: invalid character '<' looking for beginning of value",
            ["may not push"],
        ),
        ("unauthorized: authentication required", ["rejected the credentials"]),
        ("no basic auth credentials", ["requires a login"]),
        ("toomanyrequests: You have reached your push rate limit", ["no more requests", "rate limit"]),
        ("received unexpected HTTP status: 507 Insufficient Storage: no space left on device", ["no space left"]),
        ("error parsing HTTP 413 response body: <html>413 Request Entity Too Large", ["client_max_body_size"]),
        ("missing content: content digest sha256:2589: not found Note: You're trying to push", ["several platforms"]),
        ("dial tcp: lookup r.example.com on 127.0.0.53:53: no such host", ["cannot resolve"]),
        ("dial tcp 127.0.0.1:1: connect: connection refused", ["cannot reach"]),
        ('Head "https://r.example.com/v2/x": EOF', ["cannot reach"]),
        ("received unexpected HTTP status: 502 Bad Gateway", ["cannot store it now", "http.secret"]),
        ("something new", ["the engine said: something new", "log"]),
        ("", ["the engine said: nothing"]),
    ],
)
def test_what_the_engine_says_and_what_to_do(words, says):
    message = str(failure(words, "r.example.com"))
    assert all(part in message for part in says), message
    assert words in message


def test_what_the_engine_says_is_kept_short_and_holds_no_secret():
    message = str(failure("denied: \x1b[31mgeheim\n" + "x" * 5000, "r.example.com", "geheim"))
    assert "geheim" not in message and "\x1b" not in message and "\n" not in message
    assert len(message) < 500


@pytest.mark.parametrize(
    ("credential", "registry", "config"),
    [
        (None, "r.example.com", {}),
        (
            Credential("ci", "geheim"),
            "r.example.com:5000",
            {"username": "ci", "password": "geheim", "serveraddress": "r.example.com:5000"},
        ),
        (
            Credential("ci", "geheim"),
            "docker.io",
            {"username": "ci", "password": "geheim", "serveraddress": "https://index.docker.io/v1/"},
        ),
        (
            Credential("", identity_token="geheim"),
            "r.example.com",
            {"identitytoken": "geheim", "serveraddress": "r.example.com"},
        ),
    ],
)
def test_the_login_as_the_engine_takes_it(credential, registry, config):
    assert auth_config(credential, RegistryName(registry)) == config


def test_an_image_by_its_identifier_and_by_what_the_engine_noted():
    image = Image(
        {"Id": ONE, "RepoTags": ["<none>:<none>", "web:1.0", f"web@{TWO}"], "RepoDigests": [f"r.example.com/web@{TWO}"]}
    )
    assert image.identifiers == {ONE}
    assert [str(tag) for tag in image.tags] == ["docker.io/library/web:1.0"]
    assert image.is_known_as(parse_reference("r.example.com/web:any"), TWO)
    assert not image.is_known_as(parse_reference("r.example.com/web:any"), THREE)
    assert not image.is_known_as(parse_reference("r.example.com/other:any"), TWO)
    assert Image({"Id": ONE, "RepoTags": None, "RepoDigests": None}).tags == []


def part(identifier, kind="image", here=True):
    return {"ID": identifier, "Kind": kind, "Available": here}


@pytest.mark.parametrize(
    ("manifests", "identifiers"),
    [
        (None, {ONE}),
        ([part(TWO)], {ONE}),
        ([part(TWO), part(THREE, here=False)], {ONE, TWO}),
        ([part(TWO), part(THREE, "attestation", here=False)], {ONE, TWO}),
        ([part(TWO), part(THREE), part(ONE, here=False)], {ONE}),
        ([part(TWO, here=False)], {ONE}),
    ],
)
def test_of_an_index_that_is_not_whole_one_manifest_is_pushed(manifests, identifiers):
    assert Image({"Id": ONE, "Manifests": manifests}).identifiers == identifiers


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"tag": "latest"}, "127.0.0.1:1/apps/web:latest could not be pushed: the tag latest"),
        ({"tag": "a b"}, "'a b' is no tag"),
        ({"repository": "Apps"}, "lower case"),
        ({"registry": "a b"}, "registry is 'a b'"),
        ({"timeout": 0}, "timeout is 0"),
    ],
)
def test_what_is_refused_before_the_engine_is_asked(monkeypatch, options, says):
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    result = run_module("registry_push", OPTIONS | options)
    assert result["failed"] and says in result["msg"], result
    assert "Docker Engine" not in result["msg"]


def test_no_engine(monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    message = run_module("registry_push", OPTIONS)["msg"]
    assert message.startswith("127.0.0.1:1/apps/web:1.0 could not be pushed: the Docker Engine cannot be reached")
    assert "DOCKER_HOST" in message


def test_no_sdk(monkeypatch):
    from ansible_collections.wharf.registry.plugins.modules import registry_push

    monkeypatch.setattr(registry_push, "HAS_DOCKER", False)
    result = run_module("registry_push", OPTIONS)
    assert result["failed"] and "docker" in result["msg"] and "exception" not in result
    assert docker_push.HAS_DOCKER


# Docker's own push and that of containerd, of a manifest whose URLs the registry does not allow.
@pytest.mark.parametrize(
    "words",
    [
        "received unexpected HTTP status: 500 Internal Server Error",
        (
            "failed to push r/win:1: unexpected status from PUT request to https://r/v2/win/manifests/1: 500 Internal "
            "Server Error: unknown: unknown error manifest blob unknown: blob unknown to registry"
        ),
        "received unexpected HTTP status: 503 Service Unavailable",
    ],
)
def test_layers_that_lie_elsewhere_are_thought_of(monkeypatch, words):
    monkeypatch.setattr(registry_push, "push", _failing(failure(words, "127.0.0.1:1")))
    assert "registry_manifest_urls_allow" in run_module("registry_push", OPTIONS)["msg"]


@pytest.mark.parametrize(
    "error",
    [
        failure("denied: requested access to the resource is denied", "127.0.0.1:1"),
        # Of the registry itself, asked before the engine was.
        RegistryError("127.0.0.1:1 answered 503", "Check its log", "registry_error"),
    ],
)
def test_layers_that_lie_elsewhere_are_not_thought_of(monkeypatch, error):
    monkeypatch.setattr(registry_push, "push", _failing(error))
    assert "registry_manifest_urls_allow" not in run_module("registry_push", OPTIONS)["msg"]


def _failing(error):
    def push(*_arguments):
        raise error

    return push

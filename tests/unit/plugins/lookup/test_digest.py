"""The lookup digest, against a server that answers as registries do, and as they should not."""

from __future__ import annotations

import base64
import json

import pytest
from ansible.errors import AnsibleLookupError
from misbehaving import reply

ONE, TWO = (f"sha256:{digit * 64}" for digit in "12")
INDEX = "application/vnd.oci.image.index.v1+json"
OPTIONS = {
    **dict.fromkeys(("username", "password", "ca_path", "client_cert", "client_key", "config_path")),
    "validate_certs": True,
    "plain_http": True,
    "timeout": 1,
}
CHALLENGE = {"WWW_Authenticate": 'Basic realm="registry"'}


@pytest.fixture(autouse=True)
def nobody(tmp_path, monkeypatch):
    """An account that is not logged in anywhere."""
    for name in ("DOCKER_CONFIG", "HOME", "XDG_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    monkeypatch.delenv("REGISTRY_AUTH_FILE", raising=False)


@pytest.fixture
def digest(plugin):
    """Looks names up, over HTTP by default."""
    digests = plugin("lookup", "digest").digests
    return lambda *names, **options: digests(list(names), OPTIONS | options)


def found(digest):
    return reply(200, Docker_Content_Digest=digest, Content_Type=INDEX)


def fails(digest, *names, **options):
    with pytest.raises(AnsibleLookupError) as error:
        digest(*names, **options)
    assert "geheim" not in str(error.value)
    return str(error.value)


def test_each_name_gives_its_digest_over_one_connection(digest, server):
    server.answer("/v2/apps/web/manifests/1.4.2", found(ONE))
    server.answer("/v2/apps/worker/manifests/latest", found(TWO))
    assert digest(f"{server.netloc}/apps/web:1.4.2", f"{server.netloc}/apps/worker") == [ONE, TWO]
    assert [request.method for request in server.requests] == ["HEAD", "HEAD"]
    assert INDEX in server.requests[0].headers["accept"]
    assert server.connections == 1


def test_no_name_gives_nothing(digest):
    assert digest() == []


def test_a_digest_is_looked_for(digest, server):
    server.answer(f"/v2/web/manifests/{ONE}", found(ONE))
    assert digest(f"{server.netloc}/web:1.0@{ONE}") == [ONE]
    message = fails(digest, f"{server.netloc}/web@{TWO}")
    assert f"{server.netloc}/web@{TWO}: there is no such image" in message


def test_a_missing_tag_is_named(digest, server):
    server.answer("/v2/web/manifests/1.0", found(ONE))
    message = fails(digest, f"{server.netloc}/web:1.0", f"{server.netloc}/web:1.1")
    assert f"{server.netloc}/web:1.1: there is no such image" in message


def test_the_login_of_the_options(digest, server):
    server.answer("/v2/web/manifests/1.0", reply(401, **CHALLENGE), found(ONE))
    assert digest(f"{server.netloc}/web:1.0", username="ci", password="geheim") == [ONE]
    assert server.requests[-1].headers["authorization"] == "Basic " + base64.b64encode(b"ci:geheim").decode()


def test_the_login_of_the_account(digest, server, tmp_path):
    server.answer("/v2/web/manifests/1.0", reply(401, **CHALLENGE), found(ONE), reply(401, **CHALLENGE), found(ONE))
    content = json.dumps({"auths": {server.netloc: {"auth": base64.b64encode(b"me:geheim").decode()}}})
    for path, options in (
        (tmp_path / "home" / "config.json", {}),
        (tmp_path / "other.json", {"config_path": str(tmp_path / "other.json")}),
    ):
        path.parent.mkdir(exist_ok=True)
        path.write_text(content, encoding="utf-8")
        assert digest(f"{server.netloc}/web:1.0", **options) == [ONE]
        assert server.requests[-1].headers["authorization"] == "Basic " + base64.b64encode(b"me:geheim").decode()
        path.unlink()


def test_a_refused_login_names_the_image_and_not_the_password(digest, server):
    server.answer("/v2/web/manifests/1.0", reply(401, **CHALLENGE))
    name = f"{server.netloc}/web:1.0"
    message = fails(digest, name, username="ci", password="geheim")
    assert message.startswith(f"{name}: {server.netloc} refuses user 'ci'")
    assert "asks for a login" in fails(digest, name)


def test_a_password_is_for_one_registry(digest, server):
    server.answer("/v2/web/manifests/1.0", found(ONE))
    names = [f"{server.netloc}/web:1.0", "other.example.com/web:1.0"]
    message = fails(digest, *names, username="ci", password="geheim")
    assert "other.example.com" in message and "one registry at a time" in message
    assert not server.requests


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"username": "ci"}, "username and password go together"),
        ({"password": "geheim"}, "username and password go together"),
        ({"username": "a:b", "password": "geheim"}, "username is 'a:b'"),
        ({"client_key": "/nonexistent"}, "client_cert and client_key go together"),
        ({"timeout": 0}, "timeout is 0"),
        ({"config_path": "/nonexistent/config.json", "plain_http": False}, "refused|HTTP"),
        ({"plain_http": False, "ca_path": "/nonexistent.crt"}, "ca_path /nonexistent.crt can't be read"),
        ({"plain_http": False}, "speaks HTTP"),
    ],
)
def test_options_that_can_not_be_meant(digest, server, options, says):
    message = fails(digest, f"{server.netloc}/web:1.0", **options)
    assert any(words in message for words in says.split("|")), message


def test_a_password_that_is_no_text_is_not_shown(plugin):
    with pytest.raises(AnsibleLookupError, match="is no text") as error:
        plugin("lookup", "digest").LookupModule().run(["web:1.0"], {}, username="ci", password={"geheim": 1})
    assert "geheim" not in str(error.value)


@pytest.mark.parametrize("name", ["a b", "", "r.example.com/Web:1.0", 5, None, ["web"]])
def test_what_is_no_name_of_an_image(digest, name):
    fails(digest, name)


def test_what_is_no_digest_is_not_handed_on(digest, server):
    server.answer("/v2/web/manifests/1.0", found("latest # comment"))
    assert "names no digest" in fails(digest, f"{server.netloc}/web:1.0")


def test_nobody_there(digest, server):
    assert "127.0.0.1:1/web:1.0: 127.0.0.1:1 refused the connection" in fails(digest, "127.0.0.1:1/web:1.0")
    server.answer("/v2/web/manifests/1.0", reply(500))
    assert f"{server.netloc}/web:1.0" in fails(digest, f"{server.netloc}/web:1.0")

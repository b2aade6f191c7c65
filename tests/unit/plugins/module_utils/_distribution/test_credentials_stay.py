"""What a registry answers leads to another server, which writes down all that it hears: never a password."""

from __future__ import annotations

import base64
import contextlib
import json

import pytest
from ansible_collections.wharf.registry.plugins.module_utils._client_config.keychain import find_credential
from ansible_collections.wharf.registry.plugins.module_utils._common.errors import RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._common.reference import parse_reference, parse_registry
from ansible_collections.wharf.registry.plugins.module_utils._distribution.auth import Credential
from ansible_collections.wharf.registry.plugins.module_utils._distribution.client import RegistryClient
from ansible_collections.wharf.registry.plugins.module_utils._distribution.manifest import OCI_MANIFEST
from ansible_collections.wharf.registry.plugins.module_utils._distribution.tls import TLSConfig
from ansible_collections.wharf.registry.plugins.module_utils._distribution.transport import HttpClient
from misbehaving import Misbehaving, make_certificate, reply

BASIC = "Basic " + base64.b64encode(b"ci:geheim").decode()
SECRETS = (BASIC.split()[1], "geheim", "dG9rZW4")
MANIFEST = json.dumps({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "layers": []})
DIGEST = "sha256:" + "a" * 64


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return make_certificate(tmp_path_factory.mktemp("tls") / "server.pem")


@pytest.fixture
def servers(certificate):
    """The registry, another server, and a third one that speaks no TLS."""
    with Misbehaving(certificate) as here, Misbehaving(certificate) as there, Misbehaving() as clear:
        yield here, there, clear


@pytest.fixture
def make_api(servers, certificate):
    with contextlib.ExitStack() as stack:

        def make(credential=None):
            client = stack.enter_context(HttpClient(TLSConfig("x", ca_path=str(certificate)), timeout=5, attempts=1))
            return RegistryClient(parse_registry(servers[0].netloc), client, credential or Credential("ci", "geheim"))

        yield make


def behind_login(behaviour, challenge="Basic realm=x", taken=BASIC):
    """Asks for a login, and then does this."""

    def behave(request, connection):
        if request.headers.get("authorization") == taken:
            return behaviour(request, connection)
        return reply(401, WWW_Authenticate=challenge)(request, connection)

    return behave


def heard(server):
    """All that came of it: must hold no secret."""
    return [
        secret
        for request in server.requests
        for text in (request.target, request.body.decode("latin-1"), *request.headers.values())
        for secret in SECRETS
        if secret in text
    ]


ASKS = {
    "manifest": lambda api: api.manifest("a/b", "1"),
    "head": lambda api: api.head("a/b", "1"),
    "tags": lambda api: api.tags("a/b"),
    "catalogue": lambda api: list(api.repositories()),
    "blob": lambda api: api.blob("a/b", DIGEST),
    "has_blob": lambda api: api.has_blob("a/b", DIGEST),
    "blob_begins": lambda api: api.blob_begins("a/b", DIGEST),
    "referrers": lambda api: api.referrers("a/b", DIGEST),
    "ping": lambda api: api.ping(),
    "challenges": lambda api: api.challenges(),
}


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("ask", ASKS)
def test_a_redirect_after_a_login(servers, make_api, ask, status):
    here, there, _clear = servers
    here.otherwise = behind_login(reply(status, Location=f"https://{there.netloc}/elsewhere"))
    there.otherwise = reply(200, MANIFEST, Content_Type=OCI_MANIFEST, Docker_Content_Digest=DIGEST)
    with contextlib.suppress(RegistryError):
        ASKS[ask](make_api())
    assert heard(here) or ask == "challenges"
    assert not heard(there)


@pytest.mark.parametrize("kind", ["basic", "bearer there", "bearer here", "bearer in clear"])
@pytest.mark.parametrize("ask", ASKS)
def test_another_server_asks_for_a_login(servers, make_api, ask, kind):
    """Before any login the registry redirects, and it is not its own challenge that comes back."""
    here, there, clear = servers
    challenge = {
        "basic": "Basic realm=x",
        "bearer there": f'Bearer realm="https://{there.netloc}/token",service="x"',
        "bearer here": f'Bearer realm="https://{here.netloc}/v2/token",service="x"',
        "bearer in clear": f'Bearer realm="http://{clear.netloc}/token",service="x"',
    }[kind]
    here.otherwise = reply(307, Location=f"https://{there.netloc}/elsewhere")
    there.otherwise = reply(401, WWW_Authenticate=challenge)
    there.answer("/token", reply(200, json.dumps({"token": "dG9rZW4"})))
    with pytest.raises(RegistryError) as error:
        ASKS[ask](make_api())
    assert f"redirects to {there.netloc}" in str(error.value)
    assert not heard(here) and not heard(there) and not clear.requests


@pytest.mark.parametrize("leads", ["https://{0}/v2/a/b/tags/list?last=1", "//{0}/v2/a/b/tags/list", "http://{0}/v2/"])
@pytest.mark.parametrize("ask", ["tags", "catalogue", "referrers"])
def test_the_next_page_is_elsewhere(servers, make_api, ask, leads):
    here, there, clear = servers
    body = json.dumps({"tags": ["1"], "repositories": ["a/b"], "manifests": [], "schemaVersion": 2})
    leads = leads.format((clear if leads.startswith("http:") else there).netloc)
    kind = "application/vnd.oci.image.index.v1+json"
    here.otherwise = behind_login(reply(200, body, Content_Type=kind, Link=f'<{leads}>; rel="next"'))
    with pytest.raises(RegistryError, match="in the middle of a request"):
        ASKS[ask](make_api())
    assert heard(here) and not there.requests and not clear.requests


UPLOADS = {
    "put": lambda api: api.put_blob("a/b", b"{}"),
    "try": lambda api: api.try_upload("a/b", 10),
    "refuses": lambda api: api.refuses_uploads("a/b"),
    "mount": lambda api: api.mount("a/b", DIGEST, "c/d"),
}


@pytest.mark.parametrize(
    "leads", ["https://{0}/v2/a/b/blobs/uploads/1", "//{0}/v2/a/b/blobs/uploads/1", "http://{0}/v2/u"]
)
@pytest.mark.parametrize("ask", UPLOADS)
def test_an_upload_goes_on_elsewhere(servers, make_api, ask, leads):
    here, there, clear = servers
    leads = leads.format((clear if leads.startswith("http:") else there).netloc)
    here.otherwise = behind_login(reply(202, Location=leads))
    with contextlib.suppress(RegistryError):
        UPLOADS[ask](make_api())
    assert heard(here) and not there.requests and not clear.requests


@pytest.mark.parametrize("method", ["put_manifest", "delete_manifest"])
@pytest.mark.parametrize("status", [301, 307, 308])
def test_what_writes_is_not_redirected(servers, make_api, method, status):
    here, there, _clear = servers
    here.otherwise = behind_login(reply(status, Location=f"https://{there.netloc}/v2/"))
    with contextlib.suppress(RegistryError, AttributeError):
        api = make_api()
        if method == "delete_manifest":
            api.delete_manifest("a/b", DIGEST)
        else:
            api.put_manifest("a/b", "1", api_manifest())
    assert heard(here) and not there.requests


def api_manifest():
    from ansible_collections.wharf.registry.plugins.module_utils._distribution.manifest import new_manifest

    return new_manifest({"schemaVersion": 2}, OCI_MANIFEST)


def test_a_token_server_hears_the_password_and_no_one_behind_it(servers, make_api):
    """That is what a realm is for. Its token goes to the registry alone."""
    here, there, _clear = servers
    challenge = f'Bearer realm="https://user:word@{there.netloc}/token",service="s",scope="repository:a/b:pull"'
    here.otherwise = behind_login(reply(200, json.dumps({"tags": []})), challenge, "Bearer dG9rZW4")
    there.answer("/token", reply(200, json.dumps({"token": "dG9rZW4"})))
    assert make_api().tags("a/b") == []
    assert [request.headers["authorization"] for request in there.requests] == [BASIC]
    assert "user:word" not in str([vars(request) for request in there.requests])
    assert [request.headers.get("authorization") for request in here.requests] == [None, "Bearer dG9rZW4"]


@pytest.mark.parametrize("credential", [Credential("ci", "geheim"), Credential("", "", "dG9rZW4")])
@pytest.mark.parametrize("status", [302, 307, 308])
def test_a_token_server_that_redirects(servers, make_api, certificate, credential, status):
    here, there, _clear = servers
    with Misbehaving(certificate) as third:
        here.otherwise = reply(401, WWW_Authenticate=f'Bearer realm="https://{there.netloc}/token",service="s"')
        there.otherwise = reply(status, Location=f"https://{third.netloc}/token")
        third.otherwise = reply(200, json.dumps({"token": "other"}))
        with contextlib.suppress(RegistryError):
            make_api(credential).tags("a/b")
        assert heard(there) and not heard(third)


@pytest.mark.parametrize("credential", [Credential("ci", "geheim"), Credential("", "", "dG9rZW4")])
def test_a_token_server_without_tls(servers, make_api, credential):
    here, _there, clear = servers
    here.otherwise = reply(401, WWW_Authenticate=f'Bearer realm="http://{clear.netloc}/token",service="s"')
    with pytest.raises(RegistryError, match="must not travel in clear"):
        make_api(credential).tags("a/b")
    assert not clear.requests


# --- which stored login is for which registry -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "registry"),
    [
        ("https://index.docker.io/v1/", "h3-docker:443"),
        ("https://index.docker.io/v1/", "docker.io:443"),
        ("https://index.docker.io/v1/", "index.docker.io.example.com"),
        ("docker.io", "mirror.docker.io"),
        ("h3-docker", "docker.io"),
        ("h3-docker", "h3-docker:443"),
        ("docker.io/h3-docker", "h3-docker:443"),
        ("h3-docker:443", "docker.io"),
        ("registry.example.com", "registry.example.com:5000"),
        ("registry.example.com:5000", "registry.example.com"),
    ],
)
def test_a_login_is_for_its_registry_alone(tmp_path, key, registry):
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"auths": {key: {"auth": BASIC.split()[1]}}}))
    assert find_credential(parse_registry(registry), str(path), 5) is None
    own = json.dumps({"auths": {parse_registry(registry).config_key: {"auth": BASIC.split()[1]}}})
    path.write_text(own)
    assert find_credential(parse_registry(registry), str(path), 5) == Credential("ci", "geheim")


@pytest.mark.parametrize("name", ["h3-docker", "registry", "1", "h3_docker"])
def test_an_image_of_docker_hub_is_never_asked_of_a_host_of_that_name(name):
    assert parse_reference(f"{name}/app:1").registry.api_host == "registry-1.docker.io"

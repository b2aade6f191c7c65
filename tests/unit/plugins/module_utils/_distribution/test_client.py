"""The distribution API against a registry that misbehaves: each case ends in success or in one clear error."""

from __future__ import annotations

import hashlib
import itertools
import json
import resource
import time

import pytest
from ansible_collections.wharf.registry.plugins.module_utils._common.errors import RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._common.reference import RegistryName
from ansible_collections.wharf.registry.plugins.module_utils._distribution.auth import Credential, RefusedError
from ansible_collections.wharf.registry.plugins.module_utils._distribution.client import RegistryClient
from ansible_collections.wharf.registry.plugins.module_utils._distribution.client_errors import (
    DeniedError,
    UnsupportedError,
)
from ansible_collections.wharf.registry.plugins.module_utils._distribution.manifest import OCI_MANIFEST
from ansible_collections.wharf.registry.plugins.module_utils._distribution.pool import Pool
from ansible_collections.wharf.registry.plugins.module_utils._distribution.tls import TLSConfig
from ansible_collections.wharf.registry.plugins.module_utils._distribution.transport import HttpClient
from ansible_collections.wharf.registry.plugins.module_utils._distribution.transport_errors import AnswerError
from inprocess import run_module
from misbehaving import Misbehaving, endless, raw, reply

CATALOGUE = "/v2/_catalog"
TAGS = "/v2/a/b/tags/list"
LATEST = "/v2/a/b/manifests/1.0"
CONTENT = json.dumps({"schemaVersion": 2, "mediaType": OCI_MANIFEST}).encode()
DIGEST = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
OTHER = "sha256:" + "1" * 64


@pytest.fixture
def api(server):
    api = make_api(server)
    yield api
    api.close()


def make_api(server, credential=None):
    return RegistryClient(
        RegistryName(server.netloc), HttpClient(TLSConfig(server.netloc), timeout=2), credential, plain_http=True
    )


def manifest(content=CONTENT, digest=DIGEST, **headers):
    headers = {"Content_Type": OCI_MANIFEST, "Docker_Content_Digest": digest, **headers}
    return reply(200, content, **{name: value for name, value in headers.items() if value})


def as_json(content, status=200, **headers):
    return reply(status, json.dumps(content), Content_Type="application/json", **headers)


# --- lists ------------------------------------------------------------------------------------------------------------


def test_pages_are_followed(api, server):
    server.answer(f"{CATALOGUE}?n=1000", as_json({"repositories": ["a"]}, Link='</v2/_catalog?last=a&n=1>; rel="next"'))
    server.answer(
        f"{CATALOGUE}?last=a&n=1",
        as_json({"repositories": ["b"]}, Link=f"<http://{server.netloc}/v2/_catalog?last=b>; rel=next"),
    )
    server.answer(f"{CATALOGUE}?last=b", as_json({"repositories": None}))
    assert list(api.repositories()) == ["a", "b"]


def test_a_registry_that_gives_less_at_once(api, server):
    error = {"errors": [{"code": "PAGINATION_NUMBER_INVALID", "message": "invalid number of results requested"}]}
    server.answer(f"{CATALOGUE}?n=1000", as_json(error, 400))
    server.answer(CATALOGUE, as_json({"repositories": ["a"]}))
    assert list(api.repositories()) == ["a"]


@pytest.mark.parametrize("link", ["</v2/_catalog?n=1000>", "</v2/_catalog?x=1>"])
def test_pages_in_a_circle(api, server, link):
    server.answer(CATALOGUE, as_json({"repositories": ["a"]}, Link=f'{link}; rel="next"'))
    with pytest.raises(AnswerError, match="in a loop"):
        list(api.repositories())
    assert len(server.requests) <= 2


def test_pages_without_end(api, server):
    """Each is another page, and none brings anything."""
    count = iter(range(10**9))

    def page(request, connection):
        link = f'</v2/_catalog?last={next(count)}>; rel="next"'
        return as_json({"repositories": ["a"]}, Link=link)(request, connection)

    server.answer(CATALOGUE, page)
    with pytest.raises(AnswerError, match="in a loop"):
        list(api.repositories())
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    "link", ["<http://other.example.com/v2/_catalog>", "</other>", "<file:///etc/passwd>", "<http://[::1>"]
)
def test_pages_do_not_lead_elsewhere(server, link):
    api = make_api(server, Credential("ci", "geheim"))
    server.answer(CATALOGUE, as_json({"repositories": ["a"]}, Link=f'{link}; rel="next"'))
    with pytest.raises(AnswerError, match="in the middle of a request"):
        list(api.repositories())


@pytest.mark.parametrize("value", [None, []])
def test_an_emptied_repository_has_no_tags(api, server, value):
    server.answer(TAGS, as_json({"name": "a/b", "tags": value}))
    assert api.tags("a/b") == []


def test_no_such_repository(api, server):
    assert api.tags("a/b") is None


@pytest.mark.parametrize(
    "body",
    [
        "<html>welcome</html>",
        "",
        "[]",
        "null",
        '{"tags": {}}',
        '{"tags": "x"}',
        "[" * 100000,
    ],
)
def test_what_is_no_list_of_tags(api, server, body):
    server.answer(TAGS, reply(200, body))
    with pytest.raises(AnswerError, match="not with the tags of a/b"):
        api.tags("a/b")


@pytest.mark.parametrize("status", [401, 403, 404, 405])
def test_without_a_catalogue_repositories_must_be_named(api, server, status):
    server.answer(CATALOGUE, reply(status))
    with pytest.raises(RegistryError) as error:
        list(api.repositories())
    assert "Name the repositories in full" in str(error.value)


# --- manifests --------------------------------------------------------------------------------------------------------


def test_all_four_types_are_asked_for(api, server):
    server.answer(LATEST, manifest())
    assert api.manifest("a/b", "1.0").digest == DIGEST
    accepted = server.requests[0].headers["accept"]
    for kind in ("docker.distribution.manifest.v2", "manifest.list.v2", "oci.image.manifest.v1", "oci.image.index.v1"):
        assert kind in accepted


@pytest.mark.parametrize("method", ["head", "manifest"])
def test_a_digest_that_the_registry_does_not_tell(api, server, method):
    server.answer(LATEST, manifest(digest=None))
    assert getattr(api, method)("a/b", "1.0").digest == DIGEST


@pytest.mark.parametrize(
    ("reference", "answer", "says"),
    [
        ("1.0", manifest(digest=OTHER), "does not match its digest"),
        ("1.0", manifest(content=CONTENT + b" "), "does not match its digest"),
        ("1.0", manifest(digest="sha256:x"), "does not match its digest"),
        ("1.0", manifest(digest="md5:" + "1" * 32), "does not match its digest"),
        (DIGEST, manifest(digest=OTHER), "was asked for a/b@"),
        (DIGEST, manifest(content=b"{}", digest=None), "does not match its digest"),
    ],
)
def test_digests_are_checked(api, server, reference, answer, says):
    server.answer(f"/v2/a/b/manifests/{reference}", answer)
    with pytest.raises(AnswerError, match=says):
        api.manifest("a/b", reference)


@pytest.mark.parametrize("digest", ["x", "sha256:abc", "md5:" + "1" * 32, "sha256:" + "A" * 64, "../../x"])
def test_a_digest_that_is_none_is_not_handed_on(api, server, digest):
    server.answer(LATEST, manifest(digest=digest))
    with pytest.raises(AnswerError, match="names no digest"):
        api.head("a/b", "1.0")


@pytest.mark.parametrize("content", [b"", b"[]", b"<html>", b"null", b"[" * 100000, b"\xff"])
def test_a_manifest_that_is_none(api, server, content):
    server.answer(LATEST, manifest(content, f"sha256:{hashlib.sha256(content).hexdigest()}"))
    with pytest.raises(AnswerError, match="not a JSON object"):
        assert api.manifest("a/b", "1.0").document


@pytest.mark.parametrize("method", ["head", "manifest"])
@pytest.mark.parametrize("page", ["<html>Sign in to the hotel network</html>", "{}", "[]", '{"status": "ok"}', ""])
def test_a_web_page_is_no_manifest(api, server, method, page):
    server.answer(LATEST, reply(200, page, Content_Type="text/html"))
    with pytest.raises(AnswerError, match="not with a manifest"):
        getattr(api, method)("a/b", "1.0")


def test_the_first_schema_is_handed_on_as_what_it_is(api, server):
    """Its digest is that of a part of its content."""
    signed = "application/vnd.docker.distribution.manifest.v1+prettyjws"
    server.answer(LATEST, manifest(b'{"schemaVersion": 1}', OTHER, Content_Type=signed))
    found = api.manifest("a/b", "1.0")
    assert (found.digest, found.media_type) == (OTHER, signed)


@pytest.mark.parametrize(
    "document",
    [{"layers": [{}]}, {"config": 5}, {"layers": ["x"]}, {"layers": [{"digest": 5}]}, {"layers": [{"digest": "evil"}]}],
)
def test_a_manifest_that_refers_to_nothing(api, server, document):
    content = json.dumps(document).encode()
    server.answer(LATEST, manifest(content, f"sha256:{hashlib.sha256(content).hexdigest()}"))
    with pytest.raises(AnswerError, match="without a digest"):
        assert api.manifest("a/b", "1.0").blobs


def test_a_manifest_of_50_megabytes_is_given_up_and_not_held(api, server):
    server.answer(LATEST, endless(b"HTTP/1.1 200 OK\r\nContent-Length: 52428800\r\n\r\n", b" " * 65536))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(AnswerError, match="more than"):
        api.manifest("a/b", "1.0")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20000  # KiB


@pytest.mark.parametrize("answer", [reply(500, "boom"), raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx")])
def test_after_a_passing_fault_comes_an_answer(api, server, answer):
    server.answer(LATEST, answer, manifest())
    assert api.manifest("a/b", "1.0").digest == DIGEST


def test_a_fault_that_does_not_pass(api, server):
    server.answer(LATEST, reply(500, "boom"))
    with pytest.raises(RegistryError, match="answered 500"):
        api.manifest("a/b", "1.0")


def test_a_busy_registry_says_when_to_come_again(api, server):
    server.answer(LATEST, as_json({"errors": [{"code": "TOOMANYREQUESTS"}]}, 429, Retry_After="3600"))
    began = time.monotonic()
    with pytest.raises(RegistryError, match=r"429.*TOOMANYREQUESTS.*in 3600 seconds"):
        api.manifest("a/b", "1.0")
    assert time.monotonic() - began < 1


# --- who asks ---------------------------------------------------------------------------------------------------------


def challenge(scheme='Basic realm="x"'):
    return reply(401, WWW_Authenticate=scheme)


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


def test_a_registry_that_deletes_nothing(api, server):
    server.answer(LATEST, as_json({"errors": [{"code": "UNSUPPORTED"}]}, 405))
    with pytest.raises(UnsupportedError, match=r"storage\.delete\.enabled"):
        api.delete_manifest("a/b", "1.0")


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


# --- uploads ----------------------------------------------------------------------------------------------------------


def test_an_upload_does_not_lead_elsewhere(server):
    with Misbehaving() as other:
        api = make_api(server, Credential("ci", "geheim"))
        server.answer("/v2/a/b/blobs/uploads/", reply(202, Location=f"http://{other.netloc}/v2/a/b/blobs/uploads/1"))
        with pytest.raises(AnswerError, match="in the middle of a request"):
            api.put_blob("a/b", b"x")
        assert other.requests == []


def test_what_an_upload_has_before_the_at_is_not_shown(server):
    server.answer("/v2/a/b/blobs/uploads/", reply(202, Location="http://ci:other@r.example.com/v2/"))
    with pytest.raises(AnswerError, match=r"r\.example\.com") as error:
        make_api(server, Credential("ci", "geheim")).put_blob("a/b", b"x")
    assert "other" not in str(error.value)


def test_a_mount_that_is_not_made_is_cancelled(api, server):
    server.answer("/v2/a/b/blobs/uploads/", reply(202, Location="/v2/a/b/blobs/uploads/1?_state=x"))
    server.answer("/v2/a/b/blobs/uploads/1", reply(204))
    assert api.mount("a/b", DIGEST, "other") is False
    assert [request.method for request in server.requests] == ["POST", "DELETE"]


# --- many at once -----------------------------------------------------------------------------------------------------


def test_a_pool_keeps_the_order_and_ends_at_the_first_error(server):
    server.answer(LATEST, manifest())
    with Pool(lambda: make_api(server), 4) as pool:
        assert list(pool.map(lambda api, number: (api.head("a/b", "1.0").digest, number), range(40))) == [
            (DIGEST, number) for number in range(40)
        ]
    assert server.connections <= 4
    with Pool(lambda: make_api(server), 4) as pool, pytest.raises(ZeroDivisionError):
        list(pool.map(lambda _api, number: 1 // (number - 3), range(1000)))


class NoClient:
    def open(self):
        """Has nothing to open."""

    def close(self):
        """Has nothing to close."""


def test_a_pool_gives_the_error_of_the_first_item_that_has_one():
    def late(_api, number):
        # The later ones fail before it.
        time.sleep(0.05 if number == 5 else 0)
        if number >= 5:
            raise ValueError(number)
        return number

    with Pool(NoClient, 4) as pool:
        results = pool.map(late, range(100))
        assert list(itertools.islice(results, 5)) == [0, 1, 2, 3, 4]
        with pytest.raises(ValueError, match="5"):
            next(results)


def test_a_pool_gives_the_error_of_the_items_and_of_the_clients():
    def numbers():
        yield from range(7)
        raise ValueError("no more")

    def no_client():
        raise ValueError("no client")

    for _attempt in range(20):
        with Pool(NoClient, 4) as pool:
            results = pool.map(lambda _api, number: number, numbers())
            assert list(itertools.islice(results, 7)) == list(range(7))
            with pytest.raises(ValueError, match="no more"):
                next(results)
    with Pool(NoClient, 4) as pool, pytest.raises(ValueError, match="no more"):
        list(pool.map(lambda _api, number: number, lambda _client: numbers()))
    for items in ([1, 2], iter([1, 2]), lambda _client: [1, 2]):
        with Pool(no_client, 4) as pool, pytest.raises(ValueError, match="no client"):
            list(pool.map(lambda _api, number: number, items))


def test_a_pool_ends_where_the_first_client_can_not_be_made():
    made = []

    def one_fails():
        made.append(1)
        if len(made) == 1:
            time.sleep(0.1)
            raise ValueError("no client")
        return NoClient()

    with Pool(one_fails, 4) as pool, pytest.raises(ValueError, match="no client"):
        list(pool.map(lambda _api, number: number, lambda _client: [1]))


def test_maps_of_a_pool_at_the_same_time_do_not_share_a_client(server):
    server.answer(LATEST, manifest())

    def look(api, number):
        used = api.in_use = getattr(api, "in_use", 0) + 1
        digest = api.head("a/b", "1.0").digest
        assert api.in_use == used
        return digest, number

    with Pool(lambda: make_api(server), 3) as pool:
        both = list(zip(pool.map(look, range(30)), pool.map(look, iter(range(30))), strict=True))
    assert both == [((DIGEST, number), (DIGEST, number)) for number in range(30)]


def test_a_pool_works_ahead_by_a_few_only():
    taken = []

    def numbers():
        for number in range(10000):
            taken.append(number)
            yield number

    with Pool(NoClient, 2) as pool:
        results = pool.map(lambda _api, number: number, numbers())
        assert next(results) == 0
        assert len(taken) <= 8
        results.close()


def test_connections_share_a_login(server):
    names = [f"a/{number}" for number in range(40)]

    def guarded(answer):
        def ask_who(request, connection):
            return (answer if "authorization" in request.headers else challenge())(request, connection)

        return ask_who

    server.answer(f"{CATALOGUE}?n=1000", guarded(as_json({"repositories": names})))
    for name in names:
        server.answer(f"/v2/{name}/tags/list", guarded(as_json({"tags": ["1.0"]})))
    result = run_module(
        "registry_info", {"registry": server.netloc, "plain_http": True, "username": "ci", "password": "geheim"}
    )
    assert [repository["name"] for repository in result["repositories"]] == sorted(names)
    assert server.connections > 1
    assert sum("authorization" not in request.headers for request in server.requests) == 1

"""The distribution API against a registry that misbehaves: each case ends in success or in one clear error."""

from __future__ import annotations

import hashlib
import json
import resource
import time

import pytest
from ansible_collections.wharf.registry.plugins.module_utils._common.errors import RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._distribution.auth import Credential
from ansible_collections.wharf.registry.plugins.module_utils._distribution.client_errors import (
    UnsupportedError,
)
from ansible_collections.wharf.registry.plugins.module_utils._distribution.transport_errors import AnswerError
from api_answers import CATALOGUE, CONTENT, DIGEST, LATEST, as_json, make_api, manifest
from misbehaving import Misbehaving, endless, raw, reply

TAGS = "/v2/a/b/tags/list"
OTHER = "sha256:" + "1" * 64


@pytest.fixture
def api(server):
    api = make_api(server)
    yield api
    api.close()


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
    assert time.monotonic() - began < 600


def test_a_registry_that_deletes_nothing(api, server):
    server.answer(LATEST, as_json({"errors": [{"code": "UNSUPPORTED"}]}, 405))
    with pytest.raises(UnsupportedError, match=r"storage\.delete\.enabled"):
        api.delete_manifest("a/b", "1.0")


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

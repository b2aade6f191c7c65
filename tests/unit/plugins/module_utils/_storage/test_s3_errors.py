"""What S3 refuses: each case has its own words, its cure, and no secret."""

from __future__ import annotations

import memory_s3
import pytest
from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError
from ansible_collections.wharf.registry.plugins.module_utils._storage.s3_errors import S3Error
from memory_s3 import ACCESS_KEY, BUCKET, REGION, SECRET_KEY
from misbehaving import Misbehaving, make_certificate, raw, reply

HTML = "<!DOCTYPE html><html><head><title>Bad gateway</title></head></html>"


def refusal(access, operation=lambda client: client.head_bucket(), **options):
    """The S3Error of an operation."""
    with access(**options).client(attempts=1) as client, pytest.raises(S3Error) as caught:
        operation(client)
    text = str(caught.value)
    assert SECRET_KEY not in text + repr(caught.value)
    assert BUCKET in text or options.get("bucket", BUCKET) in text
    return caught.value


@pytest.mark.parametrize(
    ("options", "code", "cure"),
    [
        ({"secret_key": "wrong"}, "SignatureDoesNotMatch", "Correct secret_key"),
        ({"access_key": "wrong"}, "InvalidAccessKeyId", "Correct access_key"),
        ({"bucket": "absent"}, "NoSuchBucket", "Create the bucket"),
        ({"region": "us-east-1"}, "AuthorizationHeaderMalformed", "Set region"),
    ],
)
def test_what_the_login_lacks_is_said(access, options, code, cure):
    error = refusal(access, **options)
    assert error.code == code
    assert f"{error.status} {code}" in error.message
    assert cure in error.cure


def test_the_region_that_s3_names_is_told(access):
    error = refusal(access, lambda client: client.get("a"), region="us-east-1")
    assert f"Set region to {REGION}" in error.cure or "Set region" in error.cure


def test_a_redirect_to_another_region_is_not_followed(access, server, storage):
    for status in (301, 307):
        storage.instead = [
            ("GET", ".", reply(status, Location="http://127.0.0.1:1/images/a", x_amz_bucket_region="eu-far-2"))
        ]
        error = refusal(access, lambda client: client.get("a"))
        assert (error.status, error.mistake) == (status, "")
        assert "Set region to eu-far-2" in error.cure


def test_a_region_that_is_no_word_is_not_shown(access, storage):
    storage.instead = [("GET", ".", reply(301, x_amz_bucket_region="<b>far</b>"))]
    assert "far" not in str(refusal(access, lambda client: client.get("a")))


@pytest.mark.parametrize("ahead", [-3600, 3600])
def test_a_clock_that_is_off_is_said(access, storage, ahead):
    storage.ahead = ahead
    error = refusal(access)
    assert error.code == "RequestTimeTooSkewed"
    assert "clocks" in error.cure


def test_a_storage_that_is_not_there(access, server):
    error = refusal(access, endpoint="http://127.0.0.1:1")
    assert (error.status, error.mistake) == (0, "refused")
    assert "whether the storage runs" in error.cure


def test_http_in_place_of_https(access, server):
    error = refusal(access, endpoint=f"https://{server.netloc}")
    assert error.mistake == "http_for_https"
    assert "Begin endpoint with http://" in error.cure


def test_https_in_place_of_http_and_an_unknown_ca(access, tmp_path):
    certificate = make_certificate(tmp_path / "server.pem")
    with Misbehaving(certificate) as server:
        storage = memory_s3.MemoryS3(server)
        error = refusal(access, endpoint=f"http://{server.netloc}")
        assert "Begin endpoint with https://" in error.cure or "HTTPS" in str(error)
        error = refusal(access, endpoint=f"https://{server.netloc}")
        assert error.mistake == "unknown_ca"
        assert error.cure == "Give its CA by ca_path"
        with access(endpoint=f"https://{server.netloc}", ca_path=str(certificate)).client() as client:
            client.head_bucket()
        with access(endpoint=f"https://{server.netloc}", validate_certs=False).client() as client:
            client.head_bucket()
        assert storage.requests


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (reply(502, HTML), "502 with a page of HTML"),
        (reply(200, HTML), "without a ListBucketResult"),
        (reply(200, "{}"), "without a ListBucketResult"),
        (reply(200, "<Other/>"), "answers Other in place of ListBucketResult"),
        (reply(200, "<Error><Code>InternalError</Code><Message>no</Message></Error>"), "200 InternalError (no)"),
        (reply(404, "not found"), "answers 404"),
        (raw(b""), "closed the connection without an answer"),
        (raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n<L"), "cut its answer short"),
        (reply(200, b"<" * (9 << 20)), "more than"),
    ],
)
def test_what_is_no_answer_of_s3(access, storage, answer, says):
    storage.instead = [("GET", ".", answer)]
    error = refusal(access, lambda client: list(client.objects()))
    assert says in error.message
    assert error.cure


def test_texts_of_a_server_are_one_short_line(access, storage):
    message = "line\n\x1b[31mred\x1b[0m " + "x" * 1000
    body = f"<Error><Code>{'A' * 200}</Code><Message>{message}</Message></Error>".replace("\x1b", "&#10;")
    storage.instead = [("GET", ".", reply(400, body))]
    text = str(refusal(access, lambda client: client.get("a")))
    assert text.isprintable()
    assert len(text) < 600


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"endpoint": "storage.example.com"}, "endpoint is no address"),
        ({"endpoint": "ftp://storage.example.com"}, "endpoint is no address"),
        ({"endpoint": "http://storage.example.com/path"}, "endpoint is no address"),
        ({"endpoint": f"http://{ACCESS_KEY}:{SECRET_KEY}@storage.example.com"}, "endpoint is no address"),
        ({"endpoint": "http://storage.example.com:99999"}, "endpoint is no address"),
        ({"bucket": "a/b"}, "bucket is"),
        ({"bucket": ""}, "bucket is"),
        ({"region": "eu west"}, "region is"),
        ({"secret_key": f"{SECRET_KEY}\n"}, "secret_key is empty, or has"),
        ({"secret_key": ""}, "secret_key is empty, or has"),
        ({"access_key": "a b"}, "access_key is empty, or has"),
        ({"timeout": 0}, "timeout is 0"),
    ],
)
def test_options_that_can_t_be_meant(access, options, says):
    with pytest.raises(InputError) as caught:
        access(**options)
    assert says in str(caught.value)
    assert SECRET_KEY not in str(caught.value)


def test_a_ca_that_is_not_there(access, server):
    error = refusal(access, endpoint=f"https://{server.netloc}", ca_path="/nonexistent/ca.crt")
    assert "/nonexistent/ca.crt can't be read" in error.message

"""Signatures, against the examples that AWS publishes for Amazon S3."""

from __future__ import annotations

import calendar
import hashlib

import pytest
from ansible_collections.wharf.registry.plugins.module_utils._storage.s3_signature import (
    EMPTY,
    Signer,
    canonical_query,
    quoted,
)

SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
MOMENT = calendar.timegm((2013, 5, 24, 0, 0, 0))
HOST = "https://examplebucket.s3.amazonaws.com"


@pytest.fixture
def signer():
    return Signer("AKIAIOSFODNN7EXAMPLE", SECRET, "us-east-1")


@pytest.mark.parametrize(
    ("method", "target", "sent", "signature"),
    [
        (
            "GET",
            "/test.txt",
            ({"Range": "bytes=0-9"}, b""),
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        ),
        (
            "PUT",
            f"/{quoted('test$file.text')}",
            (
                {"Date": "Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class": "REDUCED_REDUNDANCY"},
                b"Welcome to Amazon S3.",
            ),
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
        ),
        (
            "GET",
            f"/?{canonical_query([('lifecycle', '')])}",
            ({}, b""),
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
        ),
        (
            "GET",
            f"/?{canonical_query([('prefix', 'J'), ('max-keys', 2)])}",
            ({}, b""),
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
    ],
)
def test_signatures_in_headers_are_those_of_the_examples(signer, method, target, sent, signature):
    headers, body = sent
    digest = hashlib.sha256(body).hexdigest()
    signed = signer.headers(method, HOST + target, headers, digest, moment=MOMENT)
    assert signed["x-amz-date"] == "20130524T000000Z"
    assert signed["x-amz-content-sha256"] == digest
    assert signed["Authorization"].startswith(
        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, SignedHeaders="
    )
    assert signed["Authorization"].endswith(f"Signature={signature}")


def test_the_signature_in_a_url_is_that_of_the_example(signer):
    url = signer.signed_url(f"{HOST}/test.txt", 86400, moment=MOMENT)
    assert url == (
        f"{HOST}/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256"
        "&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"
        "&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
        "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
    )


def test_the_key_of_a_day_is_not_that_of_the_next(signer):
    first, second = (signer.headers("GET", HOST, moment=MOMENT + day * 86400)["Authorization"] for day in (0, 1))
    again = signer.headers("GET", HOST, moment=MOMENT)["Authorization"]
    assert first == again != second


def test_what_is_signed_of_nothing_is_the_digest_of_nothing():
    assert hashlib.sha256(b"").hexdigest() == EMPTY


def test_all_but_unreserved_characters_are_encoded():
    assert quoted("a/b c~d_e-f.g+h=é") == "a/b%20c~d_e-f.g%2Bh%3D%C3%A9"
    assert canonical_query([("b", "x/y"), ("a", ""), ("a-b", 1)]) == "a=&a-b=1&b=x%2Fy"


def test_a_signer_does_not_show_its_secret(signer):
    assert SECRET not in repr(signer) + str(signer.headers("GET", HOST))

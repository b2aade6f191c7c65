"""Where nginx may fetch blobs from."""

from __future__ import annotations

import re

import pytest
from ansible_collections.wharf.registry.plugins.plugin_utils._roles.object_source import object_source

S3 = {"bucket": "my.images", "endpoint": "https://s3.example.com:8333"}


def test_the_server_is_that_of_the_endpoint() -> None:
    source = object_source(S3, "s3")
    assert (source["scheme"], source["port"], source["port_signed"], source["resolved"]) == (
        *("https", 8333, ":8333", True),
    )
    for host in ("s3.example.com", "S3.Example.COM", "my.images.s3.example.com"):
        assert re.fullmatch(source["host"], host), host
    for host in ("s3xexample.com", "other.s3.example.com", "s3.example.com.evil.test", "myximages.s3.example.com"):
        assert not re.fullmatch(source["host"], host), host


@pytest.mark.parametrize(
    ("endpoint", "port", "signed"),
    [
        ("https://s3.example.com", 443, ""),
        ("https://s3.example.com:443/", 443, ""),
        ("http://s3.example.com", 80, ""),
        ("http://s3.example.com:8333", 8333, ":8333"),
    ],
)
def test_a_usual_port_is_no_part_of_what_is_signed(endpoint: str, port: int, signed: str) -> None:
    source = object_source({**S3, "endpoint": endpoint}, "s3")
    assert (source["port"], source["port_signed"]) == (port, signed)


@pytest.mark.parametrize(
    ("endpoint", "host"), [("http://192.0.2.7:8333", "192.0.2.7"), ("http://[2001:db8::7]", "[2001:db8::7]")]
)
def test_an_address_is_not_looked_up(endpoint: str, host: str) -> None:
    source = object_source({**S3, "endpoint": endpoint}, "s3")
    assert re.fullmatch(source["host"], host)
    assert source["resolved"] is False


def test_amazon_has_names_of_its_own() -> None:
    host = object_source({"bucket": "images", "region": "eu-central-1"}, "s3")["host"]
    for right in ("images.s3.eu-central-1.amazonaws.com", "s3.eu-central-1.amazonaws.com", "images.s3.amazonaws.com"):
        assert re.fullmatch(host, right), right
    for wrong in ("other.s3.eu-central-1.amazonaws.com", "s3.us-west-1.amazonaws.com", "images.s3.evil.com"):
        assert not re.fullmatch(host, wrong), wrong


@pytest.mark.parametrize(
    ("s3", "storage"),
    [
        ({}, "filesystem"),
        ({}, "other"),
        # nginx compares a certificate with names alone.
        ({**S3, "endpoint": "https://192.0.2.7:8333"}, "s3"),
        ({**S3, "endpoint": "https://[2001:db8::7]"}, "s3"),
    ],
)
def test_where_nginx_can_not_fetch_the_registry_sends(s3: dict, storage: str) -> None:
    assert object_source(s3, storage) is None

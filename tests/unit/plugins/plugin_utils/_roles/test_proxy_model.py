"""What the templates of the role reverse_proxy know."""

from __future__ import annotations

import pytest
from ansible_collections.wharf.registry.plugins.plugin_utils._roles.proxy_model import generations, proxy_model, shares

OPTIONS = {
    "https_port": "5000",
    "http_redirect": "no",
    "http2": True,
    "open_files": 16384,
    "drain_seconds": 300,
    "replicas": 2,
    "connections_per_replica": 512,
    "connections_per_user": 0,
    "connections_per_address": 512,
    "requests_per_second": 0,
    "guesses_per_minute": 30,
    "wrong_password_seconds": "1.5",
    "auth_cache_seconds": 300,
    "max_upload_size": "0",
    "log_format": "json",
    "trusted_proxies": [],
    "allowed_networks": [],
    "client_certificates": "none",
    "ocsp_stapling": False,
    "resolvers": [],
    "caches": [],
    "cache_docker_port": "0",
    "page": False,
    "request_log": False,
    "metrics_networks": [],
    "metrics_users": [],
    "peers": {},
    "blobs_from_disk": "true",
    "storage_directory": "/srv",
    "object_source": "",
    "object_ca": "",
    "blob_cache_size": "20g",
    "storage_elsewhere": "False",
}
CONSTANTS = {
    "verified": "x",
    "again": {"times": 2, "pause": 3000},
    "objects": {"resolver": "127.0.0.11", "slice": "16m", "private_ca": "/ours.crt", "public_cas": "/all.crt"},
}
HOST = {
    "version": "1.26.3",
    "processors": 2,
    "storage": True,
    "access": {"rules": []},
    "passwords": "a:1\nb:2\n",
    "former_passwords": "",
}


def model(options: dict | None = None, **host: object) -> dict:
    return proxy_model({**OPTIONS, **(options or {})}, CONSTANTS, {**HOST, **host})


def test_numbers_and_switches_are_such_also_where_they_came_as_text() -> None:
    made = model()
    assert (made["https_port"], made["http_redirect"], made["blobs"], made["silence"]) == (5000, False, True, 1500)
    assert made["verified"] == "x"


@pytest.mark.parametrize(
    ("version", "wanted", "told"),
    [
        ("1.22.1", True, "listen"),
        ("1.25.0", True, "listen"),
        ("1.25.1", True, "directive"),
        ("1.28", True, "directive"),
        ("1.28.0", False, ""),
        ("1.28.0", "False", ""),
    ],
)
def test_http2_is_told_as_the_version_of_nginx_takes_it(version: str, wanted: object, told: str) -> None:
    assert model({"http2": wanted}, version=version)["http2"] == told


@pytest.mark.parametrize(
    ("options", "storage"), [({"blobs_from_disk": False}, True), ({"storage_directory": ""}, True), ({}, False)]
)
def test_blobs_come_from_the_registry_where_the_storage_is_not_here(options: dict, storage: bool) -> None:
    assert model(options, storage=storage)["blobs"] is False


def test_blobs_come_from_an_object_storage_where_nginx_can_fetch_them() -> None:
    source = {"scheme": "https", "host": "s3", "port": 443}
    there = {"storage_directory": "", "object_source": source}
    made = model(there)["objects"]
    assert {name: made[name] for name in source} == source
    assert (made["cache"], made["resolvers"], made["trusted"]) == ("20g", ["127.0.0.11"], "/all.crt")
    more = model({**there, "blob_cache_size": "0", "resolvers": ["fd00::1", "192.0.2.1:53"], "object_ca": "PEM"})
    made = more["objects"]
    assert (made["cache"], made["resolvers"], made["trusted"]) == ("", ["[fd00::1]", "192.0.2.1:53"], "/ours.crt")
    assert model()["objects"] is None
    # Files on a disk of this host are nearer.
    assert model({"object_source": source})["objects"] is None


def test_another_password_is_another_generation_of_this_user_alone() -> None:
    before, after = generations("a:1\nb:2\n", ""), generations("a:1\nb:3\n", "")
    assert before["a"] == after["a"]
    assert before["b"] != after["b"]


def test_the_end_of_former_passwords_is_another_generation_of_all() -> None:
    before, after = generations("a:1\nb:2\n", "a:0\n"), generations("a:1\nb:2\n", "")
    assert before["a"] != after["a"]
    assert before["b"] != after["b"]


@pytest.mark.parametrize(
    ("replicas", "workers", "connections"), [(1, 1, 1), (2, 2, 512), (8, 64, 100), (100, 1, 65535)]
)
def test_places_are_enough_for_one_and_leave_some_to_others(replicas: int, workers: int, connections: int) -> None:
    made = shares(connections, replicas, workers)
    assert min(made["upstreams"].values()) >= 1
    assert made["upstreams"]["registry"] * workers >= connections
    assert made["account"] >= 8
    assert made["network"] >= 8
    if made["upstreams"]["registry"] * replicas >= 16:
        assert made["account"] <= made["upstreams"]["registry"] * replicas / 2


def test_a_registry_is_asked_again_where_its_storage_may_fail_for_a_moment() -> None:
    assert model()["again"] is None
    assert model({"storage_elsewhere": "True"})["again"] == CONSTANTS["again"]

"""Slots of the replicas, and connections of nginx: strangers take none from users (issue 16, A1)."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import pytest
from addresses import LEGITIMATE
from attack import withstands
from engine import bridge_address
from front import Front
from http_client import ACCEPT, OCI, digest_of, manifest
from mix import FromConnection
from target import NARROW, OPTIONS, Target, started, users

if TYPE_CHECKING:
    from collections.abc import Iterator

    from http_client import Client

# 1,080 streams; nginx takes 128 on a connection.
CONNECTIONS, STREAMS = 9, 120
BASE = "/v2/public/base/manifests/one"


def spread(addresses: int) -> dict[str, int]:
    """So many connections and streams on each, from each address at least one."""
    connections = max(CONNECTIONS, addresses)
    return {"connections": connections, "streams": CONNECTIONS * STREAMS // connections}


# ---- bodies that never end -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("addresses", [1, 20])
def test_a_body_for_the_health_check(target: Target, addresses: int) -> None:
    withstands(target, "streams", addresses, method="POST", path="/healthz", length=1000, first=1, **spread(addresses))


@pytest.mark.parametrize(("addresses", "shared"), [(1, True), (20, False)])
def test_a_body_for_a_manifest_that_is_read_by_a_user(target: Target, addresses: int, shared: bool) -> None:
    withstands(
        target,
        "streams",
        addresses,
        shared=shared,
        path="/v2/apps/base/manifests/one",
        credential=target.remembered("reader"),
        length=1000,
        first=1,
        **spread(addresses),
    )


def test_a_body_for_a_manifest_that_is_read_without_a_password(target: Target) -> None:
    withstands(target, "streams", 20, path=BASE, length=1000, first=1, **spread(20))


@pytest.mark.parametrize(("method", "path"), [("GET", "/healthz"), ("HEAD", BASE)])
def test_a_body_in_chunks(narrow: Target, method: str, path: str) -> None:
    opening = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n"
    withstands(narrow, "hold", 20, connections=20, each=8, opening=opening, drip="1\r\nx\r\n")


def test_an_upload_without_a_password(target: Target) -> None:
    options = {"method": "POST", "path": "/v2/apps/pushed/blobs/uploads/", "length": 100_000, "first": 1000}
    withstands(target, "streams", 20, **options, **spread(20))


def test_a_flood_of_health_checks(target: Target) -> None:
    withstands(target, "flood", 20, connections=20, method="HEAD", path="/healthz", rate=1500)


# ---- answers that are not read ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def large(narrow: Target) -> Target:
    """With manifests and lists of tags that no buffer holds."""
    registry = narrow.front.registry()
    for repository in ("apps/large", "public/large"):
        put_large(registry, repository)
    return narrow


def put_large(registry: Client, repository: str) -> None:
    layer = b"a layer"
    for content in (layer, b"{}"):
        registry.put_blob(repository, content)
    content = manifest(layer, annotations={f"note-{number}": "x" * 1000 for number in range(2500)})
    answer = registry.ask("PUT", f"/v2/{repository}/manifests/one", content, Content_Type=OCI)
    assert answer.status == 201, answer
    assert registry.digest(repository, "one") == digest_of(content)


@pytest.mark.parametrize(
    ("repository", "user", "addresses", "connections"),
    # One connection is one worker's, whose places are half of all.
    [
        ("apps/large", "reader", 1, 20),
        ("apps/large", "reader", 1, 1),
        ("public/large", None, 1, 20),
        ("public/large", None, 20, 20),
    ],
)
def test_a_manifest_that_is_not_read_by_http_2(
    large: Target, repository: str, user: str | None, addresses: int, connections: int
) -> None:
    withstands(
        large,
        "streams",
        addresses,
        connections=connections,
        streams=80 // connections,
        path=f"/v2/{repository}/manifests/one",
        headers={"accept": ACCEPT},
        credential=large.remembered(user) if user else None,
        window=0,
        # The registries parse these manifests, which takes both processors for half a second. It is over then.
        pause=1.5,
    )


def test_a_manifest_that_is_not_read_by_http_1(large: Target) -> None:
    opening = f"GET /v2/public/large/manifests/one HTTP/1.1\r\nHost: localhost\r\nAccept: {ACCEPT}\r\n\r\n"
    withstands(large, "hold", 20, connections=20, each=4, opening=opening, buffer=2048, deaf=True)


# ---- connections -----------------------------------------------------------------------------------------------------


# What a connection says before nginx knows whose it is, and how many are tried a second.
SILENCES = {
    "nothing": {"tls": False, "rate": 2000, "ready": 4},
    "half a greeting of TLS": {"tls": False, "opening": "\x16\x03\x01\x02\x00\x01", "rate": 2000, "ready": 4},
    "nothing after TLS": {"rate": 1000, "ready": 6},
    "a header that never ends": {
        "opening": "GET /v2/ HTTP/1.1\r\nHost: localhost\r\n",
        "drip": "X: y\r\n",
        "rate": 1000,
        "ready": 10,
    },
    "a line that never ends": {"opening": "GET /v2/", "drip": "a", "rate": 1000, "ready": 10},
}


@pytest.mark.parametrize("addresses", [1, 20])
@pytest.mark.parametrize("said", SILENCES)
def test_connections_without_a_request(narrow: Target, said: str, addresses: int) -> None:
    """Counted by address: more than one may have are refused before anything is read of them."""
    answers = withstands(narrow, "hold", addresses, connections=20, each=120, **SILENCES[said])
    assert answers["ConnectionRefusedError"] > 0


def test_headers_that_never_end_beside_others_of_the_address(narrow: Target) -> None:
    """As behind a NAT, within the share of the address."""
    options = SILENCES["a header that never ends"]
    withstands(narrow, "hold", 1, shared=True, connections=20, each=NARROW // 25, **options)


# ---- who may know that it is well ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def closed(images: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """For this machine's own address alone, and with certificates."""
    front = Front(tmp_path_factory.mktemp("closed"), images)
    pair = front.authority.issue("client")
    front.context.load_cert_chain(pair.certificate, pair.key)
    try:
        front.configure(
            users([]),
            **OPTIONS,
            reverse_proxy_allowed_networks=[f"{bridge_address()}/32"],
            reverse_proxy_client_certificates="required",
            reverse_proxy_client_ca=front.ca.read_text(),
        )
        front.start()
        yield started(front)
    finally:
        front.stop()


@pytest.mark.parametrize(("method", "path"), [("GET", "/healthz"), ("HEAD", "/healthz"), ("POST", "/healthz?x=1")])
@pytest.mark.parametrize("source", [None, LEGITIMATE])
@pytest.mark.parametrize("certificate", [True, False])
def test_the_health_check_is_for_those_who_are_served(
    closed: Target, method: str, path: str, source: str | None, certificate: bool
) -> None:
    context = closed.front.context if certificate else ssl.create_default_context(cafile=closed.front.ca)
    connection = FromConnection(closed, source, context=context)
    connection.request(method, path)
    status = connection.getresponse().status
    connection.close()
    if certificate and source is None and method == "GET":
        assert status == 200
    elif not certificate or source:
        assert status in {400, 401, 403, 404, 421, 444}, status

"""An object storage that fails for a moment. Clients would give up, and so the registry is asked again."""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING

import memory_s3
import pytest
from collecting import content_of
from engine import bridge_address
from http_client import ACCEPT, CONFIGS, OCI, digest_of, with_digest
from s3_relay import NAME, Relay

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from certificates import Authority
    from front import Front
    from http_client import Answer
    from s3_relay import Seen
    from seaweedfs import SeaweedFS

USERS = [
    {"name": "ci", "access": "push"},
    {"name": "other", "access": "push"},
    {"name": "admin", "access": "admin"},
    {"name": "runtime", "access": "pull"},
]
FAILURE = (
    b"HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/xml\r\nConnection: close\r\n"
    b"Content-Length: 41\r\n\r\n<Error><Code>InternalError</Code></Error>"
)


@pytest.fixture(scope="module")
def relay(storage: SeaweedFS, ca: Authority) -> Iterator[Relay]:
    with Relay(storage.gateways[0], ca.issue("s3", (NAME,))) as relay:
        yield relay


@pytest.fixture(scope="module")
def proxy(fronts: Callable[..., Front], relay: Relay, ca: Authority) -> Front:
    return fronts(
        USERS,
        hosts={NAME: bridge_address()},
        registry_storage="s3",
        registry_s3={
            **memory_s3.bucket_at(relay.endpoint),
            "root_directory": f"wharf/{secrets.token_hex(4)}",
            "ca": ca.certificate.read_text(),
        },
        reverse_proxy_storage_directory="",
        reverse_proxy_resolvers=[relay.resolver],
        reverse_proxy_immutable_tags=["v*"],
    )


class Failing:
    """Fails the first so many requests for the storage."""

    def __init__(self, most: int) -> None:
        self.most, self.count = most, 0

    def __call__(self, _seen: Seen) -> bytes | None:
        if self.count == self.most:
            return None
        self.count += 1
        return FAILURE


# The registry's own client of S3 tries four times before the registry says 500; it is asked three times.
TRIES, TIMES = 4, 3


class Put:
    """A manifest that is pushed by tag, whose blobs are there."""

    def __init__(self, proxy: Front, tag: str) -> None:
        self.content = content_of(proxy, "ci")
        config = self.content.blob("team/app", json.dumps({"os": "linux", "number": secrets.token_hex(8)}).encode())
        document = {"schemaVersion": 2, "mediaType": OCI, "config": {**config, "mediaType": CONFIGS[OCI]}, "layers": []}
        self.manifest = json.dumps(document).encode()
        self.tag = f"{tag}{secrets.token_hex(4)}"

    def ask(self) -> Answer:
        return self.content.ask("PUT", f"/v2/team/app/manifests/{self.tag}", self.manifest, Content_Type=OCI)


@pytest.mark.parametrize("tag", ["latest-", "v"])
def test_a_manifest_is_stored_in_the_end(tag: str, proxy: Front, relay: Relay) -> None:
    put = Put(proxy, tag)
    fault = Failing(TRIES * (TIMES - 1))
    with relay.broken(fault):
        assert put.ask().status == 201
    assert fault.count == fault.most
    assert put.content.digest("team/app", put.tag) == digest_of(put.manifest)


def test_an_upload_begins_in_the_end(proxy: Front, relay: Relay) -> None:
    content = content_of(proxy, "ci")
    blob = secrets.token_bytes(100)
    fault = Failing(TRIES * (TIMES - 1))
    with relay.broken(fault):
        begun = content.ask("POST", "/v2/team/app/blobs/uploads/")
    assert (begun.status, fault.count) == (202, fault.most)
    # It is its user's.
    path = begun.headers["Location"][begun.headers["Location"].index("/v2/") :]
    assert content_of(proxy, "other").ask("GET", path).status == 403
    assert content.ask("PUT", with_digest(path, digest_of(blob)), blob).status == 201


# Each takes seconds. In `make test`, each read is that of one user, and manifests and blobs are read by both of them.
@pytest.mark.parametrize(
    ("method", "kind", "user"),
    [
        ("GET", "manifest", "ci"),
        ("HEAD", "manifest", "runtime"),
        ("GET", "blob", "runtime"),
        ("HEAD", "blob", "ci"),
        ("GET", "tags", "runtime"),
        pytest.param("GET", "manifest", "runtime", marks=pytest.mark.long),
        pytest.param("HEAD", "manifest", "ci", marks=pytest.mark.long),
        pytest.param("GET", "blob", "ci", marks=pytest.mark.long),
        pytest.param("HEAD", "blob", "runtime", marks=pytest.mark.long),
        pytest.param("GET", "tags", "ci", marks=pytest.mark.long),
    ],
)
def test_a_read_is_answered_in_the_end(method: str, kind: str, user: str, proxy: Front, relay: Relay) -> None:
    put = Put(proxy, "read-")
    assert put.ask().status == 201
    config = json.loads(put.manifest)["config"]["digest"]
    paths = {"manifest": f"manifests/{put.tag}", "blob": f"blobs/{config}", "tags": "tags/list"}
    fault = Failing(TRIES)
    with relay.broken(fault):
        answer = content_of(proxy, user).ask(method, f"/v2/team/app/{paths[kind]}", Accept=ACCEPT)
    assert (answer.status, fault.count) == (200, fault.most)
    assert (
        method == "HEAD"
        or put.tag in answer.body.decode()
        or digest_of(answer.body) in (config, digest_of(put.manifest))
    )


def test_what_lasts_is_told(proxy: Front, relay: Relay) -> None:
    put, immutable = Put(proxy, "latest-"), Put(proxy, "v")
    delete = f"/v2/team/app/manifests/{content_of(proxy, 'ci').image('team/app', 'gone')['digest']}"
    reads = content_of(proxy, "runtime")
    for ask, times, words in (
        (put.ask, TIMES, "could not store this manifest"),
        (lambda: put.content.ask("POST", "/v2/team/app/blobs/uploads/"), TIMES, "the storage of this registry fails"),
        (lambda: reads.ask("GET", "/v2/team/app/manifests/none"), TIMES, "the storage of this registry fails"),
        # A part of it may be removed already: what comes again would be told that there is nothing.
        (lambda: content_of(proxy, "admin").ask("DELETE", delete), 1, "the storage of this registry fails"),
    ):
        fault = Failing(10_000)
        with relay.broken(fault):
            answer = ask()
        assert (answer.status, answer.code) == (500, "UNKNOWN")
        assert words in answer.body.decode()
        assert fault.count == TRIES * times
        assert "X-Accel-Redirect" not in answer.headers
    # Whether there is one is not known: that is no answer about the manifest.
    fault = Failing(10_000)
    with relay.broken(fault):
        answer = immutable.ask()
    assert (answer.status, answer.headers["Retry-After"], fault.count) == (503, "5", TRIES * TIMES)

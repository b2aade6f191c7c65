"""Blobs of an object storage: nginx follows the redirects of the registry, and keeps what it gets."""

from __future__ import annotations

import concurrent.futures
import contextlib
import http.client
import json
import secrets
import socket
import threading
from typing import TYPE_CHECKING

import memory_s3
import pytest
from certificates import Authority
from engine import bridge_address, command, wait_for
from front import ACCOUNT, INSIDE, Front
from http_client import digest_of
from s3_relay import NAME, Fault, Relay

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from http_client import Answer
    from s3_relay import Seen
    from seaweedfs import SeaweedFS

USERS = [
    {"name": "ci", "access": "push"},
    {"name": "reader", "rules": [{"repositories": ["team/*"], "actions": ["pull"]}]},
]
SLICE = 16 << 20
# Of these none is of the proxy, of the registry or of the protocol.
FOREIGN = ("x-amz-", "x-minio-", "x-rgw-", "last-modified", "location", "set-cookie", "vary", "content-disposition")
GENEROUS = (
    b"Cache-Control: max-age=3600\r\nExpires: Thu, 01 Jan 2037 00:00:00 GMT\r\nx-amz-request-id: secret\r\n"
    b"x-amz-version-id: 1\r\nX-Accel-Redirect: /_internal/proxy\r\nSet-Cookie: a=b\r\nVary: *\r\n"
    b"Location: http://elsewhere/\r\nContent-Disposition: attachment\r\n"
)


def refusal(status: str, headers: bytes = GENEROUS) -> bytes:
    body = b"<Error><Code>AccessDenied</Code><HostId>secret</HostId></Error>"
    length = f"Content-Length: {len(body)}\r\nContent-Type: application/xml\r\n".encode()
    return f"HTTP/1.1 {status}\r\n".encode() + length + headers + b"Connection: close\r\n\r\n" + body


@pytest.fixture(scope="module")
def relay(storage: SeaweedFS, ca: Authority) -> Iterator[Relay]:
    with Relay(storage.gateways[0], ca.issue("s3", (NAME,))) as relay:
        yield relay


@pytest.fixture(scope="module")
def options(relay: Relay, ca: Authority) -> dict:
    """The variables of the inventory."""
    return {
        "registry_storage": "s3",
        "registry_s3": {
            **memory_s3.bucket_at(relay.endpoint),
            "root_directory": "wharf/images",
            "ca": ca.certificate.read_text(),
        },
        "reverse_proxy_storage_directory": "",
        "reverse_proxy_resolvers": [relay.resolver],
        "reverse_proxy_blob_cache_size": "1g",
    }


@pytest.fixture(scope="module")
def proxy(fronts: Callable[..., Front], options: dict) -> Front:
    return fronts(USERS, hosts={NAME: bridge_address()}, **options)


class Blob:
    """One of a repository that the reader may pull."""

    def __init__(self, proxy: Front, relay: Relay, content: bytes) -> None:
        self.proxy = proxy
        self.relay = relay
        self.content = content
        self.repository = f"team/{secrets.token_hex(4)}"
        self.digest = proxy.registry().put_blob(self.repository, content)

    @property
    def path(self) -> str:
        return f"/v2/{self.repository}/blobs/{self.digest}"

    def ask(self, method: str = "GET", user: str = "reader", **headers: str) -> Answer:
        return self.proxy.client(user).ask(method, self.path, **headers)

    def fetched(self) -> list[str]:
        """The ranges that the storage was asked for."""
        return [seen.range for seen in self.relay.blobs(self.digest)]

    def served(self) -> list[str]:
        lines = [json.loads(line) for line in self.proxy.log().splitlines() if line.startswith("{")]
        return [line["served"] for line in lines if line["path"] == self.path]


@pytest.fixture
def blob(proxy: Front, relay: Relay) -> Blob:
    return Blob(proxy, relay, secrets.token_bytes(70_000))


@pytest.fixture(scope="module")
def layer(proxy: Front, relay: Relay) -> Blob:
    """One of three slices, none of which was ever asked for before this module."""
    return Blob(proxy, relay, secrets.token_bytes(2 * SLICE + 100_000))


def plain(answer: Answer) -> dict[str, str]:
    return {name.lower(): value for name, value in answer.headers.items()}


def assert_clean(answer: Answer) -> None:
    """Nothing tells of the storage, in headers and errors."""
    assert not [name for name in plain(answer) if name.startswith(FOREIGN)]
    said = str(answer.headers) + (answer.body[:2000].decode("latin-1") if answer.status >= 300 else "")
    assert NAME not in said
    assert "X-Amz-Signature" not in said
    assert "secret" not in said


def test_what_was_fetched_is_kept_and_looks_like_a_blob_of_a_disk(blob: Blob, relay: Relay) -> None:
    with relay.broken(lambda seen: Fault(headers=GENEROUS) if seen.blob else None):
        answers = [blob.ask(), blob.ask()]
    for answer in answers:
        assert (answer.status, answer.body) == (200, blob.content)
        assert_clean(answer)
        assert len(answer.headers) == len(plain(answer)), "no header twice"
        wanted = {
            "content-length": str(len(blob.content)),
            "content-type": "application/octet-stream",
            "docker-content-digest": blob.digest,
            "etag": f'"{blob.digest}"',
            "docker-distribution-api-version": "registry/2.0",
            "cache-control": "max-age=31536000",
            "accept-ranges": "bytes",
            "x-content-type-options": "nosniff",
        }
        assert plain(answer).items() >= wanted.items()
    assert blob.fetched() == [f"bytes=0-{SLICE - 1}"]
    wait_for("lines of the log", lambda: sorted(blob.served()) == ["blob_cache", "s3"])


def test_nothing_of_the_client_goes_to_the_storage(blob: Blob, relay: Relay) -> None:
    assert blob.ask(X_Mine="mine", Cookie="a=b", User_Agent="mine").status == 200
    (seen,) = relay.blobs(blob.digest)
    assert seen.headers == {"host": f"{NAME}:{relay.port}", "range": f"bytes=0-{SLICE - 1}"}


@pytest.mark.parametrize("user", ["reader", "ci"])
def test_a_look(blob: Blob, user: str) -> None:
    answer = blob.ask("HEAD", user)
    assert (answer.status, answer.body) == (200, b"")
    assert_clean(answer)
    wanted = {
        "content-length": str(len(blob.content)),
        "docker-content-digest": blob.digest,
        "accept-ranges": "bytes",
        "etag": f'"{blob.digest}"',
    }
    assert plain(answer).items() >= wanted.items()
    # No content was fetched for it.
    assert blob.fetched() == []
    looked_at = blob.proxy.directory / "looked-at" / blob.digest
    if user == "ci":
        wait_for("a garbage collection knows", looked_at.exists)
    missing = blob.proxy.client(user).ask("HEAD", f"/v2/{blob.repository}/blobs/sha256:{'0' * 64}")
    assert missing.status == 404


def test_ranges(layer: Blob) -> None:
    size = len(layer.content)
    asked = {
        f"bytes=0-{size - 1}": (0, size),
        "bytes=5-9": (5, 10),
        f"bytes={SLICE - 3}-{SLICE + 3}": (SLICE - 3, SLICE + 4),
        f"bytes={2 * SLICE}-": (2 * SLICE, size),
        f"bytes={2 * SLICE + 7}-{size + 10}": (2 * SLICE + 7, size),
        "bytes=-100": (size - 100, size),
        f"bytes=-{size + 5}": (0, size),
    }
    # Cold, in this order, and what is kept of it.
    for _turn in range(2):
        for text, (start, end) in asked.items():
            answer = layer.ask(Range=text)
            assert (answer.status, answer.headers["Content-Range"]) == (206, f"bytes {start}-{end - 1}/{size}"), text
            assert answer.body == layer.content[start:end], text
            assert "Cache-Control" not in answer.headers
            assert_clean(answer)
    assert len(layer.fetched()) == 3


@pytest.mark.parametrize("text", ["bytes=1-2,5-6", "lines=1-2"])
def test_ranges_that_are_none_or_several(blob: Blob, text: str) -> None:
    answer = blob.ask(Range=text)
    assert (answer.status, answer.body) == (200, blob.content)


@pytest.mark.parametrize("start", [70_000, 3 * SLICE, 1 << 40])
def test_a_range_beyond_the_end(blob: Blob, start: int) -> None:
    answer = blob.ask(Range=f"bytes={start}-")
    assert (answer.status, answer.code) == (416, "RANGE_INVALID")
    assert_clean(answer)
    assert len(answer.headers) == len(plain(answer)), "no header twice"
    assert answer.headers["Docker-Distribution-Api-Version"] == "registry/2.0"
    assert blob.ask().body == blob.content


def test_conditions(blob: Blob) -> None:
    etag = f'"{blob.digest}"'
    for text in (etag, f'"other", W/{etag}', "*"):
        answer = blob.ask(If_None_Match=text)
        assert (answer.status, answer.body, answer.headers["Etag"]) == (304, b"", etag), text
        assert_clean(answer)
    for headers in ({"If_None_Match": '"other"'}, {"If_Match": etag}, {"If_Range": '"other"', "Range": "bytes=1-"}):
        answer = blob.ask(**headers)
        assert (answer.status, answer.body) == (200, blob.content), headers
        assert_clean(answer)


def test_membership_is_asked_first(blob: Blob, proxy: Front, relay: Relay) -> None:
    assert blob.ask().status == 200
    fetched = len(relay.requests)
    # It is kept, and the rules and the registry decide all the same.
    for repository, user, status in (
        ("other/app", "reader", 403),
        ("team/empty", "reader", 404),
        (blob.repository, None, 401),
    ):
        answer = proxy.client(user).ask("GET", f"/v2/{repository}/blobs/{blob.digest}")
        assert answer.status == status
        assert_clean(answer)
    assert not any(seen.blob for seen in relay.requests[fetched:])
    assert proxy.registry().ask("DELETE", blob.path).status == 202
    assert blob.ask().status == 404
    assert blob.ask("HEAD").status == 404


@pytest.mark.parametrize("status", ["403 Forbidden", "404 Not Found", "500 Oops", "503 Slow Down", "307 Go", "301 Go"])
def test_an_error_of_the_storage_is_neither_kept_nor_shown(blob: Blob, relay: Relay, status: str) -> None:
    with relay.broken(lambda seen: refusal(status) if seen.blob else None):
        for answer in (blob.ask(), blob.ask(Range="bytes=5-"), blob.ask(If_Match='"x"')):
            assert (answer.status, answer.code) == (503, "UNAVAILABLE")
            assert_clean(answer)
    assert blob.ask().body == blob.content


def test_an_answer_that_ends_too_soon_is_not_kept(blob: Blob, relay: Relay) -> None:
    with relay.broken(lambda seen: Fault(cut=30_000) if seen.blob else None):
        assert blob.content[:30_000].startswith(cut_pull(blob))
    answer = blob.ask(Range="bytes=30000-")
    assert (answer.status, answer.body) == (206, blob.content[30_000:])
    assert blob.ask().body == blob.content


def test_an_answer_without_a_length_is_not_kept(blob: Blob, relay: Relay) -> None:
    """Nothing tells whether all of it has come."""
    size = len(blob.content)
    head = f"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-{size - 1}/{size}\r\n\r\n".encode()
    short = head + blob.content[:30_000]
    # The second question is the one without the cache, for which there is nothing to be kept.
    with relay.broken(lambda seen: (short if seen.range else refusal("403 No")) if seen.blob else None):
        assert blob.ask().status == 503
    assert blob.ask().body == blob.content


def cut_pull(blob: Blob, **headers: str) -> bytes:
    """What came of a pull that must not end well."""
    with pytest.raises((http.client.IncompleteRead, ConnectionError)) as cut:
        blob.ask(**headers)
    return cut.value.partial if isinstance(cut.value, http.client.IncompleteRead) else b""


@pytest.mark.parametrize("fault", [refusal("403 Expired"), refusal("416 Range"), Fault(cut=1000), Fault(cut=0)])
def test_a_storage_that_dies_on_the_way_cuts_and_the_client_goes_on(
    proxy: Front, relay: Relay, fault: bytes | Fault
) -> None:
    blob = Blob(proxy, relay, secrets.token_bytes(SLICE + 5000))
    with relay.broken(lambda seen: fault if seen.blob and seen.range.startswith(f"bytes={SLICE}-") else None):
        got = cut_pull(blob)
        assert blob.content.startswith(got)
        # The last bytes of the first slice, and no error among them.
        assert blob.content[SLICE - 900 :].startswith(cut_pull(blob, Range=f"bytes={SLICE - 900}-"))
    answer = blob.ask(Range=f"bytes={len(got)}-")
    assert got + answer.body == blob.content


def test_many_who_come_at_once_fetch_each_slice_once(proxy: Front, relay: Relay) -> None:
    blob = Blob(proxy, relay, secrets.token_bytes(SLICE + 5000))
    # All of them are there before the first answer.
    together = threading.Barrier(7)
    with concurrent.futures.ThreadPoolExecutor(6) as pool:

        def pull() -> bytes:
            together.wait(30)
            return blob.ask().body

        pulls = [pool.submit(pull) for _turn in range(6)]
        together.wait(30)
        assert {digest_of(one.result()) for one in pulls} == {blob.digest}
    assert sorted(blob.fetched()) == [f"bytes=0-{SLICE - 1}", f"bytes={SLICE}-{2 * SLICE - 1}"]


def test_a_client_that_goes_away_spoils_nothing(proxy: Front, relay: Relay) -> None:
    blob = Blob(proxy, relay, secrets.token_bytes(SLICE + 5000))
    connection = proxy.client("reader").connection
    connection.request("GET", blob.path, headers={"Authorization": proxy.basic("reader")})
    assert connection.getresponse().read(100_000) == blob.content[:100_000]
    connection.sock.shutdown(socket.SHUT_RDWR)
    connection.close()
    assert blob.ask().body == blob.content


def test_only_the_storage_of_the_inventory_is_followed(proxy: Front, relay: Relay, options: dict, blob: Blob) -> None:
    for wrong in ({"endpoint": relay.endpoint.replace("storage", "other")}, {"endpoint": f"https://{NAME}:1"}):
        proxy.change(USERS, **{**options, "registry_s3": {**options["registry_s3"], **wrong}})
        for method in ("GET", "HEAD"):
            answer = blob.ask(method)
            assert answer.status == 503
            assert_clean(answer)
    proxy.change(USERS, **options)
    assert blob.ask().body == blob.content
    assert len(blob.fetched()) == 1


def test_a_storage_with_a_certificate_of_another_ca(proxy: Front, options: dict, blob: Blob, tmp_path: Path) -> None:
    other = Authority(tmp_path, "other-ca").certificate.read_text()
    proxy.change(USERS, **{**options, "registry_s3": {**options["registry_s3"], "ca": other}})
    try:
        assert (blob.ask().status, blob.ask("HEAD").status) == (503, 503)
    finally:
        proxy.change(USERS, **options)
    assert blob.ask().body == blob.content


def test_without_a_cache_each_pull_is_fetched(proxy: Front, options: dict, relay: Relay) -> None:
    blob = Blob(proxy, relay, secrets.token_bytes(SLICE + 5000))
    proxy.change(USERS, **{**options, "reverse_proxy_blob_cache_size": "0"})
    try:
        assert [blob.ask().body == blob.content for _turn in range(2)] == [True, True]
        answer = blob.ask(Range="bytes=100-199")
        assert (answer.status, answer.body) == (206, blob.content[100:200])
        assert blob.ask(Range=f"bytes={1 << 40}-").code == "RANGE_INVALID"
        assert_clean(answer)
    finally:
        proxy.change(USERS, **options)
    assert blob.fetched() == ["", "", "bytes=100-199", f"bytes={1 << 40}-"]


def test_what_is_kept_survives_a_restart(proxy: Front, blob: Blob) -> None:
    assert blob.ask().status == 200
    command("docker", "restart", "--time=1", proxy.containers["proxy"])
    proxy.limit()
    wait_for("the proxy answers", proxy.healthy)
    # What lies there is read anew, for some seconds.
    fetched = len(blob.fetched())
    assert blob.ask().body == blob.content
    assert len(blob.fetched()) == fetched == 1


def test_a_full_disk_is_passed_by(fronts: Callable[..., Front], options: dict, relay: Relay) -> None:
    memory = f"rw,mode=0700,size=700m,uid={ACCOUNT},gid={ACCOUNT}"
    cache = INSIDE["blob_cache"]
    proxy = fronts(USERS, hosts={NAME: bridge_address()}, blob_cache=f"--tmpfs={cache}:{memory}", **options)
    blob = Blob(proxy, relay, secrets.token_bytes(SLICE + 5000))
    inside = ("docker", "exec", proxy.containers["proxy"], "sh", "-c")
    # As much as there is, and then a little less.
    command(*inside, f"head -c 1G /dev/zero >{cache}/other", check=False)
    command(*inside, f"truncate -s -6m {cache}/other")
    assert blob.ask().body == blob.content
    answer = blob.ask(Range="bytes=100-199")
    assert (answer.status, answer.body) == (206, blob.content[100:200])
    wait_for("lines of the log", lambda: blob.served() == ["s3", "s3"])
    command(*inside, f"rm {cache}/other")
    assert [blob.ask().body == blob.content for _turn in range(2)] == [True, True]
    wait_for("lines of the log", lambda: blob.served()[2:] == ["s3", "blob_cache"])


def test_a_registry_on_a_disk_knows_nothing_of_it(
    images: dict[str, str], options: dict, tmp_path: Path, proxy: Front
) -> None:
    """What nginx is told is the same to the byte, whatever is set for a cache."""
    told = []
    for turn in range(2):
        front = Front(tmp_path / str(turn), images)
        front.port, front.docker_port = 20001, 20002
        more = {"reverse_proxy_blob_cache_size": "5g", "reverse_proxy_blob_cache_directory": "/srv/x"} if turn else {}
        front.configure([{"name": "ci", "access": "push", "password": "of-the-test"}], **more)
        text = (front.directory / "config" / "nginx" / "nginx.conf").read_text()
        # What is valid of a user has a salt.
        told.append([line for line in text.splitlines() if not line.lstrip().startswith('"\\\\ci"')])
    assert told[0] == told[1]
    assert not [line for line in told[0] if "object" in line or "slice" in line or "blob-cache" in line]


@pytest.mark.long
def test_a_layer_of_five_gib_in_a_smaller_cache(proxy: Front, relay: Relay, options: dict) -> None:
    """The storage says that a blob is so large, and makes up each part of it."""
    size = (5 << 30) + 12_345
    blob = Blob(proxy, relay, secrets.token_bytes(1000))
    name = blob.digest.partition(":")[2]

    def made_up(start: int, end: int) -> bytes:
        first, last = start >> 20, (end >> 20) + 1
        whole = b"".join(number.to_bytes(8, "big") * (1 << 17) for number in range(first, last))
        return whole[start - (first << 20) : end - (first << 20)]

    def large(seen: Seen) -> bytes | None:
        if seen.blob == name:
            start, end = (int(part) for part in seen.range.removeprefix("bytes=").split("-"))
            if start >= size:
                return refusal("416 Beyond")
            end = min(end + 1, size)
            head = f"HTTP/1.1 206 Partial Content\r\nContent-Length: {end - start}\r\n"
            return f"{head}Content-Range: bytes {start}-{end - 1}/{size}\r\n\r\n".encode() + made_up(start, end)
        if seen.method == "HEAD" and name in seen.target:
            return f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\nConnection: close\r\n\r\n".encode()
        return None

    cache = proxy.directory / "blob-cache"
    proxy.change(USERS, **{**options, "reverse_proxy_blob_cache_size": "512m"})
    try:
        with relay.broken(large):
            for start, end in ((0, 10), ((1 << 32) - 5, (1 << 32) + 5), (size - 7, size)):
                answer = blob.ask(Range=f"bytes={start}-{end - 1}")
                assert (answer.status, answer.body) == (206, made_up(start, end))
                assert answer.headers["Content-Range"] == f"bytes {start}-{end - 1}/{size}"
            connection = proxy.client("reader").connection
            connection.request("GET", blob.path, headers={"Authorization": proxy.basic("reader")})
            answer = connection.getresponse()
            assert answer.headers["Content-Length"] == str(size)
            at = 0
            while piece := answer.read(4 << 20):
                assert piece == made_up(at, at + len(piece)), at
                at += len(piece)
            assert at == size
        wait_for("the cache is as small as it should be", lambda: kept(cache) <= 513 << 20)
    finally:
        proxy.change(USERS, **options)


def kept(directory: Path) -> int:
    """The bytes of all files; nginx removes some meanwhile."""
    total = 0
    for path in directory.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            total += path.stat().st_size if path.is_file() else 0
    return total

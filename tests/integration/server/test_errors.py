"""What nginx itself says: in the words of the protocol, with each header once, by HTTP/1.1 and HTTP/2."""

from __future__ import annotations

import dataclasses
import json
import secrets
import shlex
from typing import TYPE_CHECKING

import pytest
from engine import command, wait_for
from front import REPLICAS, Front
from http_client import OCI, digest_of, manifest, with_digest
from marks import repeated

if TYPE_CHECKING:
    from collections.abc import Callable


USERS = [
    {"name": "ci", "access": "push"},
    {"name": "reader", "access": "pull"},
    {"name": "nobody"},
]
MIB = 1 << 20
MANY = f"X: {'a' * 4000}\r\n" * 10


@pytest.fixture(scope="module")
def proxy(fronts: Callable[..., Front]) -> Front:
    return fronts(
        USERS,
        reverse_proxy_immutable_tags=["v*"],
        reverse_proxy_max_upload_size="5m",
        reverse_proxy_http_redirect=True,
        # All headers that there can be.
        reverse_proxy_https_port=443,
    )


@dataclasses.dataclass(frozen=True)
class Said:
    """An answer as it came."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    @classmethod
    def read(cls, text: bytes) -> Said:
        head, _separator, body = text.partition(b"\r\n\r\n")
        # What was said before, to "Expect: 100-continue".
        while head.split(b" ", 2)[1] == b"100":
            head, _separator, body = body.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = [(name.lower(), value.strip()) for line in lines for name, _colon, value in [line.partition(":")]]
        return cls(int(first.split()[1]), headers, body)

    def get(self, name: str) -> list[str]:
        return [value for known, value in self.headers if known == name]

    def check(self, status: int, code: str, words: str = "") -> None:
        assert self.status == status, self
        assert self.get("content-type") == ["application/json"], self
        assert self.get("docker-distribution-api-version") == ["registry/2.0"], self
        assert self.get("x-content-type-options") == ["nosniff"], self
        assert self.get("strict-transport-security") == ["max-age=63072000"], self
        assert self.get("cache-control") == self.get("etag") == self.get("last-modified") == [], self
        error = json.loads(self.body)["errors"][0]
        assert error["code"] == code and words in error["message"], self
        assert error["message"] and set(error) == {"code", "message", "detail"}, self
        # With a challenge exactly where a login helps.
        assert bool(self.get("www-authenticate")) == (status == 401), self
        assert len(self.get("retry-after")) == (status in {429, 503}), self


def raw(proxy: Front, text: str, seconds: float = 2) -> Said:
    return Said.read(proxy.raw(text.encode("latin-1"), seconds=seconds))


def curl(proxy: Front, protocol: str, path: str, *options: str, stdin: bytes = b"", user: str | None = None) -> Said:
    """Ask from within the proxy's own container, whose curl knows HTTP/2."""
    if user:
        options += (f"--header=Authorization: {proxy.basic(user)}",)
    fixed = ("--silent", "--insecure", "--include", f"--http{protocol}", "--path-as-is", "--max-time=20")
    # curl has the value of an option in a word of its own.
    words = [word for option in (*fixed, *options) for word in option.split("=", 1)]
    script = shlex.join(["curl", *words])
    arguments = ("docker", "exec", "--interactive", proxy.containers["proxy"], "sh", "-c")
    place = f"https://localhost:8443{path}"
    done = command(*arguments, f"{script} {shlex.quote(place)}", stdin=stdin.decode("latin-1"))
    return Said.read(done.stdout.replace("\n", "\r\n").replace("\r\r\n", "\r\n").encode("latin-1"))


BOTH = pytest.mark.parametrize("protocol", ["1.1", "2"])


@BOTH
@pytest.mark.parametrize(
    ("user", "request_line", "expected"),
    [
        (None, "GET /v2/", (401, "UNAUTHORIZED")),
        ("nobody", "GET /v2/a/tags/list", (403, "DENIED")),
        ("reader", "PUT /v2/a/manifests/x", (403, "DENIED")),
        ("reader", "GET /nothing", (404, "NAME_UNKNOWN")),
        ("reader", "GET /v2/a/nothing", (404, "UNSUPPORTED")),
        ("reader", "TRACE /v2/", (405, "UNSUPPORTED")),
        ("reader", "GET /v2/?n=1&n=2", (400, "UNSUPPORTED")),
        ("reader", "GET /v2/%zz", (400, "UNSUPPORTED")),
        ("reader", "GET /v2/../../x", (400, "UNSUPPORTED")),
    ],
)
def test_what_is_no_good_request(
    proxy: Front, protocol: str, user: str | None, request_line: str, expected: tuple[int, str]
) -> None:
    method, path = request_line.split()
    curl(proxy, protocol, path, f"--request={method}", user=user).check(*expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("GET /v2/ HTTP/1.1\r\n\r\n", (400, "UNSUPPORTED")),
        ("GET /v2/ HTTP/1.1\r\nHost: a b\r\n\r\n", (400, "UNSUPPORTED")),
        ("G%T /v2/ HTTP/1.1\r\nHost: x\r\n\r\n", (400, "UNSUPPORTED")),
        ("GET v2 HTTP/1.1\r\nHost: x\r\n\r\n", (400, "UNSUPPORTED")),
        ("GET /v2/ HTTP/1.1\r\nHost: x\r\nContent-Length: y\r\n\r\n", (400, "UNSUPPORTED")),
        ("PUT /v2/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", (501, "UNSUPPORTED")),
        ("PUT /v2/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: identity\r\n\r\n", (501, "UNSUPPORTED")),
        ("GET /v2/ HTTP/3.0\r\nHost: x\r\n\r\n", (505, "UNSUPPORTED")),
        # By HTTP/2, nginx ends the connection.
        (f"GET /v2/{'a' * 9000} HTTP/1.1\r\nHost: x\r\n\r\n", (414, "UNSUPPORTED")),
        (f"GET /v2/?n={'1' * 9000} HTTP/1.1\r\nHost: x\r\n\r\n", (414, "UNSUPPORTED")),
        (f"GET /v2/ HTTP/1.1\r\nHost: x\r\nX: {'a' * 9000}\r\n\r\n", (431, "UNSUPPORTED")),
        (f"GET /v2/ HTTP/1.1\r\nHost: x\r\n{MANY}\r\n", (431, "UNSUPPORTED")),
    ],
)
def test_what_is_no_http(proxy: Front, text: str, expected: tuple) -> None:
    raw(proxy, text).check(*expected)


def test_plain_http(proxy: Front) -> None:
    done = command("docker", "exec", proxy.containers["proxy"], "curl", "-si", "http://localhost:8443/v2/")
    said = Said.read(done.stdout.replace("\n", "\r\n").encode())
    said.check(400, "UNSUPPORTED", "speaks HTTPS")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("GET /v2/ HTTP/1.1\r\n\r\n", 400),
        (f"GET /{'a' * 9000} HTTP/1.1\r\nHost: x\r\n\r\n", 414),
        (f"GET / HTTP/1.1\r\nHost: x\r\nX: {'a' * 9000}\r\n\r\n", 431),
        ("PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        ("GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\n", 413),
        ("GET /v2/?a=b HTTP/1.1\r\nHost: x\r\n\r\n", 308),
    ],
)
def test_the_redirect_to_https(proxy: Front, text: str, expected: int) -> None:
    script = "curl -s --max-time 2 telnet://localhost:8080 2>/dev/null || true"
    done = command("docker", "exec", "-i", proxy.containers["proxy"], "sh", "-c", script, stdin=text, check=False)
    said = Said.read(done.stdout.replace("\n", "\r\n").encode())
    if expected == 308:
        assert (said.status, said.get("location")) == (308, ["https://localhost/v2/?a=b"])
    else:
        said.check(expected, "SIZE_INVALID" if expected == 413 else "UNSUPPORTED")


# --- too much ---------------------------------------------------------------------------------------------------------


def of_size(size: int) -> bytes:
    """A manifest of so many bytes."""
    least = len(manifest(b"a layer", annotations={"of": ""}))
    return manifest(b"a layer", annotations={"of": secrets.token_hex(size)[: size - least]})


@BOTH
@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("reference", ["new", *repeated("v1"), "digest"])
def test_a_manifest_is_as_large_as_a_registry_takes(proxy: Front, protocol: str, chunked: bool, reference: str) -> None:
    registry = proxy.registry()
    registry.put_image("team/app", "base", b"a layer")
    options = ["--request=PUT", f"--header=Content-Type: {OCI}", "--data-binary=@-"]
    options += ["--header=Transfer-Encoding: chunked"] if chunked and protocol == "1.1" else []
    for size in (4 * MIB + 1, 4 * MIB + 100_000, 4 * MIB):
        content = of_size(size)
        assert len(content) == size
        name = digest_of(content) if reference == "digest" else f"{reference}-{secrets.token_hex(4)}"
        said = curl(proxy, protocol, f"/v2/team/app/manifests/{name}", *options, stdin=content, user="ci")
        if size > 4 * MIB:
            said.check(413, "SIZE_INVALID", "the manifest is larger than the 4 MiB")
        else:
            assert said.status == 201, said
        assert (registry.digest("team/app", name) is None) == (size > 4 * MIB)


@BOTH
@pytest.mark.parametrize("method", ["PATCH", "PUT"])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_layer_that_is_too_large(proxy: Front, protocol: str, method: str, chunked: bool) -> None:
    content = b"x" * (5 * MIB + 1)
    location = proxy.client("ci").begin("team/app")
    if method == "PUT":
        location = with_digest(location, digest_of(content))
    options = [f"--request={method}", "--header=Content-Type: application/octet-stream", "--data-binary=@-"]
    options += ["--header=Transfer-Encoding: chunked"] if chunked and protocol == "1.1" else []
    said = curl(proxy, protocol, location, *options, stdin=content, user="ci")
    said.check(413, "SIZE_INVALID", "the layer is larger than the 5m")


@pytest.mark.parametrize("size", [31_000, *repeated(31_500, 32_000, 32_300), 32_600])
@pytest.mark.parametrize(
    ("method", "path"), [("PUT", "manifests/v{size}"), ("PUT", "manifests/new"), ("POST", "blobs/uploads/")]
)
def test_what_one_part_of_nginx_takes_its_next_takes(proxy: Front, size: int, method: str, path: str) -> None:
    """Parts of it add headers to what was nearly too much."""
    each = (size - 500) // 4
    headers = "".join(f"X-Large-{number}: {'a' * each}\r\n" for number in range(4))
    line = f"{method} /v2/team/app/{path.format(size=size)} HTTP/1.1"
    text = f"{line}\r\nHost: localhost\r\nAuthorization: {proxy.basic('ci')}\r\n"
    said = raw(proxy, f"{text}{headers}Content-Length: 1\r\nConnection: close\r\n\r\nx")
    if said.status == 431:
        said.check(431, "UNSUPPORTED")
        assert size > 32_000
    else:
        assert said.status in {202, 400} and b"nginx" not in said.body, said
        assert said.status == 202 or json.loads(said.body)["errors"][0]["code"] == "MANIFEST_INVALID"


# --- parts ------------------------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("bytes_of", ["bytes=5000-", "bytes=1000-1001", "bytes=-0"])
def test_bytes_that_a_blob_has_not(proxy: Front, protocol: str, bytes_of: str) -> None:
    digest = proxy.registry().put_blob("team/app", b"x" * 1000)
    said = curl(proxy, protocol, f"/v2/team/app/blobs/{digest}", f"--header=Range: {bytes_of}", user="reader")
    said.check(416, "RANGE_INVALID")
    assert said.get("content-range") == ["bytes */1000"]


def test_a_blob_is_kept_for_ever_by_who_has_it_whole(proxy: Front) -> None:
    digest = proxy.registry().put_blob("team/app", b"x" * 1000)
    said = curl(proxy, "1.1", f"/v2/team/app/blobs/{digest}", user="reader")
    assert (said.status, said.get("cache-control")) == (200, ["max-age=31536000"])
    assert said.get("etag") == [f'"{digest}"']


# --- no registry behind the proxy -------------------------------------------------------------------------------------


@BOTH
def test_a_registry_that_is_not_there(proxy: Front, protocol: str) -> None:
    start = "/v2/team/app/blobs/uploads/"
    location = proxy.client("ci").begin("team/app")
    blob = f"/v2/team/app/blobs/sha256:{'0' * 64}"
    replicas = [proxy.containers[f"registry-{replica}"] for replica in REPLICAS]
    command("docker", "kill", *replicas)
    try:
        for method, path in (
            ("GET", "/v2/"),
            ("GET", "/v2/team/app/manifests/x"),
            ("GET", blob),
            ("PUT", "/v2/team/app/manifests/v3"),
            ("PUT", "/v2/team/app/manifests/new"),
            ("POST", start),
            ("PATCH", location),
            ("PUT", with_digest(location, digest_of(b"x"))),
        ):
            options = [f"--request={method}"] + (["--data-binary=x"] if method != "GET" else [])
            curl(proxy, protocol, path, *options, user="ci").check(503, "UNAVAILABLE")
        # The proxy keeps an answer of health for a second.
        wait_for("health is asked for again", lambda: curl(proxy, protocol, "/healthz").status != 200)
        curl(proxy, protocol, "/healthz").check(503, "UNAVAILABLE")
    finally:
        command("docker", "start", *replicas)
        for replica in REPLICAS:
            wait_for("a replica is back", lambda replica=replica: proxy.answers(replica))
        # A worker passes over a replica that failed for some seconds, whatever the other workers have seen since. New
        # workers know of no failure.
        proxy.reload()

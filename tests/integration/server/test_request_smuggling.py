"""Paths and requests within requests that lead to what a user may not read or write: each has to fail."""

from __future__ import annotations

import json
import urllib.parse
from typing import TYPE_CHECKING

import pytest
from hostile_requests import SECRET, USERS, status, told
from http_client import OCI, manifest

if TYPE_CHECKING:
    from collections.abc import Callable

    from front import Front
    from http_client import Client


@pytest.fixture(scope="module")
def proxy(fronts: Callable[..., Front]) -> Front:
    return fronts(USERS, reverse_proxy_immutable_tags=["v*"], reverse_proxy_max_upload_size="1m")


# --- paths ------------------------------------------------------------------------------------------------------------


def test_no_path_leads_to_what_may_not_be_read(proxy: Front, secret: str) -> None:
    team = f"Authorization: {proxy.basic('team')}"
    blob, tag = f"secret/app/blobs/{secret}", "secret/app/manifests/one"
    for target in (blob, tag, "secret/app/tags/list"):
        paths = [
            f"/v2/{target}",
            f"/v2//{target}",
            f"//v2/{target}",
            f"/v2/./{target}",
            f"/./v2/{target}",
            f"/v2/team/../{target}",
            f"/v2/team/app/../../{target}",
            f"/v2/team/%2e%2e/{target}",
            f"/v2/team/..%2f{target}",
            f"/v2/team%2f..%2f{target}",
            f"/v2/team/%252e%252e/{target}",
            f"/v2/team/..;/{target}",
            f"/v2/team/..\\{target}",
            f"/v2/{target.replace('secret', 's%65cret')}",
            f"/v2/{target.replace('/', '%2F')}",
            f"/v2/{target.replace('/', '%2F', 1)}",
            f"/v2/{target.upper()}",
            f"/V2/{target}",
            f"/%762/{target}",
            f"/v2/{target}/",
            f"/v2/{target}.",
            f"/v2/{target}%00",
            f"/v2/{target}%20",
            f"/v2/{target}#/v2/team/app/tags/list",
            f"/v2/{target}?/v2/team/app/tags/list",
            f"/v2/{target};/v2/team/app/tags/list",
            f"/healthz/../v2/{target}",
            f"/healthz/%2e%2e/v2/{target}",
            f"https://localhost/v2/{target}",
            f"http://127.0.0.1:5001/v2/{target}",
            f"/v2/team/app/tags/list/../../../../{target}",
            f"/v2/te\xe4m/../{target}",
            f"/v2/team/app/blobs/uploads/../../../../{target}",
            f"/_internal/proxy/v2/{target}",
            "/_internal/blob",
            "/_internal/proxy",
            f"/v2/team/app/manifests/..%2f..%2f..%2f{target}",
        ]
        for path in paths:
            for method in ("GET", "HEAD", "get", "OPTIONS", "TRACE"):
                answer = told(proxy, method, path, team)
                assert status(answer) >= 400 or status(answer) == 0, (method, path, answer[:300])
                assert SECRET not in answer and b"schemaVersion" not in answer, (method, path)
                if status(answer) == 0:
                    assert answer == b"", (method, path)


def test_no_path_writes_where_that_may_not_be(proxy: Front, registry: Client, secret: str) -> None:
    team = f"Authorization: {proxy.basic('team')}"
    content = manifest(SECRET, annotations={"by": "team"}).decode()
    length = f"Content-Length: {len(content)}"
    for path in (
        "secret/app/manifests/evil",
        "team/../secret/app/manifests/evil",
        "team/%2e%2e/secret/app/manifests/evil",
        "/secret/app/manifests/evil",
        "s%65cret/app/manifests/evil",
        "secret%2fapp/manifests/evil",
        "secret/app/manifests/evil/",
        "team/app/manifests/..%2f..%2f..%2fsecret/app/manifests/evil",
    ):
        for method, headers in (
            ("PUT", []),
            ("GET", ["X-HTTP-Method-Override: PUT"]),
            ("POST", ["X-HTTP-Method: PUT"]),
            ("put", []),
            ("POST", ["X-Method-Override: PUT", "X-HTTP-Method-Override: PUT"]),
        ):
            answer = told(proxy, method, f"/v2/{path}", team, f"Content-Type: {OCI}", length, *headers, body=content)
            assert status(answer) >= 400, (method, path, answer[:300])
    assert json.loads(registry.ask("GET", "/v2/secret/app/tags/list").body)["tags"] == ["one"]
    assert registry.digest("secret/app", "one") is not None


def test_the_catalogue_has_no_back_door(proxy: Front, secret: str) -> None:
    team = f"Authorization: {proxy.basic('team')}"
    for path in (
        "/v2/_catalog",
        "/v2/_catalog/",
        "/v2//_catalog",
        "/v2/./_catalog",
        "/v2/_catalog%3Fn=1",
        "/v2/%5fcatalog",
        "/v2/_Catalog",
        "/v2/_catalog?n=1000",
        "/v2/team/../_catalog",
        "/v2/team/%2e%2e/_catalog",
        "https://localhost/v2/_catalog",
        "/v2/_catalog/tags/list",
        "/v2/_catalog;n=1",
        "/v2/_catalog#",
    ):
        answer = told(proxy, "GET", path, team)
        assert status(answer) >= 400, (path, answer[:300])
        assert b"secret/app" not in answer, path


# --- requests within requests -----------------------------------------------------------------------------------------


def test_no_request_is_smuggled(proxy: Front, registry: Client, secret: str) -> None:
    team = proxy.basic("team")
    inner = f"DELETE /v2/secret/app/blobs/{secret} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"
    hidden = f"0\r\n\r\n{inner}"
    start = f"POST /v2/team/app/blobs/uploads/ HTTP/1.1\r\nHost: localhost\r\nAuthorization: {team}\r\n"
    head = f"GET /v2/team/app/tags/list HTTP/1.1\r\nHost: localhost\r\nAuthorization: {team}\r\n"
    for first in (start, head):
        for text in (
            f"Content-Length: {len(hidden)}\r\nTransfer-Encoding: chunked\r\n\r\n{hidden}",
            f"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n{hidden}",
            f"Transfer-Encoding: xchunked\r\n\r\n{hidden}",
            f"Transfer-Encoding : chunked\r\nContent-Length: {len(hidden)}\r\n\r\n{hidden}",
            f"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n{hidden}",
            f"Transfer-Encoding:\x0bchunked\r\nContent-Length: {len(hidden)}\r\n\r\n{hidden}",
            f"Content-Length: 0\r\nContent-Length: {len(inner)}\r\n\r\n{inner}",
            f"Content-Length: +0\r\n\r\n{inner}",
            f"Content-Length: {len(inner)}\r\n\r\n{inner}",
            f"Transfer-Encoding: chunked\r\n\r\nx\r\n{inner}",
            f"Transfer-Encoding: chunked\r\n\r\n{len(inner):x};a=\n{inner}\r\n0\r\n\r\n",
            f"X: y\n\n{inner}",
            f"X: y\r\r\n{inner}",
            f"\r\n{inner}",
            f"Expect: 100-continue\r\nContent-Length: {len(inner)}\r\n\r\n{inner}",
            f"Connection: Authorization, Content-Length\r\nContent-Length: {len(inner)}\r\n\r\n{inner}",
        ):
            proxy.raw((first + text).encode("latin-1"), seconds=0.6)
    for target in (
        f"/v2/team/app/tags/list HTTP/1.1\r\nX: {inner}",
        f"/v2/team/app/tags/list%20HTTP/1.1%0d%0a%0d%0a{urllib.parse.quote(inner)}",
        f"/v2/team/app/tags/list?last=%0d%0a%0d%0a{urllib.parse.quote(inner)}",
    ):
        told(proxy, "GET", target, f"Authorization: {team}")
    assert registry.holds("secret/app", secret)

"""The pull-through cache behind the proxy, with real registries as its upstreams, which fail where a test has them."""

from __future__ import annotations

import concurrent.futures
import contextlib
import http.client
import json
import os
import secrets
import signal
import sqlite3
import threading
import time
from typing import TYPE_CHECKING

import pytest
from content import Content
from engine import wait_for
from http_client import ACCEPT, LAYERS, OCI, Answer, Client, connection_to, digest_of
from marks import repeated
from misbehaving import raw, reply
from pull_cache import PullCache, Upstream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from front import Front
    from hosts import Machine
    from peers import Peers

HUB, QUAY = "docker.io", "quay.io"
USERS = [
    {"name": "admin", "access": "admin"},
    {"name": "team", "rules": [{"repositories": ["docker.io/library/*", "quay.io/**"], "actions": ["pull"]}]},
    {"name": "one", "rules": [{"repositories": ["apps/web"], "actions": ["pull", "push"]}]},
    {"name": "own", "rules": [{"repositories": ["apps/*"], "actions": ["pull", "push"]}]},
]
LARGE = 8 << 20
KILLS = int(os.environ.get("WHARF_KILLS", "4"))


@pytest.fixture(scope="module")
def proxy(fronts: Callable[..., Front]) -> Front:
    return fronts(
        USERS,
        reverse_proxy_caches=[HUB, QUAY],
        reverse_proxy_cache_docker_port=1,
        reverse_proxy_anonymous_pull=["docker.io/public/*"],
    )


@pytest.fixture
def upstream(peers: Peers) -> Iterator[Upstream]:
    with Upstream(peers["registry"]) as upstream:
        yield upstream


@pytest.fixture
def cache(proxy: Front, upstream: Upstream, peers: Peers) -> Iterator[PullCache]:
    quay = {
        "registry": peers["basic"],
        "username": "ci",
        "password": peers.users["ci"],
        "ca_path": str(peers.ca),
    }
    cache = PullCache(proxy.directory / "cache", {HUB: upstream.options, QUAY: quay})
    for path in (cache.blobs, cache.state):
        for file in path.rglob("*"):
            if file.is_file():
                file.unlink()
    cache.start()
    try:
        yield cache
    finally:
        cache.stop()


@pytest.fixture
def there(peers: Peers) -> Content:
    """What the upstream holds."""
    return Content(connection_to(peers["registry"]))


@pytest.fixture
def image(there: Content, room: str) -> str:
    """An image at the upstream, under a tag."""
    there.image(f"library/{room}", "1.0", layer=secrets.token_bytes(LARGE))
    return f"library/{room}"


def manifest(client: Client, name: str, reference: str, query: str = "") -> Answer:
    return client.ask("GET", f"/v2/{name}/manifests/{reference}{query}", Accept=ACCEPT)


def pull(client: Client, name: str, reference: str, query: str = "") -> Answer:
    """A manifest, after all of its blobs came as well; the first answer that is no success."""
    found = manifest(client, name, reference, query)
    if found.status != 200:
        return found
    assert digest_of(found.body) == found.headers["Docker-Content-Digest"]
    for blob in [found.json["config"], *found.json["layers"]]:
        answer = client.ask("GET", f"/v2/{name}/blobs/{blob['digest']}{query}")
        if answer.status != 200:
            return answer
        assert digest_of(answer.body) == blob["digest"]
        assert len(answer.body) == blob["size"]
    return found


def kept(cache: PullCache, digest: str) -> Path:
    """The file of a blob. A client may have its last byte a moment before it is there."""
    wait_for(f"{digest} is kept", lambda: digest in cache.held())
    return next(cache.blobs.rglob(digest.partition(":")[2]))


def test_each_way_leads_to_one_cache_which_needs_its_upstream_once(
    proxy: Front, cache: PullCache, upstream: Upstream, image: str
) -> None:
    team = proxy.client("team")
    first = pull(team, f"{HUB}/{image}", "1.0")
    assert first.status == 200, (first, cache.log())
    assert len(upstream.asked("GET")) == 3, upstream.asked()
    before = upstream.asked()
    # As containerd asks, for all of it, and as Docker asks a mirror.
    assert pull(team, image, "1.0", f"?ns={HUB}").body == first.body
    docker = Client(proxy.docker_connection(), proxy.basic("team"))
    assert pull(docker, image, "1.0").body == first.body
    # containerd with a path in its hosts.toml names it twice, and Docker Hub has a short form.
    assert pull(team, f"{HUB}/{image}", "1.0", f"?ns={HUB}").body == first.body
    assert manifest(proxy.client("admin"), f"{HUB}/{image.rpartition('/')[2]}", "1.0").body == first.body
    assert pull(team, f"{HUB}/{image}", first.headers["Docker-Content-Digest"]).status == 200
    assert upstream.asked() == before
    upstream.away = True
    cache.restart(seconds=0)
    again = pull(team, f"{HUB}/{image}", "1.0")
    assert (again.status, again.body) == (200, first.body)
    assert again.headers["Warning"] == '110 - "Response is Stale"'
    for method in ("HEAD", "GET"):
        asked = team.ask(method, f"/v2/{HUB}/{image}/manifests/1.0", Accept=ACCEPT)
        assert (asked.status, asked.headers["Content-Length"]) == (200, str(len(first.body)))
    unknown = manifest(team, f"{HUB}/{image}", "2.0")
    assert (unknown.status, unknown.code) == (503, "UNAVAILABLE")
    assert "closed the connection" in unknown.json["errors"][0]["message"]
    assert int(unknown.headers["Retry-After"]) > 0
    tags = team.ask("GET", f"/v2/{HUB}/{image}/tags/list")
    assert tags.json == {"name": f"{HUB}/{image}", "tags": ["1.0"]}


def test_a_layer_in_parts(proxy: Front, cache: PullCache, image: str) -> None:
    team = proxy.client("team")
    layer = manifest(team, f"{HUB}/{image}", "1.0").json["layers"][0]["digest"]
    path = f"/v2/{HUB}/{image}/blobs/{layer}"
    head = team.ask("HEAD", path)
    assert (head.status, head.headers["Content-Length"]) == (200, str(LARGE))
    # The first time from the upstream, and then from the disk.
    for _time in range(2):
        part = team.ask("GET", path, Range="bytes=1000000-")
        assert (part.status, len(part.body)) == (206, LARGE - 1000000)
        assert part.headers["Content-Range"] == f"bytes 1000000-{LARGE - 1}/{LARGE}"
        wait_for("it is held", lambda: layer in cache.held())
    whole = team.ask("GET", path)
    assert digest_of(whole.body) == layer
    assert whole.body[1000000:] == part.body
    assert whole.headers["Docker-Content-Digest"] == layer
    assert whole.headers["Docker-Distribution-Api-Version"] == "registry/2.0"
    assert whole.headers.get_all("Content-Length") == [str(LARGE)]
    assert '"served":"cache"' in proxy.log()


@pytest.mark.parametrize("at_once", [50, *repeated(200)])
def test_many_first_pulls_ask_once(
    proxy: Front, cache: PullCache, upstream: Upstream, image: str, at_once: int
) -> None:
    proxy.configure([{**user} for user in USERS], **{**proxy.options, "reverse_proxy_connections_per_replica": 4096})
    proxy.reload()
    begin = threading.Barrier(at_once)

    def one(_number: int) -> bytes:
        team = proxy.client("team")
        begin.wait()
        found = pull(team, f"{HUB}/{image}", "1.0")
        assert found.status == 200, found
        return found.body

    with concurrent.futures.ThreadPoolExecutor(at_once) as threads:
        assert len(set(threads.map(one, range(at_once)))) == 1
    # A HEAD of the tag, a GET of its digest, and two blobs.
    asked = upstream.asked()
    assert len(asked) == len(set(asked)) == 4, asked
    assert cache.memory() < 150 << 20


def test_rules_are_for_the_name_with_its_upstream(proxy: Front, cache: PullCache, there: Content, room: str) -> None:
    for name in (f"library/{room}", f"private/{room}"):
        there.image(name, "1.0")
    team, own, nobody = proxy.client("team"), proxy.client("own"), proxy.client()
    docker = Client(proxy.docker_connection(), proxy.basic("team"))
    assert pull(team, f"{HUB}/library/{room}", "1.0").status == 200
    assert pull(docker, f"library/{room}", "1.0").status == 200
    for client, name, query, status in (
        (team, f"{HUB}/private/{room}", "", 403),
        (team, f"private/{room}", f"?ns={HUB}", 403),
        (docker, f"private/{room}", "", 403),
        (own, f"{HUB}/library/{room}", "", 403),
        (nobody, f"{HUB}/library/{room}", "", 401),
        # Of this registry, where there is no such cache or none is named.
        (team, f"library/{room}", "", 403),
        (team, f"library/{room}", "?ns=gcr.io", 403),
        (proxy.client("admin"), f"library/{room}", "", 404),
    ):
        assert manifest(client, name, "1.0", query).status == status, (name, query)
    admin = proxy.client("admin")
    for method, path in (
        ("POST", f"/v2/{HUB}/library/{room}/blobs/uploads/"),
        ("PUT", f"/v2/{HUB}/library/{room}/manifests/1.0"),
        ("PUT", f"/v2/library/{room}/manifests/1.0?ns={HUB}"),
        ("DELETE", f"/v2/{HUB}/library/{room}/manifests/sha256:{'0' * 64}"),
    ):
        refused = admin.ask(method, path, b"")
        assert (refused.status, refused.code) == (403, "DENIED"), (method, path)
        assert "is a cache of another registry" in refused.json["errors"][0]["message"]


def test_a_blob_of_one_repository_is_none_of_another(
    proxy: Front, cache: PullCache, upstream: Upstream, there: Content, room: str
) -> None:
    there.image(f"private/{room}", "1.0", layer=b"secret" + secrets.token_bytes(32))
    admin, team = proxy.client("admin"), proxy.client("team")
    secret = pull(admin, f"{HUB}/private/{room}", "1.0").json["layers"][0]["digest"]
    there.image(f"library/{room}", "1.0")
    asked = team.ask("GET", f"/v2/{HUB}/library/{room}/blobs/{secret}")
    assert (asked.status, asked.code) == (404, "BLOB_UNKNOWN")
    assert team.ask("HEAD", f"/v2/{HUB}/library/{room}/blobs/{secret}").status == 404
    # Nor of another upstream.
    assert team.ask("GET", f"/v2/{QUAY}/other/{room}/blobs/{secret}").status == 404
    assert team.ask("GET", f"/v2/{HUB}/library/{room}/manifests/{secret}").status == 404
    # One that both have comes from the disk, once the upstream has said so.
    shared = secrets.token_bytes(1000)
    for name in (f"private/{room}", f"library/{room}"):
        there.image(name, "shared", layer=shared)
        assert pull(admin, f"{HUB}/{name}", "shared").status == 200
    assert [target for target in upstream.asked("GET") if digest_of(shared) in target] == [
        f"/v2/private/{room}/blobs/{digest_of(shared)}"
    ]


def test_an_upstream_with_a_login(proxy: Front, cache: PullCache, peers: Peers, there: Content, room: str) -> None:
    there.image(f"apps/{room}", "1.0")
    team = proxy.client("team")
    assert pull(team, f"{QUAY}/apps/{room}", "1.0").status == 200
    former = peers.users["ci"]
    peers.set_password("ci", secrets.token_urlsafe(12))
    try:
        cache.restart(seconds=0)
        assert pull(team, f"{QUAY}/apps/{room}", "1.0").status == 200
        refused = manifest(team, f"{QUAY}/apps/{room}", "2.0")
        assert (refused.status, refused.code) == (403, "DENIED")
        assert "refuses user 'ci'" in refused.json["errors"][0]["message"]
    finally:
        peers.set_password("ci", former)
    said = cache.log() + (cache.state / "state.json").read_text() + proxy.log()
    assert former not in said
    assert "refuses user 'ci'" in cache.log()


def test_a_tag_is_asked_for_by_its_time(
    proxy: Front, cache: PullCache, upstream: Upstream, there: Content, room: str
) -> None:
    name, team = f"library/{room}", proxy.client("team")
    first = there.image(name, "1")["digest"]
    cache.restart(seconds=2)
    began = time.monotonic()
    assert manifest(team, f"{HUB}/{name}", "1").headers["Docker-Content-Digest"] == first
    second = there.image(name, "1")["digest"]
    if time.monotonic() - began < 1:
        assert manifest(team, f"{HUB}/{name}", "1").headers["Docker-Content-Digest"] == first
    wait_for("the other image", lambda: manifest(team, f"{HUB}/{name}", "1").headers["Docker-Content-Digest"] == second)
    # Asked by HEAD, which is free at Docker Hub; a digest that is known is not asked for.
    wait_for("its time is over", lambda: upstream.requests.clear() or time.sleep(2.1) or True, seconds=5)
    assert manifest(team, f"{HUB}/{name}", "1").status == 200
    assert [(one.method, one.target) for one in upstream.requests] == [("HEAD", f"/v2/{name}/manifests/1")]
    # The tag goes there: what was pulled is pulled again here, and what was not is unknown.
    there.ask("DELETE", f"/v2/{name}/manifests/{second}")
    time.sleep(2.1)
    kept = manifest(team, f"{HUB}/{name}", "1")
    assert (kept.status, kept.headers["Docker-Content-Digest"]) == (200, second)
    assert "It is served from here all the same" in cache.log()
    unknown = manifest(team, f"{HUB}/{name}", "2")
    assert (unknown.status, unknown.code) == (404, "MANIFEST_UNKNOWN")
    upstream.requests.clear()
    assert manifest(team, f"{HUB}/{name}", "2").status == 404
    assert upstream.requests == []


@pytest.mark.parametrize("wait", [("77", 77), *repeated((None, 60))])
def test_too_many_requests(
    wait: tuple[str | None, int], proxy: Front, cache: PullCache, upstream: Upstream, image: str
) -> None:
    after, told = wait
    team = proxy.client("team")
    assert pull(team, f"{HUB}/{image}", "1.0").status == 200
    cache.restart(seconds=0)
    headers = {} if after is None else {"Retry_After": after}
    upstream.instead = lambda _request: reply(
        429, '{"errors":[{"code":"TOOMANYREQUESTS","message":"slow"}]}', **headers
    )
    upstream.requests.clear()
    for _time in range(3):
        assert pull(team, f"{HUB}/{image}", "1.0").status == 200
    refused = manifest(team, f"{HUB}/{image}", "2.0")
    assert (refused.status, refused.code) == (429, "TOOMANYREQUESTS")
    assert told - 10 <= int(refused.headers["Retry-After"]) <= told
    assert "answered 429" in refused.json["errors"][0]["message"]
    # It was asked no more after it had said so.
    assert len(upstream.requests) == 1
    # Written as it ends, too.
    cache.stop()
    assert "too many requests" in (cache.state / "state.json").read_text()


def test_the_reserve_of_pulls_is_left_to_others(proxy: Front, cache: PullCache, upstream: Upstream, image: str) -> None:
    team = proxy.client("team")
    cache.restart(upstreams=[{**one, "min_remaining": 20} for one in cache.settings["upstreams"]])
    upstream.instead = lambda request: (
        reply(200, Content_Type=OCI, Docker_Content_Digest=f"sha256:{'1' * 64}", RateLimit_Remaining="20;w=21600")
        if request.method == "HEAD"
        else None
    )
    refused = manifest(team, f"{HUB}/{image}", "1.0")
    assert (refused.status, refused.code) == (429, "TOOMANYREQUESTS")
    assert "allows 20 more pulls in this window, and min_remaining is 20" in refused.json["errors"][0]["message"]
    assert upstream.asked("GET") == []


@pytest.mark.parametrize(
    "odd",
    [
        ("application/x\x0by", b'{"schemaVersion": 2}', "a media type that is none"),
        ("application/vnd.\xe9", b'{"schemaVersion": 2}', "a media type that is none"),
        ("text/html", b'{"schemaVersion": 2}', "a media type that is none"),
        (OCI, b'{"schemaVersion": 2, "x": ' + b"[" * 100000 + b"]" * 100000 + b"}", "is not a JSON object"),
        (OCI, b"<html>Sign in</html>", "is not a JSON object"),
    ],
    ids=["control", "beyond ASCII", "text", "deep", "page"],
)
def test_a_manifest_that_is_none(
    odd: tuple[str, bytes, str], proxy: Front, cache: PullCache, upstream: Upstream
) -> None:
    media_type, content, says = odd
    headers = {"Content_Type": media_type, "Docker_Content_Digest": digest_of(content)}
    upstream.instead = lambda _request: reply(200, content, **headers)
    refused = manifest(proxy.client("team"), f"{HUB}/library/odd", "1.0")
    assert (refused.status, refused.code) == (503, "UNAVAILABLE")
    assert says in refused.json["errors"][0]["message"]
    assert cache.held() == {}


def test_a_name_that_is_doubled_is_its_own(proxy: Front, cache: PullCache) -> None:
    """Rules for x/y say nothing of x/x/y, unless x is an upstream."""
    admin, one = proxy.client("admin"), proxy.client("one")
    admin.put_image("apps/apps/web", "1.0", b"other")
    admin.put_image("apps/web", "1.0", b"own")
    assert manifest(one, "apps/web", "1.0").status == 200
    assert manifest(one, "apps/apps/web", "1.0").status == 403
    assert one.ask("POST", "/v2/apps/apps/web/blobs/uploads/", b"").status == 403


def test_a_repository_that_refuses_the_login_closes_no_other(
    proxy: Front, cache: PullCache, upstream: Upstream, image: str
) -> None:
    """As token servers do for a name that is mistyped."""
    upstream.instead = lambda request: reply(401, WWW_Authenticate="Basic") if "/private/" in request.target else None
    admin = proxy.client("admin")
    assert manifest(admin, f"{HUB}/private/none", "1.0").status == 403
    assert pull(admin, f"{HUB}/{image}", "1.0").status == 200
    before = len(upstream.requests)
    assert manifest(admin, f"{HUB}/private/none", "2.0").status == 403
    assert len(upstream.requests) == before


def test_a_layer_of_unknown_size(proxy: Front, cache: PullCache, upstream: Upstream, there: Content, room: str) -> None:
    name, team, layer = f"library/{room}", proxy.client("team"), secrets.token_bytes(2 << 20)
    there.image(name, "1.0", layer=layer)
    chunked = b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n"
    whole = chunked + b"%x\r\n%b\r\n0\r\n\r\n" % (len(layer), layer)
    behaviours = {"instead": raw(whole)}
    upstream.instead = lambda request: behaviours["instead"] if f"/blobs/{digest_of(layer)}" in request.target else None
    assert pull(team, f"{HUB}/{name}", "1.0").status == 200
    wait_for("it is held", lambda: cache.held().get(digest_of(layer)) == len(layer))
    # One that does not fit passes by, and one that breaks is never told to be whole.
    cache.restart(size=1 << 20)
    assert pull(team, f"{HUB}/{name}", "1.0").status == 200
    behaviours["instead"] = raw(chunked + b"%x\r\n%b" % (len(layer), layer[: len(layer) // 2]))
    with contextlib.suppress(http.client.HTTPException, OSError):
        assert pull(team, f"{HUB}/{name}", "1.0").status == 503
    assert sum(cache.held().values()) <= 1 << 20


def broken(layer: bytes, kind: str) -> Callable[[object], object]:
    head = f"HTTP/1.1 200 X\r\nContent-Length: {len(layer)}\r\n\r\n".encode()
    wrong = bytes([layer[0] ^ 1]) + layer[1:]
    bad = {
        "cut": raw(head + layer[: len(layer) // 2]),
        "another": raw(head + wrong),
        "error": reply(500),
        "longer": reply(200, layer + b"x"),
        "unknown": reply(404),
    }[kind]
    return lambda request: bad if digest_of(layer) in request.target and "/blobs/" in request.target else None


@pytest.mark.parametrize("kind", ["cut", "another", *repeated("error", "longer", "unknown")])
def test_what_comes_damaged_is_never_kept(
    kind: str, proxy: Front, cache: PullCache, upstream: Upstream, room: str
) -> None:
    name, team, layer = f"library/{room}", proxy.client("team"), secrets.token_bytes(3 << 20)
    Content(connection_to(upstream.registry)).image(name, "1.0", layer=layer)
    upstream.instead = broken(layer, kind)
    with contextlib.suppress(OSError, http.client.HTTPException):
        got = pull(team, f"{HUB}/{name}", "1.0")
        assert got.status in (404, 503), got
        assert kind not in ("cut", "another") or got.status == 503
    assert digest_of(layer) not in cache.held()
    upstream.instead = lambda _request: None

    def whole() -> bool:
        return pull(proxy.client("team"), f"{HUB}/{name}", "1.0").status == 200

    wait_for("it comes whole", whole, seconds=20)
    wait_for("it is held", lambda: cache.held().get(digest_of(layer)) == len(layer))
    assert not list(cache.blobs.rglob(".unfinished*"))


def test_a_slow_layer_goes_on_where_it_broke(proxy: Front, cache: PullCache, upstream: Upstream, image: str) -> None:
    team = proxy.client("team")
    layer = manifest(team, f"{HUB}/{image}", "1.0").json["layers"][0]["digest"]
    broke = []

    def once(request: object) -> object:
        if f"/blobs/{layer}" in request.target and not broke:
            broke.append(request)
            return raw(f"HTTP/1.1 200 X\r\nContent-Length: {LARGE}\r\n\r\n".encode() + content[: LARGE // 2])
        return None

    content = Content(connection_to(upstream.registry)).ask("GET", f"/v2/{image}/blobs/{layer}").body
    upstream.instead = once
    assert pull(team, f"{HUB}/{image}", "1.0").status == 200
    ranges = [one.headers.get("range") for one in upstream.requests if f"/blobs/{layer}" in one.target]
    assert ranges[0] is None
    assert ranges[1].startswith("bytes=")
    assert len(ranges) == 2


def test_the_least_recently_pulled_goes_first(
    proxy: Front, cache: PullCache, upstream: Upstream, there: Content, room: str
) -> None:
    base = secrets.token_bytes(3 << 20)
    names = [f"library/{room}-{number}" for number in range(4)]
    own = {}
    for name in names:
        own[name] = secrets.token_bytes(2 << 20)
        layers = [{**there.blob(name, one), "mediaType": LAYERS[OCI]} for one in (base, own[name])]
        there.image(name, "1.0", layers=layers)
    team = proxy.client("team")
    # Room for the shared layer and three of the others.
    cache.restart(size=(3 + 3 * 2 + 1) << 20)
    limit = cache.settings["size"]
    for name in names[:3]:
        assert pull(team, f"{HUB}/{name}", "1.0").status == 200
        time.sleep(0.05)
    # The uses of the last half a minute are one; the first one is used again after it.
    backdate(cache, 100)
    assert pull(team, f"{HUB}/{names[0]}", "1.0").status == 200
    assert pull(team, f"{HUB}/{names[3]}", "1.0").status == 200
    wanted = {digest_of(one) for one in (base, own[names[0]], own[names[3]])}
    # A layer has its name once it was flushed to the disk, which is after its last byte was sent.
    wait_for("they are held", lambda: wanted <= set(cache.held()))
    held = cache.held()
    assert digest_of(own[names[1]]) not in held
    assert sum(held.values()) <= limit
    upstream.away = True
    cache.restart()
    for name in (names[0], names[3]):
        assert pull(team, f"{HUB}/{name}", "1.0").status == 200
    assert manifest(team, f"{HUB}/{names[1]}", "1.0").status == 503
    upstream.away = False
    # What does not fit at all passes by, whole, and is not kept.
    cache.restart(size=1 << 20)
    assert sum(cache.held().values()) <= 1 << 20
    assert pull(team, f"{HUB}/{names[0]}", "1.0").status == 200
    assert sum(cache.held().values()) <= 1 << 20


def backdate(cache: PullCache, seconds: int) -> None:
    """As if all uses had been earlier."""
    cache.stop()
    with contextlib.closing(sqlite3.connect(cache.state / "index.sqlite")) as database, database:
        database.execute("UPDATE objects SET used = used - ?", (seconds,))
    cache.start()


def test_killed_at_any_moment(proxy: Front, cache: PullCache, upstream: Upstream, there: Content, room: str) -> None:
    names = [f"library/{room}-{number}" for number in range(KILLS)]
    for number, name in enumerate(names):
        there.image(name, "1.0", layer=secrets.token_bytes(LARGE // 4))
        timer = threading.Timer(0.02 + 0.1 * number / KILLS, cache.stop, [signal.SIGKILL])
        timer.start()
        with contextlib.suppress(OSError, http.client.HTTPException):
            pull(proxy.client("team"), f"{HUB}/{name}", "1.0")
        timer.join()
        cache.start()
        assert not list(cache.blobs.rglob(".unfinished*"))
    for digest in cache.held():
        path = next(cache.blobs.rglob(digest.partition(":")[2]))
        assert digest_of(path.read_bytes()) == digest
    for name in names:
        assert pull(proxy.client("team"), f"{HUB}/{name}", "1.0").status == 200
    # A damaged index, a damaged manifest and a missing layer are fetched anew.
    cache.stop()
    (cache.state / "index.sqlite").write_bytes(b"damaged" * 1000)
    cache.start()
    digest = pull(proxy.client("team"), f"{HUB}/{names[0]}", "1.0").headers["Docker-Content-Digest"]
    kept(cache, digest).write_bytes(b"{}")
    found = pull(proxy.client("team"), f"{HUB}/{names[0]}", "1.0")
    assert found.status == 200
    kept(cache, found.json["layers"][0]["digest"]).unlink()
    assert pull(proxy.client("team"), f"{HUB}/{names[0]}", "1.0").status == 200


def test_without_the_cache_the_registry_serves_on(proxy: Front, cache: PullCache, image: str) -> None:
    cache.stop()
    admin = proxy.client("admin")
    refused = manifest(admin, f"{HUB}/{image}", "1.0")
    assert (refused.status, refused.code) == (503, "UNAVAILABLE")
    admin.put_image("apps/web", "1.0", b"own")
    assert manifest(admin, "apps/web", "1.0").status == 200


# Where an engine looks for CAs, and what takes an image away from it.
ENGINES = {"bookworm-docker": "docker", "trixie-docker": "docker", "trixie-podman": "containers"}
PULLS = {
    "docker": "docker pull {image} && docker image rm {image}",
    "containers": "podman pull {image} && podman image rm {image}",
}


@pytest.fixture(params=[*repeated("bookworm-docker"), "trixie-docker", "trixie-podman"])
def machine(request: pytest.FixtureRequest, machines: dict[str, Machine], proxy: Front) -> Iterator[Machine]:
    """A host that trusts the proxy, at both of its ports, and is logged in as the team."""
    machine, kind = machines[request.param], ENGINES[request.param]
    address = proxy.outside.partition(":")[0]
    places = [f"/etc/{kind}/certs.d/{address}:{port}" for port in (proxy.port, proxy.docker_port)]
    for place in places:
        machine.run(f"mkdir -p {place} /run/real; cat >{place}/ca.crt", stdin=proxy.ca.read_text())
    login = f"{'docker' if kind == 'docker' else 'podman'} login --username team --password-stdin {proxy.outside}"
    machine.run(login, stdin=proxy.passwords["team"], env=LOGIN)
    yield machine
    machine.run(f"rm -rf /run/real {' '.join(places)}; rmdir --ignore-fail-on-non-empty /etc/{kind}/certs.d")


LOGIN = {"DOCKER_CONFIG": "/run/real", "REGISTRY_AUTH_FILE": "/run/real/auth.json"}


def test_engines_pull_again_without_the_upstream(
    machine: Machine, proxy: Front, cache: PullCache, upstream: Upstream, room: str
) -> None:
    kind = ENGINES[machine.name]
    Content(connection_to(upstream.registry)).real_image(f"library/{room}", "1.0")
    image = f"{proxy.outside}/{HUB}/library/{room}:1.0"
    pulls = [PULLS[kind].format(image=image)]
    if kind == "containers":
        pulls.append(f"skopeo copy docker://{image} dir:/run/real/copy")
        pulls.append(f"skopeo inspect --raw docker://{image}")
    for away in (False, True):
        upstream.away = away
        cache.restart(seconds=0)
        for pull in pulls:
            machine.run(pull, env=LOGIN)
    with pytest.raises(AssertionError, match=r"503|UNAVAILABLE|Service Unavailable"):
        machine.run(PULLS[kind].format(image=image.replace(":1.0", ":2.0")), env=LOGIN)


@pytest.mark.parametrize(
    "machine", [pytest.param("bookworm-docker", marks=pytest.mark.long), "trixie-docker"], indirect=True
)
def test_docker_takes_it_for_a_mirror_of_docker_hub(
    machine: Machine, proxy: Front, cache: PullCache, upstream: Upstream, room: str
) -> None:
    Content(connection_to(upstream.registry)).real_image(f"public/{room}", "1.0")
    mirror = f"https://{proxy.outside.partition(':')[0]}:{proxy.docker_port}"
    before = machine.output("cat /etc/docker/daemon.json 2>/dev/null || echo {}")
    settings = {**json.loads(before), "registry-mirrors": [mirror]}
    machine.run("cat >/etc/docker/daemon.json && systemctl reload docker", stdin=json.dumps(settings))
    try:
        wait_for("the mirror is known", lambda: mirror in machine.belief()["mirrors"])
        for away in (False, True):
            upstream.away = away
            cache.restart(seconds=0)
            done = machine.run(PULLS["docker"].format(image=f"public/{room}:1.0"), check=False)
            said = machine.output("journalctl --unit docker --lines 12 --output cat")
            assert done.returncode == 0, f"{done.stderr}\n{said}\n{proxy.log()[-2000:]}"
    finally:
        settings = {**json.loads(before), "registry-mirrors": []}
        machine.run("cat >/etc/docker/daemon.json && systemctl reload docker", stdin=json.dumps(settings))
        machine.run("cat >/etc/docker/daemon.json", stdin=before)
    line = next(line for line in proxy.log().splitlines() if f"/v2/public/{room}/manifests/1.0" in line)
    assert json.loads(line)["repository"] == f"{HUB}/public/{room}"


def test_the_mirror_of_docker_hub_welcomes_the_anonymous(proxy: Front) -> None:
    """Docker gives up where it is asked for a login before it has named an image, and has none for Docker Hub."""
    anonymous = Client(proxy.docker_connection())
    for path, here, there in (
        ("/v2/", 200, 401),
        ("/v2/_catalog", 401, 401),
        ("/v2/library/none/manifests/1", 401, 401),
        ("/v2/public/none/manifests/1", 503, 401),
        ("/v2/docker.io/public/none/manifests/1", 503, 503),
    ):
        assert anonymous.ask("GET", path).status == here, path
        assert proxy.client().ask("GET", path).status == there, path
    assert Client(proxy.docker_connection(), proxy.basic("team", "wrong")).ask("GET", "/v2/").status == 401

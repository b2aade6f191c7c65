"""Copies from a registry that misbehaves, into a layout: what is copied is whole, and what is not is told of."""

from __future__ import annotations

import hashlib
import json
import re
import time
from pathlib import Path

import pytest
from inprocess import run_module
from misbehaving import Misbehaving, make_certificate, raw, reply
from odd_registry import OddRegistry, digest_of

LAYER = bytes(range(256)) * 2048
LAYER_DIGEST = digest_of(LAYER)
BLOB = f"/v2/team/app/blobs/{LAYER_DIGEST}"


@pytest.fixture
def server():
    with Misbehaving() as server:
        yield server


@pytest.fixture
def upstream(server):
    registry = OddRegistry(server)
    layer = {**registry.blob("team/app", LAYER), "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip"}
    config = {**registry.blob("team/app", b"{}"), "mediaType": "application/vnd.oci.image.config.v1+json"}
    media_type = "application/vnd.oci.image.manifest.v1+json"
    document = {"schemaVersion": 2, "mediaType": media_type, "config": config, "layers": [layer]}
    registry.manifest("team/app", "1.0", document)
    registry.document, registry.server = document, server
    return registry


@pytest.fixture
def sync(upstream, tmp_path):
    def run(check=False, source=None, **options):
        options.setdefault("images", [{"repository": "team/app"}])
        return run_module(
            "registry_sync",
            {
                "source": {"registry": upstream.address, "plain_http": True, "timeout": 5, **(source or {})},
                "destination": {"layout": str(tmp_path / "layout")},
                "max_workers": 2,
                **options,
            },
            check=check,
        )

    return run


@pytest.fixture
def layout(tmp_path):
    return tmp_path / "layout"


def names(layout: Path) -> dict[str, str]:
    """{name: digest} of what a layout names, each of which must be there as a whole."""
    entries = json.loads((layout / "index.json").read_text())["manifests"]
    for entry in entries:
        assert_whole(layout, entry["digest"])
    key = "org.opencontainers.image.ref.name"
    return {entry["annotations"][key]: entry["digest"] for entry in entries if key in entry.get("annotations", {})}


def assert_whole(layout: Path, digest: str) -> None:
    content = (layout / "blobs" / digest.replace(":", "/")).read_bytes()
    assert digest_of(content) == digest
    document = json.loads(content)
    for child in document.get("manifests", []):
        assert_whole(layout, child["digest"])
    for blob in [*document.get("layers", []), *([document["config"]] if "config" in document else [])]:
        assert digest_of((layout / "blobs" / blob["digest"].replace(":", "/")).read_bytes()) == blob["digest"]


def nothing_unfinished(layout: Path) -> bool:
    return not list(layout.glob("blobs/.*"))


def test_four_runs(sync, layout, server) -> None:
    foretold = sync(check=True)
    assert foretold["changed"] and not layout.exists()
    done = sync()
    assert not done.get("failed"), done["msg"]
    assert foretold["images"] == done["images"] and done["copied_bytes"] == len(LAYER) + 2
    assert names(layout) == {"team/app:1.0": done["images"][0]["digest"]}
    server.requests.clear()
    for check in (True, False):
        again = sync(check=check)
        assert not again["changed"] and again["images"][0]["skipped"] == "unchanged"
    # Only its tags are listed, and each is asked for without being read.
    assert {(one.method, one.target.split("/")[-1]) for one in server.requests} == {
        ("GET", "list"),
        ("HEAD", "1.0"),
        ("GET", done["images"][0]["digest"]),
    }
    assert [one.target for one in server.requests if "manifests/sha256" in one.target] == []


def cut(content: bytes, at: int):
    """An answer that tells of more than it sends."""
    return raw(b"HTTP/1.1 200 X\r\nContent-Length: %d\r\n\r\n" % len(content) + content[:at])


def part(content: bytes):
    """The part of a blob that a Range asks for."""

    def behave(request, connection):
        start = int(re.fullmatch(r"bytes=(\d+)-", request.headers["range"])[1])
        told = f"bytes {start}-{len(content) - 1}/{len(content)}"
        return reply(206, content[start:], Content_Range=told)(request, connection)

    return behave


@pytest.mark.parametrize(
    "answers",
    [
        # Goes on from where it was.
        [cut(LAYER, 100_000), part(LAYER)],
        [cut(LAYER, 1), part(LAYER)],
        [cut(LAYER, len(LAYER) - 1), part(LAYER)],
        # A server that knows no parts sends it all again.
        [cut(LAYER, 100_000), cut(LAYER, 200_000), reply(200, LAYER)],
        # Each time some more.
        [*(cut(LAYER, number * 60_000) for number in range(1, 8)), reply(200, LAYER)],
        # Before anything has come.
        [raw(b""), raw(b""), reply(200, LAYER)],
        [reply(503), reply(502), reply(200, LAYER)],
        [reply(500), reply(200, LAYER)],
        # In chunks, and to the end of the connection.
        [raw(b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(LAYER), LAYER))],
        [raw(b"HTTP/1.1 200 X\r\n\r\n" + LAYER)],
    ],
    ids=["part", "first byte", "last byte", "no parts", "many", "silent", "busy", "500", "chunks", "no length"],
)
def test_a_download_that_breaks_off_goes_on(sync, layout, server, answers) -> None:
    server.answer(BLOB, *answers)
    done = sync()
    assert not done.get("failed"), done
    assert names(layout) and nothing_unfinished(layout)


DAMAGED = b"\xff" + LAYER[1:]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (reply(200, DAMAGED), "does not match its digest"),
        (reply(200, LAYER + b"more"), "and not the"),
        (reply(200, LAYER[:-1]), "and not the"),
        (raw(b"HTTP/1.1 200 X\r\n\r\n" + LAYER + b"more"), "has more than the"),
        (raw(b"HTTP/1.1 200 X\r\n\r\n" + LAYER[:-5]), "of the 524288 bytes"),
        (reply(404), "is not there"),
        (reply(403), "403"),
        (reply(206, LAYER, Content_Range=f"bytes 7-{len(LAYER)}/{len(LAYER)}"), "another part of it"),
        (cut(LAYER, 0), "cut its answer short"),
        (reply(302, Location="/v2/team/gone/blobs/x"), "is not there"),
        (raw(b"no HTTP at all\r\n\r\n"), "not HTTP"),
    ],
)
def test_what_is_damaged_gets_no_tag(sync, layout, server, answer, said) -> None:
    server.answer(BLOB, answer)
    done = sync()
    assert done["failed"] and re.search(said, done["msg"]), done["msg"]
    assert done["images"][0]["error"] and not done["images"][0]["changed"]
    assert not (layout / "index.json").exists() or names(layout) == {}
    assert nothing_unfinished(layout)


def test_a_blob_lies_on_another_host_which_gets_no_password(sync, layout, server, upstream, tmp_path) -> None:
    with Misbehaving() as storage:
        storage.otherwise = reply(200, LAYER)
        server.answer(BLOB, reply(307, Location=f"http://{storage.netloc}/bucket/blob?signature=1"))
        done = sync(source={"username": "ci", "password": "geheim"})
        assert not done.get("failed"), done
        (asked,) = storage.requests
        assert "authorization" not in asked.headers
    assert names(layout)


def test_the_others_are_copied(sync, layout, server, upstream) -> None:
    upstream.image("team/app", "2.0")
    upstream.image("team/other", "1")
    server.answer(BLOB, reply(200, DAMAGED))
    done = sync(images=[{"repository": "team/app"}, {"repository": "team/other"}, {"repository": "team/none"}])
    assert done["failed"] and "team/none" in done["msg"] and "1 more failed" in done["msg"]
    assert [one["error"] != "" for one in done["images"]] == [True, False, False]
    assert set(names(layout)) == {"team/app:2.0", "team/other:1"}


def test_a_tag_that_is_gone_leaves_what_is_there(sync, layout, upstream) -> None:
    sync()
    del upstream.tags["team/app", "1.0"]
    done = sync(images=[{"repository": "team/app", "tags": {"globs": ["1.0"]}}])
    assert done["failed"] and "has no team/app:1.0" in done["msg"]
    assert set(names(layout)) == {"team/app:1.0"}


def test_a_tag_that_moved(sync, layout, upstream) -> None:
    before = sync()["images"][0]["digest"]
    after = upstream.image("team/app", "1.0", labels={})["digest"]
    done = sync()
    assert done["failed"] and before in done["msg"] and after in done["msg"] and "overwrite" in done["msg"]
    assert names(layout) == {"team/app:1.0": before}
    for check in (True, False):
        done = sync(check=check, overwrite=True)
        assert done["changed"]
        assert done["diff"] == {"before": {"team/app:1.0": before}, "after": {"team/app:1.0": after}}
    assert names(layout) == {"team/app:1.0": after}


# --- limits of pulls --------------------------------------------------------------------------------------------------


@pytest.fixture
def sleeps(monkeypatch):
    found = []
    monkeypatch.setattr(time, "sleep", found.append)
    return found


def limited(registry, remaining):
    """The registry's answers, with the headers of Docker Hub. HEAD is free, and GET counts."""
    plain = registry._answer

    def answer(request):
        if "/manifests/" not in request.target:
            return plain(request)
        if request.method == "GET":
            remaining[0] -= 1

        def behave(asked, connection):
            reference = asked.target.rsplit("/", 1)[1]
            where = asked.target.split("/manifests/")[0].removeprefix("/v2/")
            digest = registry.tags.get((where, reference), reference)
            if (where, digest) not in registry.manifests:
                return reply(404)(asked, connection)
            content, media_type = registry.manifests[where, digest]
            headers = {
                "Content_Type": media_type,
                "Docker_Content_Digest": digest,
                "RateLimit_Remaining": f"{remaining[0]};w=21600",
                "RateLimit_Limit": "100;w=21600",
            }
            return reply(200, content, **headers)(asked, connection)

        return behave

    registry._answer = answer


def test_a_reserve_is_kept(sync, upstream, layout, sleeps) -> None:
    for number in range(2, 6):
        upstream.image("team/app", f"{number}.0")
    remaining = [12]
    limited(upstream, remaining)
    done = sync(min_remaining=10, max_workers=1)
    assert done["failed"] and "allows 10 more pulls" in done["msg"] and "min_remaining is 10" in done["msg"]
    assert remaining == [10] and done["remaining"] == 10 and len(names(layout)) == 2
    assert sleeps == []
    # Another window.
    remaining[0] = 100
    assert not sync(min_remaining=10).get("failed")
    assert len(names(layout)) == 5


def test_a_reserve_is_waited_for(sync, upstream, sleeps, monkeypatch) -> None:
    upstream.image("team/app", "2.0")
    remaining = [11]
    limited(upstream, remaining)

    def sleep(seconds):
        sleeps.append(seconds)
        remaining[0] += 30

    monkeypatch.setattr(time, "sleep", sleep)
    assert not sync(min_remaining=10, max_wait=120).get("failed")
    assert sleeps == [60]


TOO_MANY = reply(429, '{"errors": [{"code": "TOOMANYREQUESTS", "message": "pull rate limit"}]}')


def test_429_ends_it_and_leaves_what_is_there(sync, server, upstream, layout, sleeps) -> None:
    upstream.image("team/app", "2.0")
    sync(images=[{"repository": "team/app", "tags": {"globs": ["1.0"]}}])
    digest = upstream.tags["team/app", "2.0"]
    server.answer(f"/v2/team/app/manifests/{digest}", TOO_MANY)
    done = sync()
    assert done["failed"] and "429" in done["msg"] and "max_wait" in done["msg"]
    assert set(names(layout)) == {"team/app:1.0"}


@pytest.mark.parametrize("target", ["manifests/1.0", f"blobs/{LAYER_DIGEST}"])
def test_retry_after_is_kept(sync, upstream, layout, sleeps, target) -> None:
    wait, server = reply(429, Retry_After="90"), upstream.server
    manifest = upstream.manifests["team/app", upstream.tags["team/app", "1.0"]]
    real = manifest if target.startswith("manifests") else None
    headers = {"Content_Type": real[1], "Docker_Content_Digest": upstream.tags["team/app", "1.0"]} if real else {}
    server.answer(f"/v2/team/app/{target}", wait, reply(200, real[0] if real else LAYER, **headers))
    done = sync(max_wait=100)
    assert not done.get("failed"), done
    assert sleeps == [90.0] and names(layout)


def test_more_than_max_wait_is_not_waited(sync, server, sleeps) -> None:
    server.answer("/v2/team/app/manifests/1.0", reply(429, Retry_After="101"))
    done = sync(max_wait=100)
    assert done["failed"] and "asks to wait 101 seconds, and max_wait leaves 100" in done["msg"]
    assert sleeps == []


def test_all_waits_together_have_an_end(sync, server, sleeps) -> None:
    server.answer("/v2/team/app/manifests/1.0", reply(429, Retry_After="40"))
    done = sync(max_wait=100)
    assert done["failed"] and sleeps == [40.0, 40.0]


def test_progress_is_told(sync, upstream, tmp_path) -> None:
    path = tmp_path / "progress"
    sync(progress_path=str(path), check=True)
    assert not path.exists()
    sync(progress_path=str(path))
    lines = path.read_text().splitlines()
    assert "1 tags are chosen" in lines[0] and "1 of 1: team/app:1.0 was copied to team/app" in lines[1]
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4} ", lines[0])


def test_tls_is_checked(tmp_path) -> None:
    make_certificate(tmp_path / "pair.pem")
    with Misbehaving(tmp_path / "pair.pem") as server:
        done = run_module(
            "registry_sync",
            {
                "source": {"registry": server.netloc},
                "destination": {"layout": str(tmp_path / "layout")},
                "images": [{"repository": "team/app"}],
            },
        )
    assert done["failed"] and "unknown CA" in done["msg"]
    assert not (tmp_path / "layout").exists()


def test_hashes_of_other_algorithms(sync, upstream, layout) -> None:
    content = b"by another algorithm"
    digest = f"sha512:{hashlib.sha512(content).hexdigest()}"
    upstream.blobs["team/app", digest] = content
    document = {
        **upstream.document,
        "layers": [{"digest": digest, "size": len(content), "mediaType": "application/octet-stream"}],
    }
    upstream.manifest("team/app", "512", document)
    assert not sync(images=[{"repository": "team/app", "tags": {"globs": ["512"]}}]).get("failed")
    assert (layout / "blobs" / digest.replace(":", "/")).read_bytes() == content

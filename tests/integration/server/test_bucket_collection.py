"""Garbage collection in a real bucket while the registry serves: what goes, and that nothing acknowledged is lost."""

from __future__ import annotations

import json
import os
import random
import secrets
import signal
import time
from typing import TYPE_CHECKING

import bucket_front
import memory_s3
import programs
import pytest
from collecting import COLLECTOR, MIB, USERS, Collector, Pusher, content_of, delete, pull
from engine import wait_for
from http_client import digest_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from certificates import Authority
    from content import Content
    from front import Front
    from seaweedfs import SeaweedFS

LOCK = "wharf-collection-lock/"
ROUNDS = int(os.environ.get("WHARF_KILLS", "16"))


@pytest.fixture(scope="module")
def proxy(images: dict[str, str], storage: SeaweedFS, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    with bucket_front.running(tmp_path_factory.mktemp("front"), images, USERS, storage) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return programs.install(COLLECTOR, tmp_path_factory.mktemp("program"))


@pytest.fixture
def content(proxy: Front, storage: SeaweedFS) -> Content:
    """The content of a registry with nothing in it."""
    for key in storage.objects():
        assert storage.ask("DELETE", f"/{memory_s3.BUCKET}/{key}")[0] == 204
    return content_of(proxy)


@pytest.fixture
def collector(proxy: Front, storage: SeaweedFS, ca: Authority, program: Path, tmp_path: Path) -> Collector:
    access = {
        **memory_s3.bucket_at(f"https://localhost:{storage.https}"),
        "ca_path": str(ca.certificate),
    }
    (tmp_path / "s3.json").write_text(json.dumps(access))
    collector = Collector(proxy, storage="", s3=str(tmp_path / "s3.json"), lease_seconds=6, lock_seconds=30)
    collector.program = program
    return collector


def blobs_of(storage: SeaweedFS) -> set[str]:
    """The digests of all blobs."""
    return {f"sha256:{key.split('/')[-2]}" for key in storage.objects() if "/blobs/" in key}


def test_what_no_tag_leads_to_is_removed_and_can_be_pushed_again(
    content: Content, collector: Collector, storage: SeaweedFS
) -> None:
    layer, shared = secrets.token_bytes(MIB), secrets.token_bytes(MIB)
    gone = content.image("apps/web", "old", layer=layer)
    stays = content.image("apps/web", "1.0.0", layer=shared)
    also, children = content.index("other/deep/web", "1.0.0")
    delete(content, "apps/web", gone["digest"])
    # Within the second in which it was written, it is kept for being new.
    wait_for("it is removed", lambda: collector.run()["removed"]["layers"] == 1)
    assert not {gone["digest"], digest_of(layer)} & blobs_of(storage)
    assert pull(content, "apps/web", "1.0.0")[0] == stays["digest"]
    assert pull(content, "other/deep/web", "1.0.0")[:2] == [also["digest"], children[0]["digest"]]
    # The registry does not believe in what is gone.
    assert content.image("apps/web", "new", layer=layer)["digest"] == gone["digest"]
    assert pull(content, "apps/web", "new")[0] == gone["digest"]
    report = collector.run()
    # SeaweedFS keeps to If-None-Match.
    assert (report["freed"], report["warnings"]) == (0, [])
    assert report["bucket"]["objects"] == len([key for key in storage.objects() if LOCK not in key])


def test_nothing_that_is_pushed_meanwhile_is_lost(
    content: Content, collector: Collector, proxy: Front, storage: SeaweedFS
) -> None:
    pushers = [Pusher(proxy, number) for number in range(2)]
    for pusher in pushers:
        pusher.start()
    freed = 0
    for _turn in range(2):
        wait_for("something was pushed", lambda: all(len(pusher.acknowledged) > 2 for pusher in pushers))
        freed += collector.run(attempts=20, drain_seconds=5, grace_seconds=1)["freed"]
    ended(pushers)
    needed = acknowledged(content, pushers)
    # No layer is a part of a push any more.
    short = {"push_seconds": 1, "upload_idle_seconds": 1, "grace_seconds": 1}
    wait_for("only what is needed is left", lambda: collector.run(**short) and blobs_of(storage) == needed)
    assert acknowledged(content, pushers) == needed
    assert not list((proxy.directory / "sockets").glob("hold*"))
    print([len(pusher.acknowledged) for pusher in pushers], "tags,", freed, "bytes freed meanwhile")


@pytest.mark.long
def test_collectors_are_killed_while_clients_push(content: Content, collector: Collector, proxy: Front) -> None:
    pushers = [Pusher(proxy, number) for number in range(3)]
    for pusher in pushers:
        pusher.start()
    chosen = random.Random()  # noqa: S311
    statuses = {0: 0, 1: 0, -signal.SIGKILL: 0}
    for turn in range(ROUNDS):
        process = collector.start(grace_seconds=0.2, drain_seconds=5, attempts=3)
        time.sleep(chosen.uniform(0, 4))
        if turn % 3:
            process.send_signal(signal.SIGKILL)
        status, output, errors = collector.finish(process)
        assert status in statuses, output + errors
        assert status != 1 or "was being written to" in errors, errors
        statuses[status] += 1
    ended(pushers)
    for _turn in range(2):
        acknowledged(content, pushers)
        assert collector.run(attempts=10)["problems"] == []
    assert statuses[0] > 0 and statuses[-signal.SIGKILL] > 0
    print(f"{ROUNDS} runs: {statuses}, {[len(pusher.acknowledged) for pusher in pushers]} tags")


def ended(pushers: list[Pusher]) -> None:
    for pusher in pushers:
        pusher.stopping.set()
        pusher.join()
        assert pusher.failure is None, pusher.failure


def acknowledged(content: Content, pushers: list[Pusher]) -> set[str]:
    """All digests of what was acknowledged, which is there."""
    found = set()
    for pusher in pushers:
        for tag, digest in pusher.acknowledged.items():
            pulled = pull(content, pusher.repository, tag)
            assert pulled[0] == digest
            found.update(pulled)
    return found

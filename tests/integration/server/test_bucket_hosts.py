"""Several hosts before one bucket: a collection looks at what any of them was pushed, and at no more than that."""

from __future__ import annotations

import contextlib
import json
import secrets
from typing import TYPE_CHECKING

import memory_s3
import programs
import pytest
from bucket_front import registry_s3
from collecting import COLLECTOR, content_of, pull
from http_client import ACCEPT, digest_of
from s3_relay import Fault, Relay
from several_fronts import holdable, several

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from collecting import Collector
    from s3_relay import Seen
    from seaweedfs import SeaweedFS
    from several_fronts import SharedFront

USERS = [{"name": "admin", "access": "admin"}]
# By the hash of their names, each of the hosts has some of them.
REPOSITORIES = ["apps/web", "team/a", "apps/api", "team/c", "team/b", "web/shop"]
LOCK = "wharf-collection-lock"


def access(relay: Relay) -> dict:
    return memory_s3.bucket_at(f"http://{relay.address}:{relay.port}")


@pytest.fixture(scope="module")
def hosts(
    images: dict[str, str], storage: SeaweedFS, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[SharedFront]]:
    with (
        Relay(storage.gateways[0]) as relay,
        several(
            tmp_path_factory.mktemp("hosts"),
            images,
            USERS,
            3,
            registry_storage="s3",
            registry_s3=registry_s3(f"http://{relay.address}:{relay.port}"),
            reverse_proxy_bcrypt_cost=5,
        ) as hosts,
        holdable(hosts[1]),
        holdable(hosts[2]),
    ):
        yield hosts


@pytest.fixture
def relay(storage: SeaweedFS) -> Iterator[Relay]:
    """The way of the collection to the storage."""
    with Relay(storage.gateways[0]) as relay:
        yield relay


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return programs.install(COLLECTOR, tmp_path_factory.mktemp("program"))


@pytest.fixture
def collector(hosts: list[SharedFront], relay: Relay, program: Path, tmp_path: Path) -> Collector:
    """Of the first host. What was pushed is no part of a push a second later."""
    (tmp_path / "s3.json").write_text(json.dumps(access(relay)))
    collector = hosts[0].collector(
        storage="", s3=str(tmp_path / "s3.json"), grace_seconds=2, push_seconds=0, upload_idle_seconds=0, attempts=5
    )
    collector.program = program
    return collector


class Garbage:
    """An image whose manifest was deleted: the blobs and the links of its layers are there until a collection."""

    def __init__(self, host: SharedFront, repository: str) -> None:
        self.repository = repository
        content = content_of(host)
        self.layer = secrets.token_bytes(5000)
        made = content.image(repository, "old", layer=self.layer)
        self.digest, self.type = made["digest"], made["mediaType"]
        self.manifest = content.ask("GET", f"/v2/{repository}/manifests/old", Accept=ACCEPT).body
        assert content.ask("DELETE", f"/v2/{repository}/manifests/{self.digest}").status == 202

    def tag(self, host: SharedFront, tag: str) -> None:
        """Push its manifest again, and no blob, as one does who knows that they are there."""
        path = f"/v2/{self.repository}/manifests/{tag}"
        assert content_of(host).ask("PUT", path, self.manifest, Content_Type=self.type).status == 201

    def mount(self, host: SharedFront, repository: str, tag: str) -> None:
        """Push it to another repository, which takes the blobs from this one."""
        content = content_of(host)
        document = json.loads(self.manifest)
        for blob in (document["config"], *document["layers"]):
            query = f"mount={blob['digest']}&from={self.repository}"
            assert content.ask("POST", f"/v2/{repository}/blobs/uploads/?{query}").status == 201
        path = f"/v2/{repository}/manifests/{tag}"
        assert content.ask("PUT", path, self.manifest, Content_Type=self.type).status == 201

    def is_there(self, storage: SeaweedFS) -> bool:
        encoded = digest_of(self.layer).partition(":")[2]
        path = f"/{memory_s3.BUCKET}/docker/registry/v2/blobs/sha256/{encoded[:2]}/{encoded}/data"
        return storage.ask("HEAD", path)[0] == 200


@contextlib.contextmanager
def between_the_looks(relay: Relay, host: SharedFront, action: Callable[[], None]) -> Iterator[list[str]]:
    """Has action be done once, after the first look; yields what the storage is asked for while writes are held."""
    held = host.directory / "sockets" / "hold"
    asked: list[str] = []
    done: list[bool] = []

    def watch(seen: Seen) -> Fault | None:
        if held.exists() and seen.method != "POST" and LOCK not in seen.target:
            asked.append(f"{seen.method} {seen.target}")
        # The collection asks for the time, when the grace is over.
        if seen.method == "HEAD" and seen.target == f"/{memory_s3.BUCKET}" and not done:
            done.append(True)
            return Fault(before=action)
        return None

    with relay.broken(watch):
        yield asked
    assert done


def test_what_any_host_was_pushed_between_the_looks_stays(
    hosts: list[SharedFront], collector: Collector, relay: Relay, storage: SeaweedFS
) -> None:
    """While writes are held, the requests are as many with few repositories and little garbage as with more."""
    counts = []
    for others in (1, 8):
        for number in range(others):
            Garbage(hosts[0], f"others/of-{others}/number-{number}")
            content_of(hosts[0]).image(f"others/of-{others}/number-{number}", "stays")
        gone = Garbage(hosts[1], "apps/gone")
        pushed = [Garbage(hosts[0], repository) for repository in REPOSITORIES]
        mounted = [Garbage(hosts[0], f"source/{place}") for place in range(3)]

        def push(pushed: list[Garbage] = pushed, mounted: list[Garbage] = mounted) -> None:
            for place, one in enumerate(pushed):
                one.tag(hosts[place % 3], "late")
            for place, one in enumerate(mounted):
                one.mount(hosts[place], f"target/{place}", "late")

        with between_the_looks(relay, hosts[0], push) as asked:
            report = collector.run()
        assert report["warnings"] == [] and report["refused"] == 0, report
        assert report["removed"]["manifests"] == 0 and report["removed"]["blobs"] >= 2 * others, report
        assert not gone.is_there(storage)
        for place, one in enumerate(pushed):
            assert pull(content_of(hosts[place % 3]), one.repository, "late")[0] == one.digest
        for place, one in enumerate(mounted):
            assert pull(content_of(hosts[place]), f"target/{place}", "late")[0] == one.digest
        counts.append(sorted({line for line in asked if "list-type" in line}))
        # Ten, and with one more for each of the others it would be 18.
        assert len(asked) < 18, asked
    # A list for each repository that was pushed to.
    assert counts[0] == counts[1]
    assert len(counts[0]) == len(REPOSITORIES) + 3


def test_without_the_record_of_a_host_all_is_listed(
    hosts: list[SharedFront], collector: Collector, relay: Relay, storage: SeaweedFS
) -> None:
    """As that of one that was started again, or whose proxy has an older configuration."""
    for number, lost in enumerate(("gone", "older")):
        old = [Garbage(hosts[0], repository) for repository in REPOSITORIES]
        gone = Garbage(hosts[0], f"apps/gone-{number}")
        place = hosts[2].directory / "looked-at"

        def push(old: list[Garbage] = old, place: Path = place, lost: str = lost) -> None:
            for one in old:
                one.tag(hosts[2], "later")
            if lost == "gone":
                for name in ("record", "begun", "written"):
                    (place / name).unlink(missing_ok=True)
            else:
                (place / "begun").unlink(missing_ok=True)
                (place / "written").write_text("\n\n")

        with between_the_looks(relay, hosts[0], push):
            report = collector.run()
        (warning,) = report["warnings"]
        assert "all repositories were listed while writes were held, since host-2 has no whole record" in warning
        assert not gone.is_there(storage)
        for one in old:
            assert pull(content_of(hosts[1]), one.repository, "later")[0] == one.digest


@pytest.mark.long
def test_a_grace_is_longer_than_a_silent_session(
    hosts: list[SharedFront], collector: Collector, storage: SeaweedFS
) -> None:
    """Other hosts end a session in which nothing is asked for 45 seconds."""
    old = Garbage(hosts[1], "apps/patient")
    assert collector.run(grace_seconds=50)["warnings"] == []
    assert not old.is_there(storage)

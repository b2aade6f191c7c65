"""Garbage collection while the registry serves: what goes, and what stays."""

from __future__ import annotations

import hashlib
import json
import secrets
import shutil
import sys
import time
from typing import TYPE_CHECKING

import pytest
from collecting import MIB, USERS, Collector, bytes_of, delete, fresh, pull
from http_client import DOCKER, OCI, OCI_INDEX, digest_of
from marks import repeated
from paths import ROOT

sys.path.append(str(ROOT / "roles" / "backup" / "files"))
sys.path.append(str(ROOT / "roles" / "maintenance" / "files" / "collector"))
from wharf_backup import storage as stored
from wharf_backup import verify

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from content import Content
    from front import Front


@pytest.fixture(scope="module")
def proxy(fronts: Callable[..., Front]) -> Front:
    return fronts(USERS, reverse_proxy_immutable_tags=["v*"])


def test_what_no_tag_leads_to_is_removed_and_can_be_pushed_again(
    content: Content, collector: Collector, proxy: Front
) -> None:
    layer, shared = secrets.token_bytes(MIB), secrets.token_bytes(MIB)
    gone = content.image("apps/web", "old", layer=layer)
    stays = content.image("apps/web", "1.0.0", layer=shared)
    also = content.image("other/deep/web", "1.0.0", layer=shared, kind=DOCKER)
    before = bytes_of(proxy.directory / "storage")
    delete(content, "apps/web", gone["digest"])
    report = collector.run()
    # The layer, its manifest and its configuration, which is that of the other image as well.
    assert report["removed"] == {"tags": 0, "manifests": 0, "layers": 1, "blobs": 2, "repositories": 0}
    assert MIB < report["freed"] < MIB + 2000
    assert before - bytes_of(proxy.directory / "storage") >= report["freed"]
    assert pull(content, "apps/web", "1.0.0")[0] == stays["digest"]
    assert pull(content, "other/deep/web", "1.0.0")[0] == also["digest"]
    # The registry does not believe in what is gone.
    again = content.image("apps/web", "new", layer=layer)
    assert again["digest"] == gone["digest"]
    assert pull(content, "apps/web", "new")[0] == gone["digest"]
    assert collector.run()["freed"] == 0


def test_indexes_and_what_belongs_to_a_subject_stay_whole(content: Content, collector: Collector) -> None:
    index, children = content.index("apps/multi", "1.0.0")
    content.sign("apps/multi", index)
    payload = content.blob("apps/multi", secrets.token_bytes(100))
    config = content.blob("apps/multi", b"{}")
    document = {
        "schemaVersion": 2,
        "mediaType": OCI,
        "config": {**config, "mediaType": "application/vnd.example"},
        "layers": [{**payload, "mediaType": "application/vnd.example"}],
        "subject": {"digest": children[0]["digest"], "size": children[0]["size"], "mediaType": OCI},
    }
    # By its digest, without a tag: only its subject leads to it.
    referrer = content.manifest("apps/multi", None, document, OCI)
    lonely, lost = content.index("apps/multi", "moved")
    content.index("apps/multi", "moved")
    report = collector.run()
    assert report["removed"]["manifests"] == 3, report
    for reference in ("1.0.0", "moved", referrer["digest"], *(child["digest"] for child in children)):
        pull(content, "apps/multi", reference)
    for descriptor in (lonely, *lost):
        assert content.digest("apps/multi", descriptor["digest"]) is None
    # Its subject gone, it goes too.
    delete(content, "apps/multi", index["digest"])
    assert collector.run()["removed"]["manifests"] == 3
    assert content.digest("apps/multi", referrer["digest"]) is None


def test_the_bytes_are_those_of_a_fresh_registry(
    content: Content, collector: Collector, tmp_path: Path, images: dict[str, str], proxy: Front
) -> None:
    wanted = []
    for number in range(6):
        content.image("team/app", f"{number}.0.0", layer=secrets.token_bytes(100_000))
        wanted.append(("team/app", f"{number}.0.0"))
        delete(content, "team/app", content.image("team/app", "x", layer=secrets.token_bytes(100_000))["digest"])
        delete(content, "team/gone", content.image("team/gone", "x", layer=secrets.token_bytes(100_000))["digest"])
    content.index("team/app", "multi")
    wanted.append(("team/app", "multi"))
    assert collector.run()["removed"]["repositories"] == 1
    with fresh(tmp_path, images) as registry:
        assert bytes_of(proxy.directory / "storage") == pytest.approx(registry.bytes_with(content, wanted), rel=0.001)
    _status, _headers, body = content.ask("GET", "/v2/_catalog")
    assert json.loads(body)["repositories"] == ["team/app"]


@pytest.mark.parametrize("algorithm", ["sha512", *repeated("sha384")])
def test_what_was_pushed_by_another_digest_stays(
    content: Content, collector: Collector, proxy: Front, algorithm: str
) -> None:
    """The registry stores it by its sha256, and links it by both digests, so that a path need not name the content."""
    blobs = {
        f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}": data for data in (b"{}", secrets.token_bytes(99))
    }
    for digest, data in blobs.items():
        location = content.ask("POST", "/v2/apps/web/blobs/uploads/")[1]["Location"]
        target = f"{location}{'&' if '?' in location else '?'}digest={digest}"
        assert content.ask("PUT", target, data, Content_Type="application/octet-stream")[0] == 201
    config, layer = ({"digest": digest, "size": len(data), "mediaType": "x/y"} for digest, data in blobs.items())
    document = {"schemaVersion": 2, "mediaType": OCI, "config": config, "layers": [layer]}
    tagged = content.manifest("apps/web", "1.0.0", document, OCI)
    storage = proxy.directory / "storage/docker/registry/v2"
    link = storage / "repositories/apps/web/_layers" / layer["digest"].replace(":", "/") / "link"
    assert link.read_text() == digest_of(blobs[layer["digest"]])
    assert not (storage / "blobs" / algorithm).exists()
    delete(content, "apps/web", content.image("apps/web", "x")["digest"])
    assert collector.run()["removed"]["blobs"] == 3
    for digest, data in blobs.items():
        assert content.ask("GET", f"/v2/apps/web/blobs/{digest}")[::2] == (200, data)
    # Nor does a backup call it broken.
    assert verify.survey(storage, stored.read_all(storage)).problems() == []
    delete(content, "apps/web", tagged["digest"])
    assert collector.run()["removed"]["blobs"] == 3
    assert content.ask("HEAD", f"/v2/apps/web/blobs/{layer['digest']}")[0] == 404


def test_an_image_that_another_repository_has_goes_here(content: Content, collector: Collector) -> None:
    """The layer is no part of a push that is on its way, though no manifest of this repository names it any more."""
    layer = secrets.token_bytes(1000)
    for repository in ("apps/web", "apps/copy", "apps/more"):
        image = content.image(repository, "1.0.0", layer=layer)
    content.image("apps/web", "1.0.0")
    delete(content, "apps/copy", image["digest"])
    report = collector.run()
    assert report["removed"] == {"tags": 0, "manifests": 1, "layers": 3, "blobs": 0, "repositories": 1}
    for repository, status in (("apps/web", 404), ("apps/copy", 404), ("apps/more", 200)):
        assert content.ask("HEAD", f"/v2/{repository}/blobs/{digest_of(layer)}")[0] == status
    pull(content, "apps/more", "1.0.0")


def test_a_child_that_is_the_subject_too_stays(content: Content, collector: Collector) -> None:
    child = content.image("apps/web", None)
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [child], "subject": child}
    content.manifest("apps/web", "1.0.0", index, OCI_INDEX)
    collector.run()
    assert child["digest"] in pull(content, "apps/web", "1.0.0")


def test_a_manifest_that_is_given_is_kept_without_a_tag(content: Content, collector: Collector) -> None:
    first, _children = content.index("apps/web", "latest")
    second = content.image("apps/web", "latest")
    content.image("apps/web", "latest")
    collector.run(keep_digests=[first["digest"]])
    pull(content, "apps/web", first["digest"])
    assert content.digest("apps/web", second["digest"]) is None


def test_what_runs_in_the_fleet_is_kept_without_a_tag(content: Content, collector: Collector, tmp_path: Path) -> None:
    running = tmp_path / "running.json"
    first, _children = content.index("apps/web", "latest")
    second = content.image("apps/web", "latest")
    content.image("apps/web", "latest")
    for damage in ("", "{", "[]", '{"digests": "sha256:1"}', '{"digests": [1]}'):
        running.write_text(damage)
        status, _output, errors = collector.finish(collector.start(running=str(running)))
        assert status != 0 and f"{running} holds no list of digests. Run exposure.yml, which writes it" in errors
    running.write_text(json.dumps({"digests": [first["digest"]]}))
    collector.run(running=str(running))
    pull(content, "apps/web", first["digest"])
    assert content.digest("apps/web", second["digest"]) is None
    # Where nothing is known of the fleet, it goes.
    collector.run(running=str(tmp_path / "none.json"))
    assert content.digest("apps/web", first["digest"]) is None


def test_the_last_repository_goes_and_collections_go_on(content: Content, collector: Collector, proxy: Front) -> None:
    """As in the first night of a registry to which only the proof of its rollout has pushed."""
    image = content.image("apps/web", "1.0.0")
    delete(content, "apps/web", image["digest"])
    repositories = proxy.directory / "storage/docker/registry/v2/repositories"
    assert collector.run()["removed"]["repositories"] == 1
    assert [path.name for path in repositories.iterdir()] == ["apps"]
    # What is in no repository, as what the rollout has pushed to prove itself, is garbage like any other.
    content.image("apps/web", "1.0.0", layer=secrets.token_bytes(MIB))
    for path in (repositories / "apps/web").iterdir():
        shutil.rmtree(path)
    assert collector.run()["removed"]["blobs"] >= 3
    assert collector.run()["removed"]["blobs"] == 0
    content.image("apps/web", "1.0.0")
    pull(content, "apps/web", "1.0.0")


def test_what_somebody_is_about_to_use_stays(content: Content, collector: Collector) -> None:
    """A client that was told that a layer is there puts its manifest a moment later."""
    layer = secrets.token_bytes(1000)
    image = content.image("apps/web", "x", layer=layer)
    delete(content, "apps/web", image["digest"])
    blob = {"digest": digest_of(layer), "size": len(layer)}
    # Long enough for a collector that starts slowly.
    process = collector.start(grace_seconds=8)
    time.sleep(2)
    # This only looks: it is there.
    assert content.blob("apps/web", layer) == blob
    assert collector.finish(process)[0] == 0
    assert content.ask("HEAD", f"/v2/apps/web/blobs/{blob['digest']}")[0] == 200
    content.image("apps/web", "x", layer=layer)
    pull(content, "apps/web", "x")


def test_what_is_being_pushed_stays(content: Content, collector: Collector) -> None:
    """Layers that came long before their manifest, whether an upload is open or not."""
    gone = content.image("apps/web", "x", layer=secrets.token_bytes(1000))
    delete(content, "apps/web", gone["digest"])
    layer = secrets.token_bytes(1000)
    blob = content.blob("apps/web", layer)
    time.sleep(1)
    collector.run()
    assert content.ask("HEAD", f"/v2/apps/web/blobs/{blob['digest']}")[0] == 200
    content.image("apps/web", "1.0.0", layer=layer)
    pull(content, "apps/web", "1.0.0")


def test_a_push_that_was_given_up_goes(content: Content, collector: Collector) -> None:
    blob = content.blob("apps/web", secrets.token_bytes(1000))
    location = content.ask("POST", "/v2/apps/other/blobs/uploads/")[1]["Location"]
    content.ask("PATCH", location, b"the beginning of a layer")
    moved = content.image("apps/other", "1.0.0")
    content.image("apps/other", "1.0.0")
    collector.run()
    # A client is in the middle of a push.
    assert content.digest("apps/other", moved["digest"]) == moved["digest"]
    time.sleep(1)
    collector.run(upload_idle_seconds=0.5, push_seconds=0.5)
    assert content.ask("HEAD", f"/v2/apps/web/blobs/{blob['digest']}")[0] == 404
    assert content.digest("apps/other", moved["digest"]) is None


def test_looking_changes_nothing(content: Content, collector: Collector, proxy: Front) -> None:
    delete(content, "apps/web", content.image("apps/web", "x", layer=secrets.token_bytes(MIB))["digest"])
    storage = proxy.directory / "storage"
    before = sorted((path, path.stat().st_mtime_ns) for path in storage.rglob("*"))
    status, output, _errors = collector.finish(collector.start("look", warn_percent=0))
    assert status == 0
    assert output.startswith("To free 1.0 MiB: ")
    assert "WARNING: the disk of" in output
    assert sorted((path, path.stat().st_mtime_ns) for path in storage.rglob("*")) == before
    assert collector.run()["freed"] > MIB

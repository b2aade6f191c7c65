"""Garbage collection while the registry serves: what goes, what stays, who waits, and that service comes back."""

from __future__ import annotations

import hashlib
import json
import secrets
import shutil
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING

import managed
import pytest
from collecting import Collector, bytes_of, content_of, fresh, pull
from content import ACCEPT, DOCKER, OCI, OCI_INDEX, digest_of
from engine import wait_for
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

MIB = 1 << 20


@pytest.fixture(scope="module")
def proxy(fronts: Callable[..., Front]) -> Front:
    users = [{"name": "admin", "access": "admin"}, {"name": "runtime", "access": "pull"}]
    return fronts(users, reverse_proxy_immutable_tags=["v*"])


@pytest.fixture
def content(proxy: Front) -> Content:
    """The content of a registry with nothing in it."""
    for name in ("storage", "looked-at"):
        for path in (proxy.directory / name).iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    return content_of(proxy)


@pytest.fixture
def collector(proxy: Front, content: Content) -> Collector:
    # The oldest Python of managed hosts that there is.
    return Collector(proxy, next(iter(managed.pythons().values())))


def delete(content: Content, repository: str, digest: str) -> None:
    """Deletes a manifest, and with it every tag that points to it, as clients of registry 2 do."""
    assert content.ask("DELETE", f"/v2/{repository}/manifests/{digest}")[0] == 202


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


@pytest.mark.parametrize("algorithm", ["sha512", "sha384"])
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


def test_a_manifest_that_names_what_is_no_digest_costs_its_repository_alone(
    content: Content, collector: Collector
) -> None:
    """A registry of version 2 takes any subject."""
    content.image("apps/odd", "1.0.0", subject={"digest": "evil", "mediaType": OCI, "size": 1})
    for repository in ("apps/odd", "apps/web"):
        kept = content.image(repository, "moved", layer=secrets.token_bytes(MIB))
        content.image(repository, "moved")
    status, output, errors = collector.finish(collector.start())
    assert status == 1, errors
    assert "PROBLEM: apps/odd: the manifest sha256:" in output
    assert "names what is no digest; nothing of this repository is removed" in output
    assert "Freed  1.0 MiB: " in output
    assert content.digest("apps/web", kept["digest"]) is None
    for tag in ("1.0.0", "moved"):
        pull(content, "apps/odd", tag)


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


def test_a_write_that_no_look_has_seen_keeps_all(content: Content, proxy: Front, tmp_path: Path) -> None:
    """It was let through before, came late, and has ended before the second look whether something writes."""
    image = content.image("apps/web", "old")
    content.image("apps/web", "old")
    body = content.ask("GET", f"/v2/apps/web/manifests/{image['digest']}", Accept=ACCEPT)[2]
    (tmp_path / "body").write_bytes(body)
    # Behind the gate, at the third look: one before the registry is held, and one before all is looked at again.
    late = (
        f"n=$(cat {tmp_path}/n 2>/dev/null || echo 0); echo $((n + 1)) >{tmp_path}/n; [ $n -ne 2 ] || "
        f"docker exec --interactive {proxy.containers['proxy']} curl --silent --fail --unix-socket /tmp/write.sock "
        f"--request PUT --header 'Content-Type: {image['mediaType']}' --header 'Expect:' --data-binary @- "
        f"http://write/v2/apps/web/manifests/late <{tmp_path}/body"
    )
    collection = Collector(proxy, quiet_command=["sh", "-c", late], attempts=2)
    report = collection.run()
    assert (tmp_path / "n").read_text().strip() == "6"
    assert report["removed"]["manifests"] == 0
    assert pull(content, "apps/web", "late")[0] == image["digest"]


def test_a_proxy_that_can_not_be_asked_is_told(content: Content, proxy: Front) -> None:
    delete(content, "apps/web", content.image("apps/web", "x")["digest"])
    hold = Collector(proxy, quiet_command=["sh", "-c", "echo no such container >&2; exit 1"])
    status, _output, errors = hold.finish(hold.start())
    assert status == 1
    assert "can't be asked whether something writes: no such container. Nothing was removed" in errors


def test_a_manifest_that_is_given_is_kept_without_a_tag(content: Content, collector: Collector) -> None:
    first, _children = content.index("apps/web", "latest")
    second = content.image("apps/web", "latest")
    content.image("apps/web", "latest")
    collector.run(keep_digests=[first["digest"]])
    pull(content, "apps/web", first["digest"])
    assert content.digest("apps/web", second["digest"]) is None


def test_a_damaged_tag_keeps_all_of_its_repository(content: Content, collector: Collector, proxy: Front) -> None:
    """As a registry leaves one that is killed while it writes it. What it pointed to is in its history."""
    image = content.image("apps/web", "1.0.0")
    content.image("apps/web", "1.0.1")
    link = proxy.directory / "storage/docker/registry/v2/repositories/apps/web/_manifests/tags/1.0.0/current/link"
    before = link.read_bytes()
    for damage in (b"", b"sha256:\xff\xfe"):
        link.write_bytes(damage)
        status, output, errors = collector.finish(collector.start())
        assert status == 1
        assert "apps/web: the tag 1.0.0 is damaged; nothing of this repository is removed" in output, errors
    link.write_bytes(before)
    assert pull(content, "apps/web", "1.0.0")[0] == image["digest"]


def test_links_that_lead_out_of_the_storage_are_not_followed(
    content: Content, collector: Collector, proxy: Front, tmp_path: Path
) -> None:
    """The account of the containers can make them, and the collector is root."""
    victim = tmp_path / "sha256" / ("0" * 64)
    victim.mkdir(parents=True)
    (victim / "link").write_text("precious")
    content.image("apps/web", "1.0.0")
    content.image("apps/web", "1.0.0")
    place = proxy.directory / "storage/docker/registry/v2/repositories/apps/web"
    flag = proxy.directory / "sockets" / "hold"
    flag.symlink_to(victim / "link")
    for link in (place / "_manifests/revisions/sha512", place / "_layers/sha512", place.with_name("other")):
        link.symlink_to(tmp_path)
        status, output, _errors = collector.finish(collector.start())
        assert status == 1
        assert f"the registry makes no symbolic link, and this is one: '{link}'" in output
        link.unlink()
    content.image("apps/web", "1.0.0")
    index = place / "_manifests/tags/1.0.0/index"
    index.rename(tmp_path / "index")
    index.symlink_to(tmp_path / "index")
    status, output, _errors = collector.finish(collector.start())
    # It leads to nothing that is needed, and the image that nothing needs goes.
    assert status == 0
    assert f"WARNING: the registry makes no symbolic link, and this is one: '{index}'" in output
    assert "Freed  " in output and "1 manifests" in output
    index.unlink()
    collector.run()
    assert (victim / "link").read_text() == "precious"
    assert list((tmp_path / "index").rglob("link"))


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


@pytest.mark.parametrize("mounted", [True, False])
def test_blobs_without_repositories_are_no_garbage(
    content: Content, collector: Collector, proxy: Front, mounted: bool
) -> None:
    """A storage that is not whole, as where a part of it is not mounted on the directory that is made for it."""
    image = content.image("apps/web", "1.0.0")
    place = proxy.directory / "storage/docker/registry/v2/repositories"
    place.rename(place.with_name("away"))
    if mounted:
        place.mkdir()
    status, _output, errors = collector.finish(collector.start())
    assert status == 1
    assert "there are blobs, and no repositories" in errors
    if mounted:
        place.rmdir()
    place.with_name("away").rename(place)
    assert pull(content, "apps/web", "1.0.0")[0] == image["digest"]


@pytest.mark.parametrize("damage", ["missing", "cut"])
def test_what_can_not_be_read_keeps_all_of_its_repository(
    content: Content, collector: Collector, proxy: Front, damage: str
) -> None:
    tagged = content.image("apps/broken", "1.0.0")
    content.image("apps/broken", "1.0.1")
    spare = content.image("apps/broken", "moved")
    content.image("apps/broken", "moved")
    delete(content, "apps/whole", content.image("apps/whole", "x", layer=secrets.token_bytes(MIB))["digest"])
    name = tagged["digest"].partition(":")[2]
    data = proxy.directory / "storage" / "docker/registry/v2/blobs/sha256" / name[:2] / name / "data"
    data.write_bytes(data.read_bytes()[:50]) if damage == "cut" else data.unlink()
    status, output, errors = collector.finish(collector.start())
    assert status == 1
    assert "apps/broken: the manifest " + tagged["digest"] in output
    assert "1 repositories can't be read whole" in errors
    pull(content, "apps/broken", "1.0.1")
    pull(content, "apps/broken", spare["digest"])
    report = json.loads((proxy.directory / "report.json").read_text())
    # The other repository is collected all the same.
    assert report["freed"] > MIB


def test_what_somebody_is_about_to_use_stays(content: Content, collector: Collector) -> None:
    """A client that was told that a layer is there puts its manifest a moment later."""
    layer = secrets.token_bytes(1000)
    image = content.image("apps/web", "x", layer=layer)
    delete(content, "apps/web", image["digest"])
    blob = {"digest": digest_of(layer), "size": len(layer)}
    process = collector.start(grace_seconds=2)
    time.sleep(1)
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


def test_writers_wait_and_readers_do_not(content: Content, proxy: Front) -> None:
    """While what was let through before the hold is given its time."""
    image = content.image("apps/web", "1.0.0")
    delete(content, "apps/web", content.image("apps/web", "x")["digest"])
    flag = proxy.directory / "sockets" / "hold"
    # Something is being written for the first two seconds of the hold.
    busy = f"! find {flag} -newermt '-2 seconds' 2>/dev/null | grep -q . || exit 22"
    hold = Collector(proxy, drain_seconds=10, quiet_command=["sh", "-c", busy])
    process = hold.start()
    wait_for("the registry is held", flag.exists)
    began = time.monotonic()
    pull(content, "apps/web", "1.0.0")
    assert time.monotonic() - began < 1
    # Waits, and is let through in the end.
    assert content_of(proxy).image("apps/web", "late")["digest"]
    assert time.monotonic() - began > 1
    status, output, errors = hold.finish(process)
    assert status == 0, errors
    pull(content, "apps/web", "late")
    assert content.digest("apps/web", "1.0.0") == image["digest"]
    report = json.loads((proxy.directory / "report.json").read_text())
    assert report["held_seconds"] > 1, output
    assert report["refused"] == 0


def test_an_upload_that_takes_its_time_keeps_no_collection_waiting(
    content: Content, collector: Collector, proxy: Front
) -> None:
    """Its last part comes with the request that ends it, and is no write until all of it is there."""
    delete(content, "apps/web", content.image("apps/web", "x")["digest"])
    slow = content_of(proxy)
    body = secrets.token_bytes(100_000)
    location = slow.ask("POST", "/v2/apps/slow/blobs/uploads/")[1]["Location"]
    digest = digest_of(body)
    collected = threading.Event()

    def stalled():
        yield body[:50_000]
        assert collected.wait(60)
        yield body[50_000:]

    statuses = {}

    def upload() -> None:
        target = f"{location}{'&' if '?' in location else '?'}digest={digest}"
        headers = {**slow._headers, "Content-Type": "application/octet-stream", "Content-Length": str(len(body))}
        slow._connection.request("PUT", target, body=stalled(), headers=headers)
        statuses["slow"] = slow._connection.getresponse().status

    uploading = threading.Thread(target=upload)
    uploading.start()
    try:
        time.sleep(0.3)
        status, _output, errors = collector.finish(collector.start())
    finally:
        collected.set()
        uploading.join()
    assert status == 0, errors
    assert statuses["slow"] == 201


def test_who_waits_for_long_is_told_to_come_back(content: Content, proxy: Front) -> None:
    layer = secrets.token_bytes(1000)
    image = content.image("apps/web", "1.0.0", layer=layer)
    hold = Collector(proxy, patience_seconds=0.5, drain_seconds=3, quiet_command=["sh", "-c", "exit 22"])
    delete(content, "apps/web", content.image("apps/web", "x")["digest"])
    process = hold.start()
    wait_for("the registry is held", (proxy.directory / "sockets" / "hold").exists)
    for method, path, body in (
        ("POST", "/v2/apps/web/blobs/uploads/", b""),
        ("PUT", "/v2/apps/web/manifests/2.0.0", b"{}"),
        ("PUT", "/v2/apps/web/manifests/v2.0.0", b"{}"),
        ("DELETE", f"/v2/apps/web/manifests/{image['digest']}", None),
        ("HEAD", f"/v2/apps/web/manifests/{image['digest']}", None),
        ("HEAD", f"/v2/apps/web/blobs/{digest_of(layer)}", None),
    ):
        status, headers, said = content.ask(method, path, body)
        assert status == 503, (method, path, status, said)
        assert headers["Retry-After"] == "10"
        assert method == "HEAD" or json.loads(said)["errors"][0]["code"] == "UNAVAILABLE"
    # Who may only pull is not held up.
    for path in (f"manifests/{image['digest']}", f"blobs/{digest_of(layer)}"):
        assert proxy.client("runtime").ask("HEAD", f"/v2/apps/web/{path}", Accept=OCI).status == 200
    # Who has no password hears that first.
    assert proxy.client("admin", "wrong").ask("PUT", "/v2/apps/web/manifests/2.0.0", b"{}").status == 401
    assert proxy.client().ask("POST", "/v2/apps/web/blobs/uploads/", b"").status == 401
    pull(content, "apps/web", "1.0.0")
    status, _output, errors = hold.finish(process)
    assert status == 1
    assert "was being written to, 1 times for 3 seconds" in errors
    # Nothing was removed, and all is as before.
    content.image("apps/web", "2.0.0", layer=layer)
    pull(content, "apps/web", "2.0.0")


def test_a_collector_that_was_killed_holds_nothing(content: Content, proxy: Front) -> None:
    delete(content, "apps/web", content.image("apps/web", "x", layer=secrets.token_bytes(MIB))["digest"])
    hold = Collector(proxy, quiet_command=["sh", "-c", "exit 22"])
    process = hold.start()
    wait_for("the registry is held", (proxy.directory / "sockets" / "hold").exists)
    pushed = {}
    pushing = threading.Thread(target=lambda: pushed.update(content_of(proxy).image("apps/web", "1.0.0")))
    pushing.start()
    time.sleep(1)
    assert not pushed
    process.send_signal(signal.SIGKILL)
    hold.finish(process)
    pushing.join()
    assert pushed["digest"] == content.digest("apps/web", "1.0.0")
    # What it has left behind blocks no client.
    assert (proxy.directory / "sockets" / "hold").exists()
    content.image("apps/web", "2.0.0")
    assert Collector(proxy).run()["freed"] > MIB
    assert not list((proxy.directory / "sockets").glob("hold*"))


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


def test_one_at_a_time(content: Content, collector: Collector) -> None:
    content.image("apps/web", "x")
    delete(content, "apps/web", content.image("apps/web", "x")["digest"])
    first = collector.start(grace_seconds=3)
    time.sleep(1)
    status, _output, errors = collector.finish(collector.start(lock_seconds=0))
    assert status == 1
    assert "another collection or a backup has held" in errors
    assert collector.finish(first)[0] == 0


def test_one_that_is_told_to_stop_lets_go(content: Content, proxy: Front) -> None:
    delete(content, "apps/web", content.image("apps/web", "x")["digest"])
    hold = Collector(proxy, quiet_command=["sh", "-c", "exit 22"])
    process = hold.start()
    wait_for("the registry is held", (proxy.directory / "sockets" / "hold").exists)
    process.terminate()
    status, _output, errors = hold.finish(process)
    assert status == 1
    assert "told to stop" in errors
    assert not list((proxy.directory / "sockets").glob("hold*"))


def test_a_tag_whose_manifest_is_gone_goes(content: Content, collector: Collector, proxy: Front) -> None:
    """As a registry leaves it that is killed while it deletes."""
    image = content.image("apps/web", "x")
    content.image("apps/web", "1.0.0")
    name = image["digest"].partition(":")[2]
    place = proxy.directory / "storage/docker/registry/v2/repositories/apps/web/_manifests"
    (place / "revisions" / "sha256" / name / "link").unlink()
    assert content.digest("apps/web", "x") is None
    assert content.tags("apps/web") == ["1.0.0", "x"]
    collector.run()
    assert content.tags("apps/web") == ["1.0.0"]
    pull(content, "apps/web", "1.0.0")

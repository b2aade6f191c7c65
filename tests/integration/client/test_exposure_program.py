"""The program of the role exposure, installed as on a host, with real Trivy and a real registry."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import vulnerable
from ansible_collections.wharf.registry.plugins.lookup._library_files import library_files
from ansible_collections.wharf.registry.plugins.lookup._program_files import program_files
from paths import ROOT
from vulnerable import FIXED, KNOWN, MENDED

if TYPE_CHECKING:
    from content import Content
    from peers import Peers

SOURCE = ROOT / "roles" / "exposure" / "files" / "exposure"
LATER = "CVE-2026-0009"


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("host") / "exposure"
    for one in [*program_files(SOURCE, str(target)), *library_files(SOURCE, str(target))]:
        if one["state"] == "directory":
            Path(one["path"]).mkdir()
        else:
            Path(one["path"]).write_text(one["content"], encoding="utf-8")
    return target


class Place:
    """A host of the gate: settings, what hosts told, and what came of it."""

    def __init__(self, directory: Path, program: Path, peers: Peers, room: str) -> None:
        self.program, self.peers, self.room = program, peers, room
        self.settings, self.look, self.exposure, self.summary = (
            directory / f"{name}.json" for name in ("settings", "look", "exposure", "summary")
        )
        self.cache, self.reports = directory / "cache", directory / "reports"
        self.peer, self.user = "basic", "ci"
        self.looks = 0
        self.scan: dict[str, object] = {"database": {"repository": f"{room}/trivy-db:2"}}

    def container(self, repository: str, tag: str, digest: str, name: str = "web") -> dict:
        full = f"{self.peers[self.peer]}/{repository}"
        return {"engine": "docker", "container": name, "image": f"{full}:{tag}", "digests": [f"{full}@{digest}"]}

    def run(self, hosts: dict[str, list[dict]] | None, what: str = "run", *, failed: bool = False) -> dict | str:
        password = self.peers.users[self.user]
        connection = {"registry": self.peers[self.peer], "username": self.user, "password": password}
        settings = {
            "connection": {**connection, "ca_path": str(self.peers.ca)},
            "scan": {"scanner": {"cache_dir": str(self.cache)}, **self.scan},
            "look": str(self.look),
            "exposure": str(self.exposure),
            "summary": str(self.summary),
            "reports": str(self.reports),
        }
        self.settings.write_text(json.dumps(settings))
        entries = [
            {"name": name, "platform": "linux/x86_64", "mirrors": {}, "containers": told}
            for name, told in (hosts or {}).items()
        ]
        self.looks += 1
        look = json.dumps({"looked": f"2026-11-30T12:00:{self.looks:02}Z", "hosts": entries})
        if hosts is not None and what == "run":
            self.look.write_text(look)
        # -I: nothing of this machine but Python's own library, and no directory but that of the program.
        command = [sys.executable, "-I", "-S", "-B", str(self.program), what, str(self.settings)]
        done = subprocess.run(
            command, input=look, capture_output=True, text=True, check=False, env={"PATH": os.environ["PATH"]}
        )
        assert password not in done.stdout + done.stderr and "Traceback" not in done.stderr, done.stderr
        assert bool(done.returncode) == failed, done.stderr
        if failed:
            return done.stderr
        if what == "look":
            return json.loads(done.stdout)
        document, summary = (json.loads(file.read_text()) for file in (self.exposure, self.summary))
        assert password not in json.dumps(document)
        assert not set(summary["lines"]) - set(done.stdout.splitlines())
        return {**document, **summary, "new": document["new"]}


@pytest.fixture
def place(tmp_path: Path, program: Path, peers: Peers, content: Content, room: str) -> Place:
    vulnerable.put_database(content, f"{room}/trivy-db")
    return Place(tmp_path, program, peers, room)


def news(document: dict) -> set[tuple[str, str]]:
    return {
        (one["host"], found["id"]) for group in document["new"] for one in group["where"] for found in group["findings"]
    }


def test_what_is_new_since_the_last_run(place: Place, content: Content, room: str) -> None:
    digest = vulnerable.put_image(content, f"{room}/web", "1.0")["digest"]
    web = place.container(f"{room}/web", "1.0", digest)
    foretold = place.run({"a": [web]}, "look")
    assert foretold["new"] == 1 and not place.exposure.exists() and not place.summary.exists()
    first = place.run({"a": [web]})
    assert news(first) == {("a", FIXED)} and first["lines"] == foretold["lines"]
    (row,) = [line for line in first["lines"] if line.startswith("a ")]
    assert row.split()[-1] == "3.0.15-1"
    assert place.exposure.stat().st_mode & 0o777 == 0o600
    # By the timer, with what the hosts told then: it is new until a play has shown it, and this one was by a play.
    assert not place.run(None)["new"]
    # The database of tomorrow.
    vulnerable.put_database(content, f"{room}/trivy-db", known={**KNOWN, LATER: ("zlib", "1:1.4-1", 3)})
    tomorrow = place.run(None)
    assert news(tomorrow) == {("a", LATER)}
    assert "1 finding known from before" in tomorrow["lines"][-1]
    assert news(place.run({"a": [web]})) == {("a", LATER)}
    assert not place.run({"a": [web]})["new"]


def test_tags_that_moved_and_images_that_are_gone(place: Place, content: Content, room: str) -> None:
    old = vulnerable.put_image(content, f"{room}/web", "1.0", MENDED)["digest"]
    new = vulnerable.put_image(content, f"{room}/web", "1.0", MENDED, files={"b": b"c"})["digest"]
    gone = f"sha256:{'0' * 64}"
    hosts = {
        "a": [place.container(f"{room}/web", "1.0", old)],
        "b": [place.container(f"{room}/web", "1.0", new)],
        "c": [place.container(f"{room}/web", "1.0", gone), place.container(f"{room}/none", "1", gone, "other")],
        "d": [{"engine": "docker", "container": "x", "image": "nginx", "digests": [f"docker.io/library/nginx@{old}"]}],
    }
    done = place.run(hosts)
    states = {(one["host"], one["container"]): one["state"] for one in done["containers"]}
    assert states == {
        ("a", "web"): "moved",
        ("b", "web"): "current",
        ("c", "web"): "absent",
        ("c", "other"): "absent",
        ("d", "x"): "elsewhere",
    }
    text = "\n".join(done["lines"])
    assert f"{room}/web:1.0 is {new} now" in text and "its name is of docker.io" in text
    assert set(done["keep_digests"]) == {old, new, gone}


def test_fifty_hosts_and_three_hundred_containers(place: Place, content: Content, peers: Peers, room: str) -> None:
    """Each digest is read and scanned once."""
    images = [
        vulnerable.put_image(content, f"{room}/app-{number}", "1", MENDED, files={"name": str(number).encode()})
        for number in range(12)
    ]
    hosts = {
        f"host-{number:02}": [
            place.container(f"{room}/app-{one}", "1", images[one]["digest"], f"app-{one}")
            for one in (at % 12 for at in range(number, number + 6))
        ]
        for number in range(50)
    }
    before = len(peers.requests("basic"))
    done = place.run(hosts)
    assert len(done["containers"]) == 300 and len(done["images"]) == 12
    assert {one["verdict"] for one in done["images"]} == {"passed"}
    asked = [(method, path) for method, path, status, _user in peers.requests("basic")[before:] if status == 200]
    blobs = [path for method, path in asked if method == "GET" and f"{room}/app-" in path and "/blobs/sha256" in path]
    # The configuration and a layer of each image, and the layer that all of them have.
    assert len(blobs) == len(set(blobs)) == 25
    tags = [path for method, path in asked if method == "HEAD" and path.endswith("/manifests/1")]
    assert len(tags) == len(set(tags)) == 12
    assert done["lines"][-1] == (
        "0 new findings (this is the first run); 0 findings known from before. 300 containers with nothing new."
    )
    # The reports are there: no layer is read again.
    before = len(peers.requests("basic"))
    place.run(None)
    again = [path for method, path, _status, _user in peers.requests("basic")[before:] if method == "GET"]
    # The configurations, and no layer.
    assert len([path for path in again if f"{room}/app-" in path and "/blobs/sha256" in path]) == 12


def test_one_image_that_can_not_be_scanned_stops_no_other(place: Place, content: Content, room: str) -> None:
    good = vulnerable.put_image(content, f"{room}/web", "1.0")["digest"]
    # Its configuration does not name its layers, so that no engine could unpack it.
    bad = content.image(f"{room}/bad", "1.0")["digest"]
    done = place.run(
        {"a": [place.container(f"{room}/web", "1.0", good), place.container(f"{room}/bad", "1.0", bad, "b")]}
    )
    assert news(done) == {("a", FIXED)}
    assert [one["verdict"] for one in done["images"]] == ["refused", "refused"]
    assert any(line.startswith(f"Not judged: {room}/bad@{bad}: ") for line in done["lines"])


def test_a_user_who_may_not_push(place: Place, content: Content, room: str) -> None:
    place.peer = "read_only"
    web, api = (
        vulnerable.put_image(content, f"{room}/{name}", "1.0", files={"name": name.encode()})["digest"]
        for name in ("web", "api")
    )
    hosts = {"a": [place.container(f"{room}/web", "1.0", web), place.container(f"{room}/api", "1.0", api, "api")]}
    assert {one["container"] for group in place.run(hosts)["new"] for one in group["where"]} == {"web", "api"}
    # The reports are here, and go when their images run no more.
    assert len(list(place.reports.iterdir())) == 2
    place.run({"a": hosts["a"][:1]})
    (kept,) = place.reports.iterdir()
    assert web.removeprefix("sha256:") in kept.name and kept.parent.stat().st_mode & 0o077 == 0
    kept.write_bytes(b"damaged")
    assert not place.run(None)["warnings"]


def test_without_a_database_nothing_is_called_clean(place: Place, content: Content, room: str) -> None:
    digest = vulnerable.put_image(content, f"{room}/web", "1.0", MENDED)["digest"]
    place.scan = {"database": {"repository": f"{room}/none:2"}}
    said = place.run({"a": [place.container(f"{room}/web", "1.0", digest)]}, failed=True)
    assert "no image was judged: linux/amd64: " in said and "is not there" in said
    done = json.loads(place.summary.read_text())
    assert done["failure"] in said and done["keep_digests"] == [digest]
    assert done["lines"][0].endswith("0 of 1 image of the registry scanned.")
    assert done["lines"][-1].endswith("0 containers with nothing new.")
    assert any(line.startswith("Not judged: ") and "is not there" in line for line in done["lines"])


def test_a_registry_that_does_not_answer_loses_nothing(place: Place, content: Content, peers: Peers, room: str) -> None:
    digest = vulnerable.put_image(content, f"{room}/web", "1.0")["digest"]
    place.run({"a": [place.container(f"{room}/web", "1.0", digest)]})
    before = place.exposure.read_bytes()
    peers.set_password("ci", "another-one")
    try:
        place.peers.users["ci"] = "wrong-and-of-no-worth"
        said = place.run(None, failed=True)
    finally:
        peers.set_password("ci", "another-one")
    assert "401" in said and place.exposure.read_bytes() == before


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"format": 0}', '{"format": 1, "hosts": 3}'])
def test_an_exposure_that_is_damaged_begins_anew(place: Place, content: Content, room: str, damage: str) -> None:
    digest = vulnerable.put_image(content, f"{room}/web", "1.0")["digest"]
    place.exposure.write_text(damage)
    assert news(place.run({"a": [place.container(f"{room}/web", "1.0", digest)]})) == {("a", FIXED)}

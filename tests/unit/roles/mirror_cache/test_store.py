"""What the cache holds, and what goes first: a model against the files and the database."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import sqlite3
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from examples import PATIENT, examples

sys.path.insert(0, str(Path(__file__).parents[4] / "roles" / "mirror_cache" / "files" / "mirror_cache"))
from index import Index
from store import Store

HUB, QUAY = "docker.io", "quay.io"
KIND = "application/vnd.oci.image.manifest.v1+json"


class Usage(NamedTuple):
    total: int
    used: int
    free: int


def digest_of(content):
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


class Place:
    """A cache of a limit, begun anew whenever it is opened."""

    def __init__(self, directory, limit=1000):
        self.directory = directory
        self.limit = limit
        self.now = itertools.count(1)
        (directory / "blobs").mkdir()
        self.open()

    def open(self):
        self.index = Index(str(self.directory / "index.sqlite"))
        self.store = Store(str(self.directory / "blobs"), self.index, self.limit)

    def reopen(self):
        self.index.close()
        self.open()

    def blob(self, content, upstream=HUB, repository="a/b"):
        """Store a blob as a download does."""
        if not self.store.reserve(len(content)):
            return None
        path, file = self.store.unfinished(upstream)
        with file:
            file.write(content)
        self.store.finish(path, upstream, repository, digest_of(content), len(content))
        self.store.release(len(content), 0)
        self.stamp(upstream, digest_of(content))
        return digest_of(content)

    def image(self, name, parts, upstream=HUB, repository="a/b"):
        content = f"manifest {name}".encode()
        self.store.put(upstream, repository, digest_of(content), content, media_type=KIND, parts=parts)
        self.stamp(upstream, digest_of(content))
        return digest_of(content)

    def stamp(self, upstream, digest):
        """Uses are in the order of the calls, however fast they come."""
        with contextlib.closing(sqlite3.connect(self.directory / "index.sqlite")) as database, database:
            query = "UPDATE objects SET used=? WHERE upstream=? AND digest=?"
            database.execute(query, (next(self.now), upstream, digest))

    def held(self):
        """The digests of the files, which are those that the index knows."""
        files = {
            f"sha256:{path.name}": path.stat().st_size
            for path in (self.directory / "blobs").rglob("*")
            if path.is_file()
        }
        known = [digest for _upstream, digest in self.index.digests()]
        assert sorted(files) == sorted(set(known))
        assert self.store.total == sum(files.values()) <= self.limit
        return set(files)


@pytest.fixture
def place(tmp_path, monkeypatch):
    # The disk of the tests may be almost full.
    monkeypatch.setattr("store._FREE_SHARE", 0)
    return Place(tmp_path)


def test_an_image_goes_with_the_layers_that_it_alone_has(place):
    shared, first, second = (place.blob(bytes([one]) * 200) for one in b"s12")
    images = [place.image(number, [shared, layer]) for number, layer in enumerate((first, second))]
    # The first one is used again, and so the second one goes.
    place.stamp(HUB, images[0])
    new = place.blob(b"n" * 500)
    assert place.held() == {shared, first, images[0], new}
    # A blob of no image goes by its own use, and what is shared with the last image that has it.
    place.stamp(HUB, images[0])
    newer = place.blob(b"m" * 400)
    assert place.held() == {shared, first, images[0], newer}
    last = place.blob(b"l" * 990)
    assert place.held() == {last}


def test_what_is_too_large_is_refused_and_nothing_goes_for_it(place):
    kept = place.blob(b"k" * 900)
    assert place.blob(b"l" * 1001) is None
    assert place.held() == {kept}


def test_what_is_on_its_way_counts(place):
    assert place.store.reserve(800)
    assert place.blob(b"x" * 300) is None
    place.store.release(800, 0)
    assert place.blob(b"x" * 300)


def test_what_has_come_to_the_disk_is_counted_once(place, monkeypatch):
    kept = place.blob(b"k" * 100)
    usage = Usage(10000, 0, 500)
    monkeypatch.setattr("store.shutil.disk_usage", lambda _path: usage)
    assert place.store.reserve(400)
    # Most of it has come, and the disk has less for that.
    place.store.wrote(300)
    usage = Usage(10000, 0, 200)
    assert place.store.reserve(50)
    assert place.held() == {kept}
    place.store.release(50, 0)
    place.store.release(400, 300)
    assert place.store.reserve(150)
    assert place.held() == {kept}


def test_a_full_disk_takes_nothing(place, monkeypatch):
    kept = place.blob(b"x" * 100)
    monkeypatch.setattr("store._FREE_SHARE", 1)
    assert place.blob(b"y" * 100) is None
    # All of it would not be enough, and so nothing goes.
    assert place.held() == {kept}


def test_no_more_goes_than_what_the_disk_lacks(place, monkeypatch):
    """Files that are being sent are freed later: the disk has no more room when they are removed."""
    blobs = [place.blob(bytes([number]) * 100) for number in range(8)]
    usage = os.statvfs(place.directory)
    total = usage.f_blocks * usage.f_frsize
    monkeypatch.setattr("store.shutil.disk_usage", lambda _path: Usage(total, 0, int(total * 0.05) + 50))
    monkeypatch.setattr("store._FREE_SHARE", 0.05)
    assert place.store.reserve(100)
    assert place.held() == set(blobs[1:])


def test_upstreams_share_nothing(place):
    content = b"same"
    place.blob(content, HUB)
    place.blob(content, QUAY)
    assert place.index.is_linked(HUB, "a/b", digest_of(content))
    assert not place.index.is_linked(HUB, "other", digest_of(content))
    place.store.remove(HUB, digest_of(content))
    assert place.index.entry(HUB, digest_of(content)) is None
    assert place.index.entry(QUAY, digest_of(content)).size == 4
    assert not place.index.is_linked(HUB, "a/b", digest_of(content))


def test_a_smaller_limit_counts_at_the_next_start(place):
    old, new = place.blob(b"o" * 400), place.blob(b"n" * 400)
    place.limit = 500
    place.reopen()
    assert place.held() == {new} and old != new


def test_files_and_index_agree_after_a_crash(place):
    lost, kept = place.blob(b"lost"), place.blob(b"kept")
    (place.directory / "blobs" / place.store.place(HUB, lost)).unlink()
    (place.directory / "blobs" / HUB / ".unfinished-7").write_bytes(b"x")
    stray = place.directory / "blobs" / HUB / "sha256" / "ab" / ("ab" * 32)
    stray.parent.mkdir()
    stray.write_bytes(b"stray")
    place.reopen()
    assert place.held() == {kept}


@pytest.mark.parametrize("damage", [b"", b"damaged" * 1000, b"SQLite format 3\x00" + b"\x01" * 4096])
def test_a_damaged_index_begins_anew(place, damage):
    place.blob(b"x")
    place.index.close()
    for path in place.directory.glob("index.sqlite*"):
        path.write_bytes(damage)
    place.open()
    assert place.held() == set()
    assert place.blob(b"x") in place.held()


def test_a_damaged_manifest_is_dropped(place):
    image = place.image("one", [])
    assert place.store.read(HUB, image) == b"manifest one"
    path = place.directory / "blobs" / place.store.place(HUB, image)
    path.write_bytes(b"manifest two")
    assert place.store.read(HUB, image) is None
    assert place.held() == set()


def test_a_use_is_written_at_most_twice_a_minute(place):
    blob = place.blob(b"x")
    entry = place.index.entry(HUB, blob)
    place.index.use(HUB, entry)
    entry = place.index.entry(HUB, blob)
    assert time.time() - entry.used < 5
    place.index.use(HUB, entry)
    assert place.index.entry(HUB, blob).used == entry.used


def test_an_image_that_names_a_manifest_as_a_layer(place):
    layer = place.blob(b"l" * 100)
    inner = place.image("inner", [layer])
    outer = place.image("outer", [inner])
    place.stamp(HUB, inner)
    place.store.remove(HUB, outer)
    assert place.held() == {layer, inner}
    assert place.blob(b"x" * 950)
    assert layer not in place.held() and inner not in place.held()


def test_a_full_disk_is_no_damage(place, monkeypatch):
    kept = place.blob(b"x")
    place.index.close()

    def full(*_arguments, **_options):
        raise sqlite3.OperationalError("disk is full")

    with monkeypatch.context() as patch:
        patch.setattr("index._opened", full)
        with pytest.raises(sqlite3.OperationalError):
            place.open()
    place.open()
    assert place.held() == {kept}


def test_tags(place):
    image = place.image("one", [])
    place.index.set_tag(HUB, "a/b", "1.0", image)
    digest, checked = place.index.tag(HUB, "a/b", "1.0")
    assert digest == image and time.time() - checked < 5
    assert place.index.tag(HUB, "a/b", "2.0") is place.index.tag(QUAY, "a/b", "1.0") is None
    assert place.index.tags(HUB, "a/b") == ["1.0"]
    place.store.remove(HUB, image)
    assert place.index.tags(HUB, "a/b") == []


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["blob", "image", "use", "remove", "reopen"]),
        st.integers(0, 5),
        st.integers(1, 400),
        st.lists(st.integers(0, 5), max_size=3, unique=True),
    ),
    max_size=30,
)


@settings(max_examples=examples(60), suppress_health_check=PATIENT)
@given(steps=STEPS)
def test_whatever_happens_files_index_and_limit_agree(steps, tmp_path_factory, monkeypatch):
    monkeypatch.setattr("store._FREE_SHARE", 0)
    place = Place(tmp_path_factory.mktemp("cache"))
    blobs = {}
    for kind, number, size, parts in steps:
        if kind == "blob":
            content = os.urandom(4) + bytes(size)
            blobs[number] = place.blob(content) or digest_of(content)
        elif kind == "image":
            place.image(number, [blobs[part] for part in parts if part in blobs])
        elif kind == "use" and number in blobs:
            entry = place.index.entry(HUB, blobs[number])
            if entry:
                place.index.use(HUB, entry)
        elif kind == "remove" and number in blobs:
            place.store.remove(HUB, blobs[number])
        elif kind == "reopen":
            place.reopen()
        place.held()
    place.index.close()

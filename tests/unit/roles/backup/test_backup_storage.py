"""How a backup reads a storage that clients push to: names, tags and what a manifest needs."""

from __future__ import annotations

import json
import shutil

import pytest
from wharf_backup import storage


def test_names_have_parts_and_lie_in_each_other(store):
    store.image("team", "a", "1")
    store.image("team/web", "b", "1")
    store.image("deep/er/still", "c", "1")
    store.write("repositories/uploading/_uploads/x/data", "")
    assert sorted(storage.names(store.root)) == ["deep/er/still", "team", "team/web", "uploading"]


def test_what_a_manifest_needs():
    def needs(document):
        return [(item.kind, item.digest[:10]) for item in storage.references(json.dumps(document).encode())]

    a, b, c = (f"sha256:{letter * 64}" for letter in "abc")
    foreign = {"digest": c, "mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "urls": ["x"]}
    assert needs({"config": {"digest": a}, "layers": [{"digest": b}, foreign]}) == [
        ("configuration", a[:10]),
        ("layer", b[:10]),
    ]
    assert needs({"manifests": [{"digest": a}, {"digest": b}]}) == [("manifest", a[:10]), ("manifest", b[:10])]
    assert needs({"fsLayers": [{"blobSum": a}]}) == [("layer", a[:10])]
    # What a signature is of may be gone.
    assert needs({"subject": {"digest": a}}) == []


@pytest.mark.parametrize("content", ["", "[]", "{", '{"layers": {"a": 1}}', '{"layers": [1]}', '{"config": {}}'])
def test_what_is_no_manifest(content):
    with pytest.raises(ValueError, match=r"."):
        storage.references(content.encode())


def test_a_tag_that_moves_is_read_when_it_has_moved(store, monkeypatch):
    """What it pointed to was deleted between the two looks, and it points elsewhere now."""
    first, second = store.image("app", "a", "moving"), store.image("app", "b")
    revisions = store.root / "repositories/app/_manifests/revisions/sha256"
    looked = storage._tags

    def move(*arguments):
        found = looked(*arguments)
        shutil.rmtree(revisions / first[7:], ignore_errors=True)
        store.write("repositories/app/_manifests/tags/moving/current/link", second)
        return found

    monkeypatch.setattr(storage, "_tags", move)
    found = store.read("app")
    assert found.tags == {"moving": second}
    assert not found.broken


def test_a_tag_that_points_to_nothing_is_left_out(store):
    digest = store.image("app", "a", "bad")
    good = store.image("app", "b", "good")
    shutil.rmtree(store.root / "repositories/app/_manifests/revisions/sha256" / digest[7:])
    store.write("repositories/app/_manifests/tags/empty/current/link", "")
    found = store.read("app")
    assert found.tags == {"good": good}
    assert found.broken == {"bad", "empty"}
    assert not any("tags/bad" in path for path, _digest in found.links())


def test_a_tag_that_is_being_written_is_waited_for(store, monkeypatch):
    """It is empty for a moment. All of them are waited for at once."""
    store.image("app", "a", "settled")
    moved = store.image("app", "b", "moving")
    store.write("repositories/app/_manifests/tags/moving/current/link", "")
    waits = []

    def settle(_seconds):
        waits.append(None)
        if len(waits) == 20:
            store.write("repositories/app/_manifests/tags/moving/current/link", moved)

    monkeypatch.setattr(storage.time, "sleep", settle)
    assert store.read("app").tags["moving"] == moved
    assert storage.SETTLE_TRIES * 0.02 >= 2
    for name in ("a", "b", "c"):
        store.write(f"repositories/app/_manifests/tags/{name}/current/link", "")
    waits.clear()
    assert store.read("app").broken == {"a", "b", "c"}
    assert len(waits) == storage.SETTLE_TRIES

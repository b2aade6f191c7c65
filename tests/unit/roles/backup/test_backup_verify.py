"""What a verification finds in a storage, and how it tells it."""

from __future__ import annotations

import shutil

from wharf_backup import storage, verify

INDEX = "application/vnd.oci.image.index.v1+json"


def test_a_whole_storage_has_no_problems(store):
    a, b = store.image("app", "a"), store.image("app", "b", "b")
    store.manifest("app", {"mediaType": INDEX, "manifests": [{"digest": a}, {"digest": b}]}, "all")
    # A collection leaves links of layers that it took.
    store.remove(store.layer("app", b"collected")["digest"])
    assert store.problems() == set()


def test_problems_are_told_by_the_tags_that_have_them(store):
    a, b = store.image("app", "a", "a"), store.image("app", "b")
    store.manifest("app", {"mediaType": INDEX, "manifests": [{"digest": a}, {"digest": b}]}, "all")
    lonely = store.image("app", "c")
    store.image("other", "a", "same")
    shared = storage.references(storage.manifest(store.root, a))[1].digest
    store.damage(shared)
    # Only a hash tells that.
    assert store.problems(hashed=False) == set()
    store.remove(b)
    store.damage(lonely)
    assert store.problems() == {
        ("app:a", "layer damaged"),
        ("app:all", "layer damaged"),
        ("app:all", "manifest missing"),
        (f"app@{lonely}", "manifest damaged"),
        ("other:same", "layer damaged"),
    }


def test_a_link_that_is_missing_is_a_problem(store):
    a = store.image("app", "a", "a")
    layer = storage.references(storage.manifest(store.root, a))[1].digest
    shutil.rmtree(store.root / f"repositories/app/_layers/sha256/{layer[7:]}")
    assert store.problems() == {("app:a", "link of layer missing")}


def test_the_table_ends():
    rows = [
        {"image": f"app:{number}", "problem": "layer missing", "digest": "sha256:" + "0" * 64} for number in range(99)
    ]
    lines = verify.table(rows)
    assert lines[0].split() == ["IMAGE", "PROBLEM", "DIGEST"]
    assert len(lines) == verify.MOST_ROWS + 2
    assert lines[-1] == "and 59 more"

"""A registry that is moved between files and a bucket in memory: what arrives, what is refused, and what goes on."""

from __future__ import annotations

import hashlib
import os

import memory_s3
import pytest
from ansible_collections.wharf.registry.plugins.module_utils._common.errors import RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._storage import move_places, storage_switch
from ansible_collections.wharf.registry.plugins.module_utils._storage.storage_move import MoveError
from ansible_collections.wharf.registry.plugins.module_utils._storage.storage_switch import Switch
from memory_s3 import MemoryS3

BASE = "docker/registry/v2"


@pytest.fixture
def bucket(server):
    return MemoryS3(server)


@pytest.fixture
def tree(tmp_path):
    return Tree(tmp_path / "data")


class Tree:
    """The files of a registry."""

    def __init__(self, directory):
        self.base = directory / BASE
        self.base.mkdir(parents=True)

    def write(self, path, content):
        place = self.base / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
        # Not of this moment, in which it might be written again.
        os.utime(place, (1e9, 1e9 + len(list(self.base.rglob("*")))))
        return path

    def blob(self, content):
        name = hashlib.sha256(content).hexdigest()
        return self.write(f"blobs/sha256/{name[:2]}/{name}/data", content)

    def tag(self, name, content, repository="apps/web"):
        digest = "sha256:" + hashlib.sha256(content).hexdigest()
        return self.write(f"repositories/{repository}/_manifests/tags/{name}/current/link", digest.encode())

    def files(self):
        return {
            str(path.relative_to(self.base)): path.read_bytes()
            for path in self.base.rglob("*")
            if path.is_file() and "_uploads" not in path.parts
        }


@pytest.fixture
def switch(server, bucket, tmp_path, tree):
    """switch(phase, to) runs one phase as the module does."""
    notes = tmp_path / "move"
    notes.mkdir()

    def run(phase, to="s3", *, check_mode=False, **options):
        s3 = {**memory_s3.options(server), "ca": "", "root_directory": "wharf", **options}
        s3 = {"ca_path": None, "validate_certs": True, "timeout": 30, "force_path_style": True, **s3}
        with Switch({"s3": s3, "data": str(tmp_path / "data"), "notes": str(notes), "to": to}, check_mode) as switch:
            return getattr(switch, phase)(), switch.changed

    return run


def objects(bucket):
    base = f"wharf/{BASE}/"
    return {key[len(base) :]: body for key, body in contents(bucket).items() if key.startswith(base)}


def contents(bucket):
    return {key: body for key, (body, _etag) in bucket.objects.items()}


def test_there_and_back(switch, bucket, tree, tmp_path):
    content = os.urandom(3 << 20)
    for one in (content, b"", b"{}"):
        tree.blob(one)
    tree.tag("1.0", b"{}")
    tree.write("repositories/apps/web/_uploads/1-2/data", b"half")
    before = tree.files()
    assert switch("copy")[1]
    lines, changed = switch("finish")
    assert not changed
    assert lines[1] == f"Proven: 3 blobs and 1 links, {sum(map(len, before.values()))} bytes."
    assert objects(bucket) == before
    said = switch("close")[0][0]
    assert not (tmp_path / "data" / "docker").exists()
    assert "wharf/wharf-move" not in contents(bucket)
    assert "rm -r" in said

    switch("copy", "filesystem")
    switch("finish", "filesystem")
    assert not (tmp_path / "data" / "docker").exists()
    switch("place", "filesystem")
    assert tree.files() == before
    said = switch("close", "filesystem")[0][0]
    assert "kept there" in said
    assert objects(bucket) == before
    assert not (tmp_path / "data" / ".moving").exists()


def test_what_changes_meanwhile_is_copied_in_the_end(switch, bucket, tree):
    gone, tag = tree.blob(b"gone"), tree.tag("1", b"one")
    switch("copy")
    (tree.base / gone).unlink()
    tree.tag("1", b"two")
    tree.blob(b"new")
    lines, changed = switch("finish")
    assert changed
    assert "2 copied" in lines[0]
    assert "1 removed" in lines[0]
    assert objects(bucket) == tree.files()
    assert objects(bucket)[tag].endswith(hashlib.sha256(b"two").hexdigest().encode())


def test_a_tag_that_was_just_written_is_looked_at_again(switch, bucket, tree):
    """A second write of the same moment has the same time."""
    tag = tree.base / tree.tag("1", b"one")
    os.utime(tag)
    switch("copy")
    about = tag.stat()
    tag.write_bytes(b"sha256:" + hashlib.sha256(b"two").hexdigest().encode())
    os.utime(tag, ns=(about.st_atime_ns, about.st_mtime_ns))
    switch("finish")
    assert objects(bucket) == tree.files()


def test_a_large_blob_comes_in_parts(switch, bucket, tree, monkeypatch):
    monkeypatch.setattr(move_places, "_LARGE", 8 << 20)
    monkeypatch.setattr(move_places, "_PART", 5 << 20)
    tree.blob(os.urandom((11 << 20) + 7))
    switch("copy")
    switch("finish")
    assert objects(bucket) == tree.files()
    assert not bucket.uploads


def test_a_run_that_was_killed_copies_only_what_is_missing(switch, bucket, tree, monkeypatch):
    blobs = {tree.blob(bytes([number])) for number in range(100)}
    copied = []
    write = move_places.Bucket.write

    def write_some(place, entry, source):
        if len(copied) >= 60:
            raise KeyboardInterrupt
        write(place, entry, source)
        copied.append(entry.path)

    monkeypatch.setattr(move_places.Bucket, "write", write_some)
    with pytest.raises(KeyboardInterrupt):
        switch("copy")
    first = set(copied)

    def write_all(place, entry, source):
        write(place, entry, source)
        copied.append(entry.path)

    monkeypatch.setattr(move_places.Bucket, "write", write_all)
    switch("copy")
    again = copied[len(first) :]
    assert blobs - first <= set(again)
    # What had not been noted yet, of the last few.
    assert len(again) < 90
    switch("finish")
    assert objects(bucket) == tree.files()


def wrong_write(bucket, monkeypatch, where):
    """Has the storage keep other bytes than it was sent."""
    write = bucket.write

    def store(key, body):
        return write(key, b"!" + body[1:] if where in key and body else body)

    monkeypatch.setattr(bucket, "write", store)


@pytest.mark.parametrize("where", ["/blobs/", "/repositories/"])
def test_other_bytes_are_refused(switch, bucket, tree, monkeypatch, where):
    tree.blob(b"content")
    tree.tag("1", b"content")
    wrong_write(bucket, monkeypatch, where)
    with pytest.raises(MoveError, match="can't be proven") as caught:
        switch("copy")
    assert "Nothing was switched" in str(caught.value)


def test_a_blob_that_is_damaged_at_its_source_is_named(switch, tree):
    path = tree.blob(b"content")
    tree.write(path, b"damaged")
    with pytest.raises(MoveError, match=path):
        switch("copy")


def test_more_than_was_copied_is_refused(switch, bucket, tree):
    tree.blob(b"content")
    switch("copy")
    bucket.objects[f"wharf/{BASE}/repositories/x/_layers/sha256/aa/link"] = next(iter(bucket.objects.values()))
    with pytest.raises(MoveError, match="were proven"):
        switch("finish")


def test_a_bucket_that_is_not_empty_is_refused(switch, tree, tmp_path):
    tree.blob(b"content")
    switch("copy")
    for path in (tmp_path / "move").iterdir():
        path.unlink()
    with pytest.raises(MoveError, match="is not empty"):
        switch("copy")


def test_a_bucket_to_which_another_moves_is_refused(switch, bucket, tree):
    tree.blob(b"content")
    switch("copy")
    key = "wharf/wharf-move"
    bucket.objects[key] = bucket.objects[next(one for one in bucket.objects if "/blobs/" in one)]
    with pytest.raises(MoveError, match="Another registry moves"):
        switch("copy")


def test_a_disk_without_room_is_refused(switch, tree, monkeypatch, tmp_path):
    tree.blob(os.urandom(10000))
    switch("copy")
    switch("finish")
    switch("close")
    monkeypatch.setattr(storage_switch, "room", lambda _directory: 9)
    with pytest.raises(MoveError, match="has 9 bytes left"):
        switch("copy", "filesystem")


def test_what_is_named_to_lead_elsewhere_is_left(switch, bucket, tree, tmp_path):
    tree.blob(b"content")
    switch("copy")
    switch("finish")
    switch("close")
    any_object = next(iter(bucket.objects.values()))
    bucket.objects[f"wharf/{BASE}/repositories/../../../../evil/link"] = any_object
    switch("copy", "filesystem")
    assert not list(tmp_path.rglob("evil"))


def test_links_of_the_file_system_are_not_followed(switch, bucket, tree, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("secret")
    place = tree.base / "repositories" / "apps" / "_layers" / "sha256" / "aa"
    place.mkdir(parents=True)
    (place / "link").symlink_to(secret)
    tree.blob(b"content")
    switch("copy")
    assert not any(b"secret" in body for body in contents(bucket).values())


def test_check_mode_tells_and_writes_nothing(switch, bucket, tree, tmp_path):
    tree.blob(b"12345")
    tree.tag("1", b"12345")
    lines, changed = switch("copy", check_mode=True)
    assert changed
    assert lines[0].startswith("2 blobs and links, 76 bytes, would be copied")
    assert not bucket.objects
    assert not list((tmp_path / "move").iterdir())
    switch("copy")
    assert switch("copy", check_mode=True)[0][0].startswith("0 blobs")


def test_a_storage_that_refuses_is_told_once(switch, tree):
    tree.blob(b"content")
    with pytest.raises(RegistryError, match="403"):
        switch("copy", secret_key="wrong")

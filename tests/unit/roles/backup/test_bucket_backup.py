"""Backups of a bucket at storages in memory: what a snapshot needs is in the second bucket, and proven."""

from __future__ import annotations

import json
import re

import pytest
from backup_buckets import BucketHost, blobs, damage, refused
from memory_s3 import error_document
from misbehaving import Misbehaving, reply
from wharf_backup import backup, restore
from wharf_backup.common import BackupError

LAYER = b"layer of 1"


@pytest.fixture
def bucket_host(tmp_path, monkeypatch):
    with Misbehaving() as one, Misbehaving() as other:
        yield BucketHost(tmp_path, [one, other], monkeypatch)


def test_a_registry_comes_back_into_an_empty_bucket(bucket_host):
    store = bucket_host.store
    store.image("app", "1", "1.0")
    store.image("deep/in/app", "2", "2.0", algorithm="sha512")
    store.manifest("deep/in/app", {"layers": [store.layer("deep/in/app", b"")]}, "empty")
    before = bucket_host.images()
    told = bucket_host.run()
    assert told["outcome"] == "ok" and told["problems"] == [] and told["warnings"] == []
    assert told["copied_blobs"] == len(blobs(bucket_host.source))
    assert blobs(bucket_host.copy) == blobs(bucket_host.source)
    assert "Copied      " in "\n".join(backup.lines(told))
    # What the collector needs is not in the way.
    bucket_host.lose()
    restored = bucket_host.restored()
    assert bucket_host.images() == before
    assert (bucket_host.etc / "ca.key").read_text() == "key"
    assert [one.name for one in restored._expected()] == ["app", "deep/in/app"]
    # A second one is refused until this one has ended, and then for being in use.
    assert "in place and not yet proven" in refused(bucket_host.restored)


def test_only_what_is_new_is_copied(bucket_host):
    bucket_host.store.image("app", "1", "1.0")
    bucket_host.run()
    bucket_host.copy.requests.clear()
    bucket_host.store.image("app", "2", "2.0")
    told = bucket_host.run()
    written = [target for method, target in bucket_host.copy.requests if method == "PUT" and "/blobs/" in target]
    read = [target for method, target in bucket_host.copy.requests if method == "GET" and "/data" in target]
    assert (told["copied_blobs"], len(written), len(read)) == (3, 3, 3)


def test_what_is_deleted_goes_with_the_last_snapshot_that_has_it(bucket_host):
    gone = bucket_host.store.image("app", "1", "1.0")
    bucket_host.run()
    bucket_host.store.image("app", "2", "2.0")
    bucket_host.source.objects = {
        key: found
        for key, found in bucket_host.source.objects.items()
        if "/tags/1.0/" not in key and gone[7:] not in key and found[0] not in (LAYER, b"configuration of 1")
    }
    for key in [key for key in bucket_host.source.objects if key.endswith("link") and "/_layers/" in key]:
        if bucket_host.source.objects[key][0].decode()[7:] not in "".join(blobs(bucket_host.source)):
            del bucket_host.source.objects[key]
    bucket_host.run()
    assert LAYER in blobs(bucket_host.copy).values()
    told = bucket_host.run()
    assert (told["snapshots_removed"], told["swept_blobs"]) == (1, 3)
    assert blobs(bucket_host.copy) == blobs(bucket_host.source)
    # Where nothing is to be removed, nothing is.
    bucket_host.restic.keep = 10
    bucket_host.copy.requests.clear()
    assert "swept_blobs" not in bucket_host.run()


def test_a_blob_that_is_damaged_at_its_source_is_never_copied(bucket_host):
    bucket_host.store.image("app", "1", "1.0")
    damage(bucket_host.source, LAYER)
    assert "the registry lacks what 1 more of its images need: app:1.0 (layer damaged sha256:" in refused(
        bucket_host.run
    )
    assert bucket_host.last["outcome"] == "damaged" and b"other" not in blobs(bucket_host.copy).values()
    # Known from now on.
    assert bucket_host.run()["outcome"] == "ok"
    assert "app:1.0: layer damaged" in "\n".join(backup.lines(bucket_host.last))
    bucket_host.lose()
    assert "The snapshot is not whole: 1 of its images lack" in refused(bucket_host.restored)
    bucket_host.restored(accept_damage=True)
    assert b"other" not in blobs(bucket_host.source).values()


@pytest.mark.parametrize("how", ["overwritten", "same size", "gone"])
def test_a_copy_that_is_hurt_is_noticed_by_the_next_backup_and_copied_again(bucket_host, how):
    bucket_host.store.image("app", "1", "1.0")
    bucket_host.run()
    key = damage(bucket_host.copy, LAYER, b"other" if how == "overwritten" else b"l4yer of 1")
    if how == "gone":
        del bucket_host.copy.objects[key]
    said = refused(bucket_host.run)
    assert re.search("Snapshot .* was made, and 1 blobs in .* were damaged or gone, of which 1 were copied again", said)
    assert ("missing" if how == "gone" else "damaged") in said
    assert bucket_host.last["outcome"] == "damaged" and bucket_host.last["problems"] == []
    assert blobs(bucket_host.copy) == blobs(bucket_host.source)
    assert bucket_host.run()["outcome"] == "ok"


def test_a_copy_that_rots_is_noticed_when_its_turn_comes(bucket_host):
    """Its storage tells the same of it as before."""
    for number in range(4):
        bucket_host.store.image("app", str(number), str(number))
    bucket_host.run()
    (key,) = (key for key, body in blobs(bucket_host.copy).items() if body == LAYER)
    bucket_host.copy.objects[key] = (b"rotten", bucket_host.copy.objects[key][1])
    bucket_host.config = bucket_host.configured()
    object.__setattr__(bucket_host.config, "check_percent", 25)
    told = []
    for _day in range(6):
        result = json.loads(bucket_host.config.result.read_text())
        bucket_host.config.result.write_text(json.dumps({**result, "checked": 0}))
        try:
            told.append(bucket_host.run()["checked_blobs"])
        except BackupError as error:
            told.append(str(error))
    # By the size in the list, or by the content in its turn, and once.
    assert sum("1 blobs in" in str(one) and "1 were copied again" in str(one) for one in told) == 1, told
    assert blobs(bucket_host.copy) == blobs(bucket_host.source)


def test_a_backup_that_ends_in_the_middle_leaves_the_last_snapshot_whole(bucket_host):
    bucket_host.store.image("app", "1", "1.0")
    bucket_host.run()
    before = bucket_host.images()
    bucket_host.store.image("app", "2", "2.0")
    taken = []

    def refuse_the_second(request, connection):
        taken.append(request.target)
        if len(taken) == 1:
            bucket_host.copy.write(request.target.partition("/images/")[2], request.body)
            return reply(200, "")(request, connection)
        return reply(403, error_document("AccessDenied", "no"))(request, connection)

    bucket_host.copy.instead = [("PUT", "/blobs/", refuse_the_second)]
    assert "AccessDenied" in refused(bucket_host.run)
    assert len(bucket_host.restic.names) == 1
    bucket_host.copy.instead = []
    now = bucket_host.images()
    bucket_host.lose()
    bucket_host.restored()
    assert bucket_host.images() == before != now


def test_a_restore_that_is_interrupted_goes_on(bucket_host):
    bucket_host.store.image("app", "1", "1.0")
    before = bucket_host.images()
    bucket_host.run()
    bucket_host.lose()
    bucket_host.source.instead = [("PUT", "/blobs/", reply(403, error_document("AccessDenied", "no")))]
    assert "AccessDenied" in refused(bucket_host.restored)
    bucket_host.source.instead = [("PUT", "/tags/", reply(403, error_document("AccessDenied", "no")))]
    assert "AccessDenied" in refused(bucket_host.restored)
    restore.Restore(bucket_host.config).undo()
    assert not [key for key in bucket_host.images() if "/repositories/" in key]
    bucket_host.source.instead = []
    bucket_host.source.requests.clear()
    bucket_host.restored()
    assert bucket_host.images() == before
    assert not [target for method, target in bucket_host.source.requests if method == "PUT" and "/blobs/" in target]


def test_the_settings_alone_come_back_where_the_bucket_is_whole(bucket_host):
    bucket_host.store.image("app", "1", "1.0")
    bucket_host.run()
    bucket_host.store.image("app", "2", "2.0")
    now = bucket_host.images()
    (bucket_host.etc / "ca.key").unlink()
    said = refused(bucket_host.restored)
    assert "holds images, and no restore has brought them" in said and "-e restore_images=false" in said
    one = bucket_host.restored(images=False)
    assert bucket_host.images() == now and (bucket_host.etc / "ca.key").read_text() == "key"
    one.undo()
    assert bucket_host.images() == now


def test_a_copy_is_that_of_one_registry(bucket_host):
    bucket_host.store.image("app", "1", "1.0")
    bucket_host.run()
    for changes, said in (
        ({"hostname": "other.example.com"}, "is the copy of another registry, wharf-registry of registry.example.com"),
        ({}, "belongs to the snapshots of another repository of restic"),
    ):
        bucket_host.config = bucket_host.configured(**changes) if changes else bucket_host.configured()
        (bucket_host.path / "repository.id").write_text("id" if changes else "other")
        bucket_host.restic.identity = lambda changes=changes: "id" if changes else "other"
        assert said in refused(bucket_host.run)


def test_a_copy_is_no_bucket_of_a_registry(bucket_host):
    bucket_host.store.image("app", "1", "1.0")
    bucket_host.access["copy"] = {**bucket_host.access["source"], "root_directory": "backup"}
    bucket_host.write_access()
    assert "is the bucket of the registry itself" in refused(bucket_host.run)
    assert not [key for key in bucket_host.source.objects if not key.startswith("docker/")]
    bucket_host.access["copy"]["root_directory"] = ""
    bucket_host.write_access()
    assert "holds images, and no backup has made them" in refused(bucket_host.run)


@pytest.mark.parametrize(
    ("side", "changes", "said"),
    [
        ("copy", {"secret_key": "wrong"}, "Correct secret_key"),
        ("source", {"access_key": "wrong"}, "Correct access_key"),
        ("copy", {"endpoint": "http://127.0.0.1:9"}, "Check whether the storage runs"),
        ("copy", {"bucket": "nothing"}, "Create the bucket"),
    ],
)
def test_a_storage_that_can_not_be_used_is_told_with_the_cure(bucket_host, capsys, side, changes, said):
    bucket_host.store.image("app", "1", "1.0")
    bucket_host.access[side] |= changes
    bucket_host.write_access()
    assert bucket_host.command("run") == 1
    told = capsys.readouterr()
    assert said in told.err and bucket_host.last["outcome"] == "failed"
    for one in bucket_host.access.values():
        assert one["secret_key"] not in told.out + told.err + json.dumps(bucket_host.last)


def test_an_empty_bucket_is_not_taken_for_an_empty_registry(bucket_host):
    bucket_host.store.image("app", "1", "1.0")
    bucket_host.run()
    bucket_host.source.objects.clear()
    assert "is empty, and held 1 repositories at the last backup. Check registry_s3" in refused(bucket_host.run)


def test_all_is_hashed_when_that_is_asked_for(bucket_host, capsys):
    bucket_host.store.image("app", "1", "1.0", algorithm="sha512")
    bucket_host.run()
    assert bucket_host.command("verify") == 0
    assert "all there, all hashed" in capsys.readouterr().out
    damage(bucket_host.source, LAYER)
    assert bucket_host.command("verify") == 1
    assert "app:1.0  layer damaged" in capsys.readouterr().err

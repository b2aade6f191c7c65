"""What a backup tells of itself: damage, failures, kills, and restores that are not proven."""

from __future__ import annotations

import os
import signal

import pytest
from wharf_backup import backup, main, storage
from wharf_backup.common import BackupError, write_json


@pytest.mark.parametrize(
    ("phase", "state", "cure"),
    [
        ("fetched", "before it replaced anything", "restore-undo"),
        ("swapped", "not yet proven", "restore-prove"),
        ("undone", "is not closed", "wharf-registry-1"),
        ("proven", "not yet removed", "restore-finish"),
    ],
)
def test_no_backup_is_made_of_what_is_not_proven(host, phase, state, cure):
    write_json(host.config.journal, {"phase": phase, "running": ["wharf-registry-1"]})
    with pytest.raises(BackupError, match=state) as refused:
        backup.run(host.config)
    assert cure in refused.value.cure
    assert host.restic.asked == []
    assert (host.last["outcome"], host.last["phase"]) == ("failed", phase)


def test_a_damaged_backup_makes_no_room_for_itself(host):
    host.store.image("app", "a", "whole")
    host.store.image("app", "b", "hurt")
    assert backup.run(host.config)["outcome"] == "ok"
    host.restic.asked.clear()
    layer = storage.references(storage.manifest(host.store.root, host.store.read("app").tags["hurt"]))[1].digest
    host.store.remove(layer)
    with pytest.raises(BackupError, match="Snapshot 01234567 was made, but the registry lacks") as told:
        backup.run(host.config)
    assert "app:hurt (layer missing sha256:" in told.value.message
    assert "Push these images again" in told.value.cure
    assert "backup" in host.restic.asked and "forget" not in host.restic.asked
    status = backup.status(host.config)
    assert status["outcome"] == "damaged" and len(status["problems"]) == 1
    assert backup.lines(status)[0].startswith("Damaged     Snapshot 01234567")
    # Neither a failure in between nor the same damage again is news.
    host.restic.fails["identity"] = BackupError("It is away")
    with pytest.raises(BackupError, match="It is away"):
        backup.run(host.config)
    host.restic.fails.clear()
    assert backup.run(host.config)["outcome"] == "ok"
    assert "forget" in host.restic.asked


@pytest.mark.parametrize("mount_point", [True, False])
def test_blobs_that_are_away_are_no_damage_that_is_known(host, mount_point):
    host.store.image("app", "a", "1")
    blobs, away = host.store.root / "blobs", host.store.root / "away"
    blobs.rename(away)
    if mount_point:
        blobs.mkdir()
    for _night in range(3):
        with pytest.raises(BackupError, match=r"blobs holds nothing") as told:
            backup.run(host.config)
        assert "Mount its file system" in told.value.cure
        assert host.last["outcome"] == "damaged"
    assert "forget" not in host.restic.asked
    if mount_point:
        blobs.rmdir()
    away.rename(blobs)
    assert backup.run(host.config)["outcome"] == "ok"


def test_a_backup_that_runs_or_was_killed_is_not_taken_for_the_one_before(host):
    host.store.image("app", "a", "1")
    seen = []
    host.restic.hook = lambda: seen.append(backup.status(host.config))
    backup.run(host.config)
    assert seen[0]["outcome"] == "running"
    assert backup.lines(seen[0])[0].startswith("Running     since ")
    host.restic.hook = lambda: host.config.result.replace(host.config.state / "left")
    backup.run(host.config)
    # As a kill leaves it.
    (host.config.state / "left").replace(host.config.result)
    killed = backup.status(host.config)
    assert killed["outcome"] == "killed" and "was killed" in killed["message"] and killed["succeeded"]
    assert backup.lines(killed)[0].startswith("Killed      The backup that began at ")


def test_a_backup_is_told_to_stop(host, monkeypatch):
    """It leaves no copy of a key, and no result that was good."""
    host.store.image("app", "a", "1")
    key = host.config.staging / "settings" / host.etc.relative_to("/") / "ca.key"
    monkeypatch.setattr(main.Config, "read", lambda _path: host.config)
    handler = signal.getsignal(signal.SIGTERM)
    host.restic.hook = lambda: (key.read_text(), os.kill(os.getpid(), signal.SIGTERM))
    try:
        with pytest.raises(SystemExit) as stopped:
            main.main(["run"], "/config.json")
    finally:
        signal.signal(signal.SIGTERM, handler)
    assert stopped.value.code == 143
    assert (host.last["outcome"], host.last["message"]) == ("failed", "The backup was told to stop")
    assert not key.exists()
    # Nor does one of those that can't be told.
    key.parent.mkdir(parents=True)
    key.write_text("left")
    host.restic.fails["identity"] = BackupError("It is away")
    with pytest.raises(BackupError, match="It is away"):
        backup.run(host.config)
    assert not key.exists()

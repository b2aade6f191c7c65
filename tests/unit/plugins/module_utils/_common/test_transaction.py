"""Files that change together: all of them, or none."""

from __future__ import annotations

import os
import subprocess
import threading
import time

import pytest
from ansible_collections.wharf.registry.plugins.module_utils._common import transaction
from ansible_collections.wharf.registry.plugins.module_utils._common.atomic_file import OvertakenError
from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError
from ansible_collections.wharf.registry.plugins.module_utils._common.transaction import (
    Change,
    apply_all,
    in_turn,
    roll_back_all,
)
from directories import snapshot

ROOT = os.geteuid() == 0


@pytest.fixture
def files(tmp_path):
    """A folder with a file to replace, one to remove, and room for two that are new."""
    folder = tmp_path / "etc"
    folder.mkdir()
    (folder / "old").write_text("before")
    (folder / "old").chmod(0o640)
    (folder / "gone").write_bytes(b"\x00\xff")
    if ROOT:
        os.chown(folder / "old", 1234, 4321)
    return folder


def wanted(folder):
    return [
        Change(str(folder / "new" / "deep" / "key"), b"secret", 0o600),
        Change(str(folder / "old"), b"after"),
        Change(str(folder / "gone"), None),
        Change(str(folder / "last"), b"x", 0o644),
    ]


def test_all_of_them(files):
    before = snapshot(files)
    changes = wanted(files)
    assert apply_all(changes) == changes
    after = snapshot(files)
    assert {name: entry[:2] for name, entry in after.items()} == {
        "new": (None, 0o755),
        "new/deep": (None, 0o755),
        "new/deep/key": (b"secret", 0o600),
        "old": (b"after", 0o640),
        "last": (b"x", 0o644),
    }
    assert after["old"][2:] == before["old"][2:]
    assert apply_all(wanted(files)) == []
    assert roll_back_all(changes) == []
    assert snapshot(files) == before


def test_a_umask_changes_nothing(files):
    former = os.umask(0o077)
    try:
        apply_all(wanted(files))
    finally:
        os.umask(former)
    modes = {name: oct(entry[1]) for name, entry in snapshot(files).items()}
    assert modes == {"new": "0o755", "new/deep": "0o755", "new/deep/key": "0o600", "old": "0o640", "last": "0o644"}


def directory(path):
    path.mkdir()


def immutable(path):
    path.write_text("immutable")
    if not ROOT or subprocess.run(["chattr", "+i", path], capture_output=True, check=False).returncode != 0:
        pytest.skip("this account or file system can make no file immutable")


def fifo(path):
    os.mkfifo(path)


def loop(path):
    path.symlink_to(path)


@pytest.mark.parametrize("obstacle", [directory, immutable, fifo, loop])
def test_one_that_can_not_be_written_leaves_all_as_it_was(files, obstacle):
    obstacle(files / "last")
    before = {name: entry for name, entry in snapshot(files).items() if name != "last"}
    try:
        with pytest.raises(InputError) as told:
            apply_all(wanted(files))
        assert str(files / "last") in told.value.message and told.value.cure
    finally:
        subprocess.run(["chattr", "-i", files / "last"], capture_output=True, check=False)
    assert {name: entry for name, entry in snapshot(files).items() if name != "last"} == before


def test_directories_that_were_made_in_vain_go(files, monkeypatch):
    before = snapshot(files)

    def full(*_arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="No space left"):
        apply_all([Change(str(files / "a" / "b" / "c"), b"x")])
    assert snapshot(files) == before


def test_one_that_can_not_be_given_back_keeps_none_of_the_others(files):
    changes = wanted(files)
    apply_all(changes)
    (files / "old").unlink()
    (files / "old").mkdir()
    assert roll_back_all(changes) == [str(files / "old")]
    assert (files / "gone").read_bytes() == b"\x00\xff"
    assert sorted(path.name for path in files.iterdir()) == ["gone", "old"]


def test_what_somebody_else_wrote_in_between_is_theirs(files):
    changes = wanted(files)
    (files / "gone").write_text("theirs")
    before = snapshot(files)
    with pytest.raises(OvertakenError):
        apply_all(changes)
    assert snapshot(files) == before
    changes = wanted(files)
    apply_all(changes)
    (files / "old").write_text("theirs")
    assert roll_back_all(changes) == []
    assert (files / "old").read_text() == "theirs"
    assert (files / "gone").read_text() == "theirs"


def test_a_symbolic_link_stays_one(files):
    (files / "real").write_text("before")
    (files / "link").symlink_to("real")
    change = Change(str(files / "link"), b"after")
    apply_all([change])
    assert (files / "link").is_symlink() and (files / "real").read_bytes() == b"after"
    roll_back_all([change])
    assert (files / "link").is_symlink() and (files / "real").read_bytes() == b"before"


def test_a_mode_alone_is_a_change(files):
    change = Change(str(files / "old"), b"before", 0o600)
    assert change.needed
    apply_all([change])
    assert snapshot(files)["old"][:2] == (b"before", 0o600)
    roll_back_all([change])
    assert snapshot(files)["old"][:2] == (b"before", 0o640)


# --- taking turns -----------------------------------------------------------------------------------------------------


def test_runs_wait_for_each_other():
    seen, waits = [], []

    def work(number):
        with in_turn() as waited:
            waits.append(waited)
            seen.append((number, "in"))
            time.sleep(0.02)
            seen.append((number, "out"))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [number for number, _what in seen[::2]] == [number for number, _what in seen[1::2]]
    assert waits.count(False) >= 1 and waits.count(True) >= 1


def test_a_turn_that_does_not_end_is_told(monkeypatch):
    monkeypatch.setattr(transaction, "_TURN_SECONDS", 0.1)
    with in_turn(), pytest.raises(InputError, match="another run"), in_turn():
        pass

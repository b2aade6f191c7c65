"""How a restore is undone, finished or proven, wherever it was killed."""

from __future__ import annotations

import shutil
import threading
import time
from pathlib import Path

import pytest
from wharf_backup import places, restore
from wharf_backup.common import BackupError, only_one, write_json


@pytest.mark.parametrize("steps", range(6))
@pytest.mark.parametrize("there", [True, False])
def test_a_swap_is_undone_wherever_it_was_killed(tmp_path, monkeypatch, steps, there):
    swaps = [restore.Swap(tmp_path / name, tmp_path / f"{name}.new") for name in ("a", "b")]
    for swap in swaps:
        swap.new.write_text("new")
        if there:
            swap.live.write_text("former")
    before = {path.name: path.read_text() for path in tmp_path.iterdir()}
    rename, left = Path.rename, [steps]

    def killed(path, target):
        if left[0] == 0:
            raise KeyboardInterrupt
        left[0] -= 1
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", killed)
    try:
        for swap in swaps:
            swap.do()
    except KeyboardInterrupt:
        assert steps < 4
    monkeypatch.undo()
    for _twice in range(2):
        for swap in reversed(swaps):
            swap.undo()
        assert {path.name: path.read_text() for path in tmp_path.iterdir()} == before


def test_a_restore_that_was_interrupted_is_not_undone_unasked(host):
    """The registry serves from what was put in place, and clients have pushed to it since."""
    host.store.image("app", "a", "1")
    former = host.contents()
    host.fetch()
    host.restore.swap()
    host.runs = ["wharf-registry-1"]
    host.store.image("new/app", "since", "2")
    pushed = host.contents()

    for step in (host.restore.check, lambda *a, **k: host.restore.fetch(*a, accept_damage=False, **k)):
        with pytest.raises(BackupError, match="in place and not yet proven") as refused:
            step("latest", replace=False)
        for cure in ("restore-prove && wharf-registry-backup restore-finish", "restore-undo", "restore_replace=true"):
            assert cure in refused.value.cure
        assert refused.value.details["phase"] == "swapped"
    # Nor where the snapshot is not to be had, nor while the registry runs.
    host.restic.fails["identity"] = BackupError("It is away")
    with pytest.raises(BackupError, match="It is away"):
        host.restore.fetch("latest", replace=True, accept_damage=False)
    host.restic.fails.clear()
    with pytest.raises(BackupError, match="no snapshot 99"):
        host.restore.fetch("99", replace=True, accept_damage=False)
    with pytest.raises(BackupError, match="docker stop wharf-registry-1"):
        host.restore.fetch("latest", replace=True, accept_damage=False)
    with pytest.raises(BackupError, match="docker stop wharf-registry-1"):
        host.restore.undo()
    assert host.contents() == pushed
    assert host.phase == "swapped"
    assert host.restore.check("latest", replace=True)["phase"] == "swapped"

    host.runs = []
    host.restic.fails["restore"] = BackupError("Far enough")
    with pytest.raises(BackupError, match="Far enough"):
        host.restore.fetch("latest", replace=True, accept_damage=False)
    assert host.contents() == former
    assert not host.leftovers() and not host.phase


@pytest.mark.parametrize("removed", [True, False])
def test_what_was_never_put_in_place_is_only_removed(host, removed):
    host.store.image("app", "a", "1")
    former = host.contents()
    host.fetch()
    if removed:
        shutil.rmtree(host.config.data / ".restore")
        shutil.rmtree(host.etc.with_name("etc.restored"))
    for _twice in range(2):
        host.restore.undo()
        assert host.contents() == former
    host.restore.finish()
    assert not host.leftovers() and not host.phase


def test_what_was_brought_from_is_gone(host):
    """An administrator has removed it by hand, when the new was in place already."""
    host.store.image("app", "a", "1")
    former = host.contents()
    host.fetch()
    host.restore.swap()
    shutil.rmtree(host.config.data / ".restore")
    host.restore.undo()
    assert host.contents() == former


def test_what_was_brought_is_gone_before_it_was_put_in_place(host, monkeypatch):
    host.store.image("app", "a", "1")
    former = host.contents()
    host.fetch()
    with monkeypatch.context() as killing, pytest.raises(Killed):
        # The journal is written, and nothing moved.
        kill_at(killing, 1)
        host.restore.swap()
    assert host.phase == "swapped"
    shutil.rmtree(host.config.data / ".restore")
    host.restore.undo()
    assert host.contents() == former


class Killed(BaseException):
    pass


def kill_at(monkeypatch, step):
    """Whatever changes the disk is counted, and the one at that step is not done any more."""
    left = [step]

    def counted(changes):
        def change(*arguments, **more):
            if left[0] == 0:
                raise Killed
            left[0] -= 1
            return changes(*arguments, **more)

        return change

    monkeypatch.setattr(Path, "rename", counted(Path.rename))
    monkeypatch.setattr(Path, "unlink", counted(Path.unlink))
    for module in (places, restore):
        monkeypatch.setattr(module, "remove_tree", counted(module.remove_tree))
    monkeypatch.setattr(restore, "write_json", counted(write_json))


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("killed_swap", [True, False])
def test_an_undo_is_killed_anywhere(host, monkeypatch, there, killed_swap):
    if there:
        host.store.image("app", "a", "1")
    else:
        shutil.rmtree(host.etc)
        shutil.rmtree(host.config.data / "docker")
    former = host.contents()
    for step in range(20):
        host.fetch()
        if killed_swap:
            with monkeypatch.context() as killing, pytest.raises(Killed):
                kill_at(killing, 2)
                host.restore.swap()
        else:
            host.restore.swap()
        ended = False
        with monkeypatch.context() as killing:
            kill_at(killing, step)
            try:
                host.restore.undo()
                host.restore.finish()
                ended = True
            except Killed:
                pass
        if host.phase:
            host.restore.undo()
            host.restore.finish()
        assert host.contents() == former, step
        assert not host.leftovers(), step
        if ended:
            break
    assert ended and step > 4


def test_an_end_is_killed_anywhere(host, monkeypatch):
    for step in range(20):
        host.fetch()
        host.restore.swap()
        host.restore._enter("proven")
        ended = False
        with monkeypatch.context() as killing:
            kill_at(killing, step)
            try:
                host.restore.finish()
                ended = True
            except Killed:
                pass
        if host.phase:
            with pytest.raises(BackupError, match="No restore is at this step"):
                host.restore.undo()
            host.restore.finish()
        assert (host.etc / "ca.key").read_text() == "new", step
        assert not host.leftovers(), step
        if ended:
            break
    assert ended and step > 2


def test_a_restore_waits_for_a_backup(host):
    host.fetch()
    held = threading.Event()

    def hold():
        with only_one(host.config):
            held.set()
            time.sleep(0.7)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()
    for step in (host.restore.swap, host.restore.undo, host.restore.finish):
        step()
    holder.join()
    assert not host.phase


def test_what_ran_is_remembered(host):
    """From before the first container is stopped, until it is started again."""
    host.fetch()
    host.runs = ["wharf-proxy", "wharf-registry-1"]
    assert host.restore.remember() == {"running": host.runs}
    # Killed when one of them was stopped.
    host.runs = ["wharf-registry-1"]
    assert host.restore.remember() == {"running": ["wharf-registry-1"]}
    host.runs = []
    host.restore.swap()
    # Those of the new registry are stopped for an undo, and not started after it.
    host.runs = ["wharf-registry-2"]
    assert host.restore.remember() == {"running": ["wharf-registry-2"]}
    host.runs = []
    for _killed_before_they_ran in range(2):
        assert host.restore.undo() == {"running": ["wharf-proxy", "wharf-registry-1"]}
    # Another run that fails does not forget them either.
    host.restic.fails["restore"] = BackupError("Far enough")
    with pytest.raises(BackupError, match="Far enough"):
        host.restore.fetch("latest", replace=True, accept_damage=False)
    assert host.phase == "undone"
    assert host.restore.undo() == {"running": ["wharf-proxy", "wharf-registry-1"]}
    host.restore.finish()
    assert not host.phase


def test_a_key_does_not_stay_where_a_restore_failed(host):
    host.fetch()
    host.config.journal.unlink()
    host.restic.fails["restore"] = BackupError("Far enough")
    with pytest.raises(BackupError, match="Far enough"):
        host.restore.fetch("latest", replace=True, accept_damage=False)
    assert not host.leftovers()


def test_what_is_in_the_way_is_told_before_it_is_fetched(host):
    host.etc.with_name("etc.replaced").mkdir()
    with pytest.raises(BackupError, match=r"etc.replaced is there"):
        host.restore.fetch("latest", replace=True, accept_damage=False)
    assert "restore" not in host.restic.asked


@pytest.mark.parametrize("planted", ["nothing", "link", "empty directory"])
def test_the_former_registry_is_not_taken_for_what_was_brought(host, tmp_path, planted):
    """The account of the registry has moved it away before it was put in place."""
    host.store.image("app", "a", "1")
    former = host.contents()
    host.fetch()
    work = host.config.data / ".restore"
    work.rename(tmp_path / "moved")
    if planted == "link":
        (tmp_path / "moved").chmod(0o700)
        work.symlink_to(tmp_path / "moved")
    elif planted != "nothing":
        work.mkdir(mode=0o700)
    with pytest.raises(BackupError, match=r"is gone|is not what a restore makes"):
        host.restore.swap()
    assert host.phase == "fetched"
    assert (tmp_path / "moved/docker").is_dir()
    work.unlink() if planted == "link" else None
    host.restore.undo()
    host.restore.finish()
    assert host.contents() == former

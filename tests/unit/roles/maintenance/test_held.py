"""The registry as a move holds it: until its file goes, for so long at most, and beyond that in a switch alone."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from trees import COLLECTOR


def wait_for(holds, seconds=20):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture
def hold(tmp_path):
    """hold(seconds) has the registry held: what the command says, and the file by which it is let go."""
    (tmp_path / "sockets").mkdir()
    held = tmp_path / "held"

    def start(seconds=600, quiet=("true",)):
        settings = {
            "storage": str(tmp_path),
            "hold_socket": str(tmp_path / "sockets" / "hold.sock"),
            "quiet_command": list(quiet),
            "lock": str(tmp_path / "lock"),
            "lock_seconds": 0.1,
            "attempts": 2,
            "pause_seconds": 0,
            "drain_seconds": 0,
        }
        (tmp_path / "settings.json").write_text(json.dumps(settings))
        done = subprocess.run(
            [sys.executable, "-B", COLLECTOR, "hold", tmp_path / "settings.json", held, str(seconds)],
            check=False,
            capture_output=True,
            text=True,
        )
        return done, held

    yield start
    for path in (tmp_path / "held.switching", held):
        path.unlink(missing_ok=True)
    wait_for(lambda: not (tmp_path / "sockets" / "hold").exists())


def is_held(held):
    return (held.parent / "sockets" / "hold").exists()


def test_it_is_held_when_the_command_has_ended_and_until_its_file_goes(hold):
    done, held = hold()
    assert (done.returncode, done.stderr) == (0, "")
    assert is_held(held)
    held.unlink()
    wait_for(lambda: not is_held(held))


def test_another_run_finds_it_held(hold):
    _done, held = hold()
    before = held.read_text()
    again, _held = hold()
    assert (again.returncode, held.read_text()) == (0, before)
    # Of one that was killed, the file says nothing.
    os.kill(int(before), signal.SIGKILL)
    wait_for(lambda: not Path(f"/proc/{before.strip()}/cmdline").exists() or not cmdline(before))
    again, _held = hold()
    assert again.returncode == 0
    assert held.read_text() != before


def cmdline(pid):
    return Path(f"/proc/{pid.strip()}/cmdline").read_bytes()


def test_collections_stay_away(hold):
    _done, held = hold()
    settings = held.with_name("settings.json")
    collect = subprocess.run(
        [sys.executable, "-B", COLLECTOR, "collect", settings], check=False, capture_output=True, text=True
    )
    assert collect.returncode == 1
    assert "another collection or a backup has held" in collect.stderr


def test_it_lets_go_by_itself(hold):
    _done, held = hold(seconds=0.2)
    wait_for(lambda: not is_held(held))
    assert not held.exists()


def test_in_a_switch_it_does_not(hold):
    _done, held = hold(seconds=1)
    switching = held.with_name("held.switching")
    switching.touch()
    time.sleep(1.5)
    assert is_held(held)
    switching.unlink()
    wait_for(lambda: not is_held(held))


def test_a_registry_that_is_written_to_is_not_held(hold):
    done, held = hold(quiet=("sh", "-c", "exit 22"))
    assert done.returncode == 1
    assert "was being written to" in done.stderr or "something writes" in done.stderr
    assert not held.exists()
    assert not is_held(held)


def test_a_record_on_a_full_disk_is_not_relied_on(tmp_path, monkeypatch):
    """The proxy may have lost lines of it."""
    host = importlib.import_module("holds").LocalHost(SimpleNamespace(looked_at=str(tmp_path)))
    since = host.begin_record()
    (tmp_path / "begun").write_text("team/app\n")
    assert host.written_to(since)["named"] == ["team/app"]
    monkeypatch.setattr("os.statvfs", lambda _path: SimpleNamespace(f_bavail=4095, f_frsize=4096))
    assert host.written_to(since) is None

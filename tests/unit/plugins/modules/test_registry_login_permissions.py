"""registry_login on modes, owners and links of credential files, and on what is no file."""

from __future__ import annotations

import base64
import errno
import fcntl
import os
import stat

import pytest
from credential_files import AUTH, HOST, login, logout, mode, read, write


@pytest.mark.parametrize(("before", "after"), [(0o644, 0o600), (0o660, 0o600), (0o400, 0o400), (0o600, 0o600)])
def test_the_mode_is_never_looser_than_0600(path, before, after):
    write(path, {"auths": {HOST: {"auth": AUTH}}}, before)
    results = [login(path, check=True), login(path), login(path)]
    assert [result["changed"] for result in results] == [before != after, before != after, False]
    assert mode(path) == after


def test_logout_does_not_tidy_up_what_it_does_not_write(path):
    write(path, {"auths": {"other.example.com": {"auth": "eDp5"}}}, 0o644)
    assert logout(path)["changed"] is False
    assert mode(path) == 0o644


def test_a_symbolic_link_stays_one(path, tmp_path):
    target = write(tmp_path / "elsewhere" / "file", {"a": 1})
    path.parent.mkdir()
    path.symlink_to("../elsewhere/file")
    assert login(path)["changed"]
    assert path.is_symlink() and read(target) == {"a": 1, "auths": {HOST: {"auth": AUTH}}}


def test_a_symbolic_link_that_leads_nowhere_yet(path, tmp_path):
    path.parent.mkdir()
    path.symlink_to(tmp_path / "made" / "file")
    assert login(path)["changed"]
    assert path.is_symlink() and read(path)["auths"][HOST] == {"auth": AUTH}


@pytest.mark.parametrize("make", ["directory", "fifo", "loop", "device", "beside a file"])
def test_what_is_no_file(path, make):
    path.parent.mkdir()
    if make == "directory":
        path.mkdir()
    elif make == "fifo":
        os.mkfifo(path)
    elif make == "loop":
        path.symlink_to(path)
    elif make == "device":
        path.symlink_to("/dev/null")
    else:
        path = write(path, "{}") / "config.json"
    for state in (login, logout):
        result = state(path)
        assert result["failed"] and str(path) in result["msg"]


# --- as root, in a directory of another user --------------------------------------------------------------------------


@pytest.fixture
def handed(monkeypatch):
    """What root gives away: (inode, user, group). Nothing is really given, so that any account may try."""
    handed = []

    def chown(what, user, group, **_options):
        handed.append((os.fstat(what).st_ino, user, group))

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "chown", chown)
    return handed


def owner(path):
    return path.stat().st_uid, path.stat().st_gid


def test_root_makes_a_directory_for_its_owner(path, handed):
    assert login(path)["changed"]
    assert handed == [(made.stat().st_ino, *owner(path.parent.parent)) for made in (path.parent, path)]


def test_root_is_not_led_elsewhere_by_the_owner(path, handed, monkeypatch, tmp_path):
    victim = tmp_path / "victim"
    victim.mkdir()
    make = os.mkdir

    def race(name, *arguments, **options):
        make(name, *arguments, **options)
        path.parent.rmdir()
        path.parent.symlink_to(victim)

    monkeypatch.setattr(os, "mkdir", race)
    result = login(path)
    assert result["failed"] and str(path) in result["msg"]
    assert handed == [] and list(victim.iterdir()) == []


@pytest.mark.parametrize("error", [errno.EBADF, errno.EINVAL, errno.ENOLCK, errno.EOPNOTSUPP])
def test_where_directories_can_not_be_locked_a_file_is(path, handed, monkeypatch, error):
    flock = fcntl.flock

    def on_nfs(handle, operation):
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(error, os.strerror(error))
        return flock(handle, operation)

    monkeypatch.setattr(fcntl, "flock", on_nfs)
    path.parent.mkdir()
    assert login(path)["changed"]
    lock = path.parent / ".config.json.wharf-lock"
    assert (lock.stat().st_ino, *owner(path.parent)) in handed
    assert mode(lock) == 0o600
    handed.clear()
    assert login(path, password="other-geheim")["changed"]
    assert lock.stat().st_ino not in [inode for inode, *_owner in handed]
    assert base64.b64decode(read(path)["auths"][HOST]["auth"]) == b"ci:other-geheim"

"""What a host is to have at a path."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from typing import TYPE_CHECKING

import pytest
from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError
from ansible_collections.wharf.registry.plugins.module_utils._common.placement import (
    Placed,
    PlacedDirectory,
    PlacedFile,
    PlacedNothing,
)

if TYPE_CHECKING:
    from pathlib import Path

ME = (pwd.getpwuid(os.geteuid()).pw_name, grp.getgrgid(os.getegid()).gr_name)
ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not ROOT, reason="an owner is given by root alone")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def put(placed: Placed) -> bool:
    """Whether it was changed. What is placed is as it should be then."""
    changed = placed.changed
    placed.apply()
    return changed


def test_a_directory_and_its_parents_are_made_once(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b"
    assert put(PlacedDirectory(str(path), ME, 0o700))
    assert mode(path) == 0o700
    assert not put(PlacedDirectory(str(path), ME, 0o700))


def test_a_directory_gets_its_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    placed = PlacedDirectory(str(tmp_path), ME, 0o750)
    assert (placed.before, placed.after) == ({"mode": "0777"}, {"mode": "0750"})
    assert put(placed)
    assert mode(tmp_path) == 0o750


def test_a_link_to_a_directory_stays(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    link = tmp_path / "data"
    link.symlink_to("disk")
    assert put(PlacedDirectory(str(link), ME, 0o700))
    assert link.is_symlink()
    assert mode(tmp_path / "disk") == 0o700


def test_a_file_in_the_place_of_a_directory_is_left(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("mine")
    with pytest.raises(InputError, match="data is not a directory"):
        PlacedDirectory(str(tmp_path / "data"), ME, 0o700)
    assert (tmp_path / "data").read_text() == "mine"


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_a_file_has_its_content_and_mode_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    path = tmp_path / "secret"
    before = os.umask(umask)
    try:
        assert put(PlacedFile(str(path), b"text", ME, 0o640))
    finally:
        os.umask(before)
    assert path.read_bytes() == b"text"
    assert mode(path) == 0o640
    assert not put(PlacedFile(str(path), b"text", ME, 0o640))


def test_a_file_that_has_the_content_is_not_written_anew(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"text")
    path.chmod(0o666)
    inode = path.stat().st_ino
    placed = PlacedFile(str(path), b"text", ME, 0o600)
    assert (placed.before, placed.after) == ({"mode": "0666"}, {"mode": "0600"})
    assert put(placed)
    assert (mode(path), path.stat().st_ino) == (0o600, inode)


def test_a_replaced_file_is_another_one_so_that_readers_have_one_of_both_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"former")
    with path.open("rb") as reader:
        assert put(PlacedFile(str(path), b"new", ME, 0o600))
        assert reader.read() == b"former"
    assert path.read_bytes() == b"new"
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


def test_a_file_that_exists_keeps_its_content_where_it_is_only_to_be_created(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    assert put(PlacedFile(str(path), b"first", ME, 0o600, create_only=True))
    path.chmod(0o644)
    placed = PlacedFile(str(path), b"second", ME, 0o600, create_only=True)
    assert put(placed)
    assert (path.read_bytes(), mode(path)) == (b"first", 0o600)
    assert not put(PlacedFile(str(path), b"third", ME, 0o600, create_only=True))


def test_what_is_refused_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "nginx.conf"
    path.write_bytes(b"former")

    def refuse(content: bytes) -> None:
        assert content == b"new"
        raise InputError("no", "Correct it")

    with pytest.raises(InputError):
        put(PlacedFile(str(path), b"new", ME, 0o600, check=refuse))
    assert path.read_bytes() == b"former"


def test_a_diff_has_the_content_and_never_that_of_a_secret(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"former-text")
    shown = PlacedFile(str(path), b"new-text", ME, 0o600).diff()
    assert (shown["before"], shown["after"]) == ("former-text", "new-text")
    shown = PlacedFile(str(path), b"new-text", ME, 0o600, secret=True).diff()
    assert "text" not in f"{shown['before']}{shown['after']}"
    assert shown["before"] != shown["after"]
    assert PlacedFile(str(tmp_path / "other"), b"new-text", ME, 0o600).diff()["before"] == ""


@needs_root
def test_a_file_and_a_directory_get_their_owner(tmp_path: Path) -> None:
    other = ("daemon", "daemon")
    ids = (pwd.getpwnam("daemon").pw_uid, grp.getgrnam("daemon").gr_gid)
    for placed in (
        PlacedDirectory(str(tmp_path / "d"), other, 0o750),
        PlacedFile(str(tmp_path / "new"), b"x", other, 0o600),
    ):
        assert put(placed)
    (tmp_path / "there").write_bytes(b"x")
    assert put(PlacedFile(str(tmp_path / "there"), b"x", other, 0o600))
    (tmp_path / "differs").write_bytes(b"x")
    assert put(PlacedFile(str(tmp_path / "differs"), b"y", other, 0o600))
    for name in ("d", "new", "there", "differs"):
        found = (tmp_path / name).stat()
        assert (found.st_uid, found.st_gid) == ids, name


def test_an_account_that_is_not_there_is_named(tmp_path: Path) -> None:
    placed = PlacedFile(str(tmp_path / "file"), b"x", ("no-such-user", ME[1]), 0o600)
    assert placed.changed
    with pytest.raises(InputError, match="no-such-user"):
        placed.apply()
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_what_is_left_of_a_file_a_link_and_a_directory(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").write_text("kept")
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to("kept")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "directory" / "in").mkdir(parents=True)
    (tmp_path / "directory" / "in" / "link").symlink_to(kept)
    for name in ("file", "link", "dangling", "directory"):
        assert put(PlacedNothing(str(tmp_path / name))), name
        assert not put(PlacedNothing(str(tmp_path / name))), name
    assert [one.name for one in tmp_path.iterdir()] == ["kept"]
    assert (kept / "file").read_text() == "kept"


def test_another_run_that_was_faster_has_done_the_same(tmp_path: Path) -> None:
    directory, secret, gone, tree = (str(tmp_path / name) for name in ("d", "secret", "gone", "tree"))
    (tmp_path / "gone").write_text("x")
    (tmp_path / "tree" / "in").mkdir(parents=True)
    first, second = (
        [
            PlacedDirectory(directory, ME, 0o750),
            PlacedFile(secret, content, ME, 0o600, create_only=True),
            PlacedFile(f"{directory}/file", b"same", ME, 0o640),
            PlacedNothing(gone),
            PlacedNothing(tree),
        ]
        for content in (b"first", b"second")
    )
    assert all(put(placed) for placed in first)
    assert all(put(placed) for placed in second)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["d", "secret"]
    assert (mode(tmp_path / "d"), (tmp_path / "d" / "file").read_bytes()) == (0o750, b"same")
    # What the first run may have handed to others by then is kept.
    assert (tmp_path / "secret").read_bytes() == b"first"
    assert first[1].checksum == second[1].checksum


def test_a_file_that_came_in_the_place_of_a_directory_is_left(tmp_path: Path) -> None:
    placed = PlacedDirectory(str(tmp_path / "d"), ME, 0o750)
    (tmp_path / "d").write_text("kept")
    with pytest.raises(InputError, match="d can't be made: Not a directory"):
        placed.apply()
    assert (tmp_path / "d").read_text() == "kept"

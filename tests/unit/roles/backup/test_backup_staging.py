"""What is copied before restic runs: the links of a storage, and the settings with their owners."""

from __future__ import annotations

import os
import shutil

from wharf_backup import staging


def links(root):
    return {
        str(path.relative_to(root)): path.read_text()
        for path in (root / "repositories").rglob("link")
        if "_uploads" not in path.parts
    }


def test_the_copy_is_the_storage_and_only_what_differs_is_written(store, tmp_path):
    staged = tmp_path / "staged"
    store.image("team", "a", "1")
    moved = store.image("team/web", "b", "1")
    store.write("repositories/team/_uploads/x/startedat", "now")
    staging.stage_links(store.root, staged)
    assert links(staged) == links(store.root)
    live = store.root / f"repositories/team/web/_manifests/revisions/sha256/{moved[7:]}/link"
    assert (staged / live.relative_to(store.root)).stat().st_mtime_ns == live.stat().st_mtime_ns

    before = {path: path.stat().st_ino for path in staged.rglob("link")}
    store.image("team/web", "c", "1")
    shutil.rmtree(store.root / "repositories/team/_manifests/tags/1")
    # What a crash may leave.
    (staged / live.relative_to(store.root)).write_text("")
    staging.stage_links(store.root, staged)
    assert links(staged) == links(store.root)
    kept = [path for path, inode in before.items() if path.exists() and path.stat().st_ino == inode]
    # Two of the tag are gone; the tag that moved, and the one that the crash left, are new.
    assert len(kept) == len(before) - 4

    shutil.rmtree(store.root / "repositories/team/web")
    staging.stage_links(store.root, staged)
    assert links(staged) == links(store.root)
    assert not (staged / "repositories/team/web").exists()


def test_settings_are_copied_with_their_owners(tmp_path):
    settings = tmp_path / "etc"
    (settings / "certificate").mkdir(parents=True)
    (settings / "certificate/ca.key").write_text("key")
    (settings / "certificate/ca.key").chmod(0o600)
    (settings / "link").symlink_to("certificate/ca.key")
    os.mkfifo(settings / "fifo")
    found = staging.stage_settings([settings, tmp_path / "nowhere"], tmp_path / "staged")
    copied = tmp_path / "staged/settings" / settings.relative_to("/")
    assert sorted(path.name for path in copied.rglob("*")) == ["ca.key", "certificate", "link"]
    assert (copied / "link").is_symlink()
    assert found[str(settings / "certificate/ca.key")][2] == 0o600
    staging.clear_settings(tmp_path / "staged")
    assert not list((tmp_path / "staged").iterdir())

# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The private copy of what changes under a backup: the links of the registry, and its settings.

It is kept from one run to the next, and only what differs is written, so that restic finds the rest unchanged by its
inode and its times. It has the shape of the registry's own storage: what restic restores by hand is a storage, too.
"""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import stat
from pathlib import Path
from typing import Any, Iterable

from wharf_storage.files import remove_tree

from . import storage
from .common import BackupError, write_json

SETTINGS = Path("settings")
FACTS = "backup.json"
# The digests of all blobs that a snapshot needs, where they are in a second bucket.
NEEDED = "blobs.txt"
LINKS_IN = ("_manifests", "_layers")
TRIES = 5


def stage_links(live: Path, staged: Path, oddities: storage.Oddities | None = None) -> list[storage.Repository]:
    """Bring the copy of the links up to date, and return what there is."""
    found = storage.read_all(live, oddities)
    stage_found(found, staged)
    return found


def stage_found(found: list[storage.Repository], staged: Path) -> None:
    """Bring the copy of the links to what was read."""
    for repository in found:
        _sync(staged / "repositories" / repository.name, dict(repository.links()))
    for name in set(storage.names(staged)) - {repository.name for repository in found}:
        for part in LINKS_IN:
            remove_tree(staged / "repositories" / name / part)
        _remove_empty(staged / "repositories" / name, staged)
    (staged / "repositories").mkdir(parents=True, exist_ok=True)


def _sync(staged: Path, links: dict[str, storage.Link]) -> None:
    present = _present(staged)
    for path in present - links.keys():
        (staged / path).unlink()
        _remove_empty((staged / path).parent, staged)
    for path, link in links.items():
        target = staged / path
        if path in present and target.read_text(encoding="ascii", errors="replace") == link.target:
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        new = target.with_name("link.new")
        new.write_text(link.target, encoding="ascii")
        os.utime(new, ns=(link.nanoseconds, link.nanoseconds))
        new.replace(target)


def _present(directory: Path) -> set[str]:
    """The files among the links that were staged before."""
    return {
        str(Path(base, name).relative_to(directory))
        for part in LINKS_IN
        for base, _directories, files in os.walk(directory / part)
        for name in files
    }


def _remove_empty(directory: Path, top: Path) -> None:
    while directory != top:
        try:
            directory.rmdir()
        except FileNotFoundError:
            pass
        except OSError:
            return
        directory = directory.parent


def stage_settings(directories: Iterable[Path], staged: Path) -> dict[str, list[Any]]:
    """Copy directories of settings as they are at one moment; return owner, group and mode of each path, by name."""
    present = [directory for directory in directories if directory.is_dir()]
    for _try in range(TRIES):
        clear_settings(staged)
        (staged / SETTINGS).mkdir(parents=True, mode=0o700)
        try:
            before = _look(present)
            for directory in present:
                target = staged / SETTINGS / directory.relative_to("/")
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copytree(directory, target, symlinks=True, ignore=_unusual)
            if _look(present) == before:
                return {path: owner for path, (owner, *_times) in before.items()}
        # A file was replaced just then.
        except (FileNotFoundError, shutil.Error):
            continue
    raise BackupError(
        f"The files in {', '.join(map(str, present))} changed {TRIES} times while they were copied",
        "Run it again when no playbook changes the registry",
    )


def clear_settings(staged: Path) -> None:
    """Keys lie in the settings: no copy stays."""
    shutil.rmtree(staged / SETTINGS, ignore_errors=True)


def _unusual(directory: str, names: list[str]) -> list[str]:
    kinds = {name: os.lstat(os.path.join(directory, name)).st_mode for name in names}
    return [
        name for name, mode in kinds.items() if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode))
    ]


def _look(directories: Iterable[Path]) -> dict[str, list[Any]]:
    found = {}
    for directory in directories:
        for path in [directory, *sorted(directory.rglob("*"))]:
            about = path.lstat()
            owner = [user_name(about.st_uid), group_name(about.st_gid), stat.S_IMODE(about.st_mode)]
            found[str(path)] = [owner, about.st_ino, about.st_ctime_ns, about.st_size]
    return found


def user_name(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return "root"


def group_name(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return "root"


def write_facts(staged: Path, facts: dict[str, Any]) -> None:
    write_json(staged / FACTS, facts)

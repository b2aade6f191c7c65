# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Places that a restore brings files to and takes them from, some of which an account may tamper with."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
from pathlib import Path
from typing import Iterator

from wharf_storage.files import Directory, OddError, remove_tree

from .common import BackupError


@dataclasses.dataclass(frozen=True)
class Swap:
    """A place, what comes there, and where that goes which is there. All lie in one file system."""

    live: Path
    new: Path
    # Whether something was there before. Where what was there is not kept, it has not moved, or is back.
    had: bool = False

    @property
    def kept(self) -> Path:
        return self.live.with_name(self.live.name + ".replaced")

    def do(self) -> None:
        if there(self.new):
            if there(self.live) and not there(self.kept):
                self.live.rename(self.kept)
            self.new.rename(self.live)

    def undo(self) -> None:
        if self.had and not there(self.kept):
            return
        # Where the former one is kept, nothing else that has come in its place stays.
        if there(self.live) and (there(self.kept) or not there(self.new)):
            remove_tree(self.new)
            # The directory that it came from may have been removed.
            self.new.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.live.rename(self.new)
        if there(self.kept) and not there(self.live):
            self.kept.rename(self.live)


@contextlib.contextmanager
def private_directory(place: Path, name: str) -> Iterator[Directory]:
    """A directory that no other account can write to, in one that others can; made where there is none."""
    with Directory.at(place) as top:
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=top.descriptor)
        wrong = BackupError(
            f"{place / name} belongs to another account, or is a link, and is not what a restore makes",
            "Find out what has made it, and remove it",
        )
        try:
            directory = top.enter(name)
        except OddError:
            raise wrong from None
        with directory:
            about = os.fstat(directory.descriptor)
            if about.st_uid != os.geteuid() or about.st_mode & 0o022:
                raise wrong
            yield directory


def there(path: Path) -> bool:
    """Whether something has that name, be it a link that leads nowhere."""
    return os.path.lexists(path)


def beside(live: Path) -> Path:
    """Where the settings come before they take the place of others."""
    return live.with_name(live.name + ".restored")


def walk(top: Path) -> Iterator[Path]:
    yield top
    for base, directories, files in os.walk(top):
        for name in directories + files:
            yield Path(base, name)


def copy(source: Path, target: Path) -> None:
    """Copy a tree with its owners and modes, which shutil alone leaves out."""
    shutil.copytree(source, target, symlinks=True)
    for path in walk(source):
        about = path.lstat()
        os.chown(target / path.relative_to(source), about.st_uid, about.st_gid, follow_symlinks=False)

# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images that are files of this host, as a backup saves them. restic reads the blobs where they are."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from . import staging, storage, verify
from .common import BackupError, Config
from .restic import Restic

# Of the snapshots; those of a bucket have another one.
FORMAT, BUCKET_FORMAT = 1, 2


class OnDisk:
    """A context. `in_bucket.images.InBucket` is the same for a bucket."""

    # What is told where all blobs are away.
    cure = "Mount its file system, or restore the newest snapshot that is whole. None is removed until then"

    def __init__(self, config: Config) -> None:
        self._config = config
        self._root = config.data / storage.ROOT
        self.place, self.blobs = str(config.data), str(self._root / "blobs")

    def __enter__(self):
        return self

    def __exit__(self, *_exception: object) -> None:
        """There is nothing to close."""

    def alone(self) -> contextlib.AbstractContextManager:
        """Keeps collections of other hosts away. No other host has this disk."""
        return contextlib.nullcontext()

    def stage(self, before: dict[str, Any], oddities: storage.Oddities) -> list[storage.Repository]:
        """Stage the links. `before` is the result of the last backup."""
        config = self._config
        if not config.data.is_dir():
            raise BackupError(f"There is no storage at {config.data}", "Mount its file system, or run site.yml")
        if before.get("repositories") and not _is_directory(self._root / "repositories"):
            raise was_not_empty(config, str(config.data), before, "Mount its file system, or restore it")
        config.staging.mkdir(mode=0o700, parents=True, exist_ok=True)
        return staging.stage_links(self._root, config.staging / storage.ROOT, oddities)

    def facts(self) -> dict[str, Any]:
        """What a restore has to know."""
        owner = self._config.data.stat()
        return {
            "format": FORMAT,
            "blobs": self.blobs,
            "owner": [staging.user_name(owner.st_uid), staging.group_name(owner.st_gid)],
        }

    def survey(self, repositories: list[storage.Repository]) -> verify.Survey:
        return verify.survey(self._root, repositories)

    def save(self, _found: verify.Survey, _before: dict[str, Any]) -> dict[str, Any]:
        """Bring elsewhere what restic does not save. What is to be told of it."""
        return {}

    def paths(self) -> list[str]:
        """What restic saves besides what is staged."""
        return [self.blobs] if _is_directory(Path(self.blobs)) else []

    def refuse_damage(self, _snapshot: str) -> None:
        """Of what save() has brought elsewhere there is nothing."""

    def forget(self, _restic: Restic) -> dict[str, Any]:
        """Remove what no snapshot needs any more, once some have gone. restic has done so."""
        return {}

    def check(self) -> dict[str, Any]:
        """Read some of what save() has brought elsewhere."""
        return {}

    def verify(self, data: Path | None) -> verify.Survey:
        """All that is reached, hashed."""
        root = (data or self._config.data) / storage.ROOT
        found = verify.survey(root, storage.read_all(root))
        verify.hash_all(root, found)
        return found


def was_not_empty(config: Config, place: str, before: dict[str, Any], cure: str) -> BackupError:
    return BackupError(
        f"{place} is empty, and held {before['repositories']} repositories at the last backup",
        f"{cure}. An empty registry that is meant is backed up once {config.result} is removed",
    )


def _is_directory(path: Path) -> bool:
    """Whether it is one itself, and no link to one elsewhere."""
    return path.is_dir() and not path.is_symlink()

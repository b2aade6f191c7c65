# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images that are objects, as a backup saves them. What `on_disk.OnDisk` is for a disk."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Any, Iterator

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import RegistryError
from wharf_bucket.lock import LockError
from wharf_storage.names import split

from .. import staging, storage, verify
from ..common import BackupError, Config, human
from ..on_disk import BUCKET_FORMAT, was_not_empty
from ..restic import Restic
from .buckets import COLLECTION_LOCK, LOCK, Buckets, path_of
from .copies import Copies, each, wrong_in
from .ledger import Ledger
from .links import Blobs, read

# In the state directory: what is known of the copies.
LEDGER = "copies.db"
MOST_TOLD = 3


@contextlib.contextmanager
def in_our_words() -> Iterator[None]:
    """What S3 and the locks say, as errors of a backup."""
    try:
        yield
    except RegistryError as error:
        raise BackupError(error.message, error.cure) from None
    except LockError as error:
        raise BackupError(str(error)) from None


class InBucket:
    """A context, in which no other host works on the copy."""

    cure = "Restore the newest snapshot that is whole into an empty bucket. None is removed until then"

    def __init__(self, config: Config) -> None:
        self._config = config
        self._buckets = Buckets(config)
        self.place = self._buckets.source.name
        self.blobs = f"blobs/ in {self.place}"
        self._stack = contextlib.ExitStack()

    def __enter__(self):
        config, buckets = self._config, self._buckets
        with contextlib.ExitStack() as stack:
            stack.callback(buckets.close)
            stack.enter_context(in_our_words())
            known = (config.directory / "repository.id").read_text(encoding="ascii").strip()
            buckets.claim(known)
            stack.enter_context(buckets.copy.lock(LOCK, config.lock_seconds, "another backup or a restore"))
            config.state.mkdir(mode=0o700, parents=True, exist_ok=True)
            ledger = stack.enter_context(Ledger(str(config.state / LEDGER)))
            self._copies = Copies(buckets.source, buckets.copy, ledger)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exception: object) -> Any:
        return self._stack.__exit__(*exception)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Keeps the collections of all hosts away."""
        with self._buckets.source.lock(COLLECTION_LOCK, self._config.lock_seconds, "a collection of garbage") as lock:
            yield
            # A snapshot that was made without it may lack what it needs.
            lock.check()

    def stage(self, before: dict[str, Any], oddities: storage.Oddities) -> list[storage.Repository]:
        config = self._config
        found = read(self._buckets.source, oddities)
        if before.get("repositories") and not found:
            raise was_not_empty(
                config, self._buckets.source.name, before, "Check registry_s3, or restore it into an empty bucket"
            )
        config.staging.mkdir(mode=0o700, parents=True, exist_ok=True)
        staging.stage_found(found, config.staging / storage.ROOT)
        return found

    def facts(self) -> dict[str, Any]:
        return {"format": BUCKET_FORMAT, "copy": self._buckets.copy.name, "owner": ["root", "root"]}

    def survey(self, repositories: list[storage.Repository]) -> verify.Survey:
        return verify.survey_of(Blobs(self._buckets.source), repositories, each)

    def save(self, found: verify.Survey, _before: dict[str, Any]) -> dict[str, Any]:
        """Copy the blobs. What is damaged at the source is noted among what is found."""
        began = time.monotonic()
        copies = self._copies
        copies.compare(trusting=True)
        brought = copies.bring(found.sizes)
        copies.repair()
        for digest, said in brought.bad.items():
            found.bad[digest] = said
            # One that was deleted meanwhile, which no manifest needs, is no loss.
            found.sizes.pop(digest, None)
        needed = "".join(f"{digest}\n" for digest in sorted(found.sizes))
        (self._config.staging / staging.NEEDED).write_text(needed, encoding="ascii")
        return {
            "copied_blobs": brought.blobs,
            "copied_bytes": brought.bytes,
            "copied": [
                (
                    f"Copied      {human(brought.bytes)}: {brought.blobs} blobs new in {self._buckets.copy.name}; "
                    f"{time.monotonic() - began:.0f} s"
                )
            ],
        }

    def paths(self) -> list[str]:
        return []

    def refuse_damage(self, snapshot: str) -> None:
        """What was hurt in the copy is copied again by now, where that could be."""
        copies, name = self._copies, self._buckets.copy.name
        if not copies.hurt:
            return
        lost = sorted(copies.hurt.keys() - copies.repaired)
        told = [f"{path.split('/')[-2][:12]} ({copies.hurt[path]})" for path in lost or sorted(copies.hurt)]
        done = f"{len(copies.repaired)} were copied again" if copies.repaired else "none could be copied again"
        raise BackupError(
            f"Snapshot {snapshot} was made, and {len(copies.hurt)} blobs in {name} were damaged or gone, of which "
            f"{done}: {', '.join(told[:MOST_TOLD])}",
            "Look who can write to that bucket, and at the log of its storage"
            + (". Snapshots that need those that are left are not whole" if lost else ""),
            outcome="damaged",
        )

    def forget(self, restic: Restic) -> dict[str, Any]:
        """Remove the blobs that no snapshot needs any more."""
        needed: set[str] = set()
        for snapshot in restic.snapshots(self._config.hostname):
            needed.update(needed_by(restic, snapshot, self._config))
        blobs, size = self._copies.forget(needed)
        return {"swept_blobs": blobs, "swept_bytes": size}

    def check(self) -> dict[str, Any]:
        """Read a share of the copy, and in 100 / backup_check_percent checks all of it."""
        share = self._config.check_percent / 100
        if not share:
            return {}
        blobs, size = self._copies.check(share)
        if self._copies.hurt:
            self._copies.repair()
            self.refuse_damage("of this backup")
        return {"checked_blobs": blobs, "checked_bytes": size}

    def verify(self, _data: Path | None) -> verify.Survey:
        """All that is reached, hashed, in the bucket of the registry."""
        place = self._buckets.source
        found = self.survey(read(place, storage.Oddities()))
        verify.hash_each(found, lambda pair: _wrong(place, *pair), each)
        return found


def _wrong(place: Any, digest: str, content: str) -> str:
    return wrong_in(place, path_of(content), split(digest))


def needed_by(restic: Restic, snapshot: dict[str, Any], config: Config) -> list[str]:
    """The digests of all blobs that a snapshot needs."""
    staged = next(iter(snapshot["paths"]), str(config.staging))
    return restic.file_of(snapshot["id"], Path(staged) / staging.NEEDED).split()

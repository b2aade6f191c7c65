# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a restore does where images are objects: blobs come from the second bucket, links from the snapshot.

The bucket of the registry has to be empty, or to hold what an interrupted restore of this registry has brought. So
nothing in it is ever overwritten, and an undo takes away only what a restore has put there.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from .. import staging, storage, verify
from ..common import BackupError, Config
from .buckets import COLLECTION_LOCK, LOCK, OWNER, Buckets
from .copies import Copies, each
from .images import in_our_words
from .ledger import Ledger
from .links import Blobs, put, read, remove

# Beside docker/ in the bucket of the registry, from the first blob until the restore has ended.
RESTORING = "wharf-restore"
LEDGER = "restore-blobs.db"


class BucketRestore:
    """A context. `alone()` within it keeps collections and backups away."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._buckets = Buckets(config)
        self._stack = contextlib.ExitStack()

    def __enter__(self):
        self._stack.callback(self._buckets.close)
        self._stack.enter_context(in_our_words())
        return self

    def __exit__(self, *exception: object) -> Any:
        return self._stack.__exit__(*exception)

    @contextlib.contextmanager
    def alone(self) -> Any:
        seconds, buckets = self._config.lock_seconds, self._buckets
        copy = buckets.copy.lock(LOCK, seconds, "a backup or another restore")
        with copy, buckets.source.lock(COLLECTION_LOCK, seconds, "a collection of garbage"):
            yield

    def refuse_used(self, repository: str) -> None:
        """Raise BackupError unless the bucket is empty, or holds what a restore of this registry has brought."""
        buckets, place = self._buckets, self._buckets.source
        buckets.check_owner(buckets.copy.text(OWNER), repository)
        owner = place.text(RESTORING)
        if owner is None and not place.bucket.is_empty():
            raise BackupError(
                f"{place.name} holds images, and no restore has brought them",
                "A restore overwrites no bucket: give an empty one, or another directory in it, as registry_s3. Where "
                "the images are right, and the host is lost, restore its settings alone by -e restore_images=false",
            )
        if owner not in (None, self._mine(repository)):
            raise BackupError(
                f"Another registry is restored to {place.name}",
                f"Give another bucket or directory as registry_s3, or remove the object {place.key(RESTORING)} where "
                "that was given up",
            )

    def _mine(self, repository: str) -> dict[str, Any]:
        config = self._config
        return {"hostname": config.hostname, "registry": config.instance.registry, "repository": repository}

    def bring(self, work: Path, repository: str) -> verify.Survey:
        """Copy the blobs of the snapshot in `work`, each of which is proven. What is wrong is in what is returned."""
        buckets, config = self._buckets, self._config
        repositories = storage.read_all(work / storage.ROOT)
        needed = (work / staging.NEEDED).read_text(encoding="ascii").split()
        with self.alone(), Ledger(str(config.state / LEDGER)) as ledger:
            self.refuse_used(repository)
            buckets.source.put_text(RESTORING, self._mine(repository))
            there = Blobs(buckets.copy).sizes
            copies = Copies(buckets.copy, buckets.source, ledger)
            copies.compare(trusting=False)
            brought = copies.bring({digest: there[digest] for digest in needed if digest in there})
        found = verify.survey_of(Blobs(buckets.source), repositories, each)
        found.bad.update(brought.bad)
        return found

    def put(self, work: Path) -> None:
        """Put the links in place, and prove that they are what the snapshot has."""
        place = self._buckets.source
        wanted = storage.read_all(work / storage.ROOT)
        with self.alone():
            found = verify.survey_of(Blobs(place), wanted, each)
            if not found.sizes and found.manifests:
                raise BackupError(f"What was brought to {place.name} is gone", "Run the playbook restore again")
            put(place, wanted)
            if _said(read(place, storage.Oddities())) != _said(wanted):
                raise BackupError(
                    f"{place.name} tells other links than were just written to it",
                    "Probe that storage with the module registry_storage_probe",
                )

    def take_back(self) -> None:
        """Remove the links that a restore has put in place. The blobs stay for the next one."""
        with self.alone():
            if self._buckets.source.text(RESTORING) is not None:
                remove(self._buckets.source)

    def read(self) -> list[storage.Repository]:
        return read(self._buckets.source, storage.Oddities())

    def finish(self) -> None:
        """The bucket is that of a registry from now on."""
        place = self._buckets.source
        place.client.delete(place.key(RESTORING))
        (self._config.state / LEDGER).unlink(missing_ok=True)


def _said(repositories: list[storage.Repository]) -> dict[str, dict[str, str]]:
    """What all links say, by their repositories and paths."""
    return {one.name: {path: link.target for path, link in one.links()} for one in repositories}

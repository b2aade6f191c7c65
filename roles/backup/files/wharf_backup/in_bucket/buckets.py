# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bucket of the registry and the one of its copy, and the way to both."""

from __future__ import annotations

import json
import secrets
from typing import Any, Iterator

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._storage.move_places import Bucket, Entry
from ansible_collections.wharf.registry.plugins.module_utils._storage.s3_access import ACCESS_OPTIONS, S3Access
from ansible_collections.wharf.registry.plugins.module_utils._storage.s3_errors import S3Error
from wharf_bucket.lock import BucketLock
from wharf_storage.names import split

from ..common import BackupError, Config

# In the directory of the configuration. It has the keys of both.
ACCESS = "images.json"
# Beside docker/ in the second bucket: whose copy it is, and the lock of the one who works on it.
OWNER, LOCK = "wharf-backup", "wharf-backup-lock/"
# The lock of the collection, in the bucket of the registry.
COLLECTION_LOCK = "wharf-collection-lock/"
LEASE_SECONDS = 120
MOST_TEXT = 4096


def path_of(digest: str) -> str:
    """Of a blob, below docker/registry/v2."""
    algorithm, encoded = split(digest)
    return f"blobs/{algorithm}/{encoded[:2]}/{encoded}/data"


class Place:
    """One of the two. It is told by name as `name`."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.access = S3Access({name: options.get(name, one.get("default")) for name, one in ACCESS_OPTIONS.items()})
        self.root = str(options.get("root_directory") or "").strip("/")
        self.bucket = Bucket(self.access, self.root)
        self.name = f"{self.bucket.name} at {self.access.endpoint}"

    @property
    def client(self) -> Any:
        """That of this thread."""
        return self.bucket.client

    def key(self, name: str) -> str:
        """Of an object beside docker/, where no registry looks."""
        return self.bucket.beside + name

    def lock(self, name: str, seconds: float, holder: str) -> BucketLock:
        return BucketLock(self.access.client, self.key(name), LEASE_SECONDS, seconds, holder=holder)

    def blobs(self) -> Iterator[Entry]:
        """Each blob. Its stamp differs once it was written anew with another content."""
        for entry in self.bucket.entries("blobs/"):
            # Without the time, which S3 tells in another way where it is asked for one object. It comes last.
            yield entry._replace(stamp=":".join(entry.stamp.split(":", 2)[:2]))

    def text(self, name: str) -> dict[str, Any] | None:
        """What an object beside docker/ says; None where there is none."""
        try:
            return json.loads(self.client.get(self.key(name), limit=MOST_TEXT))
        except S3Error as error:
            if error.code == "NoSuchKey":
                return None
            raise
        except ValueError:
            return {}

    def put_text(self, name: str, value: dict[str, Any]) -> None:
        self.client.put(self.key(name), json.dumps(value, sort_keys=True).encode())


class Buckets:
    """Both of them. Raises BackupError where the settings can't be read."""

    def __init__(self, config: Config) -> None:
        path = config.directory / ACCESS
        try:
            given = json.loads(path.read_text(encoding="utf-8"))
            self.source, self.copy = Place(given["source"]), Place(given["copy"])
        except RegistryError as error:
            raise BackupError(f"{path}: {error.message}", error.cure) from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            what = type(error).__name__
            raise BackupError(f"{path} can't be read ({what})", "Run the playbook backup for this host") from None
        self._whose = {"hostname": config.hostname, "registry": config.instance.registry}

    def close(self) -> None:
        self.source.bucket.close()
        self.copy.bucket.close()

    def claim(self, repository: str) -> None:
        """See that the copy is that of this registry and this repository of restic, or empty and so from now on."""
        owner = self.copy.text(OWNER)
        if owner is None:
            if not self.copy.bucket.is_empty():
                raise BackupError(
                    f"{self.copy.name} holds images, and no backup has made them",
                    "Give an empty bucket or another directory as backup_bucket",
                )
            mine = {**self._whose, "repository": repository, "id": secrets.token_hex(16)}
            self.copy.put_text(OWNER, mine)
            self._refuse_the_same(mine)
        else:
            self.check_owner(owner, repository)

    def _refuse_the_same(self, mine: dict[str, Any]) -> None:
        """One bucket may have two names."""
        try:
            seen = json.loads(self.source.client.get(self.copy.key(OWNER), limit=MOST_TEXT))
        except (S3Error, ValueError):
            return
        if seen == mine:
            self.copy.client.delete(self.copy.key(OWNER))
            raise BackupError(
                f"{self.copy.name} is the bucket of the registry itself", "Give another bucket as backup_bucket"
            )

    def check_owner(self, owner: dict[str, Any] | None, repository: str) -> None:
        if owner is None:
            raise BackupError(f"{self.copy.name} holds no copy of a registry", "Check backup_bucket")
        if {name: owner.get(name) for name in self._whose} != self._whose:
            raise BackupError(
                f"{self.copy.name} is the copy of another registry, {owner.get('registry')} of {owner.get('hostname')}",
                "Give another bucket, or another backup_bucket.root_directory",
            )
        if owner.get("repository") != repository:
            raise BackupError(
                f"{self.copy.name} belongs to the snapshots of another repository of restic",
                "Check backup_repository. Where the former one was given up, give another "
                f"backup_bucket.root_directory, or remove the object {self.copy.key(OWNER)} and all below "
                f"{self.copy.key('docker/')}",
            )

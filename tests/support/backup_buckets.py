"""A host whose registry has its images in a bucket: a storage in memory for them, another one for their copy, and a
repository of restic that keeps what is staged."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import memory_s3
from backup_host import FakeRestic, config
from memory_s3 import MemoryS3
from trees import BucketStore
from wharf_backup import backup, main, restore
from wharf_backup.common import BackupError, Config, Instance, read_json

if TYPE_CHECKING:
    import pytest
    from misbehaving import Misbehaving


class KeepingRestic(FakeRestic):
    """Snapshots are copies of directories, of which the last ones are kept."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.keep = 2
        self.names: list[str] = []
        path.mkdir()

    def backup(self, hostname: str, paths: list[str]) -> dict:
        name = f"{len(self.asked):08d}"
        told = super().backup(hostname, paths)
        (staged,) = paths
        shutil.copytree(staged, self.path / name)
        self.names.append(name)
        self.staged = staged
        return {**told, "snapshot_id": name}

    def snapshots(self, _hostname: str) -> list[dict]:
        self._note("snapshots")
        return [
            {"id": name, "short_id": name, "time": "2026-01-01T00:00:00", "paths": [self.staged]} for name in self.names
        ]

    def forget(self, _hostname: str) -> tuple[int, int]:
        self._note("forget")
        gone = self.names[: -self.keep]
        self.names = self.names[-self.keep :]
        return len(self.names), len(gone)

    def file_of(self, snapshot: str, path: Path) -> str:
        self._note("file_of")
        return (self.path / snapshot / path.name).read_text()

    def restore(self, snapshot: str, directory: int) -> None:
        self._note("restore")
        shutil.copytree(self.path / snapshot, f"/proc/self/fd/{directory}/files/{self.staged.lstrip('/')}")


class BucketHost:
    """The storages are `source` and `copy`; `store` writes to the first as a registry does."""

    def __init__(self, path: Path, servers: list[Misbehaving], monkeypatch: pytest.MonkeyPatch) -> None:
        self.path = path
        self.source, self.copy = (MemoryS3(server) for server in servers)
        for storage in (self.source, self.copy):
            storage.times = {}
        self.store = BucketStore(self.source)
        self.etc = path / "etc"
        self.etc.mkdir()
        (self.etc / "ca.key").write_text("key")
        (path / "state").mkdir()
        (path / "repository.id").write_text("id")
        self.access = {
            name: memory_s3.options(server, root_directory="")
            for name, server in zip(("source", "copy"), servers, strict=True)
        }
        self.write_access()
        self.written = config(path, "/r")
        self.config = self.configured()
        self.restic = KeepingRestic(path / "snapshots")
        for module in (backup, restore):
            monkeypatch.setattr(module, "Restic", self.restic)
        monkeypatch.setattr(restore, "_running", lambda _config: [])
        monkeypatch.setattr(main.Config, "read", lambda _path: self.config)

    def configured(self, **changes: object) -> Config:
        return dataclasses.replace(
            self.written,
            state=self.path / "state",
            settings=[self.etc],
            lock_seconds=1,
            check_percent=100,
            in_bucket=True,
            instance=Instance(
                lock=str(self.path / "backup.lock"), maintenance_lock=str(self.path / "maintenance.lock")
            ),
            **changes,
        )

    def write_access(self) -> None:
        (self.path / "images.json").write_text(json.dumps(self.access))

    def command(self, *arguments: str) -> int:
        """The status of the command."""
        return main.main([*arguments], "/config.json")

    def run(self) -> dict:
        return backup.run(self.config)

    @property
    def last(self) -> dict:
        return read_json(self.config.result)

    def lose(self) -> None:
        """The bucket is empty, and the host is bare."""
        self.source.objects.clear()
        shutil.rmtree(self.path / "state")
        shutil.rmtree(self.etc)
        (self.path / "state").mkdir()

    def restored(self, **options: object) -> restore.Restore:
        """A restore up to the switch."""
        one = restore.Restore(self.config)
        one.fetch("latest", **{"replace": False, "accept_damage": False, **options})
        one.swap()
        return one

    def images(self) -> dict[str, bytes]:
        """What a registry sees in its bucket: blobs and links."""
        return {key: body for key, (body, _etag) in self.source.objects.items() if key.startswith("docker/")}


def blobs(storage: MemoryS3) -> dict[str, bytes]:
    return {key: body for key, (body, _etag) in storage.objects.items() if "/blobs/" in key}


def damage(storage: MemoryS3, body: bytes, new: bytes = b"other") -> str:
    """Have the blob with this content another one, as an overwritten object has."""
    (key,) = (key for key, found in blobs(storage).items() if found == body)
    storage.write(key, new)
    return key


def refused(call: object) -> str:
    try:
        call()
    except BackupError as error:
        return str(error)
    raise AssertionError("nothing was refused")

"""A host with a registry to back up, and a repository of restic that says what a test wants."""

from __future__ import annotations

import dataclasses
import json

import trees
from wharf_backup import backup, restore, storage, verify
from wharf_backup.common import Config, Instance, read_json, write_json


class Store(trees.Store):
    def remove(self, digest):
        self.data(digest).unlink()

    def damage(self, digest):
        self.data(digest).write_bytes(b"other")

    def read(self, name):
        return storage.read(self.root, name)

    def problems(self, *, hashed=True):
        found = verify.survey(self.root, [self.read(name) for name in sorted(storage.names(self.root))])
        if hashed:
            verify.hash_all(self.root, found)
        return {(item["image"], item["problem"]) for item in found.problems()}


def config(tmp_path, repository):
    raw = {
        "hostname": "registry.example.com",
        "repository": repository,
        "state": "/state",
        "data": "/data",
        "settings": ["/etc/w/proxy", "/etc/w", "/srv/tls"],
        "port": 443,
        "addresses": [],
        "ca": "",
        "sockets": "/sockets",
        "keep": {"last": "3"},
        "check_days": "7",
        "check_percent": 5,
        "lock_seconds": 1,
        "compression": "auto",
        "s3_region": "",
    }
    (tmp_path / "config.json").write_text(json.dumps(raw))
    return Config.read(tmp_path / "config.json")


class FakeRestic:
    """A repository that says what a test wants, and notes what was asked of it."""

    guarded = True

    def __init__(self):
        self.asked = []
        self.fails = {}
        self.hook = lambda: None

    def __call__(self, _config):
        return self

    def __str__(self):
        return "/r"

    def _note(self, name):
        self.asked.append(name)
        if name in self.fails:
            raise self.fails[name]

    def identity(self):
        self._note("identity")
        return "id"

    def unlock(self):
        self._note("unlock")

    def snapshots(self, _hostname):
        self._note("snapshots")
        return [{"id": "abcd1234", "short_id": "abcd", "time": "2026-01-01T00:00:00", "paths": []}]

    def size_of(self, _snapshot):
        return 0

    def restore(self, _snapshot, _target):
        self._note("restore")

    def backup(self, _hostname, _paths):
        self._note("backup")
        self.hook()
        counts = ("files_new", "files_changed", "files_unmodified", "data_added", "total_bytes_processed")
        return {"snapshot_id": "0123456789", **dict.fromkeys(counts, 1)}

    def forget(self, _hostname):
        self._note("forget")
        return 3, 1

    def check(self):
        self._note("check")


class Host:
    """A host with a registry: its storage, its settings, and the containers that run."""

    def __init__(self, path, monkeypatch):
        self.store = Store(path / "data")
        self.etc = path / "etc"
        self.etc.mkdir()
        (self.etc / "ca.key").write_text("former")
        (path / "state").mkdir()
        self.config = dataclasses.replace(
            config(path, "/r"),
            state=path / "state",
            data=path / "data",
            settings=[self.etc],
            lock_seconds=10,
            instance=Instance(lock=str(path / "backup.lock"), maintenance_lock=str(path / "maintenance.lock")),
        )
        (path / "repository.id").write_text("id")
        self.restic, self.runs = FakeRestic(), []
        for module in (backup, restore):
            monkeypatch.setattr(module, "Restic", self.restic)
        monkeypatch.setattr(restore, "_running", lambda _config: list(self.runs))
        self.restore = restore.Restore(self.config)

    @property
    def phase(self):
        return read_json(self.config.journal).get("phase")

    @property
    def last(self):
        return read_json(self.config.result)

    def contents(self):
        return {
            str(path.relative_to(top.parent)): path.read_text()
            for top in (self.config.data, self.etc)
            for path in top.rglob("*")
            if path.is_file()
        }

    def fetch(self):
        """As if a snapshot had been brought: other images, another CA."""
        work = self.config.data / ".restore"
        Store(work).image("new/app", "new", "1")
        beside = self.etc.with_name("etc.restored")
        beside.mkdir()
        (beside / "ca.key").write_text("new")
        swaps = [[str(self.config.data / "docker"), str(work / "docker")], [str(self.etc), str(beside)]]
        write_json(self.config.journal, {"phase": "fetched", "swaps": swaps, "owner": ["root", "root"]})

    def leftovers(self):
        names = (".restore", "docker.replaced")
        beside = [self.etc.with_name("etc" + suffix) for suffix in (".restored", ".replaced")]
        return [path for path in [*(self.config.data / name for name in names), *beside] if path.exists()]

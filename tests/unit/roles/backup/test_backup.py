"""How a storage is read and copied, what a verification finds, and how a restore is undone wherever it was killed."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import sys
import threading
import time
import tracemalloc
from pathlib import Path

import pytest
import trees
from wharf_backup import backup, main, places, restic, restore, staging, storage, verify
from wharf_backup.common import BackupError, Config, Instance, lock, only_one, read_json, write_json

INDEX = "application/vnd.oci.image.index.v1+json"


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


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "SETTLE_SECONDS", 0)
    return Store(tmp_path / "live")


def test_names_have_parts_and_lie_in_each_other(store):
    store.image("team", "a", "1")
    store.image("team/web", "b", "1")
    store.image("deep/er/still", "c", "1")
    store.write("repositories/uploading/_uploads/x/data", "")
    assert sorted(storage.names(store.root)) == ["deep/er/still", "team", "team/web", "uploading"]


def test_what_a_manifest_needs():
    def needs(document):
        return [(item.kind, item.digest[:10]) for item in storage.references(json.dumps(document).encode())]

    a, b, c = (f"sha256:{letter * 64}" for letter in "abc")
    foreign = {"digest": c, "mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "urls": ["x"]}
    assert needs({"config": {"digest": a}, "layers": [{"digest": b}, foreign]}) == [
        ("configuration", a[:10]),
        ("layer", b[:10]),
    ]
    assert needs({"manifests": [{"digest": a}, {"digest": b}]}) == [("manifest", a[:10]), ("manifest", b[:10])]
    assert needs({"fsLayers": [{"blobSum": a}]}) == [("layer", a[:10])]
    # What a signature is of may be gone.
    assert needs({"subject": {"digest": a}}) == []


@pytest.mark.parametrize("content", ["", "[]", "{", '{"layers": {"a": 1}}', '{"layers": [1]}', '{"config": {}}'])
def test_what_is_no_manifest(content):
    with pytest.raises(ValueError, match=r"."):
        storage.references(content.encode())


def test_a_tag_that_moves_is_read_when_it_has_moved(store, monkeypatch):
    """What it pointed to was deleted between the two looks, and it points elsewhere now."""
    first, second = store.image("app", "a", "moving"), store.image("app", "b")
    revisions = store.root / "repositories/app/_manifests/revisions/sha256"
    looked = storage._tags

    def move(*arguments):
        found = looked(*arguments)
        shutil.rmtree(revisions / first[7:], ignore_errors=True)
        store.write("repositories/app/_manifests/tags/moving/current/link", second)
        return found

    monkeypatch.setattr(storage, "_tags", move)
    found = store.read("app")
    assert found.tags == {"moving": second}
    assert not found.broken


def test_a_tag_that_points_to_nothing_is_left_out(store):
    digest = store.image("app", "a", "bad")
    good = store.image("app", "b", "good")
    shutil.rmtree(store.root / "repositories/app/_manifests/revisions/sha256" / digest[7:])
    store.write("repositories/app/_manifests/tags/empty/current/link", "")
    found = store.read("app")
    assert found.tags == {"good": good}
    assert found.broken == {"bad", "empty"}
    assert not any("tags/bad" in path for path, _digest in found.links())


def test_a_tag_that_is_being_written_is_waited_for(store, monkeypatch):
    """It is empty for a moment. All of them are waited for at once."""
    store.image("app", "a", "settled")
    moved = store.image("app", "b", "moving")
    store.write("repositories/app/_manifests/tags/moving/current/link", "")
    waits = []

    def settle(_seconds):
        waits.append(None)
        if len(waits) == 20:
            store.write("repositories/app/_manifests/tags/moving/current/link", moved)

    monkeypatch.setattr(storage.time, "sleep", settle)
    assert store.read("app").tags["moving"] == moved
    assert storage.SETTLE_TRIES * 0.02 >= 2
    for name in ("a", "b", "c"):
        store.write(f"repositories/app/_manifests/tags/{name}/current/link", "")
    waits.clear()
    assert store.read("app").broken == {"a", "b", "c"}
    assert len(waits) == storage.SETTLE_TRIES


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


def test_a_whole_storage_has_no_problems(store):
    a, b = store.image("app", "a"), store.image("app", "b", "b")
    store.manifest("app", {"mediaType": INDEX, "manifests": [{"digest": a}, {"digest": b}]}, "all")
    # A collection leaves links of layers that it took.
    store.remove(store.layer("app", b"collected")["digest"])
    assert store.problems() == set()


def test_problems_are_told_by_the_tags_that_have_them(store):
    a, b = store.image("app", "a", "a"), store.image("app", "b")
    store.manifest("app", {"mediaType": INDEX, "manifests": [{"digest": a}, {"digest": b}]}, "all")
    lonely = store.image("app", "c")
    store.image("other", "a", "same")
    shared = storage.references(storage.manifest(store.root, a))[1].digest
    store.damage(shared)
    # Only a hash tells that.
    assert store.problems(hashed=False) == set()
    store.remove(b)
    store.damage(lonely)
    assert store.problems() == {
        ("app:a", "layer damaged"),
        ("app:all", "layer damaged"),
        ("app:all", "manifest missing"),
        (f"app@{lonely}", "manifest damaged"),
        ("other:same", "layer damaged"),
    }


def test_a_link_that_is_missing_is_a_problem(store):
    a = store.image("app", "a", "a")
    layer = storage.references(storage.manifest(store.root, a))[1].digest
    shutil.rmtree(store.root / f"repositories/app/_layers/sha256/{layer[7:]}")
    assert store.problems() == {("app:a", "link of layer missing")}


def test_the_table_ends():
    rows = [
        {"image": f"app:{number}", "problem": "layer missing", "digest": "sha256:" + "0" * 64} for number in range(99)
    ]
    lines = verify.table(rows)
    assert lines[0].split() == ["IMAGE", "PROBLEM", "DIGEST"]
    assert len(lines) == verify.MOST_ROWS + 2
    assert lines[-1] == "and 59 more"


@pytest.mark.parametrize("steps", range(6))
@pytest.mark.parametrize("there", [True, False])
def test_a_swap_is_undone_wherever_it_was_killed(tmp_path, monkeypatch, steps, there):
    swaps = [restore.Swap(tmp_path / name, tmp_path / f"{name}.new") for name in ("a", "b")]
    for swap in swaps:
        swap.new.write_text("new")
        if there:
            swap.live.write_text("former")
    before = {path.name: path.read_text() for path in tmp_path.iterdir()}
    rename, left = Path.rename, [steps]

    def killed(path, target):
        if left[0] == 0:
            raise KeyboardInterrupt
        left[0] -= 1
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", killed)
    try:
        for swap in swaps:
            swap.do()
    except KeyboardInterrupt:
        assert steps < 4
    monkeypatch.undo()
    for _twice in range(2):
        for swap in reversed(swaps):
            swap.undo()
        assert {path.name: path.read_text() for path in tmp_path.iterdir()} == before


def test_a_lock_that_others_have(tmp_path):
    wrong = BackupError("It is held", "Wait")
    with lock(tmp_path / "lock", exclusive=False, seconds=0, otherwise=wrong):
        with lock(tmp_path / "lock", exclusive=False, seconds=0, otherwise=wrong):
            pass
        with (
            pytest.raises(BackupError, match="It is held"),
            lock(tmp_path / "lock", exclusive=True, seconds=0, otherwise=wrong),
        ):
            pass


def test_nobody_else_can_hold_a_lock(tmp_path):
    """Not even one that flock(1) has made."""
    (tmp_path / "lock").touch(0o644)
    with lock(tmp_path / "lock", exclusive=True, seconds=0, otherwise=BackupError("It is held", "Wait")):
        assert (tmp_path / "lock").stat().st_mode & 0o777 == 0o600


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


def test_no_directory_is_saved_twice(tmp_path):
    assert config(tmp_path, "/r").settings == [Path("/etc/w"), Path("/srv/tls")]


def test_numbers_are_numbers_however_ansible_wrote_them(tmp_path):
    found = config(tmp_path, "/r")
    assert (found.keep, found.check_days) == ({"last": 3}, 7)


def test_a_configuration_of_another_version_is_told(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(BackupError, match="Run the playbook backup for this host"):
        Config.read(tmp_path / "config.json")


@pytest.mark.parametrize(
    ("repository", "host", "port"),
    [
        ("sftp:u@host:/srv/x", "u@host", None),
        ("sftp:host:x", "host", None),
        ("sftp://u@host//srv/x", "u@host", None),
        ("sftp://u@host:2222//srv/x", "u@host", "2222"),
    ],
)
def test_ssh_asks_nobody_and_knows_its_host(tmp_path, repository, host, port):
    (_option, command) = restic.sftp_command(config(tmp_path, repository))
    words = command.partition("=")[2].split()
    assert words[-3:] == [host, "-s", "sftp"]
    assert {"BatchMode=yes", "StrictHostKeyChecking=yes", f"UserKnownHostsFile={tmp_path}/known_hosts"} <= set(words)
    assert (words[words.index("-p") + 1] if "-p" in words else None) == port


# What restic 0.14 and 0.18 say.
@pytest.mark.parametrize(
    ("said", "what"),
    [
        ("Fatal: wrong password or no key found", "the password does not open it"),
        ("Save(<data/1>) returned error: write: no space left on device", "a disk is full"),
        (
            "subprocess ssh: Host key verification failed.\nFatal: unable to open repository",
            "not the one that is known",
        ),
        ("subprocess ssh: vault@spare: Permission denied (publickey).", "refuses the key"),
        ("Fatal: unable to open config file: Stat: Access Denied.", "refuses the credentials"),
        ("dial tcp 192.0.2.1:443: connect: connection refused", "can't be reached"),
        ("mkdir /mnt/r/data: permission denied", "can't be written to"),
        (
            "Get https://s3/x: tls: failed to verify certificate: x509: certificate signed by unknown authority",
            "trusted",
        ),
        ("stat /srv/certificates/config: something new", "restic failed"),
    ],
)
def test_failures_have_a_cure(said, what):
    found, cure = restic.meaning(said)
    assert what in found
    assert cure


def test_the_last_words_are_for_a_reader():
    said = 'Save(x) failed\n{"message_type":"exit_error","code":1,"message":"Fatal: unable to save snapshot"}\n'
    assert restic.last_words(said) == "Fatal: unable to save snapshot"
    assert restic.last_words("one\n\ntwo\n") == "one two"


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


@pytest.fixture
def host(tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "SETTLE_SECONDS", 0)
    return Host(tmp_path, monkeypatch)


def test_a_restore_that_was_interrupted_is_not_undone_unasked(host):
    """The registry serves from what was put in place, and clients have pushed to it since."""
    host.store.image("app", "a", "1")
    former = host.contents()
    host.fetch()
    host.restore.swap()
    host.runs = ["wharf-registry-1"]
    host.store.image("new/app", "since", "2")
    pushed = host.contents()

    for step in (host.restore.check, lambda *a, **k: host.restore.fetch(*a, accept_damage=False, **k)):
        with pytest.raises(BackupError, match="in place and not yet proven") as refused:
            step("latest", replace=False)
        for cure in ("restore-prove && wharf-registry-backup restore-finish", "restore-undo", "restore_replace=true"):
            assert cure in refused.value.cure
        assert refused.value.details["phase"] == "swapped"
    # Nor where the snapshot is not to be had, nor while the registry runs.
    host.restic.fails["identity"] = BackupError("It is away")
    with pytest.raises(BackupError, match="It is away"):
        host.restore.fetch("latest", replace=True, accept_damage=False)
    host.restic.fails.clear()
    with pytest.raises(BackupError, match="no snapshot 99"):
        host.restore.fetch("99", replace=True, accept_damage=False)
    with pytest.raises(BackupError, match="docker stop wharf-registry-1"):
        host.restore.fetch("latest", replace=True, accept_damage=False)
    with pytest.raises(BackupError, match="docker stop wharf-registry-1"):
        host.restore.undo()
    assert host.contents() == pushed
    assert host.phase == "swapped"
    assert host.restore.check("latest", replace=True)["phase"] == "swapped"

    host.runs = []
    host.restic.fails["restore"] = BackupError("Far enough")
    with pytest.raises(BackupError, match="Far enough"):
        host.restore.fetch("latest", replace=True, accept_damage=False)
    assert host.contents() == former
    assert not host.leftovers() and not host.phase


@pytest.mark.parametrize("removed", [True, False])
def test_what_was_never_put_in_place_is_only_removed(host, removed):
    host.store.image("app", "a", "1")
    former = host.contents()
    host.fetch()
    if removed:
        shutil.rmtree(host.config.data / ".restore")
        shutil.rmtree(host.etc.with_name("etc.restored"))
    for _twice in range(2):
        host.restore.undo()
        assert host.contents() == former
    host.restore.finish()
    assert not host.leftovers() and not host.phase


def test_what_was_brought_from_is_gone(host):
    """An administrator has removed it by hand, when the new was in place already."""
    host.store.image("app", "a", "1")
    former = host.contents()
    host.fetch()
    host.restore.swap()
    shutil.rmtree(host.config.data / ".restore")
    host.restore.undo()
    assert host.contents() == former


def test_what_was_brought_is_gone_before_it_was_put_in_place(host, monkeypatch):
    host.store.image("app", "a", "1")
    former = host.contents()
    host.fetch()
    with monkeypatch.context() as killing, pytest.raises(Killed):
        # The journal is written, and nothing moved.
        kill_at(killing, 1)
        host.restore.swap()
    assert host.phase == "swapped"
    shutil.rmtree(host.config.data / ".restore")
    host.restore.undo()
    assert host.contents() == former


class Killed(BaseException):
    pass


def kill_at(monkeypatch, step):
    """Whatever changes the disk is counted, and the one at that step is not done any more."""
    left = [step]

    def counted(changes):
        def change(*arguments, **more):
            if left[0] == 0:
                raise Killed
            left[0] -= 1
            return changes(*arguments, **more)

        return change

    monkeypatch.setattr(Path, "rename", counted(Path.rename))
    monkeypatch.setattr(Path, "unlink", counted(Path.unlink))
    for module in (places, restore):
        monkeypatch.setattr(module, "remove_tree", counted(module.remove_tree))
    monkeypatch.setattr(restore, "write_json", counted(write_json))


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("killed_swap", [True, False])
def test_an_undo_is_killed_anywhere(host, monkeypatch, there, killed_swap):
    if there:
        host.store.image("app", "a", "1")
    else:
        shutil.rmtree(host.etc)
        shutil.rmtree(host.config.data / "docker")
    former = host.contents()
    for step in range(20):
        host.fetch()
        if killed_swap:
            with monkeypatch.context() as killing, pytest.raises(Killed):
                kill_at(killing, 2)
                host.restore.swap()
        else:
            host.restore.swap()
        ended = False
        with monkeypatch.context() as killing:
            kill_at(killing, step)
            try:
                host.restore.undo()
                host.restore.finish()
                ended = True
            except Killed:
                pass
        if host.phase:
            host.restore.undo()
            host.restore.finish()
        assert host.contents() == former, step
        assert not host.leftovers(), step
        if ended:
            break
    assert ended and step > 4


def test_an_end_is_killed_anywhere(host, monkeypatch):
    for step in range(20):
        host.fetch()
        host.restore.swap()
        host.restore._enter("proven")
        ended = False
        with monkeypatch.context() as killing:
            kill_at(killing, step)
            try:
                host.restore.finish()
                ended = True
            except Killed:
                pass
        if host.phase:
            with pytest.raises(BackupError, match="No restore is at this step"):
                host.restore.undo()
            host.restore.finish()
        assert (host.etc / "ca.key").read_text() == "new", step
        assert not host.leftovers(), step
        if ended:
            break
    assert ended and step > 2


def test_a_restore_waits_for_a_backup(host):
    host.fetch()
    held = threading.Event()

    def hold():
        with only_one(host.config):
            held.set()
            time.sleep(0.7)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()
    for step in (host.restore.swap, host.restore.undo, host.restore.finish):
        step()
    holder.join()
    assert not host.phase


@pytest.mark.parametrize(
    ("phase", "state", "cure"),
    [
        ("fetched", "before it replaced anything", "restore-undo"),
        ("swapped", "not yet proven", "restore-prove"),
        ("undone", "is not closed", "wharf-registry-1"),
        ("proven", "not yet removed", "restore-finish"),
    ],
)
def test_no_backup_is_made_of_what_is_not_proven(host, phase, state, cure):
    write_json(host.config.journal, {"phase": phase, "running": ["wharf-registry-1"]})
    with pytest.raises(BackupError, match=state) as refused:
        backup.run(host.config)
    assert cure in refused.value.cure
    assert host.restic.asked == []
    assert (host.last["outcome"], host.last["phase"]) == ("failed", phase)


def test_what_ran_is_remembered(host):
    """From before the first container is stopped, until it is started again."""
    host.fetch()
    host.runs = ["wharf-proxy", "wharf-registry-1"]
    assert host.restore.remember() == {"running": host.runs}
    # Killed when one of them was stopped.
    host.runs = ["wharf-registry-1"]
    assert host.restore.remember() == {"running": ["wharf-registry-1"]}
    host.runs = []
    host.restore.swap()
    # Those of the new registry are stopped for an undo, and not started after it.
    host.runs = ["wharf-registry-2"]
    assert host.restore.remember() == {"running": ["wharf-registry-2"]}
    host.runs = []
    for _killed_before_they_ran in range(2):
        assert host.restore.undo() == {"running": ["wharf-proxy", "wharf-registry-1"]}
    # Another run that fails does not forget them either.
    host.restic.fails["restore"] = BackupError("Far enough")
    with pytest.raises(BackupError, match="Far enough"):
        host.restore.fetch("latest", replace=True, accept_damage=False)
    assert host.phase == "undone"
    assert host.restore.undo() == {"running": ["wharf-proxy", "wharf-registry-1"]}
    host.restore.finish()
    assert not host.phase


def test_a_key_does_not_stay_where_a_restore_failed(host):
    host.fetch()
    host.config.journal.unlink()
    host.restic.fails["restore"] = BackupError("Far enough")
    with pytest.raises(BackupError, match="Far enough"):
        host.restore.fetch("latest", replace=True, accept_damage=False)
    assert not host.leftovers()


def test_what_is_in_the_way_is_told_before_it_is_fetched(host):
    host.etc.with_name("etc.replaced").mkdir()
    with pytest.raises(BackupError, match=r"etc.replaced is there"):
        host.restore.fetch("latest", replace=True, accept_damage=False)
    assert "restore" not in host.restic.asked


def test_a_damaged_backup_makes_no_room_for_itself(host):
    host.store.image("app", "a", "whole")
    host.store.image("app", "b", "hurt")
    assert backup.run(host.config)["outcome"] == "ok"
    host.restic.asked.clear()
    layer = storage.references(storage.manifest(host.store.root, host.store.read("app").tags["hurt"]))[1].digest
    host.store.remove(layer)
    with pytest.raises(BackupError, match="Snapshot 01234567 was made, but the registry lacks") as told:
        backup.run(host.config)
    assert "app:hurt (layer missing sha256:" in told.value.message
    assert "Push these images again" in told.value.cure
    assert "backup" in host.restic.asked and "forget" not in host.restic.asked
    status = backup.status(host.config)
    assert status["outcome"] == "damaged" and len(status["problems"]) == 1
    assert backup.lines(status)[0].startswith("Damaged     Snapshot 01234567")
    # Neither a failure in between nor the same damage again is news.
    host.restic.fails["identity"] = BackupError("It is away")
    with pytest.raises(BackupError, match="It is away"):
        backup.run(host.config)
    host.restic.fails.clear()
    assert backup.run(host.config)["outcome"] == "ok"
    assert "forget" in host.restic.asked


@pytest.mark.parametrize("mount_point", [True, False])
def test_blobs_that_are_away_are_no_damage_that_is_known(host, mount_point):
    host.store.image("app", "a", "1")
    blobs, away = host.store.root / "blobs", host.store.root / "away"
    blobs.rename(away)
    if mount_point:
        blobs.mkdir()
    for _night in range(3):
        with pytest.raises(BackupError, match=r"blobs holds nothing") as told:
            backup.run(host.config)
        assert "Mount its file system" in told.value.cure
        assert host.last["outcome"] == "damaged"
    assert "forget" not in host.restic.asked
    if mount_point:
        blobs.rmdir()
    away.rename(blobs)
    assert backup.run(host.config)["outcome"] == "ok"


def test_a_backup_that_runs_or_was_killed_is_not_taken_for_the_one_before(host):
    host.store.image("app", "a", "1")
    seen = []
    host.restic.hook = lambda: seen.append(backup.status(host.config))
    backup.run(host.config)
    assert seen[0]["outcome"] == "running"
    assert backup.lines(seen[0])[0].startswith("Running     since ")
    host.restic.hook = lambda: host.config.result.replace(host.config.state / "left")
    backup.run(host.config)
    # As a kill leaves it.
    (host.config.state / "left").replace(host.config.result)
    killed = backup.status(host.config)
    assert killed["outcome"] == "killed" and "was killed" in killed["message"] and killed["succeeded"]
    assert backup.lines(killed)[0].startswith("Killed      The backup that began at ")


def test_a_backup_is_told_to_stop(host, monkeypatch):
    """It leaves no copy of a key, and no result that was good."""
    host.store.image("app", "a", "1")
    key = host.config.staging / "settings" / host.etc.relative_to("/") / "ca.key"
    monkeypatch.setattr(main.Config, "read", lambda _path: host.config)
    handler = signal.getsignal(signal.SIGTERM)
    host.restic.hook = lambda: (key.read_text(), os.kill(os.getpid(), signal.SIGTERM))
    try:
        with pytest.raises(SystemExit) as stopped:
            main.main(["run"], "/config.json")
    finally:
        signal.signal(signal.SIGTERM, handler)
    assert stopped.value.code == 143
    assert (host.last["outcome"], host.last["message"]) == ("failed", "The backup was told to stop")
    assert not key.exists()
    # Nor does one of those that can't be told.
    key.parent.mkdir(parents=True)
    key.write_text("left")
    host.restic.fails["identity"] = BackupError("It is away")
    with pytest.raises(BackupError, match="It is away"):
        backup.run(host.config)
    assert not key.exists()


@pytest.fixture
def program(tmp_path, monkeypatch):
    """A restic that does what a test writes."""

    def write(script):
        (tmp_path / "bin").mkdir(exist_ok=True)
        (tmp_path / "bin/restic").write_text(f"#!{sys.executable}\n{script}")
        (tmp_path / "bin/restic").chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
        return restic.Restic(config(tmp_path, "/r"))

    return write


STATUS = '{"message_type":"status","current_files":["' + "x" * 900 + '"]}'


def test_what_restic_says_for_hours_is_not_kept(program):
    made = program(
        f"import os, sys\nfor _turn in range(20000):\n    print({STATUS!r})\n    print('a note', file=sys.stderr)\n"
        'print(\'{"message_type":"summary","snapshot_id":"abcd","fps":"\' + os.environ["RESTIC_PROGRESS_FPS"] + \'"}\')'
    )
    tracemalloc.start()
    try:
        summary = made.backup("registry.example.com", ["/x"])
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (summary["snapshot_id"], summary["fps"]) == ("abcd", "0.01")
    # Of the 18 MB that were said.
    assert most < 2_000_000


def test_why_restic_failed_is_kept(program):
    made = program(
        f"import sys\nfor _turn in range(500):\n    print({STATUS!r})\n    print('a note', file=sys.stderr)\n"
        "print('Fatal: write: no space left on device', file=sys.stderr)\nsys.exit(1)"
    )
    with pytest.raises(BackupError, match="a disk is full") as failed:
        made.backup("registry.example.com", ["/x"])
    assert failed.value.details["said"] == "Fatal: write: no space left on device"


def test_restic_ends_with_who_started_it(program, tmp_path, monkeypatch):
    made = program(
        "import signal, sys, time\n"
        f"signal.signal(signal.SIGTERM, lambda *_: (open({str(tmp_path / 'ended')!r}, 'w').close(), sys.exit(1)))\n"
        "print('{}', flush=True)\ntime.sleep(60)"
    )

    def stop(_line):
        raise SystemExit(143)

    monkeypatch.setattr(restic, "_message", stop)
    with pytest.raises(SystemExit):
        made.backup("registry.example.com", ["/x"])
    assert (tmp_path / "ended").exists()


def test_small_files_take_room_too(program):
    made = program("""print('{"total_size": 1000, "total_file_count": 3}')""")
    assert made.size_of("abcd") == 1000 + 3 * 8192


def test_a_snapshot_comes_to_where_it_was_meant_to(program, tmp_path):
    """The account of the registry owns the directory around it, and puts another one there when restic begins."""
    elsewhere, data = tmp_path / "elsewhere", tmp_path / "storage"
    elsewhere.mkdir()
    data.mkdir()
    made = program(
        "import os, pathlib, sys\n"
        f"os.rename({str(data / '.restore')!r}, {str(data / 'aside')!r})\n"
        f"os.symlink({str(elsewhere)!r}, {str(data / '.restore')!r})\n"
        "target = pathlib.Path(sys.argv[sys.argv.index('--target') + 1])\n"
        "target.mkdir()\n(target / 'file').write_text('brought')\n"
    )
    with places.private_directory(data, restore.WORK) as work:
        made.restore("abcd", work.descriptor)
        assert (restic.by_descriptor(work.descriptor) / "files/file").read_text() == "brought"
    assert (data / "aside/files/file").exists()
    assert not list(elsewhere.iterdir())


@pytest.mark.parametrize("planted", ["nothing", "link", "empty directory"])
def test_the_former_registry_is_not_taken_for_what_was_brought(host, tmp_path, planted):
    """The account of the registry has moved it away before it was put in place."""
    host.store.image("app", "a", "1")
    former = host.contents()
    host.fetch()
    work = host.config.data / ".restore"
    work.rename(tmp_path / "moved")
    if planted == "link":
        (tmp_path / "moved").chmod(0o700)
        work.symlink_to(tmp_path / "moved")
    elif planted != "nothing":
        work.mkdir(mode=0o700)
    with pytest.raises(BackupError, match=r"is gone|is not what a restore makes"):
        host.restore.swap()
    assert host.phase == "fetched"
    assert (tmp_path / "moved/docker").is_dir()
    work.unlink() if planted == "link" else None
    host.restore.undo()
    host.restore.finish()
    assert host.contents() == former

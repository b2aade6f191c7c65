"""How a storage is read and copied, what a verification finds, and how a restore is undone wherever it was killed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "roles" / "backup" / "files"))

from wharf_backup import restic, restore, staging, storage, verify
from wharf_backup.common import BackupError, Config, lock

INDEX = "application/vnd.oci.image.index.v1+json"


class Store:
    """A storage as a registry writes it."""

    def __init__(self, path):
        self.root = path / storage.ROOT
        (self.root / "repositories").mkdir(parents=True)

    def write(self, path, content):
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content if isinstance(content, bytes) else content.encode())

    def blob(self, content):
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        self.write(storage.blob_path(Path(), digest), content)
        return digest

    def layer(self, repository, content):
        digest = self.blob(content)
        self.write(f"repositories/{repository}/_layers/sha256/{digest[7:]}/link", digest)
        return {"digest": digest}

    def manifest(self, repository, document, tag=None):
        digest = self.blob(json.dumps(document).encode())
        base = f"repositories/{repository}/_manifests"
        self.write(f"{base}/revisions/sha256/{digest[7:]}/link", digest)
        if tag:
            self.write(f"{base}/tags/{tag}/index/sha256/{digest[7:]}/link", digest)
            self.write(f"{base}/tags/{tag}/current/link", digest)
        return digest

    def image(self, repository, name, tag=None):
        layers = [self.layer(repository, f"layer of {name}".encode())]
        config = self.layer(repository, f"configuration of {name}".encode())
        return self.manifest(repository, {"config": config, "layers": layers}, tag)

    def remove(self, digest):
        storage.blob_path(self.root, digest).unlink()

    def damage(self, digest):
        storage.blob_path(self.root, digest).write_bytes(b"other")

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
    looked = storage._current

    def move(link):
        found = looked(link)
        shutil.rmtree(revisions / first[7:], ignore_errors=True)
        store.write("repositories/app/_manifests/tags/moving/current/link", second)
        return found

    monkeypatch.setattr(storage, "_current", move)
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

"""What the collector, the backup and the restore do with the same storages, sound ones and those that are an attack."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
import trees
from hypothesis import given, settings, strategies
from trees import ODD, SOUND, Scene, hashed, look
from wharf_backup import common, places, restore, staging, storage, verify
from wharf_storage import manifests, names
from wharf_storage.files import Directory, remove_tree

from examples import examples

# Whatever is planted must not be waited for.
SECONDS = 60


@pytest.fixture
def scene(tmp_path):
    yield Scene.at(tmp_path)
    # Some of it is deeper than what pytest can remove.
    remove_tree(tmp_path / "data")


@pytest.fixture(autouse=True)
def hurry(monkeypatch):
    """A test that hangs ends."""

    def late(_signal, _frame):
        raise TimeoutError

    monkeypatch.setattr(storage, "SETTLE_SECONDS", 0)
    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


class Collection:
    """A run of the collector as its unit starts it; the registry is asked for nothing. meanwhile is run when the proxy
    is asked whether something writes: twice after the first look and before something is removed."""

    def __init__(self, scene, meanwhile=("true",)):
        with tempfile.TemporaryDirectory() as directory:
            given_settings = {
                "storage": str(scene.store.top),
                "hold_socket": f"{directory}/hold.sock",
                "lock": f"{directory}/lock",
                "report": f"{directory}/report.json",
                "grace_seconds": 0,
                "attempts": 1,
                "pause_seconds": 0,
                "drain_seconds": 1,
                "quiet_command": list(meanwhile),
            }
            Path(directory, "settings.json").write_text(json.dumps(given_settings))
            done = subprocess.run(
                [sys.executable, "-B", str(trees.COLLECTOR), "collect", f"{directory}/settings.json"],
                capture_output=True,
                text=True,
                timeout=SECONDS,
                check=False,
            )
            self.status, self.output = done.returncode, done.stdout + done.stderr
            report = Path(directory, "report.json")
            self.report = json.loads(report.read_text()) if report.exists() else {}


def has(scene, repository, image):
    """(whether the manifest is linked, whether its blob is there)."""
    digest = scene.images[image]
    return (
        scene.store.link_of(repository, digest, "_manifests/revisions").is_file(),
        scene.store.data(digest).is_file(),
    )


def problems(scene, *, hashed=True):
    found = verify.survey(scene.store.root, storage.read_all(scene.store.root))
    if hashed:
        verify.hash_all(scene.store.root, found)
    return {(item["image"], item["problem"]) for item in found.problems()}


@pytest.mark.parametrize("name", SOUND)
def test_what_the_registry_makes_is_kept(scene, name):
    """Also what has one digest in the path of its link, and another one in it."""
    SOUND[name](scene)
    before = {path for path in scene.store.root.rglob("link") if "more" in str(path) or "odd" in str(path)}
    blobs = {hashed(b"layer of more"), hashed(b"configuration of more")}
    ran = Collection(scene)
    assert ran.status == 0, ran.output
    assert ran.report["problems"] == [] and ran.report["warnings"] == []
    assert before == {path for path in scene.store.root.rglob("link") if "more" in str(path) or "odd" in str(path)}
    assert all(scene.store.data(digest).is_file() for digest in blobs) or not name.startswith("sha512-in")
    assert has(scene, "app", "app") == has(scene, "other", "other") == (False, False)
    assert problems(scene) == set()


@pytest.mark.parametrize("name", ODD)
def test_a_collection_of_what_is_odd(scene, name):
    """It costs at most what it concerns; nothing elsewhere is touched, and the other repository is collected."""
    odd = ODD[name]
    odd.make(scene)
    before = look(scene.outside)
    ran = Collection(scene)
    assert look(scene.outside) == before
    assert "Traceback" not in ran.output, ran.output
    assert ran.status == (1 if odd.keeps or odd.hides else 0), ran.output
    # Of the repository that it concerns nothing goes, or all that no tag leads to.
    if "swapped-revisions" not in name and "swapped-manifests" not in name and name != "fifo-revision":
        assert has(scene, "app", "app") == (odd.keeps, odd.keeps or odd.hides), ran.output
    assert has(scene, "other", "other1") == (True, True)
    assert has(scene, "other", "other") == (False, odd.hides), ran.output
    told = ran.report["problems"] + ran.report["warnings"]
    assert all(line.isprintable() for line in told)
    assert bool(ran.report["problems"]) == (odd.keeps or odd.hides)


@pytest.mark.parametrize("name", ODD)
def test_a_backup_and_a_restore_of_what_is_odd(scene, tmp_path, name):
    odd = ODD[name]
    odd.make(scene)
    before = look(scene.outside)
    told = problems(scene)
    assert not {image for image, _problem in told if image.startswith("other")}
    if odd.damage is not None:
        assert told == odd.damage
    # What is staged is the registry's alone.
    staged = tmp_path / "staged"
    staging.stage_links(scene.store.root, staged)
    assert {path.name for path in staged.rglob("*") if path.is_file()} == {"link"}
    assert not [path for path in staged.rglob("*") if path.is_symlink()]
    # As if it had been brought from a snapshot of a storage that was like this.
    remove_tree(scene.store.root / "repositories")
    (staged / "repositories").rename(scene.store.root / "repositories")
    restore._prove_files(scene.store.root, accept_damage=True)
    with Directory.at(scene.store.top) as top, top.enter("docker") as docker:
        docker.give(12345, 12345, 0o770, 0o660)
    assert look(scene.outside) == before
    kinds = {trees.os.lstat(path).st_mode for path in (scene.store.top / "docker").rglob("*")}
    assert kinds == {0o040770, 0o100660}
    assert "manifest missing" not in {problem for image, problem in problems(scene) if image == "other:1"}


SWAPS = {
    "links": ("docker/registry/v2/repositories/app/_layers/sha256", ""),
    "repository": ("docker/registry/v2/repositories/app", "docker/registry/v2/repositories/app"),
    "revisions": ("docker/registry/v2/repositories/app/_manifests/revisions", "revisions"),
    "repositories": ("docker/registry/v2/repositories", "docker/registry/v2/repositories"),
    "blobs": ("docker/registry/v2/blobs", "docker/registry/v2/blobs"),
    "algorithm": ("docker/registry/v2/blobs/sha256", "docker/registry/v2/blobs/sha256"),
    "version": ("docker/registry/v2", "docker/registry/v2"),
    "all": ("docker", "docker"),
}


@pytest.mark.parametrize("name", [*SWAPS, "one-link", "one-prefix", "tag", "trash"])
def test_a_directory_that_is_swapped_after_the_look(scene, name):
    """Each time that the proxy is asked: after the first look, and after the second one, when all is about to go."""
    digest = scene.images["app"]
    special = {
        "one-link": (f"docker/registry/v2/repositories/app/_manifests/revisions/sha256/{digest[7:]}", digest[7:]),
        "one-prefix": (f"docker/registry/v2/blobs/sha256/{digest[7:9]}", digest[7:9]),
        "tag": ("docker/registry/v2/repositories/app/_manifests/tags/1", "1"),
        "trash": (".collected", digest),
    }
    path, below = {**SWAPS, **special}[name]
    place, target = scene.store.top / path, scene.outside / below
    assert target.is_dir()
    before = look(scene.outside)
    count = scene.outside.with_name("count")
    # Not at the first time, so that the second look sees the storage as it was.
    swap = (
        f"echo >>{count}; [ $(wc -l <{count}) -ge 3 ] || exit 0; "
        f"[ -L {place} ] || {{ [ ! -e {place} ] || mv {place} {place}.away; ln -s {target} {place}; }}"
    )
    ran = Collection(scene, ["sh", "-c", swap])
    assert place.is_symlink() or name == "trash", ran.output
    assert look(scene.outside) == before
    assert "Traceback" not in ran.output


@pytest.mark.parametrize("name", ["links", "repository", "blobs", "algorithm", "one-prefix", "trash"])
def test_a_race_for_directories(scene, name):
    """Another thread swaps them all the time."""
    digest = scene.images["app"]
    path, below = {
        **SWAPS,
        "one-prefix": (f"docker/registry/v2/blobs/sha256/{digest[7:9]}", digest[7:9]),
        "trash": (".collected", digest),
    }[name]
    place, target = scene.store.top / path, scene.outside / below
    away = place.with_name("away")
    before = look(scene.outside)
    over = threading.Event()

    def swap():
        while not over.is_set():
            with contextlib.suppress(OSError):
                place.rename(away)
            with contextlib.suppress(OSError):
                place.symlink_to(target)
            time.sleep(0.0005)
            with contextlib.suppress(OSError):
                place.unlink()
            with contextlib.suppress(OSError):
                away.rename(place)
            time.sleep(0.0005)

    attacker = threading.Thread(target=swap)
    attacker.start()
    end = time.monotonic() + 3
    turns = 0
    try:
        while time.monotonic() < end or turns < 2:
            turns += 1
            with contextlib.suppress(OSError):
                scene.store.image("app", "app")
            Collection(scene)
            with contextlib.suppress(OSError):
                problems(scene)
    finally:
        over.set()
        attacker.join()
    # What the attacker links itself does no harm: no file of the canary is gone or changed.
    changed = {path for path, about in look(scene.outside).items() if before.get(path, about)[:1] != about[:1]}
    assert not changed and before.keys() <= look(scene.outside).keys()


def test_one_name_of_many_repositories_is_told_and_the_rest_counted(scene):
    for number in range(50):
        (scene.store.root / f"repositories/No{number}").mkdir()
    ran = Collection(scene)
    assert ran.status == 0
    assert len(ran.report["warnings"]) == 21
    assert ran.report["warnings"][-1] == "and 30 more of that kind"


@pytest.mark.parametrize("hard", [True, False])
def test_no_mode_of_a_file_elsewhere_is_changed(scene, hard):
    """By a symbolic link, or as another name of it, which a kernel may let an account make."""
    program = scene.outside / "program"
    name = scene.store.root / f"blobs/sha256/aa/{trees.A}/data"
    name.parent.mkdir(parents=True)
    os.link(program, name) if hard else name.symlink_to(program)
    with Directory.at(scene.store.top) as top:
        top.give(12345, 12345, 0o770, 0o660)
    about = program.stat()
    assert (about.st_mode, about.st_uid, about.st_gid) == (0o104755, os.geteuid(), os.getegid())
    assert not os.path.lexists(name)


@pytest.mark.parametrize("planted", ["link", "directory of another account", "directory that others can write to"])
def test_what_was_brought_is_not_looked_for_elsewhere(scene, tmp_path, planted):
    """The account owns the directory in which a restore works."""
    place = scene.store.top / restore.WORK
    if planted == "link":
        place.symlink_to(scene.outside)
    else:
        (place / "docker").mkdir(parents=True)
        os.chown(place, *((12345, 12345) if "account" in planted else (-1, -1)))
        place.chmod(0o777 if "others" in planted else 0o700)
    before = look(scene.outside)
    with (
        pytest.raises(common.BackupError, match="is not what a restore makes"),
        places.private_directory(scene.store.top, restore.WORK),
    ):
        pass
    assert look(scene.outside) == before


JSON = strategies.recursive(
    strategies.none() | strategies.booleans() | strategies.integers() | strategies.text(max_size=9),
    lambda inner: (
        strategies.lists(inner, max_size=3)
        | strategies.dictionaries(
            strategies.sampled_from(
                [
                    "manifests",
                    "layers",
                    "config",
                    "subject",
                    "digest",
                    "blobSum",
                    "fsLayers",
                    "urls",
                    "Layers",
                    "mediaType",
                ]
            ),
            inner | strategies.just(f"sha256:{trees.A}") | strategies.just(f"sha512:{trees.A * 2}"),
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=examples(300), deadline=None)
@given(JSON)
def test_any_document_is_a_manifest_or_is_told(document):
    """All digests that stand where a manifest names things are found, or none is, and it is no manifest."""
    try:
        found = manifests.parse(json.dumps(document).encode())
    except manifests.ManifestError as error:
        assert str(error) in {
            "is no manifest",
            "names a thing twice",
            "names what is no digest",
            "has a name in another spelling",
        }
        return
    for name in ("manifests", "layers", "fsLayers"):
        for one in document.get(name) or []:
            assert one.get("digest", one.get("blobSum")) in found.digests


@settings(max_examples=examples(300), deadline=None)
@given(strategies.text(max_size=300) | strategies.from_regex(r"[a-z0-9._/:-]+"))
def test_no_name_leads_out_of_its_directory(text):
    for accepts in (names.is_component, names.is_tag, lambda text: names.is_encoded("sha256", text)):
        if accepts(text):
            assert "/" not in text
            assert text not in ("", ".", "..")
            assert text.isprintable()
            assert text.isascii()
    if names.is_digest(text):
        assert names.split(text)[0] in names.ALGORITHMS

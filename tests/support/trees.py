"""Storages as a registry writes them, and what an account that has taken over a registry could make of one.

The collector, the backup and the restore are tested with the same ones.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from paths import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable

    from memory_s3 import MemoryS3

ROLES = ROOT / "roles"
COLLECTOR = ROLES / "maintenance" / "files" / "collector"
# The programs of the roles, as they find each other on a host.
sys.path.insert(0, str(ROLES / "backup" / "files"))
sys.path.insert(0, str(COLLECTOR))

V2 = Path("docker/registry/v2")


def hashed(content: bytes, algorithm: str = "sha256") -> str:
    return f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}"


class Store:
    """A storage as a registry writes it."""

    def __init__(self, path: Path) -> None:
        self.top = path
        self.root = path / V2
        (self.root / "repositories").mkdir(parents=True)

    def write(self, path: Path | str, content: bytes | str) -> None:
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content if isinstance(content, bytes) else content.encode())

    def data(self, digest: str) -> Path:
        algorithm, encoded = digest.split(":")
        return self.root / "blobs" / algorithm / encoded[:2] / encoded / "data"

    def blob(self, content: bytes) -> str:
        digest = hashed(content)
        self.write(self.data(digest), content)
        return digest

    def link_of(self, repository: str, digest: str, kind: str = "_layers") -> Path:
        return self.root / "repositories" / repository / kind / digest.replace(":", "/") / "link"

    def layer(self, repository: str, content: bytes, algorithm: str = "sha256") -> dict:
        """A blob that was pushed by a digest of any algorithm: it is stored by one, and linked by both."""
        stored, pushed = self.blob(content), hashed(content, algorithm)
        for digest in (stored, pushed):
            self.write(self.link_of(repository, digest), stored)
        return {"digest": pushed}

    def manifest(self, repository: str, document: object, tag: str | None = None) -> str:
        digest = self.blob(document if isinstance(document, bytes) else json.dumps(document).encode())
        self.write(self.link_of(repository, digest, "_manifests/revisions"), digest)
        if tag:
            base = f"repositories/{repository}/_manifests/tags/{tag}"
            self.write(f"{base}/index/{digest.replace(':', '/')}/link", digest)
            self.write(f"{base}/current/link", digest)
        return digest

    def image(self, repository: str, name: str, tag: str | None = None, algorithm: str = "sha256") -> str:
        layers = [self.layer(repository, f"layer of {name}".encode(), algorithm)]
        config = self.layer(repository, f"configuration of {name}".encode(), algorithm)
        return self.manifest(repository, {"config": config, "layers": layers}, tag)


class BucketStore(Store):
    """The same in a MemoryS3. root is a directory of the bucket."""

    def __init__(self, storage: MemoryS3, root: str = "") -> None:
        self.storage = storage
        self.root = Path("/", root, V2)

    def key(self, path: Path | str) -> str:
        return str(self.root / path)[1:]

    def write(self, path: Path | str, content: bytes | str) -> None:
        self.storage.write(self.key(path), content if isinstance(content, bytes) else content.encode())


@dataclasses.dataclass
class Scene:
    """Two repositories, each with an image that a tag leads to and one that none does, and a directory elsewhere."""

    store: Store
    outside: Path
    images: dict[str, str]

    @classmethod
    def at(cls, path: Path) -> Scene:
        store = Store(path / "data")
        images = {
            f"{repository}{tag or ''}": store.image(repository, f"{repository}{tag}", tag)
            for repository in ("app", "other")
            for tag in ("1", None)
        }
        return cls(store, canary(path / "outside", store, images), images)

    @property
    def app(self) -> Path:
        return self.store.root / "repositories/app"

    def layer_of(self, image: str) -> str:
        return hashed(f"layer of {image if image[-1] == '1' else image + 'None'}".encode())

    def tagged(self, document: object) -> None:
        self.store.manifest("app", document, "odd")


def canary(path: Path, store: Store, images: dict[str, str]) -> Path:
    """A directory that has by all names what a program looks for in a storage, and what it could remove or change."""
    for part in ("repositories/app", "blobs"):
        shutil.copytree(store.root / part, path / V2 / part)
        # By the names that it has one, two and three levels below.
        for place in sorted((store.root / part).rglob("*")):
            if place.is_dir() and not (path / place.name).exists():
                shutil.copytree(place, path / place.name)
    for digest in images.values():
        (path / f"{digest}").mkdir()
    (path / "program").write_text("a program")
    (path / "program").chmod(0o4755)
    for name in ("data", "link"):
        (path / name).write_text("precious")
        (path / name).chmod(0o600)
    return path


def look(path: Path) -> dict[str, tuple]:
    """All that can be told of a directory without following a link."""
    found = {}
    for place in (path, *path.rglob("*")):
        about = place.lstat()
        found[str(place)] = (about.st_mode, about.st_uid, about.st_gid, about.st_size, about.st_nlink)
    return found


# --- what is odd ------------------------------------------------------------------------------------------------------


def swapped(path: Path, target: Path) -> None:
    """A symbolic link in the place of what was there."""
    path.rename(path.with_name(f"{path.name}.away")) if path.exists() else path.parent.mkdir(
        parents=True, exist_ok=True
    )
    shutil.rmtree(path.with_name(f"{path.name}.away"), ignore_errors=True)
    path.symlink_to(target)


def fifo(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def listening(path: Path) -> None:
    path.unlink(missing_ok=True)
    # Its name may be longer than one of a socket.
    before = Path.cwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(before)


def nested(path: Path, depth: int) -> None:
    """Directories in directories, deeper than a path can be long."""
    path.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDONLY)
    for _level in range(depth):
        os.mkdir("d", dir_fd=descriptor)
        inner = os.open("d", os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = inner
    os.close(descriptor)


def stray(path: Path, content: str = "stray") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


@dataclasses.dataclass(frozen=True)
class Odd:
    """Something odd: what it costs the repository `app`, and whether it may hide links, so that no blob goes.

    damage is what a verification tells of `app`; None where it need tell nothing certain.
    """

    make: Callable[[Scene], object]
    keeps: bool = False
    hides: bool = False
    damage: frozenset[tuple[str, str]] | None = frozenset()


def _damage(*found: tuple[str, str]) -> frozenset[tuple[str, str]]:
    return frozenset(found)


A = "a" * 64
DAMAGED = _damage(("app:odd", "manifest damaged"))
# A manifest that is tagged `odd`.
MANIFESTS: dict[str, object] = {
    "subject-evil": {"layers": [], "subject": {"digest": "evil"}},
    "subject-list": {"layers": [], "subject": [1]},
    "subject-number": {"layers": [], "subject": 5},
    "subject-of-digest-list": {"layers": [], "subject": {"digest": ["x"]}},
    "config-list": {"config": [{"digest": f"sha256:{A}"}]},
    "config-text": {"config": "sha256"},
    "layers-object": {"layers": {"digest": f"sha256:{A}"}},
    "layers-of-null": {"layers": [None]},
    "manifests-text": {"manifests": "x"},
    "digest-object": {"layers": [{"digest": {"a": 1}}]},
    "digest-short": {"layers": [{"digest": "sha256:abcdef"}]},
    "digest-path": {"layers": [{"digest": "sha256:../../../../etc"}]},
    "digest-unknown": {"layers": [{"digest": f"md5:{'a' * 32}"}]},
    "spelling": {"Layers": [{"digest": f"sha256:{A}"}]},
    "spelling-inside": {"layers": [{"Digest": f"sha256:{A}", "digest": f"sha256:{A}"}]},
    "twice": b'{"layers": [], "layers": []}',
    "deep": b"[" * 100_000,
    "deep-object": b'{"a":' * 100_000,
    "cut": b'{"layers": [',
    "empty": b"",
    "list": b"[]",
    "number": b"1",
    "no-utf8": b'{"layers": "\xff"}',
    "large": b'{"a": "' + b"x" * (5 << 20) + b'"}',
}
TAG_NAMES = {"space": "a b", "line": "new\nline", "long": "x" * 129, "dot": ".hidden", "colour": "\x1b[31mred"}
PIPES = {
    "layer": lambda scene: scene.store.link_of("app", scene.layer_of("app")),
    "tagged-layer": lambda scene: scene.store.link_of("app", scene.layer_of("app1")),
    "revision": lambda scene: scene.store.link_of("app", scene.images["app"], "_manifests/revisions"),
    "tag": lambda scene: scene.app / "_manifests/tags/more/current/link",
}
# In the place of a directory of the repository.
SWAPPED = {
    "layers": "_layers",
    "layers-algorithm": "_layers/sha256",
    "layers-other-algorithm": "_layers/sha512",
    "revisions": "_manifests/revisions",
    "tags": "_manifests/tags",
    "tag": "_manifests/tags/more",
    "manifests": "_manifests",
}

ODD: dict[str, Odd] = {
    **{
        f"manifest-{name}": Odd(lambda scene, document=document: scene.tagged(document), keeps=True, damage=DAMAGED)
        for name, document in MANIFESTS.items()
    },
    **{
        f"tag-{name}": Odd(lambda scene, tag=tag: scene.store.manifest("app", {"layers": []}, tag), keeps=True)
        for name, tag in TAG_NAMES.items()
    },
    **{
        f"fifo-{name}": Odd(lambda scene, at=at: fifo(at(scene)), keeps=True, damage=None) for name, at in PIPES.items()
    },
    **{
        f"swapped-{name}": Odd(
            lambda scene, path=path: swapped(scene.app / path, scene.outside), keeps=True, hides=True, damage=None
        )
        for name, path in SWAPPED.items()
    },
    "child-missing": Odd(
        lambda scene: (
            scene.tagged({"manifests": [{"digest": scene.store.manifest("app", {"layers": []})}]})
            or scene.store.data(hashed(json.dumps({"layers": []}).encode())).unlink()
        ),
        keeps=True,
        damage=_damage(("app:odd", "manifest missing")),
    ),
    "socket-layer": Odd(
        lambda scene: listening(scene.store.link_of("app", scene.layer_of("app"))), keeps=True, damage=None
    ),
    "swapped-link": Odd(
        lambda scene: swapped(scene.store.link_of("app", scene.layer_of("app")), scene.outside / "link"),
        keeps=True,
        hides=True,
        damage=None,
    ),
    **{
        f"link-says-{name}": Odd(
            lambda scene, text=text: stray(scene.store.link_of("app", scene.layer_of("app")), text),
            keeps=True,
            damage=None,
        )
        for name, text in {"nothing": "", "a path": "sha256:../../x", "much": "x" * 100_000}.items()
    },
    "revision-is-no-digest": Odd(lambda scene: stray(scene.app / "_manifests/revisions/sha256/x/link"), keeps=True),
    "algorithm-is-none": Odd(lambda scene: stray(scene.app / "_layers/md5/x/link"), keeps=True),
    "stray-in-links": Odd(lambda scene: stray(scene.app / "_layers/sha256/stray"), keeps=True),
    "stray-in-tags": Odd(lambda scene: stray(scene.app / "_manifests/tags/stray"), keeps=True),
    # Elsewhere it can't be in the way of anything.
    "stray-in-repository": Odd(lambda scene: stray(scene.app / "stray")),
    "stray-in-repositories": Odd(lambda scene: stray(scene.store.root / "repositories/stray")),
    "fifo-in-repositories": Odd(lambda scene: fifo(scene.store.root / "repositories/fifo")),
    "name-of-no-repository": Odd(
        lambda scene: stray(scene.store.root / "repositories/New\nLine/_layers/sha256/x/link")
    ),
    "long-name": Odd(lambda scene: nested(scene.store.root / "repositories" / "/".join(["x" * 200] * 2), 1)),
    "deep-repositories": Odd(lambda scene: nested(scene.store.root / "repositories/deep", 3000)),
    "deep-tag": Odd(lambda scene: nested(scene.app / "_manifests/tags/deep", 3000)),
    "deep-upload": Odd(
        # One that no client goes on with.
        lambda scene: nested(scene.app / "_uploads/deep", 3000) or os.utime(scene.app / "_uploads/deep/d", (1, 1))
    ),
    "stray-in-blobs": Odd(lambda scene: stray(scene.store.root / "blobs/stray")),
    "stray-in-algorithm": Odd(lambda scene: stray(scene.store.root / "blobs/sha256/stray")),
    "stray-in-prefix": Odd(lambda scene: stray(scene.store.root / "blobs/sha256/aa/stray")),
    "stray-beside-data": Odd(lambda scene: stray(scene.store.data(scene.images["app1"]).with_name("stray"))),
    "wrong-prefix": Odd(lambda scene: stray(scene.store.root / f"blobs/sha256/bb/{A}/data")),
    "blobs-evil": Odd(lambda scene: swapped(scene.store.root / "blobs/sha256/evil", scene.outside)),
    "blobs-prefix": Odd(lambda scene: swapped(scene.store.root / "blobs/sha256/zz", scene.outside)),
    "blobs-algorithm": Odd(lambda scene: swapped(scene.store.root / "blobs/sha512", scene.outside)),
    "blobs-file": Odd(lambda scene: swapped(scene.store.root / f"blobs/sha256/aa/{A}", scene.outside)),
    "blobs-program": Odd(
        lambda scene: swapped(scene.store.root / f"blobs/sha256/aa/{A}/data", scene.outside / "program")
    ),
    "fifo-data": Odd(lambda scene: fifo(scene.store.root / f"blobs/sha256/aa/{A}/data")),
    "repository-elsewhere": Odd(
        lambda scene: swapped(scene.store.root / "repositories/elsewhere", scene.outside), hides=True
    ),
    "trash-elsewhere": Odd(lambda scene: swapped(scene.store.top / ".collected", scene.outside)),
    "trash-is-a-file": Odd(lambda scene: stray(scene.store.top / ".collected")),
    "trash-is-deep": Odd(lambda scene: nested(scene.store.top / ".collected", 3000)),
}
# What a registry itself makes, and nothing may be said of.
SOUND: dict[str, Callable[[Scene], object]] = {
    "sha512": lambda scene: scene.store.image("app", "more", "more", "sha512"),
    "sha384": lambda scene: scene.store.image("app", "more", "more", "sha384"),
    "sha512-deleted-by-sha256": lambda scene: [
        scene.store.image("app", "more", "more", "sha512"),
        scene.store.link_of("app", hashed(b"layer of more")).unlink(),
    ],
    "sha512-in-a-child": lambda scene: scene.tagged(
        {"manifests": [{"digest": scene.store.image("app", "more", None, "sha512")}]}
    ),
    "sha512-of-a-referrer": lambda scene: scene.store.manifest(
        "app",
        {"layers": [scene.store.layer("app", b"more", "sha512")], "subject": {"digest": scene.images["app1"]}},
    ),
    "foreign": lambda scene: scene.tagged({"layers": [{"digest": f"sha256:{A}", "urls": ["https://x/"]}]}),
}

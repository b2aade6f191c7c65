# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a registry keeps its images in a file system, and what refers to what. Reads, and never writes.

A push writes what is referred to before what refers to it: blobs, links of layers, the link of the revision, the index
of the tag, the tag. So whoever reads in the opposite order, tags first and blobs last, finds behind each thing all that
it needs, unless it is deleted meanwhile. The API deletes links alone; blobs go by a collection, which a lock keeps off.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import time
from pathlib import Path
from typing import Any, Iterator

ROOT = Path("docker/registry/v2")
DIGEST = re.compile(r"[a-z0-9]+(?:[+._-][a-z0-9]+)*:[0-9a-f]{32,}")
# A tag is written in two steps, empty first. A busy disk may take seconds for that; who is empty for longer is damaged.
SETTLE_TRIES, SETTLE_SECONDS = 150, 0.02
# A repository where manifests are deleted while it is read is read anew, so many times.
TRIES = 10
# A manifest of a registry is no larger.
MOST_BYTES = 4 << 20


def split(digest: str) -> tuple[str, str]:
    algorithm, _colon, encoded = digest.partition(":")
    return algorithm, encoded


def blob_path(root: Path, digest: str) -> Path:
    algorithm, encoded = split(digest)
    return root / "blobs" / algorithm / encoded[:2] / encoded / "data"


@dataclasses.dataclass
class Repository:
    """The links of one repository. What a link of a layer or a revision says is told by its path."""

    name: str
    tags: dict[str, str] = dataclasses.field(default_factory=dict)
    # What each tag has pointed to so far.
    history: dict[str, set[str]] = dataclasses.field(default_factory=dict)
    revisions: set[str] = dataclasses.field(default_factory=set)
    layers: set[str] = dataclasses.field(default_factory=set)
    # Tags that point to nothing, and did so when looked at again.
    broken: set[str] = dataclasses.field(default_factory=set)

    def links(self) -> Iterator[tuple[str, str]]:
        """The path of each link below the directory of the repository, and what it says."""
        for tag, digest in self.tags.items():
            yield f"_manifests/tags/{tag}/current/link", digest
        for tag, digests in self.history.items():
            for digest in digests:
                yield f"_manifests/tags/{tag}/index/{'/'.join(split(digest))}/link", digest
        for digest in self.revisions:
            yield f"_manifests/revisions/{'/'.join(split(digest))}/link", digest
        for digest in self.layers:
            yield f"_layers/{'/'.join(split(digest))}/link", digest


def names(root: Path) -> Iterator[str]:
    """The repositories. A name may have parts, and one repository may lie in the directory of another."""
    top = root / "repositories"
    waiting = [""]
    while waiting:
        prefix = waiting.pop()
        found = _entries(top / prefix)
        if any(name.startswith("_") for name in found):
            yield prefix
        waiting += [f"{prefix}/{name}" if prefix else name for name in found if not name.startswith("_")]


def read(root: Path, name: str) -> Repository:
    """The links of a repository, none of whose tags points to a revision that it does not have."""
    found, missing = Repository(name), set()
    for _try in range(TRIES):
        found = _read(root, name)
        missing = {tag for tag, digest in found.tags.items() if digest not in found.revisions}
        if not missing:
            break
        # The API removes the revision first and its tags then. Who moved the tag and deleted what it pointed to leaves
        # a tag that points elsewhere now. Either is seen by looking again; only what stays so is damage.
        time.sleep(SETTLE_SECONDS)
    for tag in missing:
        del found.tags[tag]
    found.broken |= missing
    for tag in found.broken:
        found.history.pop(tag, None)
    return found


def _read(root: Path, name: str) -> Repository:
    found = Repository(name)
    directory = root / "repositories" / name
    tags = directory / "_manifests" / "tags"
    waiting = set(_entries(tags))
    # All that are empty are waited for together: where many are damaged, it takes no longer than for one.
    for _try in range(SETTLE_TRIES):
        said = {tag: _current(tags / tag / "current" / "link") for tag in waiting}
        found.tags.update({tag: digest for tag, digest in said.items() if digest})
        waiting = {tag for tag, digest in said.items() if digest == ""}
        if not waiting:
            break
        time.sleep(SETTLE_SECONDS)
    found.broken |= waiting
    for tag in found.tags:
        found.history[tag] = _linked(tags / tag / "index")
    found.revisions = _linked(directory / "_manifests" / "revisions")
    found.layers = _linked(directory / "_layers")
    return found


def _entries(directory: Path) -> list[str]:
    try:
        with os.scandir(directory) as found:
            return [entry.name for entry in found if entry.is_dir(follow_symlinks=False)]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _linked(directory: Path) -> set[str]:
    """The digests that have a link in a directory of links."""
    return {
        f"{algorithm}:{encoded}"
        for algorithm in _entries(directory)
        for encoded in _entries(directory / algorithm)
        if (directory / algorithm / encoded / "link").exists()
    }


def _current(link: Path) -> str | None:
    """What a tag points to; empty where it says nothing, None where there is no such tag."""
    try:
        text = link.read_text(encoding="ascii", errors="replace").strip()
    except FileNotFoundError:
        return None
    return text if DIGEST.fullmatch(text) else ""


@dataclasses.dataclass(frozen=True)
class Reference:
    """What a manifest needs: another manifest, a layer or a configuration."""

    digest: str
    kind: str


def manifest(root: Path, digest: str) -> bytes:
    """The content of a manifest. Raises OSError where it can't be read."""
    with open(blob_path(root, digest), "rb") as file:
        return file.read(MOST_BYTES + 1)


def references(content: bytes) -> list[Reference]:
    """What a manifest can't be pulled without. Raises ValueError for what is no manifest."""
    document = json.loads(content)
    if not isinstance(document, dict):
        raise ValueError("a manifest is a JSON object")  # noqa: TRY004 - one kind of error for what is no manifest
    found = [Reference(child.get("digest"), "manifest") for child in _list(document, "manifests")]
    if isinstance(document.get("config"), dict):
        found.append(Reference(document["config"].get("digest"), "configuration"))
    # Layers that are fetched from elsewhere were never pushed.
    found += [Reference(layer.get("digest"), "layer") for layer in _list(document, "layers") if not _foreign(layer)]
    # Schema 1, which registry 2 still takes.
    found += [Reference(layer.get("blobSum"), "layer") for layer in _list(document, "fsLayers")]
    if not all(isinstance(item.digest, str) and DIGEST.fullmatch(item.digest) for item in found):
        raise ValueError("a manifest names what it needs by digests")
    return found


def _list(document: dict[str, Any], name: str) -> list[dict[str, Any]]:
    found = document.get(name) or []
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise ValueError(f"{name} is no list of objects")
    return found


def _foreign(layer: dict[str, Any]) -> bool:
    kind = str(layer.get("mediaType", ""))
    return bool(layer.get("urls")) or ".foreign." in kind or ".nondistributable." in kind

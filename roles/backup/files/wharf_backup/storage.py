# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a registry keeps its images in a file system, read while it serves. Reads, and never writes.

A push writes what is referred to before what refers to it: blobs, links of layers, the link of the revision, the index
of the tag, the tag. So a program that reads in the opposite order, tags first and blobs last, finds behind each thing
all that it needs, unless it is deleted meanwhile. The API deletes links alone; blobs go by a collection, which a lock
keeps off.
"""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Iterator

from wharf_storage import storage as library
from wharf_storage.found import Link, Oddities
from wharf_storage.manifests import MOST_BYTES, Reference, parse
from wharf_storage.names import split
from wharf_storage.storage import Storage

ROOT = Path(*library.ROOT)
# A tag is written in two steps, empty first. A busy disk may take seconds for that; who is empty for longer is damaged.
SETTLE_TRIES, SETTLE_SECONDS = 150, 0.02
# A repository where manifests are deleted while it is read is read anew, so many times.
TRIES = 10


def opened(root: Path) -> Storage:
    """The storage with this docker/registry/v2 in it; the links that a backup has staged may lie at the top."""
    if root.parts[-len(ROOT.parts) :] == ROOT.parts:
        return Storage(root.parents[len(ROOT.parts) - 1])
    return Storage(root, root=())


def blob_path(root: Path, digest: str) -> Path:
    algorithm, encoded = split(digest)
    return root / "blobs" / algorithm / encoded[:2] / encoded / "data"


@dataclasses.dataclass
class Repository:
    """The links of one repository, by the digests in their paths; what each of them says is in the link."""

    name: str
    current: dict[str, Link] = dataclasses.field(default_factory=dict)
    # What each tag has pointed to so far.
    history: dict[str, dict[str, Link]] = dataclasses.field(default_factory=dict)
    revisions: dict[str, Link] = dataclasses.field(default_factory=dict)
    layers: dict[str, Link] = dataclasses.field(default_factory=dict)
    # Tags that point to nothing, and did so when looked at again.
    broken: set[str] = dataclasses.field(default_factory=set)
    # What the registry would not have made, which is not saved.
    oddities: Oddities = dataclasses.field(default_factory=Oddities)

    @property
    def tags(self) -> dict[str, str]:
        return {tag: link.target for tag, link in self.current.items()}

    def link(self, item: Reference) -> Link | None:
        """By what the registry finds it that a manifest names."""
        return (self.revisions if item.kind == "manifest" else self.layers).get(item.digest)

    def links(self) -> Iterator[tuple[str, Link]]:
        """Each link by its path below the directory of the repository."""
        for tag, link in self.current.items():
            yield f"_manifests/tags/{tag}/current/link", link
        for tag, links in self.history.items():
            for digest, link in links.items():
                yield f"_manifests/tags/{tag}/index/{'/'.join(split(digest))}/link", link
        for digest, link in self.revisions.items():
            yield f"_manifests/revisions/{'/'.join(split(digest))}/link", link
        for digest, link in self.layers.items():
            yield f"_layers/{'/'.join(split(digest))}/link", link


def names(root: Path, oddities: Oddities | None = None) -> list[str]:
    """The repositories. A name may have parts, and one repository may lie in the directory of another."""
    try:
        with opened(root) as store:
            return store.repositories(Oddities() if oddities is None else oddities)
    except FileNotFoundError:
        return []


def read_all(root: Path, oddities: Oddities | None = None) -> list[Repository]:
    return [read(root, name) for name in names(root, oddities)]


def read(root: Path, name: str) -> Repository:
    """The links of a repository, none of whose tags points to a revision that it does not have."""
    found, missing = Repository(name), set()
    with opened(root) as store:
        for _try in range(TRIES):
            found = _read(store, name)
            missing = {tag for tag, digest in found.tags.items() if digest not in found.revisions}
            if not missing:
                break
            # The API removes the revision first and its tags then. Who moved the tag and deleted what it pointed to
            # leaves a tag that points elsewhere now. Either is seen by looking again; only what stays so is damage.
            time.sleep(SETTLE_SECONDS)
    for tag in missing:
        del found.current[tag]
    found.broken |= missing
    for tag in found.broken:
        found.history.pop(tag, None)
    return found


def _read(store: Storage, name: str) -> Repository:
    found = Repository(name)
    found.current = _tags(store, name, found.oddities)
    # All that are empty are waited for together: where many are damaged, it takes no longer than for one.
    waiting = {tag for tag, link in found.current.items() if link.target is None}
    for _try in range(SETTLE_TRIES):
        if not waiting:
            break
        time.sleep(SETTLE_SECONDS)
        for tag in waiting:
            del found.current[tag]
        found.current.update(_tags(store, name, Oddities(), waiting))
        waiting = {tag for tag in waiting & found.current.keys() if found.current[tag].target is None}
    for tag in waiting:
        del found.current[tag]
    found.broken |= waiting
    for tag in found.current:
        found.history[tag] = _good(store.history(name, tag, found.oddities))
    found.revisions = _good(store.revisions(name, found.oddities))
    found.layers = _good(store.layers(name, found.oddities))
    return found


def _tags(store: Storage, name: str, oddities: Oddities, only: set[str] | None = None) -> dict[str, Link]:
    return store.tags(name, oddities, only)


def _good(links: dict[str, Link]) -> dict[str, Link]:
    """Those that say something: no client can read what another one leads to."""
    return {digest: link for digest, link in links.items() if link.target}


def manifest(root: Path, digest: str) -> bytes:
    """The content of a manifest. Raises OSError where it can't be read."""
    with opened(root) as store:
        return store.read_blob(digest, MOST_BYTES + 1)


def references(content: bytes) -> list[Reference]:
    """What a manifest can't be pulled without. Raises ValueError for what is no manifest."""
    # Layers that are fetched from elsewhere were never pushed.
    return [item for item in parse(content).references if not item.foreign]

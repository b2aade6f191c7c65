# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether all that tags and revisions reach is there, and is what its digest says. Reads, and never writes."""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
import hashlib
import os
from pathlib import Path
from typing import Any, Callable, Iterable, Iterator

from wharf_storage.manifests import MOST_BYTES
from wharf_storage.names import split

from . import storage

# Two readers keep a disk busy, and leave the other processors to those who serve.
READERS = 2
CHUNK = 1 << 20
MOST_ROWS = 40


@dataclasses.dataclass
class Survey:
    """What a storage holds and what it lacks, by digest."""

    repositories: list[storage.Repository]
    # What each manifest needs. One that can't be read is not here.
    needs: dict[str, list[storage.Reference]] = dataclasses.field(default_factory=dict)
    # What is wrong with a digest wherever it is used, such as "missing".
    bad: dict[str, str] = dataclasses.field(default_factory=dict)
    sizes: dict[str, int] = dataclasses.field(default_factory=dict)

    @property
    def tags(self) -> int:
        return sum(len(repository.tags) for repository in self.repositories)

    @property
    def manifests(self) -> set[str]:
        return {link.target for repository in self.repositories for link in repository.revisions.values()}

    @property
    def reached(self) -> set[str]:
        """The content of all that can be pulled."""
        return self.manifests | {
            _content(repository, item)
            for repository in self.repositories
            for link in repository.revisions.values()
            for item in self.needs.get(link.target, [])
        }

    @property
    def linked(self) -> set[str]:
        """Layers that no manifest needs yet. What a collection took is linked still, and is no loss."""
        return {link.target for repository in self.repositories for link in repository.layers.values()} - self.reached

    def counts(self) -> dict[str, int]:
        reached = self.reached
        return {
            "repositories": len(self.repositories),
            "tags": self.tags,
            "manifests": len(self.manifests),
            "blobs": len(reached),
            "bytes": sum(self.sizes.get(digest, 0) for digest in reached),
        }

    def digests(self) -> dict[str, dict[str, str]]:
        return {repository.name: dict(sorted(repository.tags.items())) for repository in self.repositories}

    def problems(self) -> list[dict[str, str]]:
        """What is missing or damaged, by the tags that need it; by digest where no tag does."""
        return [problem for repository in self.repositories for problem in self._problems(repository)]

    def _problems(self, repository: storage.Repository) -> Iterator[dict[str, str]]:
        for tag in sorted(repository.broken):
            yield _problem(f"{repository.name}:{tag}", "tag points to nothing", "")
        own = {digest: list(self._own_problems(repository, digest)) for digest in sorted(repository.revisions)}
        if not any(own.values()):
            return
        told: set[str] = set()
        for tag, digest in sorted(repository.tags.items()):
            for reached in self._closure(repository, digest):
                told.add(reached)
                for what, culprit in own[reached]:
                    yield _problem(f"{repository.name}:{tag}", what, culprit)
        for digest in sorted(own.keys() - told):
            for what, culprit in own[digest]:
                yield _problem(f"{repository.name}@{digest}", what, culprit)

    def _closure(self, repository: storage.Repository, digest: str) -> list[str]:
        """A manifest and those below it that the repository has."""
        found, waiting = [], [digest]
        while waiting:
            current = waiting.pop()
            if current in repository.revisions and current not in found:
                found.append(current)
                needs = self.needs.get(repository.revisions[current].target, [])
                waiting += [item.digest for item in needs if item.kind == "manifest"]
        return found

    def _own_problems(self, repository: storage.Repository, digest: str) -> Iterator[tuple]:
        content = repository.revisions[digest].target
        if content in self.bad or digest in self.bad:
            yield f"manifest {self.bad.get(content) or self.bad[digest]}", digest
        for item in self.needs.get(content, []):
            link = repository.link(item)
            wrong = self.bad.get(_content(repository, item)) or self.bad.get(item.digest)
            if wrong and (item.kind != "manifest" or not link):
                yield f"{item.kind} {wrong}", item.digest
            elif not link:
                yield f"link of {item.kind} missing", item.digest


def _content(repository: storage.Repository, item: storage.Reference) -> str:
    """Where the content lies of what a manifest names."""
    link = repository.link(item)
    return link.target if link else item.digest


def _problem(image: str, what: str, digest: str) -> dict[str, str]:
    return {"image": image, "problem": what, "digest": digest}


def survey(root: Path, repositories: Iterable[storage.Repository]) -> Survey:
    """Follow each revision to what it needs, without reading the layers."""
    with storage.opened(root) as store:
        return survey_of(store, repositories)


def survey_of(store: Any, repositories: Iterable[storage.Repository], each: Callable = map) -> Survey:
    """The same of what has read_blob() and blob_size(). `each` is map, or what does the same with threads."""
    found = Survey([item for item in repositories if item.revisions or item.layers or item.broken])
    collections.deque(each(lambda digest: _follow(store, found, digest), sorted(found.manifests)), maxlen=0)
    reached = found.reached
    for digest in reached | found.linked:
        size = store.blob_size(digest)
        if size is not None:
            found.sizes[digest] = size
        elif digest in reached:
            found.bad.setdefault(digest, "missing")
    return found


def _follow(store: Any, found: Survey, digest: str) -> None:
    try:
        found.needs[digest] = storage.references(store.read_blob(digest, MOST_BYTES + 1))
    except FileNotFoundError:
        found.bad[digest] = "missing"
    except OSError as error:
        found.bad[digest] = f"unreadable ({error.strerror})"
    except ValueError:
        found.bad[digest] = "damaged"


def hash_all(root: Path, found: Survey) -> None:
    """Read all that is reached or linked from the disk, and note what is not what its digest says."""
    with storage.opened(root) as store, concurrent.futures.ThreadPoolExecutor(
        min(READERS, os.cpu_count() or 1)
    ) as pool:
        # The work is done without Python's lock: threads are as quick as processes here.
        hash_each(found, lambda pair: _wrong(store, *pair), pool.map)


def hash_each(found: Survey, wrong: Callable, each: Callable) -> None:
    """The same by a function of a digest and the digest by which its content is found."""
    # What is known by another digest than that of its content is what both say.
    others = {
        (digest, link.target)
        for repository in found.repositories
        for links in (repository.revisions, repository.layers)
        for digest, link in links.items()
        if digest != link.target and link.target in found.sizes
    }
    there = sorted({*((digest, digest) for digest in found.sizes), *others})
    for (digest, _place), said in zip(there, each(wrong, there)):
        if said:
            found.bad[digest] = said


def _wrong(store: storage.Storage, digest: str, place: str) -> str:
    algorithm, encoded = split(digest)
    hashed = hashlib.new(algorithm)
    try:
        with open(store.open_blob(place), "rb", buffering=0) as file:
            # What the kernel remembers of a file that was just written tells nothing about the disk.
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            while True:
                chunk = file.read(CHUNK)
                if not chunk:
                    break
                hashed.update(chunk)
            # Clients are not to be served more slowly because all of it was read.
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    except OSError as error:
        return f"unreadable ({error.strerror})"
    return "" if hashed.hexdigest() == encoded else "damaged"


def table(problems: list[dict[str, Any]]) -> list[str]:
    """The problems as lines in columns."""
    rows = [("IMAGE", "PROBLEM", "DIGEST")]
    rows += [(item["image"], item["problem"], item["digest"][:19]) for item in problems[:MOST_ROWS]]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    lines = [f"{image:<{widths[0]}}  {what:<{widths[1]}}  {digest}".rstrip() for image, what, digest in rows]
    return lines + ([f"and {len(problems) - MOST_ROWS} more"] if len(problems) > MOST_ROWS else [])

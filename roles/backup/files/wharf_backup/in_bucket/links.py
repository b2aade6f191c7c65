# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The links of a registry in a bucket, read while it serves, and put there by a restore."""

from __future__ import annotations

from typing import Any, Iterator

from ansible_collections.wharf.registry.plugins.module_utils._storage.s3_client import PAGE
from ansible_collections.wharf.registry.plugins.module_utils._storage.s3_errors import S3Error
from wharf_bucket.storage import BucketStorage
from wharf_storage.found import Link, Oddities

from ..common import BackupError
from ..storage import TRIES, Repository
from .buckets import Place, path_of
from .copies import each

REPOSITORIES = "repositories/"
# What S3 answers for the first bytes of an empty object.
NO_SUCH_RANGE = 416
# The last step of a push is the first to be read, and the last to be put there.
ORDER = ("_layers/", "_manifests/revisions/", "index/", "current/")


def read(place: Place, oddities: Oddities) -> list[Repository]:
    """What each repository has, none of whose tags points to a revision that it does not have.

    A push links layers, then the revision, then the tag, and a list tells them in this order, too. So tags are those of
    one list, revisions those of the next one, and layers those of a third.
    """
    storage = BucketStorage(place.client, place.root, 0)
    for turn in range(TRIES):
        found, missing = _read(storage, oddities if turn == 0 else Oddities())
        # Who deletes a manifest meanwhile is seen by looking again; only what stays so is damage.
        if not missing:
            break
    for repository in found:
        for tag in [tag for tag, link in repository.current.items() if _is_broken(repository, link)]:
            del repository.current[tag]
            repository.history.pop(tag, None)
            repository.broken.add(tag)
    return found


def _read(storage: BucketStorage, oddities: Oddities) -> tuple[list[Repository], bool]:
    found = {}
    for name in storage.repositories(oddities):
        found[name] = Repository(name, current=storage.tags(name, None))
    for name in set(storage.repositories(Oddities())) & found.keys():
        one = found[name]
        one.revisions = _good(storage.revisions(name, None))
        one.history = {tag: {item: Link(item, 0) for item in storage.history(name, tag, None)} for tag in one.current}
    for name in set(storage.repositories(Oddities())) & found.keys():
        found[name].layers = _good(storage.layers(name, found[name].oddities))
    read_all = [found[name] for name in sorted(found)]
    return read_all, any(_is_broken(one, link) for one in read_all for link in one.current.values())


def _is_broken(repository: Repository, link: Link) -> bool:
    return link.target not in repository.revisions


def _good(links: dict[str, Link]) -> dict[str, Link]:
    return {digest: link for digest, link in links.items() if link.target}


class Blobs:
    """The blobs of a bucket as verify.survey_of() asks for them; threads share it."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self.sizes = {
            f"{parts[1]}:{parts[3]}": entry.size
            for entry in place.blobs()
            for parts in [entry.path.split("/")]
            if len(parts) == 5
        }

    def read_blob(self, digest: str, most: int) -> bytes:
        if digest not in self.sizes:
            raise FileNotFoundError(digest)
        try:
            return self._place.client.get(self._place.bucket.key(path_of(digest)), 0, most - 1, limit=most)
        except S3Error as error:
            if error.code == "NoSuchKey":
                raise FileNotFoundError(digest) from None
            if error.status == NO_SUCH_RANGE:
                return b""
            raise

    def blob_size(self, digest: str) -> int | None:
        return self.sizes.get(digest)


def put(place: Place, repositories: list[Repository]) -> None:
    """Make the links of a bucket these: layers first and tags last, so that clients see nothing that is not whole."""
    wanted = {
        f"{REPOSITORIES}{repository.name}/{path}": link.target
        for repository in repositories
        for path, link in repository.links()
    }
    remove(place, kept=wanted.keys())
    for kind in ORDER:
        chosen = [path for path in wanted if _kind(path) == kind]
        for _etag in each(lambda path: place.client.put(place.bucket.key(path), wanted[path].encode()), chosen):
            pass


def _kind(path: str) -> str:
    """The last one of ORDER that is in the path: a repository may have a name such as index."""
    return max(ORDER, key=lambda kind: path.rfind(f"/{kind}"))


def remove(place: Place, kept: Any = ()) -> None:
    """Remove all links but these, tags first."""
    found: dict[str, list[str]] = {kind: [] for kind in ORDER}
    for entry in place.bucket.entries(REPOSITORIES):
        if entry.path not in kept:
            found[_kind(entry.path)].append(place.bucket.key(entry.path))
    for kind in reversed(ORDER):
        for page in _pages(found[kind]):
            failed = place.client.delete_all(page)
            if failed:
                raise BackupError(
                    f"{place.name} has not deleted {failed[0][0]} ({failed[0][1]})",
                    "Give registry_s3.access_key the right to delete",
                )


def _pages(keys: list[str]) -> Iterator[list[str]]:
    for first in range(0, len(keys), PAGE):
        yield keys[first : first + PAGE]

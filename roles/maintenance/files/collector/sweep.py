# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Removes garbage from a storage, in an order that leaves nothing that points to nothing, wherever it ends."""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets

from wharf_storage import names
from wharf_storage.files import OddError
from wharf_storage.found import Oddities

# Beside what the registry knows, on the same file system: a large file takes its time to remove, a new name does not.
_TRASH = ".collected"


def take_out(storage, garbage):
    """Takes garbage out of the registry, in no time. (problems, warnings) of what was in the way.

    Links first: a blob without a link is garbage, a link without a blob would be damage.
    """
    oddities, stray = Oddities(), Oddities()
    for repository, tag in sorted(garbage.tags):
        with _reached(oddities), storage.enter_repository(repository, "_manifests", "tags") as tags:
            tags.remove(tag)
    _remove_links(storage, garbage.revisions, ("_manifests", "revisions"), oddities)
    _remove_links(storage, garbage.layers, ("_layers",), oddities)
    if oddities:
        # A link that is still there may need one of them.
        garbage.blobs.clear()
    _move_blobs(storage, garbage.blobs)
    for repository in {repository for repository, _digest in garbage.revisions | garbage.layers}:
        _forget_history(storage, repository, stray)
    for repository in sorted(garbage.empty, reverse=True):
        with _reached(stray):
            _remove_repository(storage, repository)
    problems = [f"{what}; no blob is removed until it is gone" for what in oddities.told]
    return problems, [f"{what}; it is ignored" for what in stray.told]


def empty_trash(storage):
    """Removes what was taken out, by this run or by one that ended before it had done so."""
    storage.top.remove(_TRASH)


@contextlib.contextmanager
def _reached(oddities):
    """What is gone is well; what has become something else since it was looked at is odd."""
    try:
        yield
    except FileNotFoundError:
        pass
    except OddError as error:
        oddities.add(error)


def _remove_links(storage, links, parts, oddities):
    """Of (repository, digest), by directories, each of which is entered once."""
    for (repository, algorithm), group in itertools.groupby(
        sorted(links), lambda link: (link[0], names.split(link[1])[0])
    ):
        with _reached(oddities), storage.enter_repository(repository, *parts, algorithm) as directory:
            for _repository, digest in group:
                with _reached(oddities):
                    _remove_link(directory, names.split(digest)[1])


def _remove_link(directory, name):
    with directory.enter(name) as inner:
        inner.unlink("link")
    directory.remove(name)


def _move_blobs(storage, blobs):
    if not blobs:
        return
    with storage.top.make(_TRASH) as trash:
        for place, group in itertools.groupby(sorted(blobs), storage.place):
            with _reached(Oddities()), storage.enter(*place) as directory:
                for digest in group:
                    with _reached(Oddities()):
                        # By a name that nothing there can have.
                        directory.move(names.split(digest)[1], trash, f"{digest}-{secrets.token_hex(8)}")


def _forget_history(storage, repository, oddities):
    """The registry keeps a link for all that a tag has pointed to. Those to what is gone go, too."""
    revisions = storage.revisions(repository, oddities)
    for tag in storage.tags(repository, oddities):
        gone = {
            (repository, digest)
            for digest, link in storage.history(repository, tag, oddities).items()
            if digest not in revisions and link.target not in revisions
        }
        if gone:
            _remove_links(storage, gone, ("_manifests", "tags", tag, "index"), oddities)


def _remove_repository(storage, repository):
    """One without a tag, a manifest, a layer or an upload. Another that lies within it stays."""
    with storage.enter_repository(repository) as directory:
        for part in names.PARTS:
            directory.remove(part)
    parts = repository.split("/")
    while parts:
        *above, last = parts
        with storage.enter("repositories", *above) as directory:
            # Where there is nothing at all, a storage that is not mounted would look the same.
            if not above and len(directory.entries()) == 1:
                return
            try:
                os.rmdir(last, dir_fd=directory.descriptor)
            except OSError:
                return
        parts = above

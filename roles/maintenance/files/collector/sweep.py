# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Removes garbage from a storage, in an order that leaves nothing that points to nothing, wherever it ends."""

from __future__ import annotations

import contextlib
import os
import shutil

# Beside what the registry knows, on the same file system: a large file takes its time to remove, a new name does not.
_TRASH = ".collected"


def take_out(storage, garbage):
    """Takes garbage out of the registry, in no time.

    Links first: a blob without a link is garbage, a link without a blob would be damage.
    """
    trash = os.path.join(storage.directory, _TRASH)
    os.makedirs(trash, mode=0o700, exist_ok=True)
    for repository, tag in sorted(garbage.tags):
        shutil.rmtree(storage.path(repository, "_manifests", "tags", tag), ignore_errors=True)
    for repository, digest in sorted(garbage.revisions):
        _remove(os.path.join(storage.revision_directory(repository, digest), "link"))
        shutil.rmtree(storage.revision_directory(repository, digest), ignore_errors=True)
    for repository, digest in sorted(garbage.layers):
        _remove(os.path.join(storage.layer_directory(repository, digest), "link"))
        shutil.rmtree(storage.layer_directory(repository, digest), ignore_errors=True)
    for digest in sorted(garbage.blobs):
        with contextlib.suppress(FileNotFoundError):
            os.rename(storage.blob_directory(digest), os.path.join(trash, digest))
    for repository in {repository for repository, _digest in garbage.revisions | garbage.layers}:
        _forget_history(storage, repository)
    for repository in sorted(garbage.empty, reverse=True):
        _remove_repository(storage, repository)


def empty_trash(storage):
    """Removes what was taken out, by this run or by one that ended before it had done so."""
    shutil.rmtree(os.path.join(storage.directory, _TRASH), ignore_errors=True)


def _forget_history(storage, repository):
    """The registry keeps a link for all that a tag has pointed to. Those to what is gone go, too."""
    revisions = storage.revisions(repository)
    for directory, digest in storage.history(repository):
        if digest not in revisions:
            shutil.rmtree(directory, ignore_errors=True)


def _remove_repository(storage, repository):
    """One without a tag, a manifest, a layer or an upload. Another that lies within it stays."""
    for part in ("_manifests", "_layers", "_uploads"):
        shutil.rmtree(storage.path(repository, part), ignore_errors=True)
    parts = repository.split("/")
    while parts:
        try:
            os.rmdir(storage.path("/".join(parts)))
        except OSError:
            return
        parts.pop()


def _remove(path):
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)

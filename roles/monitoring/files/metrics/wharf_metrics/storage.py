# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What lies in the storage, by repository. Nothing is read but directories, and nothing is held but the sums."""

from __future__ import annotations

import contextlib
import os

from wharf_storage import names
from wharf_storage.files import DIRECTORY
from wharf_storage.found import Oddities
from wharf_storage.storage import Storage

from .traffic import OTHER


def samples(directory, most):
    """The samples of a storage, with labels for so many repositories. Raises FileNotFoundError where there is none."""
    oddities = Oddities()
    with Storage(directory) as storage:
        usage = [_usage(storage, name) for name in storage.repositories(oddities)]
        total = sum(size for _digest, size, _time in storage.blobs(oddities))
    usage.sort(key=lambda one: (-one[1], one[0]))
    told = [one for one in usage[:most] if one[0] != OTHER]
    named = {one[0] for one in told}
    rest = [one for one in usage if one[0] not in named]
    if rest:
        told.append((OTHER, sum(one[1] for one in rest), sum(one[2] for one in rest)))
    return [
        ("wharf_storage_bytes", (), total),
        ("wharf_repositories", (), len(usage)),
        ("wharf_tags", (), sum(one[2] for one in usage)),
        *(("wharf_repository_storage_bytes", (name,), size) for name, size, _tags in told),
        *(("wharf_repository_tags", (name,), tags) for name, _size, tags in told),
    ]


def _usage(storage, repository):
    """(name, bytes, tags) of a repository."""
    size = 0
    for parts in (("_layers",), ("_manifests", "revisions")):
        for algorithm in names.ALGORITHMS:
            linked = _directories(storage, repository, *parts, algorithm)
            if linked:
                size += _sizes(storage, algorithm, linked)
    return repository, size, len(_directories(storage, repository, "_manifests", "tags"))


def _directories(storage, repository, *parts):
    try:
        with storage.enter_repository(repository, *parts) as found:
            return [name for name, kind in found.entries() if kind == DIRECTORY]
    except OSError:
        # Gone meanwhile, or odd, which a collection tells.
        return []


def _sizes(storage, algorithm, linked):
    size = 0
    try:
        with storage.enter("blobs", algorithm) as blobs:
            for digits in linked:
                with contextlib.suppress(OSError):
                    # A link in between could only make a number wrong.
                    place = f"{digits[:2]}/{digits}/data"
                    size += os.stat(place, dir_fd=blobs.descriptor, follow_symlinks=False).st_size
    except OSError:
        return 0
    return size


def disk(directory, forecast, now):
    """The samples of the file system. forecast: remembers how full it was."""
    found = os.statvfs(directory)
    size = found.f_frsize * found.f_blocks
    free = found.f_frsize * found.f_bavail
    used = size - free
    forecast.add(now, used)
    told = [("wharf_disk_size_bytes", (), size), ("wharf_disk_free_bytes", (), free)]
    seconds = forecast.seconds_until(used, size)
    return told if seconds is None else [*told, ("wharf_disk_full_in_seconds", (), round(seconds))]

# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A collection of images that are files of this host."""

from __future__ import annotations

import contextlib
import os
import time

import sweep
from garbage import Taken
from wharf_storage.storage import Storage


class OnDisk:
    """Where images lie. `wharf_bucket.place.InBucket` is the same for a bucket."""

    # Whether some of the repositories can be looked at again, without the others.
    looks_at_some = False

    def __init__(self, settings):
        self._settings = settings
        self.storage = Storage(settings.storage)

    def __enter__(self):
        return self

    def __exit__(self, *_exception):
        self.storage.close()

    @contextlib.contextmanager
    def alone(self):
        """Keeps collections of other hosts away. No other host has this disk."""
        yield

    def now(self):
        """The seconds of the clock by which what lies there has its times."""
        return time.time()

    def clear(self):
        """Ends what take_out() has begun, in this run or in one before."""
        sweep.empty_trash(self.storage)

    def take_out(self, garbage, _check):
        """Removes a part of it, while the registry is held, and returns what was Taken."""
        part = garbage.first(self._settings.batch)
        whole = len(part) < self._settings.batch
        problems, warnings = sweep.take_out(self.storage, part)
        return Taken(part, whole, problems, warnings)

    def figures(self):
        """What is told of the place itself: (name of the part of a report, the part)."""
        disk = os.statvfs(self.storage.directory)
        size, free = disk.f_frsize * disk.f_blocks, disk.f_frsize * disk.f_bavail
        used = (disk.f_blocks - disk.f_bfree) * disk.f_frsize
        # As df counts: what is kept for root is not available.
        used_percent = round(100 * used / (used + free), 1) if used + free else 0.0
        return "disk", {
            "path": self.storage.directory,
            "size": size,
            "free": free,
            "used_percent": used_percent,
            "full": used_percent >= self._settings.warn_percent,
        }

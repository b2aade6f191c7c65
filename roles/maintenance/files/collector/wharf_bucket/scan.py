# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The repositories of a bucket, from one list of all their objects."""

from __future__ import annotations

import hashlib

from ansible_collections.wharf.registry.plugins.module_utils._storage.s3_errors import S3Error

from wharf_bucket.clock import now_by
from wharf_bucket.groups import Groups
from wharf_bucket.repository import Repository


class Scan(Groups):
    """Knows the repositories below a prefix. What was seen before and is the same is not read again."""

    def __init__(self, client, prefix):
        super().__init__(client, prefix)
        self.repositories = {}
        # When the last list was made.
        self.time = 0.0

    def again(self, oddities):
        """Lists all of it."""
        former, self.repositories = self.repositories, {}
        self.objects = self.bytes = 0
        for name, objects in self.each(oddities):
            self.repositories[name] = self._of(name, objects, former.get(name))
        self.time = now_by(self._client)

    def again_of(self, chosen, oddities):
        """Lists some of them: what each has, or that it is gone."""
        for name in sorted(chosen):
            former = self.repositories.pop(name, None)
            if former is not None:
                self.objects -= former.objects
                self.bytes -= former.bytes
            # No repository within this one begins like that.
            for found, objects in self.each(oddities, f"{name}/_"):
                if found != name:
                    raise S3Error(
                        f"The storage lists {found} among the objects of {name}, and nothing more is removed",
                        "Use a storage that lists what begins as it is told",
                    )
                self.repositories[name] = self._of(name, objects, former)
        self.time = now_by(self._client)

    def gone(self, key):
        """Takes note of an object that was deleted."""
        name = self.place(key)[0] if key.startswith(self._prefix) else None
        if name in self.repositories:
            self.objects -= 1
            self.repositories[name].objects -= 1

    def _of(self, name, objects, known):
        """What it is by its objects, which are not read where they are what is known of it."""
        mark = _mark(objects)
        if known is not None and known.mark == mark:
            return known
        return Repository(name, mark).read(objects, self.read_link)


def _mark(objects):
    """A digest of the names, contents and times of objects."""
    found = hashlib.blake2b(digest_size=16)
    for _parts, listed in objects:
        found.update(f"{listed.key}\n{listed.etag}\n{listed.size}\n{listed.modified}\n".encode())
    return found.digest()

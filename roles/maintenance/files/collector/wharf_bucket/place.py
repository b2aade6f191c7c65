# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A collection of images that are objects of a bucket. What `on_disk.OnDisk` is for a disk."""

from __future__ import annotations

import contextlib

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import RegistryError
from collection import CollectionError
from garbage import Taken
from settings import SettingsError

from wharf_bucket.access import AccessError, read_access
from wharf_bucket.clock import now_by
from wharf_bucket.lock import BucketLock, LockError
from wharf_bucket.removal import Removal
from wharf_bucket.storage import BucketStorage

# Beside docker/, where the registry does not look.
_LOCK = "wharf-collection-lock/"
_NO_CONDITION = (
    "the storage does not keep to If-None-Match, so that the lock in the bucket is not sure: run collections on one "
    "host alone, as the role maintenance does"
)


class InBucket:
    """A context. Raises CollectionError in place of what S3 and the lock raise."""

    # A look at some of the repositories takes a list for each of them, and one at all as many lists as there are pages.
    looks_at_some = True

    def __init__(self, settings):
        self._settings = settings
        try:
            self._access, root = read_access(settings.s3, "Run maintain.yml, which writes it")
        except AccessError as error:
            raise SettingsError(str(error)) from None
        self._client = self._access.client()
        self.storage = BucketStorage(self._client, root, settings.push_seconds)
        prefix = f"{root}/{_LOCK}".lstrip("/")
        self._lock = BucketLock(self._access.client, prefix, settings.lease_seconds, settings.lock_seconds)

    def __enter__(self):
        return self

    def __exit__(self, _kind, error, _traceback):
        self._client.close()
        if isinstance(error, (RegistryError, LockError)):
            raise CollectionError(str(error)) from None

    @contextlib.contextmanager
    def alone(self):
        """Keeps the collections of all other hosts away."""
        with self._lock:
            yield

    def now(self):
        """The seconds of the clock by which what lies there has its times."""
        self._client.head_bucket()
        return now_by(self._client)

    def clear(self):
        """Nothing is put aside: an object is deleted at once."""

    def take_out(self, garbage, check):
        """Removes what can be removed in time, while the registry is held, and returns what was Taken."""

        def both():
            check()
            self._lock.check()

        removal = Removal(self._client, self.storage, both)
        whole = removal.run(garbage, self._settings.removal_seconds)
        self.storage.forget(removal.done)
        return Taken(removal.done, whole, [], [] if self._lock.conditional else [_NO_CONDITION])

    def figures(self):
        """What is told of the place itself: (name of the part of a report, the part)."""
        return "bucket", {
            "name": self._access.bucket,
            "endpoint": self._access.endpoint,
            **self.storage.figures(),
        }

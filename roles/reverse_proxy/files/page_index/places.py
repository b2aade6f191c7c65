# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the images of this host lie, and who else changes them."""

from __future__ import annotations

import sys
import time

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import RegistryError
from bucket_place import BucketPlace
from disk_place import DiskPlace
from shared_events import SharedEvents
from wharf_bucket.access import read_access

# How long other hosts are not asked after what they had written could not be read, in seconds.
_SILENCE = 10


class Place:
    """images is a DiskPlace or a BucketPlace; raises OSError where there is no disk, and AccessError."""

    def __init__(self, settings, catalog):
        self._shared = self._client = None
        # Until when they are not asked.
        self._silent_until = 0.0
        if not settings.s3:
            self.images = DiskPlace(settings.storage)
            return
        access, root = read_access(settings.s3, "Run site.yml, which writes it")
        self.images = BucketPlace(access.client(), root)
        if settings.others:
            # Of its own: what an image is read by may be in the middle of an answer.
            self._client = access.client()
            self._shared = SharedEvents(self._client, root, (settings.host, settings.others), catalog)

    def close(self):
        self.images.close()
        if self._client is not None:
            self._client.close()

    @property
    def news(self):
        """The Events that other hosts are told, in a list, which is empty where there are none."""
        return [self._shared.news] if self._shared else []

    def look_at_all(self):
        """Has other hosts look at all images."""
        if self._shared:
            self._shared.look_at_all()

    def exchange(self, events):
        """Tells other hosts what is new, and adds to events what they tell. Returns whether to look at all images."""
        if self._shared is None or time.monotonic() < self._silent_until:
            return False
        try:
            looks, self._silent_until = self._shared.exchange(events), 0.0
        except RegistryError as error:
            if not self._silent_until:
                told = "wharf-registry: page: what other hosts of the registry have changed is not known"
                print(f"{told}: {error}", file=sys.stderr, flush=True)
            self._silent_until = time.monotonic() + _SILENCE
            return False
        return looks

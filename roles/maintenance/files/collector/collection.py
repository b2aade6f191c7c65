# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One collection: what nothing needs is found, given time, found again while the registry is held, and removed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time

from contents import Contents
from garbage import Garbage, Keep, find
from holds import HoldError
from second_look import SETTLE_SECONDS, SecondLook


class CollectionError(Exception):
    """A collection that ended before its time. Nothing is lost, and the next one goes on."""


class Result:
    """What a collection has done: counts, bytes and seconds."""

    def __init__(self):
        self.tags = self.manifests = self.links = self.blobs = self.repositories = self.freed = 0
        self.held_seconds = 0.0
        self.refused = 0
        self.left = Garbage()

    def add(self, garbage):
        self.tags += len(garbage.tags)
        self.manifests += len(garbage.revisions)
        self.links += len(garbage.layers)
        self.blobs += len(garbage.blobs)
        self.repositories += len(garbage.empty)
        self.freed += sum(garbage.blobs.values())


@contextlib.contextmanager
def alone(settings):
    """Keeps other collections and backups away. Raises CollectionError where they take too long."""
    os.makedirs(os.path.dirname(settings.lock), mode=0o700, exist_ok=True)
    with open(settings.lock, "w", opener=lambda path, flags: os.open(path, flags | os.O_NOFOLLOW, 0o600)) as stream:
        end = time.monotonic() + settings.lock_seconds
        while True:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise CollectionError(
                        f"another collection or a backup has held {settings.lock} for {settings.lock_seconds} seconds. "
                        "Check it, and run this again when it has ended"
                    ) from None
                time.sleep(0.5)
        yield


class Collection:
    """Of one storage. place is OnDisk, or what does the same elsewhere; holds are Holds of the hosts that serve it."""

    def __init__(self, place, settings, holds):
        self._place, self._settings, self._holds = place, settings, holds
        self._contents = Contents(place.storage)
        self._result = Result()

    def look(self):
        """What would be removed, as a Result that has done nothing."""
        result = self._result
        # As it will be after the grace, where nothing comes in between.
        result.left = find(self._contents, self._recent(ahead=self._settings.grace_seconds))
        result.add(result.left)
        return result

    def collect(self):
        """The Result. Raises CollectionError."""
        try:
            self._collect()
        except HoldError as error:
            raise CollectionError(str(error)) from None
        self._result.held_seconds, self._result.refused = self._holds.seconds, self._holds.refused
        return self._result

    def _collect(self):
        settings = self._settings
        self._place.clear()
        second = SecondLook(self._contents, self._holds, settings, at_some=self._place.looks_at_some)
        self._result.left = earlier = second.first(Keep(settings.keep_digests))
        self._holds.forget_looks(max(settings.push_seconds, settings.grace_seconds))
        if not len(earlier):
            return
        # Who is about to pull or to use what has just become garbage has this time for it.
        time.sleep(settings.grace_seconds)
        whole = False
        while not whole:
            whole = self._remove_some(second)
            self._place.clear()

    def _remove_some(self, second):
        """Whether all was removed, while the registry was held once. Raises CollectionError and HoldError."""
        settings, holds, result = self._settings, self._holds, self._result
        for attempt in range(settings.attempts):
            if attempt:
                time.sleep(settings.pause_seconds)
            second.come_near(self._recent)
            with holds.held():
                time.sleep(SETTLE_SECONDS)
                if not holds.wait_for_quiet(settings.drain_seconds):
                    continue
                written = holds.written()
                garbage = second.look(self._recent)
                # What was let through, and has lost its client since, is still there. What was let through, and came
                # and ended between two looks of a slow proxy, has left its mark.
                if not holds.wait_for_quiet(settings.drain_seconds) or holds.written() != written:
                    continue
                # Also where the place removes at once, and does not ask in between.
                holds.check()
                taken = self._place.take_out(garbage, holds.check)
            second.forget(taken.part)
            result.add(taken.part)
            result.left = garbage
            garbage.problems += taken.problems
            garbage.warnings += taken.warnings
            garbage.bytes -= sum(taken.part.blobs.values())
            return taken.whole
        done = f"No more than {result.freed} bytes were freed" if result.freed else "Nothing was removed"
        raise CollectionError(
            f"the registry was being written to, {settings.attempts} times for {settings.drain_seconds} seconds. {done}"
            ": run this again at a quieter time, or raise maintenance_drain_seconds. If no client writes, a worker of "
            f"the proxy was killed, and still counts: docker restart {settings.proxy}"
        )

    def _recent(self, ahead=0):
        """What is kept for being recent, now or so many seconds later."""
        settings, now = self._settings, self._place.now()
        return Keep(
            settings.keep_digests,
            since=now + ahead - settings.grace_seconds,
            looked_at={digest: now - seconds for digest, seconds in self._holds.looks().items()},
            active_since=now + ahead - settings.upload_idle_seconds,
            pushing_since=now + ahead - settings.push_seconds,
        )

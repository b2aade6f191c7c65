# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One collection: what nothing needs is found, given time, found again while the registry is held, and removed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import time

import sweep
from contents import Contents
from garbage import Garbage, Keep, find
from hold import Hold

# A request that the proxy lets through is counted there a moment later.
_SETTLE_SECONDS = 0.2
# Beside the digests that a client has asked for, a file that grows with each write that has ended.
_WRITTEN = "written"
# Said by the quiet command, as curl says it: something writes.
_BUSY = 22


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


def look(storage, settings):
    """What a collection would remove, as a Result that has done nothing."""
    result, contents = Result(), Contents(storage)
    # As it will be after the grace, where nothing comes in between.
    now = time.time() + settings.grace_seconds
    result.left = find(contents, _recent(settings, now, _looked_at(settings)))
    result.add(result.left)
    return result


def collect(storage, settings):
    """The Result. Raises CollectionError."""
    result, contents = Result(), Contents(storage)
    sweep.empty_trash(storage)
    result.left = earlier = find(contents, Keep(settings.keep_digests))
    _forget_looks(settings)
    if not len(earlier):
        return result
    # Who is about to pull or to use what has just become garbage has this time for it.
    time.sleep(settings.grace_seconds)
    while True:
        part = _remove_some(contents, settings, earlier, result)
        sweep.empty_trash(storage)
        if len(part) < settings.batch:
            return result


def _remove_some(contents, settings, earlier, result):
    """The Garbage that was removed, while the registry was held once. Raises CollectionError."""
    for attempt in range(settings.attempts):
        if attempt:
            time.sleep(settings.pause_seconds)
        # A moment without writes, to begin with: others wait from then on only for what comes in between.
        _wait_for_quiet(settings, settings.pause_seconds, strict=True)
        hold = Hold(settings.hold_socket, settings.hold_group, settings.patience_seconds)
        try:
            with hold:
                time.sleep(_SETTLE_SECONDS)
                if not _wait_for_quiet(settings, settings.drain_seconds):
                    continue
                written = _written(settings)
                garbage = find(contents, _recent(settings, time.time(), _looked_at(settings))).both(earlier)
                part = garbage.first(settings.batch)
                # What was let through, and has lost its client since, is still there. What was let through, and came
                # and ended between two looks of a slow proxy, has left its mark.
                if not _wait_for_quiet(settings, settings.drain_seconds) or _written(settings) != written:
                    continue
                problems, warnings = sweep.take_out(contents.storage, part)
        finally:
            result.held_seconds += hold.seconds
            result.refused += hold.refused
        result.add(part)
        result.left = garbage
        garbage.problems += problems
        garbage.warnings += warnings
        garbage.bytes -= sum(part.blobs.values())
        return part
    done = f"No more than {result.freed} bytes were freed" if result.freed else "Nothing was removed"
    raise CollectionError(
        f"the registry was being written to, {settings.attempts} times for {settings.drain_seconds} seconds. {done}: "
        "run this again at a quieter time, or raise maintenance_drain_seconds. If no client writes, a worker of the "
        f"proxy was killed, and still counts: docker restart {settings.proxy}"
    )


def _recent(settings, now, looked_at):
    return Keep(
        settings.keep_digests,
        since=now - settings.grace_seconds,
        looked_at=looked_at,
        active_since=now - settings.upload_idle_seconds,
        pushing_since=now - settings.push_seconds,
    )


def _looks(settings):
    """Yields (entry, time) of what the proxy has left a file for."""
    if not settings.looked_at:
        return
    with os.scandir(settings.looked_at) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):
                if entry.is_file(follow_symlinks=False):
                    yield entry, entry.stat(follow_symlinks=False)


def _looked_at(settings):
    """{digest: time} of what a client has asked for."""
    return {entry.name: about.st_mtime for entry, about in _looks(settings)}


def _written(settings):
    """What tells one moment from a later one that has seen a write end."""
    try:
        about = os.stat(os.path.join(settings.looked_at, _WRITTEN), follow_symlinks=False)
    except FileNotFoundError:
        return None
    return about.st_ino, about.st_size


def _forget_looks(settings):
    """Removes what is too old to matter, and the marks of writes."""
    old = time.time() - max(settings.push_seconds, settings.grace_seconds)
    for entry, about in _looks(settings):
        if about.st_mtime < old or entry.name == _WRITTEN:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(entry.path)


def _wait_for_quiet(settings, seconds, strict=False):
    """Whether nothing that writes is on its way, within so many seconds.

    Raises CollectionError where the proxy can't be asked. Where that may last for a moment, as the proxy is replaced,
    it does so only if strict is true.
    """
    end = time.monotonic() + seconds
    while True:
        try:
            done = subprocess.run(
                settings.quiet_command,
                check=False,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                timeout=10,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise CollectionError(f"the proxy can't be asked whether something writes: {error}") from None
        if done.returncode == 0:
            return True
        if time.monotonic() > end:
            break
        time.sleep(0.1)
    if strict and done.returncode != _BUSY:
        words = done.stderr.decode(errors="replace").strip() or f"status {done.returncode}"
        raise CollectionError(
            f"the proxy can't be asked whether something writes: {words}. Nothing was removed: where it does not run, "
            "run site.yml, and then this again"
        )
    return False

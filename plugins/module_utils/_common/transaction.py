# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several files that change together: all of them, or none. Private to this collection."""

from __future__ import annotations

import base64
import contextlib
import errno
import os
import socket
import time

from ansible_collections.wharf.registry.plugins.module_utils._common.atomic_file import File, OvertakenError
from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError

_TURN_SECONDS = 300


@contextlib.contextmanager
def in_turn():
    """Keeps other runs out from the first reading to the last word of the engine. Yields whether it had to wait.

    What one run gives back when an engine refuses must not be what another has written meanwhile. The lock is a name of
    the kernel's and no file: it ends with the process, and a host that is only looked at stays as it is.
    """
    name = f"\0wharf.registry.{os.geteuid()}"
    end = time.monotonic() + _TURN_SECONDS
    waited = False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as lock:
        while True:
            try:
                lock.bind(name)
                break
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
            if time.monotonic() >= end:
                raise InputError(
                    f"another run has been at work on this host for {_TURN_SECONDS} seconds",
                    'Check which one it is (ss -xa | grep "@wharf"), and end it if it hangs',
                )
            waited = True
            time.sleep(0.05)
        yield waited


class State:
    """What a file holds: its bytes, permissions and (user, group). Never changes."""

    def __init__(self, content, mode=None, owner=None):
        self.content = content
        self.mode = mode
        self.owner = owner


class Change:
    """A file that is to hold `content`, or that is to go where this is None. Reading it is part of making it.

    mode: the permissions that it must have; without, it keeps those it has.
    """

    def __init__(self, path, content, mode=None, option=""):
        self.file = File(path, option)
        self.after = content
        self.mode = mode
        self.before = self._read()

    @property
    def path(self):
        return self.file.path

    @property
    def needed(self):
        if self.after is None:
            return self.before.content is not None
        return self.before.content != self.after or (self.mode is not None and self.before.mode != self.mode)

    def _read(self):
        content = self.file.load()
        return State(content, self.file.mode, self.file.owner)

    def apply(self):
        """Raises OvertakenError where the file is not as it was read, and InputError."""
        if self.after is None and self.before.content is None:
            return
        try:
            with self.file.locked():
                self._check_holds(self.before.content)
                self.put(State(self.after, self.mode))
        except BaseException:
            remove_empty(self.file.made_folders)
            raise

    def roll_back(self):
        """Gives the file what it held. Raises OvertakenError where another program has written it since."""
        with self.file.locked():
            self._check_holds(self.after)
            self.put(self.before)
        remove_empty(self.file.made_folders)

    def saved(self):
        """What `restored` makes this Change of again, in another process: something that JSON can hold."""
        return {
            "path": self.path,
            "mode": self.mode,
            "after": _as_text(self.after),
            "before": [_as_text(self.before.content), self.before.mode, self.before.owner],
            "made_folders": self.file.made_folders,
        }

    def _check_holds(self, content):
        if self._read().content != content:
            raise OvertakenError

    def put(self, state):
        """Has the file, which must be locked, hold this, whatever it holds now."""
        self.file.load()
        if state.content is not None:
            self.file.replace(state.content, state.mode, state.owner)
        elif self.file.mode is not None:
            self.file.remove()


def restored(saved):
    """The Change of which this was saved."""
    change = Change(saved["path"], _as_bytes(saved["after"]), saved["mode"])
    content, mode, owner = saved["before"]
    change.before = State(_as_bytes(content), mode, owner and tuple(owner))
    change.file.made_folders = saved["made_folders"]
    return change


def _as_text(content):
    return None if content is None else base64.b64encode(content).decode("ascii")


def _as_bytes(text):
    return None if text is None else base64.b64decode(text)


def apply_all(changes):
    """Applies those that are needed, in their order. Raises what the first failure raises, and nothing was changed."""
    applied = []
    try:
        for change in changes:
            if change.needed:
                # One that fails has changed nothing.
                change.apply()
                applied.append(change)
    except BaseException:
        roll_back_all(applied)
        raise
    return applied


def roll_back_all(changes):
    """Rolls back, the last one first. What another program has written since is left as it is.

    Returns the paths of what could not be given back, which keeps none of the others from it.
    """
    return [change.path for change in reversed(changes) if not _rolled_back(change)]


def _rolled_back(change):
    try:
        with contextlib.suppress(OvertakenError):
            change.roll_back()
    except InputError:
        return False
    return True


def remove_empty(folders):
    """Removes the directories in which nothing is left, the innermost first."""
    for folder in reversed(folders):
        with contextlib.suppress(OSError):
            os.rmdir(folder)

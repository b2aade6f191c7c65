# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host is to have at a path: a directory, a file with its content, or nothing. Private to this collection.

Each kind compares when it is made, and changes the path by `apply`. An owner is (user, group), as names. Another
run on the same host may do the same in between: what it made or removed is as good as this one's.
"""

from __future__ import annotations

import contextlib
import grp
import hashlib
import os
import pwd
import shutil
import stat

from ansible_collections.wharf.registry.plugins.module_utils._common.atomic_file import File, OvertakenError
from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError


class Placed:
    """What all kinds share. changed: whether the path is not as it should be; before and after are for a diff."""

    def __init__(self, path):
        self.path = path
        self.changed = False
        self.before = {}
        self.after = {}
        # The SHA-256 of the content of a file, in hexadecimal digits, as it is in the end.
        self.checksum = ""

    def apply(self):
        """Raises InputError."""
        raise NotImplementedError

    def diff(self):
        return {"before_header": self.path, "after_header": self.path, "before": self.before, "after": self.after}

    def _compare(self, before, after):
        """Keeps for the diff what differs."""
        self.changed = before != after
        differing = [name for name in after if before.get(name) != after[name]]
        self.before = {name: before.get(name) for name in differing}
        self.after = {name: after[name] for name in differing}


class PlacedDirectory(Placed):
    """A directory with an owner and a mode. A symbolic link to a directory stays one, and its target is changed."""

    def __init__(self, path, owner, mode):
        super().__init__(path)
        self._owner = owner
        self._mode = mode
        found = _stat(path)
        if found is not None and not stat.S_ISDIR(found.st_mode):
            raise InputError(f"{path} is not a directory", "Move it away, or give another path")
        self._found = found
        self._compare(
            {"state": "absent"} if found is None else _attributes(found, "directory", owner),
            {"state": "directory", "owner": owner[0], "group": owner[1], "mode": f"{mode:04o}"},
        )

    def apply(self):
        if not self.changed:
            return
        try:
            if self._found is None:
                os.makedirs(os.path.dirname(self.path) or "/", 0o755, exist_ok=True)
                with contextlib.suppress(FileExistsError):
                    # Root's own until it has its owner and mode.
                    os.mkdir(self.path, 0o700)
            _give(self.path, os.O_DIRECTORY, self._owner, self._mode)
        except OSError as error:
            raise InputError(f"the directory {self.path} can't be made: {error.strerror}", "Correct its path") from None


class PlacedFile(Placed):
    """A file with content, an owner and a mode.

    create_only: a file that exists keeps its content. secret: the diff does not show the content.
    check: called with the content before it is written; raises InputError where it is not valid.
    """

    def __init__(self, path, content, owner, mode, *, create_only=False, secret=False, check=None):
        super().__init__(path)
        self._file = File(path)
        self._owner = owner
        self._mode = mode
        self._check = check
        self._create_only = create_only
        held = self._file.load()
        self._decide(held, content)
        before = {"state": "absent"} if held is None else _attributes(os.stat(self._file.target), "file", owner)
        self._compare(before, {"state": "file", "owner": owner[0], "group": owner[1], "mode": f"{mode:04o}"})
        if self._writes:
            self.changed = True
            self.before, self.after = (
                ("(not shown)\n", "(not shown, another one)\n") if secret else (_text(held), _text(self._content))
            )

    def _decide(self, held, content):
        self._content = held if self._create_only and held is not None else content
        self._writes = held != self._content
        self.checksum = hashlib.sha256(self._content).hexdigest()

    def apply(self):
        if self._writes:
            if self._check is not None:
                self._check(self._content)
            try:
                with self._file.locked():
                    self._decide(self._file.load(), self._content)
                    self._file.replace(self._content, self._mode, _ids(self._owner, self.path))
            except OvertakenError:
                raise InputError(
                    f"another program has written {self.path} at the same time", "Run this again"
                ) from None
        elif self.changed:
            try:
                _give(self._file.target, os.O_NOFOLLOW, self._owner, self._mode)
            except OSError as error:
                raise InputError(
                    f"{self.path} can't be given its owner and mode: {error.strerror}", "Run as root (become)"
                ) from None


class PlacedNothing(Placed):
    """Nothing: a file, a link or a directory with all that is in it goes."""

    def __init__(self, path):
        super().__init__(path)
        found = os.path.lexists(path)
        self._compare({"state": "present" if found else "absent"}, {"state": "absent"})

    def apply(self):
        if not self.changed:
            return
        try:
            if os.path.isdir(self.path) and not os.path.islink(self.path):
                shutil.rmtree(self.path)
            else:
                os.unlink(self.path)
        except FileNotFoundError:
            if os.path.lexists(self.path):
                raise InputError(f"{self.path} changes while it is removed", "Run this again") from None
        except OSError as error:
            raise InputError(f"{self.path} can't be removed: {error.strerror}", "Remove it by hand") from None


def _stat(path):
    try:
        return os.stat(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror}", "Correct the path") from None


def _attributes(found, state, wanted):
    """Those of a path. An account of several names has the one that is wanted, where that is one of them."""
    return {
        "state": state,
        "owner": _name(pwd.getpwnam, pwd.getpwuid, found.st_uid, wanted[0]),
        "group": _name(grp.getgrnam, grp.getgrgid, found.st_gid, wanted[1]),
        "mode": f"{stat.S_IMODE(found.st_mode):04o}",
    }


def _name(by_name, by_number, number, wanted):
    """The name of a user or a group, or its number where it has none."""
    for lookup, key in ((by_name, wanted), (by_number, number)):
        try:
            entry = lookup(key)
        except KeyError:
            continue
        if entry[2] == number:
            return entry[0]
    return str(number)


def _text(content):
    return "" if content is None else content.decode("utf-8", "replace")


def _ids(owner, path):
    """(uid, gid) of (user, group). Raises InputError."""
    return _id(pwd.getpwnam, "user", owner[0], path), _id(grp.getgrnam, "group", owner[1], path)


def _id(lookup, what, name, path):
    try:
        return lookup(name)[2]
    except KeyError:
        raise InputError(f"{path} is to belong to the {what} {name}, which does not exist", "Create it") from None


def _give(path, flags, owner, mode):
    """Gives a path its owner and mode by a descriptor, so that both go to the same file. Raises OSError, InputError."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | flags)
    try:
        os.fchown(handle, *_ids(owner, path))
        # After the owner: a change of owner takes the bits for set-user-ID away.
        os.fchmod(handle, mode)
    finally:
        os.close(handle)

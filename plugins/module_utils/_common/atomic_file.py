# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files on disk: read, locked and replaced in one step. Private to this collection."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import time

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError

# Seconds that another writer may hold the lock. Each holds it for as long as a helper takes to answer.
_LOCK_SECONDS = 120
_MOST_BYTES = 16 << 20


class OvertakenError(Exception):
    """A program that takes no lock has written the file since it was read."""


class File:
    """A file on disk. Reading takes no lock; `locked` is held from the last reading to `replace` or `remove`.

    option names the module's option that gave the path, for messages.
    """

    # The permissions of a new file, and those that a file which is replaced may keep.
    new_mode = 0o644
    widest_mode = 0o7777
    # Those of a directory that is made for it.
    folder_mode = 0o755

    def __init__(self, path, option=""):
        if "\0" in path:
            raise InputError(f"{option or 'a path'} holds a NUL character", "Give the path of the file")
        self.path = path
        self._other = f"give another {option}" if option else "choose another one"
        # A symbolic link stays one: what it leads to is replaced.
        self._target = os.path.realpath(path)
        self._folder = os.path.dirname(self._target)
        self._found = None
        # The directories that were made for it, the outermost first.
        self.made_folders = []

    @property
    def target(self):
        """Where the file lies, whatever symbolic links lead there."""
        return self._target

    @property
    def mode(self):
        """The file's permissions, or None where it does not exist."""
        return None if self._found is None else stat.S_IMODE(self._found.st_mode)

    @property
    def owner(self):
        """(user, group) as numbers, or None where it does not exist."""
        return None if self._found is None else (self._found.st_uid, self._found.st_gid)

    def load(self):
        """The bytes, or None where there is no file. Raises InputError."""
        self._found = None
        try:
            found = os.stat(self._target)
            if stat.S_ISDIR(found.st_mode):
                raise InputError(f"{self.path} is a directory", "Give the path of the file, or move the directory away")
            if not stat.S_ISREG(found.st_mode):
                raise InputError(f"{self.path} is not a regular file", f"{self._other.capitalize()}")
            with open(self._target, "rb") as file:
                raw = file.read(_MOST_BYTES + 1)
                if len(raw) > _MOST_BYTES:
                    raise InputError(f"{self.path} has more than {_MOST_BYTES} bytes", f"{self._other.capitalize()}")
                self._found = os.fstat(file.fileno())
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._failed("read", error) from None
        return raw

    @contextlib.contextmanager
    def locked(self):
        """Keeps other writers of this collection out, and makes the directory where it is missing."""
        try:
            self._make_folder()
            lock = self._lock()
        except OSError as error:
            raise self._failed("written", error) from None
        try:
            yield
        finally:
            os.close(lock)

    def replace(self, content, mode=None, owner=None):
        """Replaces the file in one step: readers, also after a crash, find the old or the new one, whole.

        Without mode and owner, (user, group), it keeps those it has.
        """
        # One name, and the lock is held: what a killed run has left is found and removed.
        temporary = os.path.join(self._folder, f".{os.path.basename(self._target)}.wharf-new")
        try:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                with os.fdopen(handle, "wb") as file:
                    self._give_attributes(file.fileno(), mode, owner)
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                self._check_not_overtaken()
                os.replace(temporary, self._target)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(temporary)
                raise
            self._sync_folder()
        except OSError as error:
            raise self._failed("written", error) from None

    def remove(self):
        """Removes the file, and leaves a symbolic link that led to it."""
        try:
            self._check_not_overtaken()
            os.unlink(self._target)
            self._sync_folder()
        except OSError as error:
            raise self._failed("removed", error) from None

    def _check_not_overtaken(self):
        try:
            now = os.stat(self._target)
        except FileNotFoundError:
            now = None
        if _version(now) != _version(self._found):
            raise OvertakenError

    @property
    def missing_folders(self):
        """The directories that are to be made for it, the outermost first."""
        missing = []
        folder = self._folder
        while not os.path.lexists(folder):
            missing.append(folder)
            folder = os.path.dirname(folder)
        return missing[::-1]

    def _make_folder(self):
        for path in self.missing_folders:
            with contextlib.suppress(FileExistsError):
                self._make(path)
                self.made_folders.append(path)

    def _make(self, path):
        # By descriptors: the owner of the directory above could put a symbolic link in the place of the new one.
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        above = os.open(os.path.dirname(path), flags)
        try:
            os.mkdir(os.path.basename(path), self.folder_mode, dir_fd=above)
            new = os.open(os.path.basename(path), flags | os.O_NOFOLLOW, dir_fd=above)
            try:
                self._give_to_owner_of(above, new)
                # Whatever the umask says.
                os.fchmod(new, self.folder_mode)
            finally:
                os.close(new)
        finally:
            os.close(above)

    def _lock(self):
        """A locked descriptor: of the directory, which leaves nothing about, or of a file where that is needed."""
        lock = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._wait_for(lock)
        except OSError as error:
            os.close(lock)
            if error.errno not in (errno.EBADF, errno.EINVAL, errno.ENOLCK, errno.EOPNOTSUPP):
                raise
        except BaseException:
            os.close(lock)
            raise
        else:
            return lock
        # NFS locks what is open for writing, which no directory is.
        path = os.path.join(self._folder, f".{os.path.basename(self._target)}.wharf-lock")
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
        new = False
        try:
            lock = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600)
            new = True
        except FileExistsError:
            lock = os.open(path, flags)
        try:
            if new:
                self._give_to_owner_of(self._folder, lock)
            self._wait_for(lock)
        except BaseException:
            os.close(lock)
            raise
        return lock

    def _wait_for(self, lock):
        end = time.monotonic() + _LOCK_SECONDS
        while not _try_lock(lock):
            if time.monotonic() >= end:
                raise InputError(
                    f"{self._folder} has been locked by another process for {_LOCK_SECONDS} seconds",
                    "Check which one holds it (lslocks), and end it if it hangs",
                )
            time.sleep(0.02)

    def _give_attributes(self, handle, mode, owner):
        """Owner, mode and SELinux context of the file that is replaced."""
        if self._found is None:
            self._give_to_owner_of(self._folder, handle)
            if owner is not None:
                os.chown(handle, *owner)
            os.fchmod(handle, self.new_mode if mode is None else mode)
            return
        mine = os.fstat(handle)
        if owner is not None:
            os.chown(handle, *owner)
        else:
            if mine.st_uid != self._found.st_uid:
                os.chown(handle, self._found.st_uid, -1)
            if mine.st_gid != self._found.st_gid:
                # Where this account may not give it, the file is readable to another group, or to none.
                with contextlib.suppress(PermissionError):
                    os.chown(handle, -1, self._found.st_gid)
        os.fchmod(handle, (self.mode if mode is None else mode) & self.widest_mode)
        with contextlib.suppress(OSError, AttributeError):
            os.setxattr(handle, "security.selinux", os.getxattr(self._target, "security.selinux"))

    def _give_to_owner_of(self, folder, what):
        """Root that makes something in a user's directory makes it for the user."""
        if os.geteuid() == 0:
            owner = os.stat(folder)
            os.chown(what, owner.st_uid, owner.st_gid)

    def _sync_folder(self):
        # The file is in place; whether the directory is on the disk yet is a matter of power cuts, not of this answer.
        with contextlib.suppress(OSError):
            handle = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)

    def _failed(self, what, error):
        cures = {
            errno.EACCES: f"Run as its owner (become_user), or {self._other}",
            errno.EPERM: "Run as its owner (become_user), and look whether it is immutable (lsattr)",
            errno.ENOSPC: "Make space on its file system",
            errno.EDQUOT: "Make space: the quota of this account is used up",
            errno.EROFS: f"Its file system is read-only: {self._other}",
            errno.EBUSY: "It is mounted by itself: mount its directory instead",
            errno.ENOTDIR: "A file stands where one of its directories should be",
            errno.ELOOP: "Its symbolic links lead in a circle",
        }
        return InputError(
            f"{self.path} can't be {what}: {error.strerror}", cures.get(error.errno, "Nothing was changed in it")
        )


def _try_lock(lock):
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _version(found):
    return None if found is None else (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)

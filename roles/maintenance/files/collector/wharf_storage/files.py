# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Directories by their descriptors: what is open stays what it is, whatever its name leads to a moment later."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat

from .names import shown

_ENTER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PASS = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# A FIFO without a writer would be waited for, and a lease of another process.
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC

DIRECTORY, FILE, LINK, OTHER = "directory", "file", "symbolic link", "special file"
# Each turn takes one level off a tree: more levels than any tree of a registry has.
_MOST_TURNS = 200_000


class OddError(OSError):
    """Something that the registry does not make, where it would have to be followed, opened or waited for."""

    def __init__(self, path, kind):
        super().__init__(errno.ELOOP, f"the registry makes no {kind}, and this is one", path)
        self.kind = kind

    def __str__(self):
        return f"{self.strerror}: {shown(self.filename)}"


class Directory:
    """An open directory; closed at the end of a `with`. The path is for messages only."""

    __slots__ = ("descriptor", "path")

    def __init__(self, descriptor, path):
        self.descriptor, self.path = descriptor, path

    @classmethod
    def at(cls, path):
        """The one that an operator has named, who may lead there by a symbolic link."""
        return cls(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), str(path))

    def __enter__(self):
        return self

    def __exit__(self, *_exception):
        self.close()

    def close(self):
        os.close(self.descriptor)

    def join(self, *names):
        return "/".join((self.path, *names))

    # --- reading ------------------------------------------------------------------------------------------------------

    def enter(self, *names):
        """The directory by these names, from one to the next. Raises FileNotFoundError and OddError."""
        descriptor, ours = self.descriptor, False
        for position, name in enumerate(names, 1):
            try:
                inner = _open(name, _ENTER, descriptor, self.path, *names[:position])
            finally:
                if ours:
                    os.close(descriptor)
            descriptor, ours = inner, True
        return Directory(descriptor if ours else os.dup(descriptor), self.join(*names))

    def entries(self):
        """[(name, kind)] of what is in it, sorted."""
        with os.scandir(self.descriptor) as found:
            return sorted((entry.name, _kind(entry)) for entry in found)

    def open(self, *names):
        """The descriptor of a regular file, some directories down. Raises FileNotFoundError and OddError."""
        *between, last = names
        if between:
            with self.enter(*between) as inner:
                return inner.open(last)
        descriptor = _open(last, _READ, self.descriptor, self.path, last)
        kind = kind_of(os.fstat(descriptor))
        if kind != FILE:
            os.close(descriptor)
            raise OddError(self.join(last), kind)
        return descriptor

    def read(self, name, file, most):
        """(about, content) of a regular file in the directory of a name: quick, for there are many of them."""
        inner = _open(name, _PASS, self.descriptor, self.path, name)
        try:
            descriptor = _open(file, _READ, inner, self.path, name, file)
            try:
                about = os.fstat(descriptor)
                if not stat.S_ISREG(about.st_mode):
                    raise OddError(self.join(name, file), kind_of(about))
                return about, os.read(descriptor, most)
            finally:
                os.close(descriptor)
        finally:
            os.close(inner)

    def look(self, name, file):
        """What the kernel says of a file in the directory of a name, of whatever kind it is."""
        inner = _open(name, _PASS, self.descriptor, self.path, name)
        try:
            return os.stat(file, dir_fd=inner, follow_symlinks=False)
        finally:
            os.close(inner)

    # --- changing -----------------------------------------------------------------------------------------------------

    def make(self, name, mode=0o700):
        """The directory of that name, made where there is none; what is there and is no directory goes."""
        for _try in range(3):
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, mode, dir_fd=self.descriptor)
            try:
                return self.enter(name)
            except (OddError, FileNotFoundError):
                self.remove(name)
        raise OSError(errno.EEXIST, "It is replaced again and again", self.join(name))

    def move(self, name, target, new):
        """Gives an entry another name in an open directory. A symbolic link moves, and not what it leads to."""
        os.rename(name, new, src_dir_fd=self.descriptor, dst_dir_fd=target.descriptor)

    def unlink(self, name):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self.descriptor)

    def remove(self, name):
        """Removes an entry with all that is in it. Whether all of it is gone."""
        try:
            kind = kind_of(os.stat(name, dir_fd=self.descriptor, follow_symlinks=False))
            if kind == DIRECTORY:
                with self.enter(name) as inner:
                    inner.clear()
                os.rmdir(name, dir_fd=self.descriptor)
            else:
                os.unlink(name, dir_fd=self.descriptor)
        except FileNotFoundError:
            pass
        except OSError:
            return False
        return True

    def clear(self):
        """Removes all that is in it.

        What lies deeper is first moved up to here, so that no depth needs more than two open directories at once.
        """
        for _turn in range(_MOST_TURNS):
            moved = [self._clear(name, kind) for name, kind in self.entries()]
            if not any(moved):
                return

    def _clear(self, name, kind):
        """Removes an entry; whether something of it has moved up instead."""
        if kind != DIRECTORY:
            _quietly(os.unlink, name, dir_fd=self.descriptor)
            return False
        moved = False
        try:
            with self.enter(name) as inner:
                for below, its_kind in inner.entries():
                    if its_kind != DIRECTORY:
                        _quietly(os.unlink, below, dir_fd=inner.descriptor)
                    elif _quietly(os.rmdir, below, dir_fd=inner.descriptor):
                        pass
                    elif _quietly(inner.move, below, self, secrets.token_hex(8)):
                        moved = True
            os.rmdir(name, dir_fd=self.descriptor)
        except OSError:
            pass
        return moved

    def give(self, user, group, directory_mode, file_mode, depth=0):
        """Gives all that is in it, and itself, an owner and modes. What the registry does not make is removed.

        A file that has another name elsewhere is not this tree's alone, and no link of this one may change it.
        """
        os.fchown(self.descriptor, user, group)
        os.fchmod(self.descriptor, directory_mode)
        for name, kind in self.entries():
            if kind == DIRECTORY and depth < _MOST_DEPTH:
                with self.enter(name) as inner:
                    inner.give(user, group, directory_mode, file_mode, depth + 1)
            elif kind != FILE or not self._give_file(name, user, group, file_mode):
                self.remove(name)

    def _give_file(self, name, user, group, mode):
        """Whether it could be given."""
        descriptor = self.open(name)
        try:
            if os.fstat(descriptor).st_nlink != 1:
                return False
            os.fchown(descriptor, user, group)
            os.fchmod(descriptor, mode)
        finally:
            os.close(descriptor)
        return True


# A name of a repository has at most half as many parts as characters, and there are some directories around it.
_MOST_DEPTH = 200


def remove_tree(path):
    """Removes what is at a path, to which none but its user can change the way. Whether all of it is gone."""
    top, name = os.path.split(os.fspath(path))
    try:
        with Directory.at(top) as directory:
            return directory.remove(name)
    except FileNotFoundError:
        return True


def kind_of(about):
    mode = about.st_mode
    if stat.S_ISDIR(mode):
        return DIRECTORY
    if stat.S_ISREG(mode):
        return FILE
    return LINK if stat.S_ISLNK(mode) else OTHER


def _kind(entry):
    if entry.is_dir(follow_symlinks=False):
        return DIRECTORY
    if entry.is_symlink():
        return LINK
    return FILE if entry.is_file(follow_symlinks=False) else OTHER


def _open(name, flags, descriptor, *path):
    try:
        return os.open(name, flags, dir_fd=descriptor)
    except OSError as error:
        # A symbolic link, something else than a directory, a socket, and a FIFO or a lease that would be waited for.
        if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.ENXIO, errno.EWOULDBLOCK, errno.ENODEV):
            raise OddError("/".join(path), _kind_at(name, descriptor)) from None
        error.filename = "/".join(path)
        raise


def _kind_at(name, descriptor):
    try:
        return kind_of(os.stat(name, dir_fd=descriptor, follow_symlinks=False))
    except OSError:
        return OTHER


def _quietly(action, *arguments, **more):
    """Whether it could be done."""
    try:
        action(*arguments, **more)
    except OSError:
        return False
    return True

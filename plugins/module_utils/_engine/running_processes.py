# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Running processes of the host, as /proc shows them. Private to this collection."""

from __future__ import annotations

import contextlib
import os
import re
import time

_ACCEPTS_CONNECTIONS = 0x10000  # __SO_ACCEPTCON of the kernel
_ESCAPED = re.compile(r"\\([0-7]{3})")
# As many symbolic links as the kernel follows.
_LINKS = 40


def named(name):
    """The Processes of this name, without those of containers, which have a PID namespace of their own."""
    ids = sorted(int(entry) for entry in os.listdir("/proc") if entry.isdigit())
    processes = [Process(pid) for pid in ids]
    return [process for process in processes if process.name == name and process.arguments and process.is_of_this_host]


def last_change(path):
    """When a file was last written or removed, in seconds as of time.time(); 0 where its directory is not there."""
    there = next((one for one in (path, os.path.dirname(path)) if os.path.exists(one)), None)
    with contextlib.suppress(OSError):
        return os.stat(there).st_mtime if there else 0.0
    return 0.0


class Process:
    """A process, which may end at any moment: a property that cannot be read is empty."""

    def __init__(self, pid):
        self.pid = pid

    @property
    def name(self):
        return self._text("comm").strip()

    @property
    def arguments(self):
        """The command line, with the program first."""
        return self._text("cmdline").split("\0")[:-1]

    @property
    def environment(self):
        return dict(entry.partition("=")[::2] for entry in self._text("environ").split("\0") if entry)

    @property
    def program(self):
        """The path of the executable file, within the file system of the process."""
        return self._link("exe")

    @property
    def parent(self):
        """The parent Process: the one that started it, or the one that has adopted it."""
        return Process(int(self._status("PPid") or 0))

    @property
    def started(self):
        """When it was started, in seconds as of time.time(); 0 after its end."""
        fields = self._text("stat").rpartition(")")[2].split()
        if len(fields) < 20:
            return 0.0
        with open("/proc/uptime", encoding="ascii") as file:
            up = float(file.read().split()[0])
        return time.time() - (up - int(fields[19]) / os.sysconf("SC_CLK_TCK"))

    @property
    def account(self):
        """The effective user ID, or None after the end of the process."""
        numbers = self._status("Uid").split()
        return int(numbers[1]) if len(numbers) > 1 else None

    @property
    def is_of_this_host(self):
        return len(self._status("NSpid").split()) <= 1

    @property
    def unit(self):
        """The name of its systemd unit, or an empty string."""
        for line in self._text("cgroup").splitlines():
            _number, controllers, path = line.split(":", 2)
            units = [part for part in path.split("/") if part.endswith(".service")]
            if controllers in ("", "name=systemd") and units:
                return units[-1]
        return ""

    def listens(self, path):
        """Whether it accepts connections on a Unix socket."""
        folder, name = os.path.split(path)
        wanted = os.path.realpath(folder), name
        inodes = set()
        for line in self._text("net/unix").splitlines()[1:]:
            # Num RefCount Protocol Flags Type St Inode Path
            fields = line.split(None, 7)
            if len(fields) == 8 and int(fields[3], 16) & _ACCEPTS_CONNECTIONS:
                folder, name = os.path.split(fields[7])
                if (os.path.realpath(folder), name) == wanted:
                    inodes.add(f"socket:[{fields[6]}]")
        try:
            numbers = os.listdir(self._path("fd")) if inodes else []
        except OSError:
            return False
        return any(self._link(f"fd/{number}") in inodes for number in numbers)

    def host_path(self, path):
        """The path on this host of the file that the process sees at `path`, or None where there is none.

        The two differ for a process with a root or mounts of its own, such as a snap or a service with BindPaths.
        """
        path = os.path.normpath(os.path.join(self._link("cwd") or "/", path))
        if self.sees_our_files:
            return path
        if self._shares_our_mounts:
            return os.path.normpath(self._link("root") + self._resolved(path))
        # A path that does not exist yet is mapped by its nearest existing parent.
        there, rest = self._resolved(path), ""
        while there != "/" and not os.path.lexists(self._inside(there)):
            there, name = os.path.split(there)
            rest = os.path.join(name, rest) if rest else name
        found = self._outside(there)
        return os.path.join(found, rest) if found and rest else found

    @property
    def sees_our_files(self):
        # An account cannot inspect the processes of others, which proves nothing.
        return self._shares_our_mounts and self._link("root") in ("", "/")

    @property
    def _shares_our_mounts(self):
        return self._link("ns/mnt") in ("", os.readlink("/proc/self/ns/mnt"))

    def _outside(self, there):
        mounted = None
        for point, device, root in _mounts(self._text("mountinfo")):
            # A later mount hides an earlier one.
            if _is_below(there, point) and (mounted is None or len(point) >= len(mounted[0])):
                mounted = point, device, root
        if not mounted:
            return None
        point, device, root = mounted
        inner = os.path.normpath(os.path.join(root, os.path.relpath(there, point)))
        with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as file:
            ours = _mounts(file.read())
        candidates = [
            os.path.normpath(os.path.join(our_point, os.path.relpath(inner, our_root)))
            for our_point, our_device, our_root in ours
            if our_device == device and _is_below(inner, our_root)
        ]
        wanted = _identity(self._inside(there))
        candidates.sort(key=lambda candidate: candidate != there)
        return next((candidate for candidate in candidates if wanted and _identity(candidate) == wanted), None)

    def _inside(self, path):
        """The path of the file that the process sees at `path`, valid until its end."""
        return self._path("root") + path

    def _resolved(self, path):
        """The path without symbolic links, with absolute ones relative to the root of the process."""
        left = [part for part in path.split("/") if part]
        done, links = "/", 0
        while left:
            part = left.pop(0)
            if part == "..":
                done = os.path.dirname(done)
                continue
            step = os.path.join(done, part)
            try:
                target = os.readlink(self._inside(step))
            except OSError:
                done = step
                continue
            links += 1
            if links > _LINKS:
                return path
            if target.startswith("/"):
                done = "/"
            left = [part for part in target.split("/") if part not in ("", ".")] + left
        return done

    def _status(self, key):
        for line in self._text("status").splitlines():
            name, _colon, value = line.partition(":")
            if name == key:
                return value.strip()
        return ""

    def _text(self, name):
        try:
            with open(self._path(name), encoding="utf-8", errors="replace") as file:
                return file.read()
        except OSError:
            return ""

    def _link(self, name):
        try:
            return os.readlink(self._path(name))
        except OSError:
            return ""

    def _path(self, name):
        return f"/proc/{self.pid}/{name}"


def _identity(path):
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _is_below(path, folder):
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _mounts(text):
    """[(mount point, device, mounted directory of the device)] of a mountinfo."""
    found = []
    for line in text.splitlines():
        fields = line.split(" ")
        if len(fields) > 4:
            root, point = (_ESCAPED.sub(lambda code: chr(int(code.group(1), 8)), field) for field in fields[3:5])
            found.append((point, fields[2], root))
    return found

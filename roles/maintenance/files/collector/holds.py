# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The registry hosts that serve one storage, which a collection asks and holds together.

What a host has to do is what LocalHost does. Nothing is removed unless all of them answer. Ages are in seconds before
now, and so are the same whatever the clock of a host says.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import subprocess
import time

from hold import Hold
from wharf_storage import names

# Beside the digests that a client has asked for, the record of the proxy: a line for each write that it was about to
# let through, and one for each that has ended. The third file is ours: where it is gone, or of another run of the host,
# lines of the others may be missing.
_BEGUN, _WRITTEN, _RECORD = "begun", "written", "record"
# Of a HEAD, which changes nothing.
_NOWHERE = "-"
# Bytes of the record, from which on a look at all is no dearer.
_MOST_RECORD = 64 << 20
# Bytes of room on its disk, without which lines of the record may be missing.
_LEAST_ROOM = 16 << 20
# Said by the quiet command, as curl says it: something writes.
_BUSY = 22


class HoldError(Exception):
    """A host that can't be asked or held."""


class RecordError(Exception):
    """A record of writes that can't be relied on."""


class LocalHost:
    """This host: its proxy is asked by a command, and held by a socket that this process listens at."""

    name = "this host"

    def __init__(self, settings):
        self._settings = settings
        self._hold = None
        # Of all times that it was held.
        self.refused = 0

    def looks(self):
        """{digest: seconds since a client has asked for it}."""
        now = time.time()
        return {entry.name: now - about.st_mtime for entry, about in self._looks()}

    def forget_looks(self, seconds):
        """Removes the looks that are older."""
        old = time.time() - seconds
        for entry, about in self._looks():
            if about.st_mtime < old:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(entry.path)

    def begin_record(self):
        """Begins the record of what is written to: where it goes on, for written_to(); None where there is none."""
        if not self._settings.looked_at:
            return None
        # First the one that makes it whole.
        for name in (_RECORD, _BEGUN, _WRITTEN):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._mark(name))
        # After a power failure, the file may be there and lines of the others may not.
        token = f"{_boot()} {secrets.token_hex(16)}"
        descriptor = os.open(self._mark(_RECORD), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with open(descriptor, "w") as own:
            own.write(token)
        return [token, 0, 0]

    def written_to(self, since):
        """{named, unsure, since}, or None where the record is not whole, or says nothing of use.

        named are the repositories that were written to since then, and unsure those of which nobody knows whether the
        registry has ended; since is where the record goes on.
        """
        try:
            token, begun_from, ended_from = since
            disk = os.statvfs(self._settings.looked_at)
            if disk.f_bavail * disk.f_frsize < _LEAST_ROOM:
                return None
            if not token.startswith(f"{_boot()} ") or _read(self._mark(_RECORD), 0)[0] != token.encode():
                return None
            begun, begun_to = _lines(self._mark(_BEGUN), begun_from)
            ended, ended_to = _lines(self._mark(_WRITTEN), ended_from)
            ended = [line.split(" ") for line in ended]
            named = {*begun, *(name for name, _status in ended)} - {_NOWHERE}
            # A proxy that waits no longer does not stop the registry.
            unsure = {name for name, status in ended if not 100 <= int(status) < 499} - {_NOWHERE}
        except (OSError, ValueError, TypeError):
            # Among others, lines that the configuration of a former version has made.
            return None
        if not all(map(names.is_repository, named)):
            return None
        return {"named": sorted(named), "unsure": sorted(unsure), "since": [token, begun_to, ended_to]}

    def written(self):
        """What tells one moment from a later one that has seen a write end."""
        try:
            about = os.stat(self._mark(_WRITTEN), follow_symlinks=False)
        except FileNotFoundError:
            return None
        return about.st_ino, about.st_size

    def wait_for_quiet(self, seconds, strict=False):
        """Whether nothing that writes is on its way, within so many seconds.

        Raises HoldError where the proxy can't be asked. Where that may last for a moment, as the proxy is replaced, it
        does so only if strict is true.
        """
        end = time.monotonic() + seconds
        while True:
            try:
                done = subprocess.run(
                    self._settings.quiet_command,
                    check=False,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    timeout=10,
                )
            except (OSError, subprocess.TimeoutExpired) as error:
                raise HoldError(f"the proxy can't be asked whether something writes: {error}") from None
            if done.returncode == 0:
                return True
            if time.monotonic() > end:
                break
            time.sleep(0.1)
        if strict and done.returncode != _BUSY:
            words = done.stderr.decode(errors="replace").strip() or f"status {done.returncode}"
            raise HoldError(
                f"the proxy can't be asked whether something writes: {words}. Nothing was removed: where it does not "
                "run, run site.yml, and then this again"
            )
        return False

    def hold(self, _seconds):
        """Holds back what writes, until let_go() or the end of this process. Raises HoldError if not in time."""
        hold = Hold(self._settings.hold_socket, self._settings.hold_group, self._settings.patience_seconds)
        hold.__enter__()
        self._hold = hold

    def stands(self):
        """Whether it has been held without a break since hold()."""
        return self._hold is not None and self._hold.stands()

    def let_go(self):
        hold, self._hold = self._hold, None
        if hold is not None:
            hold.__exit__(None, None, None)
            self.refused += hold.refused

    def _mark(self, name):
        return os.path.join(self._settings.looked_at, name)

    def _looks(self):
        """Yields (entry, status) of what the proxy has left a file for."""
        if not self._settings.looked_at:
            return
        with os.scandir(self._settings.looked_at) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):
                    if entry.name not in (_BEGUN, _WRITTEN, _RECORD) and entry.is_file(follow_symlinks=False):
                        yield entry, entry.stat(follow_symlinks=False)


def _boot():
    """What tells this run of the host from all others."""
    with open("/proc/sys/kernel/random/boot_id") as stream:
        return stream.read().strip()


def _read(path, first):
    """(bytes from the first one on, the end) of a regular file, in a directory of another account."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    with open(descriptor, "rb") as stream:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode) or not first <= about.st_size <= _MOST_RECORD:
            raise ValueError(path)
        stream.seek(first)
        content = stream.read(about.st_size - first)
    return content, first + len(content)


def _lines(path, first):
    """(whole lines from there on, where they end). A file that is not there yet has none."""
    try:
        content, end = _read(path, first)
    except FileNotFoundError:
        if first:
            raise
        return [], 0
    whole, _newline, begun = content.rpartition(b"\n")
    # Most of them say the same.
    lines = set(whole.decode("ascii").split("\n")) if _newline else ()
    return lines, end - len(begun)


class Holds:
    """All hosts of a storage as one. Raises HoldError where one of them does not answer."""

    def __init__(self, hosts, seconds=10):
        self._hosts = hosts
        # Within which all of them have to be held.
        self._within = seconds
        # Where the record of each host goes on.
        self._records = [None] * len(hosts)
        # Of all times that they were held.
        self.seconds = 0.0

    @property
    def refused(self):
        return sum(host.refused for host in self._hosts)

    def looks(self):
        """{digest: seconds since a client of any host has asked for it}."""
        found = {}
        for host in self._hosts:
            for digest, seconds in host.looks().items():
                found[digest] = min(seconds, found.get(digest, seconds))
        return found

    def forget_looks(self, seconds):
        for host in self._hosts:
            host.forget_looks(seconds)

    def begin_record(self):
        """Begins the records of what is written to."""
        self._records = [host.begin_record() for host in self._hosts]

    def written_to(self):
        """(named, unsure) of all hosts since the last call. Raises RecordError where a record is not whole."""
        named, unsure = set(), set()
        for number, host in enumerate(self._hosts):
            told = host.written_to(self._records[number])
            if told is None:
                raise RecordError(f"{host.name} has no whole record of what was written to")
            named.update(told["named"])
            unsure.update(told["unsure"])
            self._records[number] = told["since"]
        return named, unsure

    def written(self):
        """What tells one moment from a later one that has seen a write end on any host."""
        return [host.written() for host in self._hosts]

    def wait_for_quiet(self, seconds, strict=False):
        """Whether nothing that writes is on its way on any host, within so many seconds as a whole."""
        end = time.monotonic() + seconds
        return all(host.wait_for_quiet(max(0, end - time.monotonic()), strict) for host in self._hosts)

    @contextlib.contextmanager
    def held(self):
        """A context in which all hosts are held, or none is."""
        began = time.monotonic()
        try:
            for host in self._hosts:
                host.hold(max(0, began + self._within - time.monotonic()))
            yield
        finally:
            # Each of them, whatever becomes of the others.
            with contextlib.ExitStack() as stack:
                for host in self._hosts:
                    stack.callback(host.let_go)
            self.seconds += time.monotonic() - began

    def check(self):
        """Raises HoldError unless all hosts have been held since the beginning."""
        for host in self._hosts:
            if not host.stands():
                raise HoldError(f"{host.name} is held no longer, so that nothing more is removed. Run this again")

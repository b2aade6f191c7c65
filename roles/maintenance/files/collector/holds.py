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
import subprocess
import time

from hold import Hold

# Beside the digests that a client has asked for, a file that grows with each write that has ended.
_WRITTEN = "written"
# Said by the quiet command, as curl says it: something writes.
_BUSY = 22


class HoldError(Exception):
    """A host that can't be asked or held."""


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
        """Removes the looks that are older, and the marks of writes."""
        old = time.time() - seconds
        for entry, about in self._looks():
            if about.st_mtime < old or entry.name == _WRITTEN:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(entry.path)

    def written(self):
        """What tells one moment from a later one that has seen a write end."""
        try:
            about = os.stat(os.path.join(self._settings.looked_at, _WRITTEN), follow_symlinks=False)
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

    def _looks(self):
        """Yields (entry, status) of what the proxy has left a file for."""
        if not self._settings.looked_at:
            return
        with os.scandir(self._settings.looked_at) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):
                    if entry.is_file(follow_symlinks=False):
                        yield entry, entry.stat(follow_symlinks=False)


class Holds:
    """All hosts of a storage as one. Raises HoldError where one of them does not answer."""

    def __init__(self, hosts, seconds=10):
        self._hosts = hosts
        # Within which all of them have to be held.
        self._within = seconds
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

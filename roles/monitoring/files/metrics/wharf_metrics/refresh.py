# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the sources in the background: a scrape never waits for one, and one that hangs stops no other."""

from __future__ import annotations

import sys
import threading
import time

# What takes long is read less often: for a twentieth of the time.
_REST = 20
# An alert tells of a source that was not read for hours.
_LONGEST_REST = 7200


class Source:
    """One source. read() returns samples; keeps: they are told on where it is gone, as after a restart of the host."""

    def __init__(self, name, seconds, read, *, keeps=False):
        self.name = name
        self._seconds = seconds
        self._read = read
        self.keeps = keeps
        self.samples = []
        # Seconds since 1970, 0 for never.
        self.read_at = 0.0
        # None where there is no such source.
        self.up = None
        self._problem = ""

    def refresh(self):
        """Read it once. Returns after how many seconds it is to be read again."""
        began = time.monotonic()
        problem = ""
        try:
            self.samples, self.up, self.read_at = self._read(), 1, time.time()
        except FileNotFoundError:
            self.up = None
            if not self.keeps:
                self.samples = []
        except Exception as error:  # noqa: BLE001 - whatever it holds, the others go on
            self.samples, self.up, problem = [], 0, f"{type(error).__name__}: {error}"
        if problem and problem != self._problem:
            print(f"wharf-registry: the source {self.name} can't be read: {ascii(problem)[:500]}", file=sys.stderr)
            sys.stderr.flush()
        self._problem = problem
        return max(self._seconds, min(_REST * (time.monotonic() - began), _LONGEST_REST))

    def told(self, now):
        """All samples, with those on the source itself."""
        if self.up is None:
            return list(self.samples)
        about = [("wharf_source_up", (self.name,), self.up)]
        if self.read_at:
            about.append(("wharf_source_age_seconds", (self.name,), round(max(0.0, now - self.read_at), 1)))
        return [*self.samples, *about]

    def start(self):
        threading.Thread(target=self._run, daemon=True, name=self.name).start()

    def _run(self):
        while True:
            time.sleep(self.refresh())

# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the callback `steps` writes."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import threading
import time
import typing

ERASE = "\r\x1b[K"


class Screen:
    """Writes lines, and on a terminal a last one that is overwritten.

    Two threads write: Ansible's events, and the clock. All goes through Ansible's Display, whose lock keeps threads
    from writing while Ansible forks; a fork in the middle of a write would hang the worker.
    """

    def __init__(self, display: object) -> None:
        self._display = display
        self._lock = threading.RLock()
        self._painted = False
        self._over = threading.Event()
        self._clock: threading.Thread | None = None
        self.terminal = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self.written = time.monotonic()

    def _write(self, text: str, **how: object) -> None:
        # Without a reader, as after `| head`, the play goes on.
        with contextlib.suppress(OSError):
            self._display.display(text, **how)
            sys.stdout.flush()

    def line(self, text: str, color: str | None = None, stderr: bool = False) -> None:
        with self._lock:
            self.clear()
            self._write(text, color=color, stderr=stderr)
            self.written = time.monotonic()

    def clear(self) -> None:
        """Make room for what others write."""
        with self._lock:
            if self._painted:
                self._write(ERASE, newline=False, screen_only=True)
                self._painted = False

    def paint(self, text: str) -> None:
        """Show what runs. The cursor goes back, so that what others write begins at the left."""
        room = shutil.get_terminal_size().columns - 1
        fit = ""
        for char in text:
            # Some characters take two columns, and a line that wraps could not be overwritten.
            room -= 1 if char.isascii() else 2
            if room < 0:
                break
            fit += char
        with self._lock:
            if not self._over.is_set():
                self._write(f"{ERASE}{fit}\r", newline=False, screen_only=True)
                self._painted = True

    def start(self, tick: typing.Callable[[], None]) -> None:
        """Call `tick` each second until the run is over."""

        def run() -> None:
            while not self._over.wait(1):
                tick()

        if self._clock is None:
            self._clock = threading.Thread(target=run, name="steps", daemon=True)
            self._clock.start()

    def stop(self) -> None:
        self._over.set()
        if self._clock is not None:
            # It may wait for a lock that a prompt holds.
            self._clock.join(2)
        self.clear()

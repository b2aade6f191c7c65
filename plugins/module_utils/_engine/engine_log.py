# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The log of a Docker Engine, in the journal or in a file. Private to this collection."""

from __future__ import annotations

import os
import re
import time

from ansible_collections.wharf.registry.plugins.module_utils._common.process import find, run
from ansible_collections.wharf.registry.plugins.module_utils._engine.daemon_json import without_users

# The longest text of an engine or of systemd that a message quotes.
QUOTE_LIMIT = 1000
# What dockerd logs when it rejects a reloaded configuration.
_REJECTION = re.compile(r"level=error.*(?:config|reload)|unable to configure|[Ee]rror reconfiguring", re.IGNORECASE)
_MESSAGE = re.compile(r'msg="((?:[^"\\]|\\.)*)"')
_READ_LIMIT = 1 << 20


class EngineLog:
    """The lines that an engine logs from now on.

    pid: the process of the engine; None for one that is yet to start, whose lines are those of the unit.
    """

    def __init__(self, pid, unit):
        self._pid = pid
        self._unit = unit
        self._since = time.time()
        # An init script redirects the output of the engine to a file.
        self._path = os.path.realpath(f"/proc/{pid}/fd/2") if pid else ""
        self._size = os.path.getsize(self._path) if os.path.isfile(self._path) else None

    def rejection(self):
        """The message that says why the engine rejected its configuration, or an empty string."""
        return next((message_of(line) for line in reversed(self._lines()) if _REJECTION.search(line)), "")

    def last_error(self):
        """The last message about a failed start, else the last error of any kind, else an empty string."""
        lines = self._lines()
        for kind in ("level=fatal|unable to configure|failed to start", "level=error|failed|unable"):
            errors = [line for line in lines if re.search(kind, line)]
            if errors:
                return message_of(errors[-1])
        return ""

    def _lines(self):
        return (self._file() if self._size is not None else self._journal()).splitlines()

    def _file(self):
        try:
            with open(self._path, "rb") as file:
                file.seek(self._size)
                return file.read(_READ_LIMIT).decode("utf-8", "replace")
        except OSError:
            return ""

    def _journal(self):
        if not find("journalctl"):
            return ""
        source = [f"_PID={self._pid}"] if self._pid else [f"--unit={self._unit}"]
        # The journal has a resolution of microseconds, and the engine may answer within a millisecond.
        return run(["journalctl", *source, f"--since=@{self._since:.6f}", "--output=cat", "--no-pager"])[1]


def message_of(line):
    """The message in a line of the log, without credentials, at most QUOTE_LIMIT characters."""
    found = _MESSAGE.search(line)
    text = found.group(1).replace('\\"', '"') if found else line.strip()
    return without_users(text)[:QUOTE_LIMIT]

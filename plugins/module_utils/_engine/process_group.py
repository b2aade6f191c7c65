# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The processes of a process group. Private to this collection."""

from __future__ import annotations

import contextlib
import glob
import os
import signal


def bytes_transferred(group):
    """The number of bytes that the processes of a group have read and written."""
    total = 0
    for folder in glob.glob("/proc/[0-9]*"):
        # A process may end at any moment.
        with contextlib.suppress(OSError, ValueError, IndexError):
            with open(f"{folder}/stat", encoding="utf-8", errors="replace") as file:
                if int(file.read().rpartition(")")[2].split()[2]) != group:
                    continue
            with open(f"{folder}/io", encoding="ascii") as file:
                total += sum(int(line.split()[1]) for line in file if line.startswith(("rchar", "wchar")))
    return total


def kill_group(process):
    """Kills the group of a subprocess that is its leader, and waits for its end."""
    with contextlib.suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()

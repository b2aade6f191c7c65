# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What outlasts a restart, in one file: the counters and the positions in the log that they have come to, together."""

from __future__ import annotations

import fcntl
import json
import os
import sys

FORMAT = 1


class State:
    """A file that is replaced in one step. One program at a time has it."""

    def __init__(self, path):
        self._path = path
        self._lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        # Raises BlockingIOError: two of them would count each line twice.
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def read(self, take):
        """Hand what was kept to take(), which raises where it can't be used. Returns whether it was taken."""
        try:
            with open(self._path, encoding="utf-8") as stream:
                found = json.load(stream)
            take(_known(found))
        except FileNotFoundError:
            return False
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            damaged = f"{self._path}.damaged"
            os.replace(self._path, damaged)
            print(
                f"wharf-registry: {self._path} is damaged ({error!r}) and was renamed to {damaged}. Counting begins "
                "anew from the end of the log. Nothing is to be done",
                file=sys.stderr,
                flush=True,
            )
            return False
        return True

    def write(self, document):
        replace(self._path, json.dumps({"format": FORMAT, **document}).encode(), 0o600)


def _known(found):
    if found["format"] != FORMAT:
        raise ValueError(f"its format is {found['format']}")
    return found


def replace(path, content, mode, durable=True):
    """Give a file this content, whole or not at all."""
    new = f"{path}.new"
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    with open(descriptor, "wb") as stream:
        os.fchmod(descriptor, mode)
        stream.write(content)
        stream.flush()
        if durable:
            os.fsync(descriptor)
    os.replace(new, path)

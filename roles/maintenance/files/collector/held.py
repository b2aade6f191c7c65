# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The registry as it is held for something that lasts, such as the switch to another storage.

The process that was started ends as soon as the registry is held, and leaves another one that holds it until its file
is removed. If it is not, it lets go after a while, unless the file beside it says that a switch is under way: replicas
with different storages must not be written to.
"""

from __future__ import annotations

import contextlib
import os
import time

from collection import CollectionError, alone
from holds import HoldError, Holds, LocalHost

# What was let through has this time to reach the proxy's count.
_SETTLE_SECONDS = 0.5
_SWITCHING = ".switching"


def stay(settings, path, seconds):
    """Returns once the registry is held. Raises CollectionError where it can't be.

    It may be held already, by what a run has left that was killed.
    """
    if _is_held(path):
        return
    reading, writing = os.pipe()
    child = os.fork()
    if child:
        os.close(writing)
        with os.fdopen(reading) as stream:
            said = stream.read()
        if said != "held":
            os.waitpid(child, 0)
            raise CollectionError(said or "the registry can't be held: the process that was to do it has ended")
        return
    os.close(reading)
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(nothing, descriptor)

    def say(text):
        with os.fdopen(writing, "w") as stream:
            stream.write(text)

    try:
        hold_until_released(settings, path, seconds, lambda: say("held"))
    except (CollectionError, HoldError, OSError) as error:
        say(str(error))
        os._exit(1)
    os._exit(0)


def _is_held(path):
    """Whether the process that has written the file is there, and is one of these."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        with open(path) as stream:
            process = stream.read().strip()
        with open(f"/proc/{process}/cmdline", "rb") as command:
            return os.fsencode(path) in command.read().split(b"\0")
    return False


def hold_until_released(settings, path, seconds, say):
    """Calls say() once the registry is held and nothing writes. Raises CollectionError and HoldError."""
    holds = Holds([LocalHost(settings)])
    with alone(settings):
        for attempt in range(settings.attempts):
            if attempt:
                time.sleep(settings.pause_seconds)
            holds.wait_for_quiet(settings.pause_seconds, strict=True)
            with holds.held():
                time.sleep(_SETTLE_SECONDS)
                if not holds.wait_for_quiet(settings.drain_seconds):
                    continue
                with open(path, "w") as stream:
                    stream.write(f"{os.getpid()}\n")
                say()
                end = time.monotonic() + seconds
                while os.path.exists(path) and (time.monotonic() < end or os.path.exists(path + _SWITCHING)):
                    time.sleep(0.1)
                if os.path.exists(path):
                    os.unlink(path)
                return
    raise CollectionError(
        f"the registry was being written to, {settings.attempts} times for {settings.drain_seconds} seconds. Run this "
        "again at a quieter time, or raise maintenance_drain_seconds. If no client writes, a worker of the proxy was "
        f"killed, and still counts: docker restart {settings.proxy}"
    )

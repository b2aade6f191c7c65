# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands of engines that transfer data, and so are ended when nothing moves any more. Private to this collection."""

from __future__ import annotations

import os
import subprocess
import time

from ansible_collections.wharf.registry.plugins.module_utils._common.process import find
from ansible_collections.wharf.registry.plugins.module_utils._engine.docker_api import EngineDownError
from ansible_collections.wharf.registry.plugins.module_utils._engine.process_group import bytes_transferred, kill_group

_POLL_SECONDS = 1


def run_command(program, arguments, timeout, engine, stdin=b""):
    """(exit status, standard output, standard error) of a program, as texts.

    engine: its name in messages. timeout: seconds without any transfer. Raises EngineDownError where the program can't
    be started, or where it and what it has started transfer nothing for that long.
    """
    try:
        process = subprocess.Popen(
            [find(program) or program, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        raise EngineDownError(
            f"the command {program} cannot be run ({error.strerror})", f"Install {engine}, or name another engine"
        ) from None
    try:
        stdout, stderr = _communicate(process, stdin, timeout, engine)
    finally:
        if process.poll() is None:
            kill_group(process)
    return process.returncode, stdout.decode("utf-8", "replace"), stderr.decode("utf-8", "replace")


def _communicate(process, stdin, timeout, engine):
    transferred, last, pending = -1, time.monotonic(), stdin
    while True:
        try:
            return process.communicate(pending or None, timeout=_POLL_SECONDS)
        except subprocess.TimeoutExpired:
            pending = None
        now = bytes_transferred(process.pid)
        if now != transferred:
            transferred, last = now, time.monotonic()
        elif time.monotonic() - last > timeout:
            raise EngineDownError(
                f"{engine} did nothing for {timeout} seconds",
                "Check the load and the network of this host, or raise timeout",
            )


def volatile_folder():
    """A directory that is emptied by a reboot, or None for the default one."""
    candidates = (os.environ.get("XDG_RUNTIME_DIR"), "/run")
    return next((path for path in candidates if path and os.access(path, os.W_OK)), None)

# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Control of a Docker Engine: validation of its file, reload and restart. Private to this collection."""

from __future__ import annotations

import os
import signal
import time

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError
from ansible_collections.wharf.registry.plugins.module_utils._common.process import find, run
from ansible_collections.wharf.registry.plugins.module_utils._engine.daemon_json import without_users
from ansible_collections.wharf.registry.plugins.module_utils._engine.docker_api import (
    DockerApi,
    EngineDownError,
    EngineError,
)
from ansible_collections.wharf.registry.plugins.module_utils._engine.dockerd_flags import without_flags
from ansible_collections.wharf.registry.plugins.module_utils._engine.dockerd_instance import DEFAULT_UNIT, VALIDATE
from ansible_collections.wharf.registry.plugins.module_utils._engine.effective_config import EffectiveConfig
from ansible_collections.wharf.registry.plugins.module_utils._engine.engine_log import QUOTE_LIMIT, EngineLog

_POLL_SECONDS = 0.05
# Reading the journal takes as long as a reload does, so it is not read at each poll.
_LOG_POLL_SECONDS = 0.5


class ConfigRejectedError(EngineError):
    """The engine has read its file and rejected it."""


class Daemon:
    """Controls the engine of a DockerdInstance. timeout: seconds for each action."""

    def __init__(self, instance, timeout):
        self._instance = instance
        self._timeout = timeout

    def effective_config(self):
        """The EffectiveConfig of the running engine, or None where no engine answers."""
        if self._instance.stopped:
            return None
        try:
            return EffectiveConfig(DockerApi(self._instance.socket, self._timeout).info())
        except EngineDownError:
            return None

    def check_file(self, config):
        """Raises InputError where the engine would reject the DaemonConfig."""
        instance = self._instance
        config.check(instance.arguments())
        program = instance.program
        if not program or instance.is_ignored:
            return
        # In memory, since the file may contain passwords, and a killed run must not leave it behind.
        with open(os.memfd_create("wharf", os.MFD_CLOEXEC), "wb") as file:
            file.write(config.raw)
            file.flush()
            path = f"/proc/{os.getpid()}/fd/{file.fileno()}"
            arguments = without_flags(
                instance.running_arguments or instance.unit_arguments(), ("--config-file", "--pidfile", "-p")
            )
            command = [program, VALIDATE, "--config-file", path, *arguments]
            status, output, error = run(command, self._timeout)
        reason = (error or output).strip()
        if f"unknown flag: {VALIDATE}" in reason:
            # Engines before 23 do not have this option. Only config.check applies to their files.
            config.check_plain()
        elif status not in (0, 127):
            reason = without_users(reason.replace(path, config.path))[-QUOTE_LIMIT:]
            raise InputError(f"dockerd rejects {config.path}: {reason}", "Nothing was changed: correct what it names")

    def reload(self, is_applied):
        """Has the engine read its file again, and waits until is_applied(EffectiveConfig) is true.

        Raises EngineError with the reason that the engine logs where that does not happen in time.
        """
        pid = self._instance.pid
        if not pid:
            raise EngineError(
                "the process of the Docker Engine was not found", "Restart the engine to let it read the file"
            )
        log = EngineLog(pid, self._instance.unit)
        try:
            os.kill(pid, signal.SIGHUP)
        except ProcessLookupError:
            raise EngineError("the Docker Engine has just ended", self._log_cure()) from None
        self._await(is_applied, log, "did not apply its configuration after a reload")

    def restart(self, is_applied):
        """As reload, by a restart of the service, which stops containers where live-restore is off."""
        instance = self._instance
        # The lines of the unit, since the new process does not exist yet.
        log = EngineLog(None, instance.unit or DEFAULT_UNIT)
        if find("systemctl") and os.path.isdir("/run/systemd/system"):
            if not instance.unit:
                raise self._no_service()
            # systemd does not start a unit that has failed too often, and a rollback must always be able to.
            run(instance.systemctl("reset-failed", instance.unit))
            command = instance.systemctl("restart", instance.unit)
        else:
            if instance.is_supervised:
                raise self._no_service()
            command = [find("service") or "service", "docker", "restart"]
        status, output, error = run(command, max(self._timeout, 120))
        instance.refresh()
        if status != 0:
            reason = log.last_error() or without_users((error or output).strip())[-QUOTE_LIMIT:]
            raise EngineError(f"the Docker Engine did not restart: {reason}", self._log_cure())
        self._await(is_applied, log, "did not apply its configuration after a restart")

    def _no_service(self):
        engine, starter = "the Docker Engine", ""
        process = self._instance.process
        if process:
            parent = process.parent
            engine += f" (process {process.pid})"
            starter = f", but by {parent.name} (process {parent.pid})" if parent.pid else ""
        return EngineError(
            f"{engine} is not restarted: it was not started by a service of its own{starter}",
            "Restart it with the program that started it",
        )

    def _log_cure(self):
        user = "--user " if self._instance.rootless else ""
        return f'Check "journalctl {user}-u {self._instance.unit or DEFAULT_UNIT}"'

    def _await(self, is_applied, log, failure):
        now = time.monotonic()
        end, next_look = now + self._timeout, now + _LOG_POLL_SECONDS
        while True:
            effective = self.effective_config()
            if effective is not None and is_applied(effective):
                return
            now = time.monotonic()
            rejection = ""
            if now >= next_look:
                rejection, next_look = log.rejection(), now + _LOG_POLL_SECONDS
            if rejection or now >= end:
                reason = rejection or log.last_error() or "it logged no reason"
                raise (ConfigRejectedError if rejection else EngineError)(f"the Docker Engine {failure}: {reason}")
            time.sleep(_POLL_SECONDS)

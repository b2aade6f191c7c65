# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Engines that read their file of registries only when their service starts. Private to this collection."""

from __future__ import annotations

import os

from ansible_collections.wharf.registry.plugins.module_utils._common.process import find, run, told_version
from ansible_collections.wharf.registry.plugins.module_utils._common.transaction import roll_back_all
from ansible_collections.wharf.registry.plugins.module_utils._engine.docker_api import EngineError
from ansible_collections.wharf.registry.plugins.module_utils._engine.engine_trust import EngineTrust
from ansible_collections.wharf.registry.plugins.module_utils._engine.running_processes import Process, last_change
from ansible_collections.wharf.registry.plugins.module_utils._engine.systemd_units import UNITS, exists

_QUOTED = 1000
# The command ends when the service is ready, which takes a server of RKE2 minutes.
_RESTART_SECONDS = 900


class ServiceTrust(EngineTrust):
    """An engine with one file of registries. Its class sets `_path`, and plans the Changes."""

    program = ""
    # Its services, of which any may be there.
    units = ()
    # What a restart means for what runs.
    restart_note = ""

    def __init__(self, params):
        super().__init__()
        self._apply = params["apply"]
        self._timeout = params["timeout"]
        self._path = ""
        self._units = None
        # Whether the file has lines of ours, or had.
        self._is_ours = True
        # The services that were restarted.
        self._told = ()

    @property
    def is_default(self):
        return os.geteuid() == 0 and (bool(find(self.program)) or any(exists(unit, UNITS) for unit in self.units))

    def refresh(self):
        self._units = None

    def report(self, changed):
        if changed:
            self.refresh()
        return {
            "installed": self.is_default,
            "running": bool(self._running()),
            "restart_needed": self.restart_needed,
            "version": told_version(self.program, self._timeout),
        }

    def _running(self):
        """{unit: process ID} of the services that run."""
        if self._units is None:
            self._units = {}
            for unit in self.units:
                if not exists(unit, UNITS):
                    continue
                said = run(["systemctl", "show", "--property=MainPID", "--value", unit], self._timeout)[1].strip()
                if said.isdigit() and int(said):
                    self._units[unit] = int(said)
        return self._units

    def _has_read(self):
        """Whether all that runs was started after the file was last written."""
        written = last_change(self._path)
        return all(Process(pid).started >= written for pid in self._running().values())

    def needs_reload(self, changes):
        self.restart_needed, self.warnings = False, []
        writes = any(change.path == self._path for change in changes)
        if not self._running() or not (writes or (self._is_ours and not self._has_read())):
            return False
        if self._apply == "restart":
            return True
        self.restart_needed = True
        units = " ".join(self._running())
        self.warnings.append(
            f"{self.name} has not read {self._path} since it was written: restart it (systemctl restart {units}), "
            f"{self.restart_note}."
        )
        return False

    def reload(self):
        self._told = tuple(self._running())
        status, output, error = self._restart()
        if status != 0:
            reason = (error or output).strip()[-_QUOTED:]
            raise EngineError(f"{self.name} did not restart: {reason}", f"See journalctl --unit {' '.join(self.units)}")
        self.refresh()

    def owns(self, change):
        return bool(self._told) and change.path == self._path

    def roll_back(self, changes):
        unrestored = roll_back_all(changes)
        if changes:
            # The error that caused the rollback is more useful than one of the rollback itself.
            self._restart()
        return unrestored

    def _restart(self):
        return run(["systemctl", "restart", *self._told], max(self._timeout, _RESTART_SECONDS))

# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The trust of a host in registries, for all of its engines in one transaction. Private to this collection."""

from __future__ import annotations

import contextlib
import os

from ansible_collections.wharf.registry.plugins.module_utils._common.atomic_file import OvertakenError
from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError
from ansible_collections.wharf.registry.plugins.module_utils._common.transaction import (
    State,
    apply_all,
    in_turn,
    remove_empty,
    roll_back_all,
)
from ansible_collections.wharf.registry.plugins.module_utils._common.x509 import fingerprints
from ansible_collections.wharf.registry.plugins.module_utils._engine.desired_state import DesiredState, is_certificate
from ansible_collections.wharf.registry.plugins.module_utils._engine.docker_api import EngineError
from ansible_collections.wharf.registry.plugins.module_utils._engine.docker_trust import DockerTrust
from ansible_collections.wharf.registry.plugins.module_utils._engine.dockerd import ConfigRejectedError
from ansible_collections.wharf.registry.plugins.module_utils._engine.podman_trust import PodmanTrust

# How often to start again after another process has written one of the files.
_ATTEMPTS = 5


class RegistryTrust:
    """The trust of this host in registries, as the options of registry_client describe it.

    params maps the names of the options to their values. `warnings` complements the result of `run`.
    """

    def __init__(self, params, check_mode):
        self._params = params
        self._check_mode = check_mode
        self._engines = _find_engines(params)
        self._docker = next((engine for engine in self._engines if engine.name == DockerTrust.name), None)
        self._applied = []
        self._reloaded = self._restart_needed = False
        self.warnings = []
        # The paths that a rollback could not restore.
        self.unrestored = []

    def run(self):
        """The result of registry_client. Raises RegistryError, after a rollback of all changes."""
        present, upstreams = self._params["state"] == "present", self._params["upstream_mirrors"]
        desired = DesiredState(self._params["registries"], self._params["mirrors"], present, upstreams)
        changes = self._run(desired)
        self.warnings = [*dict.fromkeys([*desired.warnings, *self.warnings])]
        before, after = _diff_of(self._engines, changes)
        changed = bool(changes) or self._reloaded
        return {
            "changed": changed,
            "changed_files": [change.path for change in changes],
            "reloaded": self._reloaded,
            "restart_needed": self._restart_needed,
            "engine": {engine.name: engine.report(changed) for engine in self._engines},
            "diff": {"before": before, "after": after},
        }

    def take_back(self):
        """Restores the files and the engine as they were before `run`. `unrestored` has those that were not."""
        if self._applied:
            with in_turn():
                self._roll_back()

    def _run(self, desired):
        """The Changes that were made, or in check mode those that would be."""
        if self._check_mode:
            return self._plan(desired)
        with in_turn() as waited:
            for engine in self._engines if waited else ():
                engine.refresh()
            for _attempt in range(_ATTEMPTS):
                with contextlib.suppress(OvertakenError):
                    return self._apply(desired)
        raise InputError(
            "another process keeps writing the same files", "Run the task again when that process has finished"
        )

    def _plan(self, desired):
        """The required Changes of all engines, each file once. Raises InputError."""
        self.warnings = []
        changes = {}
        for engine in self._engines:
            for change in engine.plan(desired):
                # A symbolic link can make the directories of two engines the same.
                changes.setdefault(change.file.target, change)
        needed = [change for change in changes.values() if change.needed]
        self._restart_needed = False
        self._reloaded = self._docker is not None and self._needs_reload(needed)
        return needed

    def _apply(self, desired):
        changes = self._plan(desired)
        self._applied = apply_all(changes)
        try:
            if self._reloaded:
                self._reload()
            for engine in self._engines if self._applied else ():
                engine.check()
        except BaseException as error:
            self._roll_back()
            if isinstance(error, EngineError):
                left = " and ".join(self.unrestored)
                state = f"{left} could not be restored" if left else "The previous files were restored"
                raise EngineError(error.message, f"{state}. {error.cure}") from None
            raise
        for change in self._applied:
            if change.after is None and is_certificate(change.path):
                # The directory of the registry goes with its last file.
                remove_empty([os.path.dirname(change.path)])
        return changes

    def _needs_reload(self, changes):
        """Whether this run is to reload the engine. A reload that is needed and not to be made leads to a warning."""
        docker = self._docker
        writes = any(change.path == docker.config_path for change in changes)
        if docker.unresponsive and writes:
            self._restart_needed = True
            self.warnings.append(
                f"The Docker Engine runs (process {docker.instance.pid}) and does not answer on "
                f"{docker.instance.socket}, so it was not reloaded. Reload or restart it."
            )
        if not docker.effective or not (writes or not docker.is_applied(docker.effective)):
            return False
        apply = self._params["apply"]
        if apply == "never" or (not docker.instance.pid and apply != "restart"):
            self._restart_needed = True
            self.warnings.append(_restart_warning(docker.effective))
            return False
        return True

    def _reload(self):
        """Has the engine apply what was written. Raises EngineError."""
        docker = self._docker
        try:
            docker.daemon.reload(docker.is_applied)
        except ConfigRejectedError as error:
            raise ConfigRejectedError(error.message, "Correct what it names in its file") from None
        except EngineError as error:
            if self._params["apply"] != "restart":
                raise EngineError(error.message, "Where a reload is not enough, set apply to restart") from None
            if docker.effective.restart_stops_containers:
                self.warnings.append(
                    f"The restart of the Docker Engine stopped {docker.effective.containers_running} containers, since "
                    "live-restore is off."
                )
            docker.restart_tried = True
            docker.daemon.restart(docker.is_applied)

    def _roll_back(self):
        docker, applied = self._docker, self._applied
        self._applied = []
        config = [change for change in applied if docker and change.path == docker.config_path]
        self.unrestored += roll_back_all([change for change in applied if change not in config])
        self.unrestored += [change.path for change in config if not docker.roll_back(change)]
        if docker and docker.restart_tried and not docker.daemon.effective_config():
            # The engine did not start with what was written, and must not stay down.
            with contextlib.suppress(EngineError):
                docker.daemon.restart(lambda _effective: True)


def _find_engines(params):
    """The engines of the option `engines`, or by default those that are installed. Raises InputError."""
    wanted = params["engines"]
    engines = []
    if wanted is None or DockerTrust.name in wanted:
        engines.append(
            DockerTrust(params["timeout"], params["certs_dir"], params["daemon_config_path"], params["apply"])
        )
    if wanted is None or PodmanTrust.name in wanted:
        engines.append(PodmanTrust(params["timeout"], params["certs_dir"]))
    if wanted is None:
        # The files of Docker can be written before Docker is installed.
        engines = [engine for engine in engines if engine.installed] or engines[:1]
    return engines


def _restart_warning(effective):
    warning = "The Docker Engine has not applied its configuration file: reload or restart it."
    if effective.restart_stops_containers:
        warning += (
            f" A restart would stop {effective.containers_running} containers, since live-restore is off; a reload "
            "stops none."
        )
    return warning


def _diff_of(engines, changes):
    """(before, after): the registry settings in the files. Keys and unrelated settings are never shown."""
    config_paths = {engine.config_path: engine for engine in engines if engine.name == DockerTrust.name}

    def lines_of(change, state):
        if state.content is None:
            return [f"{change.path}: none"]
        if change.path in config_paths:
            lines = config_paths[change.path].diff_lines(state.content)
        elif is_certificate(change.path):
            lines = fingerprints(state.content.decode("utf-8", "replace"))
        else:
            lines = state.content.decode("utf-8", "replace").splitlines()
        mode = "" if change.mode is None else f" ({state.mode:04o})"
        return [f"{change.path}{mode}:", *(f"  {line}" for line in lines)]

    before = [line for change in changes for line in lines_of(change, change.before)]
    after = [line for change in changes for line in lines_of(change, State(change.after, change.mode))]
    return "".join(f"{line}\n" for line in before), "".join(f"{line}\n" for line in after)

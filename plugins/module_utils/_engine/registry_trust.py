# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The trust of a host in registries, for all of its engines in one transaction. Private to this collection."""

from __future__ import annotations

import contextlib
import copy
import os
from concurrent.futures import ThreadPoolExecutor

from ansible_collections.wharf.registry.plugins.module_utils._common.atomic_file import OvertakenError
from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError
from ansible_collections.wharf.registry.plugins.module_utils._common.transaction import (
    State,
    apply_all,
    in_turn,
    remove_empty,
    restored,
    roll_back_all,
)
from ansible_collections.wharf.registry.plugins.module_utils._common.x509 import fingerprints
from ansible_collections.wharf.registry.plugins.module_utils._engine.buildkit_trust import BuildkitTrust
from ansible_collections.wharf.registry.plugins.module_utils._engine.containerd_trust import ContainerdTrust
from ansible_collections.wharf.registry.plugins.module_utils._engine.desired_state import DesiredState, is_certificate
from ansible_collections.wharf.registry.plugins.module_utils._engine.docker_api import EngineError
from ansible_collections.wharf.registry.plugins.module_utils._engine.docker_trust import DockerTrust
from ansible_collections.wharf.registry.plugins.module_utils._engine.hosts_toml import FILE
from ansible_collections.wharf.registry.plugins.module_utils._engine.podman_trust import PodmanTrust
from ansible_collections.wharf.registry.plugins.module_utils._engine.policies import SIGNATURES
from ansible_collections.wharf.registry.plugins.module_utils._engine.rancher_trust import K3sTrust, Rke2Trust

# Docker comes first: its files are written where no engine is there, so that it can be installed afterwards.
_ENGINES = (DockerTrust, PodmanTrust, ContainerdTrust, K3sTrust, Rke2Trust, BuildkitTrust)
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
        self._applied = []
        # The engines that are to be told, or were.
        self._told = []
        self.warnings = []
        # The paths that a rollback could not restore.
        self.unrestored = []

    @property
    def has_engine(self):
        """Whether one of the engines is here."""
        return any(engine.is_default for engine in self._engines)

    def run(self):
        """The result of registry_client. Raises RegistryError, after a rollback of all changes."""
        present, upstreams = self._params["state"] == "present", self._params["upstream_mirrors"]
        policies = self._params["policies"]
        desired = DesiredState(self._params["registries"], self._params["mirrors"], present, upstreams, policies)
        if desired.policies and present and not any(engine.follows_policies for engine in self._engines):
            names = " and ".join(engine.name for engine in self._engines)
            desired.warnings.append(f"No engine of this host ({names}) checks signatures: policies have no effect.")
        changes = self._run(desired)
        self.warnings = [
            *dict.fromkeys([*desired.warnings, *(text for engine in self._engines for text in engine.warnings)])
        ]
        before, after = _diff_of(self._engines, changes)
        changed = bool(changes or self._told)
        return {
            "changed": changed,
            "changed_files": [change.path for change in changes],
            "reloaded": bool(self._told),
            "restart_needed": any(engine.restart_needed for engine in self._engines),
            "engine": dict(self._of_each(lambda engine: (engine.name, engine.report(changed)))),
            "diff": {"before": before, "after": after},
        }

    def take_back(self):
        """Restores the files and the engine as they were before `run`. `unrestored` has those that were not."""
        if self._applied:
            with in_turn():
                self._roll_back()

    def saved(self):
        """What another RegistryTrust needs to `take_up` and take back what this one did. JSON can hold it."""
        return [change.saved() for change in self._applied]

    def take_up(self, saved):
        """Goes on as the RegistryTrust whose `saved` this is."""
        self._applied = [restored(one) for one in saved]

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
        changes = {}
        for warnings, planned in self._of_each(lambda engine: _planned(engine, desired)):
            desired.warnings += warnings
            for change in planned:
                # A symbolic link, or certs_dir, can make the directories of two engines the same. What the later one
                # needs holds what the one before it needs.
                target = change.file.target
                if target not in changes or (change.needed or not changes[target].needed):
                    changes[target] = change
        needed = [change for change in changes.values() if change.needed]
        self._told = [engine for engine in self._engines if engine.needs_reload(needed)]
        return needed

    def _apply(self, desired):
        changes = self._plan(desired)
        self._applied = apply_all(changes)
        try:
            self._of_each(self._tell)
        except BaseException as error:
            self._roll_back()
            if isinstance(error, EngineError):
                left = " and ".join(self.unrestored)
                state = f"{left} could not be restored" if left else "The previous files were restored"
                raise EngineError(error.message, f"{state}. {error.cure}") from None
            raise
        for change in self._applied:
            if change.after is None and _has_a_folder_of_its_own(change.path):
                # The directory goes with its last file.
                remove_empty([os.path.dirname(change.path)])
        return changes

    def _tell(self, engine):
        if engine in self._told:
            engine.reload()
        if self._applied:
            engine.check()

    def _of_each(self, ask):
        """What is said of each engine, in their order. They are asked at once: most of it is waiting for programs."""
        if len(self._engines) == 1:
            return [ask(self._engines[0])]
        with ThreadPoolExecutor(len(self._engines)) as pool:
            return list(pool.map(ask, self._engines))

    def _roll_back(self):
        applied, self._applied = self._applied, []
        own = [(engine, [change for change in applied if engine.owns(change)]) for engine in self._engines]
        told = [change for _engine, changes in own for change in changes]
        self.unrestored += roll_back_all([change for change in applied if change not in told])
        for engine, changes in own:
            self.unrestored += engine.roll_back(changes)
            engine.recover()
        for change in applied:
            # One that still held a file of an engine's own when the others were restored.
            remove_empty(change.file.made_folders)


def _planned(engine, desired):
    """(warnings, Changes) of an engine."""
    view = copy.copy(desired)
    view.warnings = []
    changes = engine.plan(view)
    return view.warnings, changes


def _has_a_folder_of_its_own(path):
    folder, name = os.path.split(path)
    return is_certificate(path) or name == FILE or os.path.basename(folder) == SIGNATURES


def _find_engines(params):
    """The engines of the option `engines`, or by default those that are installed. Raises InputError."""
    wanted = params["engines"]
    engines = [engine(params) for engine in _ENGINES if wanted is None or engine.name in wanted]
    if wanted is None:
        engines = [engine for engine in engines if engine.is_default] or engines[:1]
    return engines


def _diff_of(engines, changes):
    """(before, after): the registry settings in the files. Keys and unrelated settings are never shown."""

    def lines_of(change, state):
        if state.content is None:
            return [f"{change.path}: none"]
        known = (engine.shown(change.path, state.content) for engine in engines)
        lines = next((found for found in known if found is not None), None)
        if lines is not None:
            pass
        elif is_certificate(change.path):
            lines = fingerprints(state.content.decode("utf-8", "replace"))
        else:
            lines = state.content.decode("utf-8", "replace").splitlines()
        mode = "" if change.mode is None else f" ({state.mode:04o})"
        return [f"{change.path}{mode}:", *(f"  {line}" for line in lines)]

    before = [line for change in changes for line in lines_of(change, change.before)]
    after = [line for change in changes for line in lines_of(change, State(change.after, change.mode))]
    return "".join(f"{line}\n" for line in before), "".join(f"{line}\n" for line in after)

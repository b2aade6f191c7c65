# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Applies the desired trust in registries to a Docker Engine. Private to this collection."""

from __future__ import annotations

import contextlib
import os

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError
from ansible_collections.wharf.registry.plugins.module_utils._common.transaction import Change, State, remove_empty
from ansible_collections.wharf.registry.plugins.module_utils._engine.daemon_json import (
    INSECURE,
    MIRRORS,
    DaemonConfig,
    is_effective,
    same_mirror,
    same_registry,
    without_users,
)
from ansible_collections.wharf.registry.plugins.module_utils._engine.desired_state import certificate_changes
from ansible_collections.wharf.registry.plugins.module_utils._engine.docker_api import EngineError
from ansible_collections.wharf.registry.plugins.module_utils._engine.dockerd import ConfigRejectedError, Daemon
from ansible_collections.wharf.registry.plugins.module_utils._engine.dockerd_instance import DockerdInstance
from ansible_collections.wharf.registry.plugins.module_utils._engine.engine_trust import EngineTrust
from ansible_collections.wharf.registry.plugins.module_utils._engine.hosts_toml import FILE, shown
from ansible_collections.wharf.registry.plugins.module_utils._engine.registry_hosts import HostsPlan

_FLAGS = {INSECURE: "--insecure-registry", MIRRORS: "--registry-mirror"}


class DockerTrust(EngineTrust):
    """The files of the Docker Engine that a DesiredState changes, and what the engine has applied of them."""

    name = "docker"

    def __init__(self, params):
        super().__init__()
        self._apply = params["apply"]
        self._given_certs_dir, self._given_path = params["certs_dir"], params["daemon_config_path"]
        # No engine reads the file of an image under construction, and the engine of this host is not to be reloaded.
        self.instance = DockerdInstance(self._given_path, may_be_unread=self._apply == "never")
        self.daemon = Daemon(self.instance, params["timeout"])
        self._load()
        self._restart_tried = False
        self._config = self._desired = None
        # Registries that stay insecure by a flag, whatever the file says.
        self._insecure_by_flag = []

    @property
    def is_default(self):
        return self.instance.installed

    def refresh(self):
        self.instance.refresh()
        self._load()

    def _load(self):
        self.config_path = self._given_path or self.instance.config_path
        self._certs_dir = self._given_certs_dir or self.instance.certs_dir
        self.effective = self.daemon.effective_config()

    def plan(self, desired):
        self._desired = desired
        flagged = self.instance.values(_FLAGS[INSECURE])
        self._insecure_by_flag = [name for name in desired.names(insecure=False) if name in flagged]
        if self._insecure_by_flag:
            desired.warnings.append(
                f"dockerd is started with --insecure-registry for {', '.join(self._insecure_by_flag)}, which stays "
                "insecure until that flag is gone."
            )
        if desired.present and desired.beyond_docker:
            desired.warnings.append(
                f"Docker asks no mirror for {' and '.join(desired.beyond_docker)}: it knows mirrors of docker.io "
                "alone, and without a path. Other engines ask them."
            )
        change = Change(self.config_path, None, option="daemon_config_path")
        before = DaemonConfig(change.before.content, self.config_path)
        absent = [] if desired.present else desired.mirrors
        self._config = before.with_entries(
            INSECURE, desired.names(insecure=True), desired.names(insecure=False), same_registry
        ).with_entries(MIRRORS, desired.mirrors if desired.present else [], absent, same_mirror)
        for key, entries in ((INSECURE, desired.names(insecure=False)), (MIRRORS, absent)):
            if self._is_stale(key, entries):
                self._config = self._config.with_empty_list(key)
        changes = certificate_changes(desired, self._certs_dir)
        written = {item.path: item.after for item in changes}
        changes += HostsPlan(desired, self._certs_dir, written).changes_of_owners()
        if self._config is not before:
            self._check_path()
            self.daemon.check_file(self._config)
            change.after = self._config.raw
            changes.append(change)
        return changes

    def _is_stale(self, key, entries):
        """Whether the engine still uses one of these entries although the list is gone from its file."""
        if not self.effective or self._config.content.get(key) is not None or self.instance.values(_FLAGS[key]):
            return False
        in_use = self.effective.insecure if key == INSECURE else self.effective.mirrors
        return any(entry.rstrip("/") in in_use for entry in entries)

    def _check_path(self):
        """Raises InputError where the engine reads another file, since a change of this one would have no effect."""
        if self._given_path and self.effective and not self.instance.reads(self.config_path):
            raise InputError(
                f"the Docker Engine reads {self.instance.config_path}, and not {self.config_path}",
                "Correct daemon_config_path, or leave it out; to prepare a file that no engine reads yet, set apply to "
                "never",
            )

    def is_applied(self, effective):
        """Whether an EffectiveConfig has what the plan writes, and has lost no entry that was in effect before."""
        if any(not is_effective(name, effective.insecure) for name in self._desired.names(insecure=True)):
            return False
        secure = [name for name in self._desired.names(insecure=False) if name not in self._insecure_by_flag]
        if any(name in effective.insecure for name in secure):
            return False
        mirrors = [url.rstrip("/") in effective.mirrors for url in self._desired.mirrors]
        if not all(mirrors) if self._desired.present else any(mirrors):
            return False
        before = self.effective or effective
        return all(
            is_effective(entry, effective.insecure)
            for entry in self._config.entries(INSECURE)
            if is_effective(entry, before.insecure)
        ) and all(
            url.rstrip("/") in effective.mirrors
            for url in self._config.entries(MIRRORS)
            if url.rstrip("/") in before.mirrors
        )

    def needs_reload(self, changes):
        self.restart_needed, self.warnings = False, []
        writes = any(change.path == self.config_path for change in changes)
        if self.instance.pid and not self.effective and writes:
            self.restart_needed = True
            self.warnings.append(
                f"The Docker Engine runs (process {self.instance.pid}) and does not answer on "
                f"{self.instance.socket}, so it was not reloaded. Reload or restart it."
            )
        if not self.effective or not (writes or not self.is_applied(self.effective)):
            return False
        if self._apply == "never" or (not self.instance.pid and self._apply != "restart"):
            self.restart_needed = True
            self.warnings.append(_restart_warning(self.effective))
            return False
        return True

    def reload(self):
        try:
            self.daemon.reload(self.is_applied)
        except ConfigRejectedError as error:
            raise ConfigRejectedError(error.message, "Correct what it names in its file") from None
        except EngineError as error:
            if self._apply != "restart":
                raise EngineError(error.message, "Where a reload is not enough, set apply to restart") from None
            if self.effective.restart_stops_containers:
                self.warnings.append(
                    f"The restart of the Docker Engine stopped {self.effective.containers_running} containers, since "
                    "live-restore is off."
                )
            self._restart_tried = True
            self.daemon.restart(self.is_applied)

    def owns(self, change):
        return change.path == self.config_path

    def roll_back(self, changes):
        return [change.path for change in changes if not self._rolled_back(change)]

    def recover(self):
        if self._restart_tried and not self.daemon.effective_config():
            # The engine did not start with what was written, and must not stay down.
            with contextlib.suppress(EngineError):
                self.daemon.restart(lambda _effective: True)

    def _rolled_back(self, change):
        """Restores what a change of daemon.json found, unless the file was written since.

        Returns whether that was possible.
        """
        try:
            if change.file.load() == change.after:
                self._restore(change)
        except InputError:
            return False
        return True

    def _restore(self, change):
        """Restores the previous daemon.json, and has the engine drop what it has applied since."""
        state = change.before
        previous = DaemonConfig(state.content, self.config_path)
        cleared = previous
        if self.instance.pid:
            # A reload ignores a key that is not in the file, so the engine first gets an empty list for it. A key that
            # is set by a flag must not be in the file, and no file has changed it.
            for key, flag in _FLAGS.items():
                if previous.content.get(key) is None and not self.instance.values(flag):
                    cleared = cleared.with_empty_list(key)
        with change.file.locked():
            if cleared is not previous:
                change.put(State(cleared.raw, state.mode, state.owner))
                self._reload_previous(previous)
            change.put(state)
        remove_empty(change.file.made_folders)
        if cleared is previous and self.instance.pid:
            self._reload_previous(previous)

    def _reload_previous(self, previous):
        insecure, mirrors = previous.entries(INSECURE), previous.entries(MIRRORS)

        def is_restored(effective):
            names = [name for name in effective.insecure if "/" not in name]
            allowed = insecure + self.instance.values(_FLAGS[INSECURE])
            allowed_mirrors = mirrors + self.instance.values(_FLAGS[MIRRORS])
            return all(any(same_registry(name, entry) for entry in allowed) for name in names) and all(
                any(same_mirror(url, mirror) for mirror in allowed_mirrors) for url in effective.mirrors
            )

        # The error that caused the rollback is more useful than one of the rollback itself.
        with contextlib.suppress(EngineError):
            self.daemon.reload(is_restored)

    def report(self, changed):
        effective = self.daemon.effective_config() if changed else self.effective
        return {
            "installed": self.instance.installed,
            "running": effective is not None,
            "version": effective.version if effective else "",
            "insecure_registries": effective.insecure if effective else [],
            "mirrors": effective.mirrors if effective else [],
            "live_restore": bool(effective and effective.live_restore),
            "containers_running": effective.containers_running if effective else 0,
        }

    def shown(self, path, content):
        if os.path.basename(path) == FILE:
            return shown(content)
        if path != self.config_path:
            return None
        # Only the lists of registries: other settings may hold passwords.
        config = DaemonConfig(content, self.config_path)
        return [
            without_users(f"{key}: {', '.join(config.entries(key)) or '[]'}")
            for key in (INSECURE, MIRRORS)
            if key in config.content
        ]


def _restart_warning(effective):
    warning = "The Docker Engine has not applied its configuration file: reload or restart it."
    if effective.restart_stops_containers:
        warning += (
            f" A restart would stop {effective.containers_running} containers, since live-restore is off; a reload "
            "stops none."
        )
    return warning

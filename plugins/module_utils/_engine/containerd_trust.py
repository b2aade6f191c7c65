# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Applies the desired trust in registries to containerd. Private to this collection."""

from __future__ import annotations

import contextlib
import glob
import os

from ansible_collections.wharf.registry.plugins.module_utils._common.atomic_file import File
from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError
from ansible_collections.wharf.registry.plugins.module_utils._common.transaction import Change, roll_back_all
from ansible_collections.wharf.registry.plugins.module_utils._engine.containerd import (
    CERTS,
    Containerd,
    ContainerdConfig,
)
from ansible_collections.wharf.registry.plugins.module_utils._engine.desired_state import certificate_changes
from ansible_collections.wharf.registry.plugins.module_utils._engine.docker_api import EngineError
from ansible_collections.wharf.registry.plugins.module_utils._engine.engine_trust import EngineTrust
from ansible_collections.wharf.registry.plugins.module_utils._engine.hosts_toml import FILE, HostsToml, shown
from ansible_collections.wharf.registry.plugins.module_utils._engine.registry_hosts import HostsPlan


class ContainerdTrust(EngineTrust):
    """The hosts.toml files of containerd, and the line of its config.toml without which it does not read them."""

    name = "containerd"

    def __init__(self, params):
        super().__init__()
        self._apply = params["apply"]
        self._containerd = Containerd(params["timeout"])
        self._given_certs_dir = params["certs_dir"]
        self._config = None
        self._present = True
        self._restarted = False

    @property
    def is_default(self):
        return self._containerd.is_engine

    def refresh(self):
        self._containerd.refresh()

    def plan(self, desired):
        change = Change(self._containerd.config_path, None, option="the configuration of containerd")
        self._present = desired.present
        before = self._config = ContainerdConfig(change.before.content, self._containerd)
        folder = self._given_certs_dir or before.directory or CERTS
        changes = certificate_changes(desired, folder)
        hosts = HostsPlan(desired, folder, {item.path: item.after for item in changes}).changes()
        if desired.present and before.is_to_be_set:
            changed = self._config = before.with_directory(folder)
            change.after = changed.raw
        elif not desired.present and before.is_ours and not _is_used(folder, hosts):
            change.after = before.without_directory()
        else:
            return changes + hosts
        return [*changes, *hosts, change]

    def needs_reload(self, changes):
        self.restart_needed, self.warnings = False, []
        containerd = self._containerd
        writes = any(change.path == containerd.config_path for change in changes)
        may_be_pending = self._config.is_ours or not self._present
        if containerd.process is None or not (writes or (may_be_pending and not containerd.has_read())):
            return False
        if self._apply == "restart":
            return True
        self.restart_needed = True
        self.warnings.append(
            f"containerd has not read {containerd.config_path} since it was written: restart it (systemctl restart "
            "containerd), which stops no container."
        )
        return False

    def reload(self):
        self._restarted = True
        self._containerd.restart()

    def owns(self, change):
        return self._restarted and change.path == self._containerd.config_path

    def roll_back(self, changes):
        unrestored = roll_back_all(changes)
        if changes:
            # The error that caused the rollback is more useful than one of the rollback itself.
            with contextlib.suppress(EngineError):
                self._containerd.restart()
        return unrestored

    def report(self, changed):
        if changed:
            self._containerd.refresh()
        return {
            "installed": self._containerd.installed,
            "running": self._containerd.process is not None,
            "version": self._containerd.version,
            "config_path": self._config.directory if self._config else "",
        }

    def shown(self, path, content):
        if os.path.basename(path) == FILE:
            return shown(content)
        if path != self._containerd.config_path:
            return None
        with contextlib.suppress(InputError):
            return ContainerdConfig(content, self._containerd).shown()
        return []


def _is_used(folder, changes):
    """Whether a hosts.toml with a line of ours is left below the directory when these Changes are made."""
    after = {change.path: change.after for change in changes}
    for path in glob.glob(os.path.join(glob.escape(folder), "*", FILE)):
        with contextlib.suppress(InputError):
            content = after[path] if path in after else File(path).load()
            if content is not None and HostsToml(content, path).values:
                return True
    return False

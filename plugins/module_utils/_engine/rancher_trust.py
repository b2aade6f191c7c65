# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Applies the desired trust in registries to k3s and RKE2. Private to this collection."""

from __future__ import annotations

import os
import urllib.parse

from ansible_collections.wharf.registry.plugins.module_utils._common.process import find, run
from ansible_collections.wharf.registry.plugins.module_utils._common.transaction import Change, roll_back_all
from ansible_collections.wharf.registry.plugins.module_utils._engine.daemon_json import same_mirror
from ansible_collections.wharf.registry.plugins.module_utils._engine.desired_state import (
    certificate_changes,
    certificate_paths,
)
from ansible_collections.wharf.registry.plugins.module_utils._engine.docker_api import EngineError
from ansible_collections.wharf.registry.plugins.module_utils._engine.engine_trust import EngineTrust
from ansible_collections.wharf.registry.plugins.module_utils._engine.hosts_toml import table_name
from ansible_collections.wharf.registry.plugins.module_utils._engine.registries_yaml import RegistriesYaml, shown
from ansible_collections.wharf.registry.plugins.module_utils._engine.running_processes import Process, last_change
from ansible_collections.wharf.registry.plugins.module_utils._engine.systemd_units import UNITS, exists

_QUOTED = 1000
# The command ends when the service is ready, which takes a server of RKE2 minutes.
_RESTART_SECONDS = 900


class RancherTrust(EngineTrust):
    """registries.yaml, which is read when the service starts, and the certificates that it names."""

    # Its services: that of a server, and that of an agent.
    units = ()
    root = "/etc/rancher"

    def __init__(self, params):
        super().__init__()
        self._apply = params["apply"]
        self._timeout = params["timeout"]
        self._folder = os.path.join(self.root, self.name)
        self._certs_dir = params["certs_dir"] or f"{self._folder}/certs.d"
        self._path = f"{self._folder}/registries.yaml"
        self._units = None
        # Whether the file has lines of ours, or had.
        self._is_ours = True
        # The services that were restarted.
        self._told = ()

    @property
    def is_default(self):
        return os.geteuid() == 0 and (bool(find(self.name)) or any(exists(unit, UNITS) for unit in self.units))

    def refresh(self):
        self._units = None

    def plan(self, desired):
        change = Change(self._path, None, option=f"the registries of {self.name}")
        certificates = certificate_changes(desired, self._certs_dir)
        written = {item.path: item.after for item in certificates}
        document = RegistriesYaml(change.before.content, self._path)
        for name, options in desired.registries:
            values = self._values(name, options, written, document.managed(name)) if desired.present else {}
            document = document.with_registry(name, values)
        for name in dict.fromkeys([*dict(desired.registries), *desired.upstreams]):
            document = document.with_endpoints(name, self._endpoints(desired, name, document.endpoints(name)))
        change.after = document.raw
        self._is_ours = document.is_ours or not desired.present
        if change.after is not None and change.after != change.before.content and document.has_secret:
            change.mode = 0o600
        return [*certificates, change]

    @staticmethod
    def _endpoints(desired, name, there):
        """Where a registry is asked for its images: at its mirrors, and then at itself where TLS is not certain."""
        options, own = dict(desired.registries).get(name), []
        given = [table_name(url) for url in desired.upstreams.get(name, [])]
        if options is not None:
            there = [url for url in there if urllib.parse.urlsplit(url).netloc != name or url in given]
            if desired.present and options["insecure"]:
                own = [f"http://{name}"] if options.get("plain_http") else [f"https://{name}", f"http://{name}"]
        if not desired.present:
            return [url for url in there if not any(same_mirror(url, other) for other in given)]
        return [*dict.fromkeys([*there, *given, *own])]

    def _values(self, name, options, written, managed):
        """{path below the registry: value} of its configuration."""
        paths = certificate_paths(self._certs_dir, name, written)
        values = {("tls", key): path for key, path in zip(("ca_file", "cert_file", "key_file"), paths) if path}
        if options["insecure"] and not options.get("plain_http"):
            values["tls", "insecure_skip_verify"] = True
        if options.get("username"):
            values["auth", "username"] = options["username"]
            values["auth", "password"] = options["password"]
        elif options.get("username") is None:
            values.update({path: value for path, value in managed.items() if path[0] == "auth"})
        return values

    def _running(self):
        """{unit: process ID} of the services that run."""
        if self._units is None:
            self._units = {}
            for unit in self.units:
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
            "which stops no container."
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

    def report(self, changed):
        if changed:
            self.refresh()
        words = run([self.name, "--version"], self._timeout)[1].split() if find(self.name) else []
        # k3s version v1.31.2+k3s1 (6da20424)
        return {
            "installed": self.is_default,
            "running": bool(self._running()),
            "restart_needed": self.restart_needed,
            "version": words[2] if len(words) > 2 else "",
        }

    def shown(self, path, content):
        return shown(content) if path == self._path else None


class K3sTrust(RancherTrust):
    """k3s of this host, a server or an agent."""

    name = "k3s"
    units = ("k3s.service", "k3s-agent.service")


class Rke2Trust(RancherTrust):
    """RKE2 of this host, a server or an agent."""

    name = "rke2"
    units = ("rke2-server.service", "rke2-agent.service")

# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Applies the desired trust in registries to k3s and RKE2. Private to this collection."""

from __future__ import annotations

import os
import urllib.parse

from ansible_collections.wharf.registry.plugins.module_utils._common.transaction import Change
from ansible_collections.wharf.registry.plugins.module_utils._engine.daemon_json import same_mirror
from ansible_collections.wharf.registry.plugins.module_utils._engine.desired_state import (
    certificate_changes,
    certificate_paths,
)
from ansible_collections.wharf.registry.plugins.module_utils._engine.hosts_toml import table_name
from ansible_collections.wharf.registry.plugins.module_utils._engine.registries_yaml import RegistriesYaml, shown
from ansible_collections.wharf.registry.plugins.module_utils._engine.service_trust import ServiceTrust


class RancherTrust(ServiceTrust):
    """registries.yaml, which is read when the service starts, and the certificates that it names."""

    root = "/etc/rancher"
    restart_note = "which stops no container"

    def __init__(self, params):
        super().__init__(params)
        self._folder = os.path.join(self.root, self.name)
        self._certs_dir = params["certs_dir"] or f"{self._folder}/certs.d"
        self._path = f"{self._folder}/registries.yaml"

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

    def shown(self, path, content):
        return shown(content) if path == self._path else None


class K3sTrust(RancherTrust):
    """k3s of this host, a server or an agent."""

    name = program = "k3s"
    units = ("k3s.service", "k3s-agent.service")


class Rke2Trust(RancherTrust):
    """RKE2 of this host, a server or an agent."""

    name = program = "rke2"
    units = ("rke2-server.service", "rke2-agent.service")

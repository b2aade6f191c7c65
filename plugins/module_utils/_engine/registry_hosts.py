# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hosts.toml files that a DesiredState requires below a directory. Private to this collection."""

from __future__ import annotations

import os
import urllib.parse

from ansible_collections.wharf.registry.plugins.module_utils._common.transaction import Change
from ansible_collections.wharf.registry.plugins.module_utils._engine.hosts_toml import (
    HOST,
    HostsToml,
    login_of,
    mirror_values,
    registry_values,
    table_name,
    tls_values,
)

FILE = "hosts.toml"
# Files with a login are for root alone.
_MODE, _SECRET_MODE = 0o644, 0o600


class HostsPlan:
    """desired: a DesiredState. folder: the directory of containerd's registries.

    certificates: {path: bytes or None}, those that the same run writes.
    """

    def __init__(self, desired, folder, certificates):
        self._desired = desired
        self._folder = folder
        self._certificates = certificates
        self._options = dict(desired.registries)
        # {registry: (Change, HostsToml)}, each file once: a registry can be a mirror's upstream as well.
        self._files = {}
        self._values = {}

    def changes_of_owners(self):
        """The Changes of hosts.toml files that others have made, for an engine that needs none of ours.

        Docker reads them from 28 on, and where there is one, no ca.crt beside it.
        """
        for name in self._options:
            self._open(name)
            change, document = self._files[name]
            if change.before.content is None:
                del self._files[name]
                continue
            tables = [(), *((HOST, url) for url in document.hosts() if urllib.parse.urlsplit(url).netloc == name)]
            certificates = tls_values(*self._files_of(name)) if self._desired.present else {}
            self._values[name] = {(*table, *path): value for table in tables for path, value in certificates.items()}
        return [self._change(name) for name in self._files]

    def changes(self):
        """The Changes of all hosts.toml files. Raises InputError."""
        for name in [*self._options, *self._desired.upstreams]:
            self._open(name)
        for name, options in self._options.items():
            of_mirrors = {path: value for path, value in self._values[name].items() if self._is_of_mirror(name, path)}
            own = (
                registry_values(name, options, self._files_of(name), self._values[name])
                if self._desired.present
                else {}
            )
            self._values[name] = {**own, **of_mirrors}
        for upstream, urls in self._desired.upstreams.items():
            self._with_mirrors(upstream, urls)
        return [self._change(name) for name in self._files]

    def _open(self, name):
        if name not in self._files:
            change = Change(os.path.join(self._folder, name, FILE), None)
            document = HostsToml(change.before.content, change.path)
            self._files[name] = change, document
            self._values[name] = document.values

    def _is_of_mirror(self, name, path):
        return path[0] == HOST and path[1] not in (f"https://{name}", f"http://{name}")

    def _with_mirrors(self, upstream, urls):
        values = self._values[upstream]
        tables = [table_name(url) for url in urls]
        kept = {path: value for path, value in values.items() if path[0] != HOST or path[1] not in tables}
        if self._desired.present:
            for url in urls:
                kept.update(self._of_mirror(url))
        self._values[upstream] = kept

    def _of_mirror(self, url):
        host = urllib.parse.urlsplit(url).netloc
        login = login_of(self._values[host] if host in self._values else self._read(host))
        return mirror_values(url, self._options.get(host), self._files_of(host), login)

    def _read(self, name):
        path = os.path.join(self._folder, name, FILE)
        return HostsToml(Change(path, None).before.content, path).values

    def _files_of(self, name):
        """(CA, certificate, key) of a registry as they will be, None for those that will not."""
        paths = [os.path.join(self._folder, name, file) for file in ("ca.crt", "client.cert", "client.key")]
        return [path if self._will_be(path) else None for path in paths]

    def _will_be(self, path):
        return self._certificates[path] is not None if path in self._certificates else os.path.exists(path)

    def _change(self, name):
        change, document = self._files[name]
        # Hosts are asked in their order: a registry that has mirrors comes after them.
        values = sorted(self._values[name].items(), key=lambda item: not self._is_of_mirror(name, item[0]))
        change.after = document.with_values(dict(values))
        secret = any("header" in path for path in self._values[name])
        if change.after is not None and (document.is_ours or secret):
            change.mode = _SECRET_MODE if secret else _MODE
        return change

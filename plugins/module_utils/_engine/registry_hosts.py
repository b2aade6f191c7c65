# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hosts.toml files that a DesiredState requires below a directory. Private to this collection."""

from __future__ import annotations

import contextlib
import glob
import os
import urllib.parse

from ansible_collections.wharf.registry.plugins.module_utils._common.atomic_file import File
from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError
from ansible_collections.wharf.registry.plugins.module_utils._common.reference import parse_registry
from ansible_collections.wharf.registry.plugins.module_utils._common.transaction import Change
from ansible_collections.wharf.registry.plugins.module_utils._engine.desired_state import certificate_paths
from ansible_collections.wharf.registry.plugins.module_utils._engine.hosts_toml import (
    FILE,
    HOST,
    HostsToml,
    login_of,
    mirror_values,
    registry_values,
    table_name,
    tls_values,
)

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
            if change.before.content is None or document.is_ours:
                del self._files[name]
                continue
            # What containerd was told in the same file stays.
            values = {path: value for path, value in document.values.items() if path[-1] not in ("ca", "client")}
            tables = [(), *((HOST, url) for url in document.hosts() if _host(url) == name)]
            certificates = tls_values(*self._files_of(name))
            values.update({(*table, *path): value for table in tables for path, value in certificates.items()})
            self._values[name] = values if self._desired.present else {}
        return [self._change(name) for name in self._files]

    def changes(self):
        """The Changes of all hosts.toml files. Raises InputError."""
        for name in [*self._options, *self._desired.upstreams, *self._mirrored_by_these()]:
            self._open(name)
        for name, options in self._options.items():
            before = self._values[name]
            of_mirrors = {path: value for path, value in before.items() if self._is_of_mirror(name, path)}
            own = registry_values(_api(name), options, self._files_of(name), before) if self._desired.present else {}
            self._values[name] = {**own, **of_mirrors}
        for name in self._files:
            given = [table_name(url) for url in self._desired.upstreams.get(name, [])]
            # A registry is no mirror of itself.
            self._update_mirrors(name, [table for table in given if self._is_of_mirror(name, (HOST, table))])
        return [self._change(name) for name in self._files]

    def _open(self, name):
        if name not in self._files:
            change = Change(os.path.join(self._folder, name, FILE), None)
            document = HostsToml(change.before.content, change.path)
            self._files[name] = change, document
            self._values[name] = document.values

    def _mirrored_by_these(self):
        """The registries that have one of these for a mirror: its CA and its login stand there, too."""
        wanted = {name.lower() for name in self._options}
        for path in sorted(glob.glob(os.path.join(glob.escape(self._folder), "*", FILE))):
            # A file of others that can't be read is no reason to stop here.
            with contextlib.suppress(InputError):
                if any(_host(table).lower() in wanted for table in HostsToml(File(path).load(), path).mirrors()):
                    yield os.path.basename(os.path.dirname(path))

    def _is_of_mirror(self, name, path):
        return path[0] == HOST and len(path) > 1 and path[1] not in (f"https://{_api(name)}", f"http://{_api(name)}")

    def _update_mirrors(self, name, given):
        """Adds or removes the tables that are given, and brings those of these registries up to date."""
        of_mirrors, rest = {}, {}
        for path, value in self._values[name].items():
            if self._is_of_mirror(name, path):
                of_mirrors.setdefault(path[1], {})[path] = value
            else:
                rest[path] = value
        if self._desired.present:
            of_mirrors.update({table: {} for table in given if table not in of_mirrors})
        else:
            of_mirrors = {table: values for table, values in of_mirrors.items() if table not in given}
        for table, values in of_mirrors.items():
            known = table in given or self._named(_host(table)) in self._options
            rest.update(self._of_mirror(table) if known else values)
        self._values[name] = rest

    def _of_mirror(self, table):
        host = self._named(_host(table))
        login = login_of(self._values[host] if host in self._values else self._read(host))
        return mirror_values(table, self._options.get(host), self._files_of(host), login)

    def _named(self, host):
        """The registry as it is named here, since the host of a URL is the same in upper case."""
        return next((name for name in self._options if name.lower() == host.lower()), host)

    def _read(self, name):
        path = os.path.join(self._folder, name, FILE)
        return HostsToml(File(path).load(), path).values

    def _files_of(self, name):
        """(CA, certificate, key) of a registry as they will be, None for those that will not."""
        return certificate_paths(self._folder, name, self._certificates)

    def _change(self, name):
        change, document = self._files[name]
        # Hosts are asked in their order: a registry that has mirrors comes after them.
        values = sorted(self._values[name].items(), key=lambda item: not self._is_of_mirror(name, item[0]))
        change.after = document.with_values(dict(values))
        secret = any("header" in path for path in self._values[name])
        if change.after is not None and (document.is_ours or secret):
            change.mode = _SECRET_MODE if secret else _MODE
        return change


def _api(name):
    return parse_registry(name, former=True).api_host


def _host(url):
    return urllib.parse.urlsplit(url).netloc

# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Applies the desired trust in registries to BuildKit. Private to this collection.

A login is not among it: BuildKit is given one by the client of each build.
"""

from __future__ import annotations

import urllib.parse

from ansible_collections.wharf.registry.plugins.module_utils._common.transaction import Change
from ansible_collections.wharf.registry.plugins.module_utils._engine.buildkitd_toml import HTTP, BuildkitdToml, shown
from ansible_collections.wharf.registry.plugins.module_utils._engine.desired_state import (
    certificate_changes,
    certificate_paths,
)
from ansible_collections.wharf.registry.plugins.module_utils._engine.service_trust import ServiceTrust


class BuildkitTrust(ServiceTrust):
    """buildkitd.toml, which is read when the daemon starts, and the certificates that it names."""

    name = "buildkit"
    program = "buildkitd"
    units = ("buildkit.service", "buildkitd.service")
    restart_note = "which ends the builds that run"
    root = "/etc/buildkit"

    def __init__(self, params):
        super().__init__(params)
        self._certs_dir = params["certs_dir"] or f"{self.root}/certs.d"
        self._path = f"{self.root}/buildkitd.toml"

    def plan(self, desired):
        change = Change(self._path, None, option="the configuration of BuildKit")
        certificates = certificate_changes(desired, self._certs_dir)
        written = {item.path: item.after for item in certificates}
        document = BuildkitdToml(change.before.content, self._path)
        for upstream, urls in desired.upstreams.items():
            there = document.mirrors(upstream)
            named = [_bare(url) for url in urls]
            added = [mirror for mirror in named if mirror not in there]
            left = [mirror for mirror in there if mirror not in named]
            document = document.with_mirrors(upstream, there + added if desired.present else left)
        options = dict(desired.registries)
        given = [urllib.parse.urlsplit(url) for urls in desired.upstreams.values() for url in urls]
        plain = {url.netloc for url in given if url.scheme == "http"}
        # Mirrors first: whether one is asked without TLS depends on whether it is one at all.
        for name in [*options, *sorted(plain - options.keys())]:
            of_registry = options.get(name) if desired.present else None
            values = self._values(name, of_registry, written) if of_registry else {}
            if document.registries_with(name) and (name in plain or document.is_plain_mirror(name)):
                values[HTTP] = True
            document = document.with_registry(name, values)
        change.after = document.raw
        change.mode = 0o644 if change.before.content is None and change.after is not None else None
        self._is_ours = document.is_ours or not desired.present
        return [*certificates, change]

    def _values(self, name, options, written):
        authority, certificate, key = certificate_paths(self._certs_dir, name, written)
        values = {}
        if authority:
            values["ca"] = [authority]
        if certificate and key:
            values["keypair"] = [{"key": key, "cert": certificate}]
        if options["insecure"]:
            # Both: TLS without a check, and HTTP where the registry speaks no TLS.
            values["insecure"] = True
            values[HTTP] = True
        return values

    def shown(self, path, content):
        return shown(content) if path == self._path else None


def _bare(url):
    parts = urllib.parse.urlsplit(url)
    return parts.netloc + parts.path.rstrip("/")

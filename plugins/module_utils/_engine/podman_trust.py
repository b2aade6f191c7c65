# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Applies the desired trust in registries to Podman. Private to this collection."""

from __future__ import annotations

import os

from ansible_collections.wharf.registry.plugins.module_utils._common.process import find
from ansible_collections.wharf.registry.plugins.module_utils._common.transaction import Change
from ansible_collections.wharf.registry.plugins.module_utils._engine.daemon_json import same_mirror
from ansible_collections.wharf.registry.plugins.module_utils._engine.desired_state import certificate_changes
from ansible_collections.wharf.registry.plugins.module_utils._engine.engine_trust import EngineTrust
from ansible_collections.wharf.registry.plugins.module_utils._engine.podman import (
    Podman,
    insecure_text,
    mirrors_of,
    mirrors_text,
)
from ansible_collections.wharf.registry.plugins.module_utils._engine.policies import PolicyFiles


class PodmanTrust(EngineTrust):
    """The files of Podman that a DesiredState changes."""

    name = "podman"
    follows_policies = True

    def __init__(self, params):
        super().__init__()
        self.podman = Podman(params["timeout"])
        self._has_crio = os.geteuid() == 0 and bool(find("crio"))
        self._has_policies = bool(params["policies"])
        self._policies = PolicyFiles(self.podman.version if self._has_policies else "")
        default = "/etc/containers/certs.d" if os.geteuid() == 0 else "~/.config/containers/certs.d"
        # Whether the files of the host have the same settings, and count for this account as well.
        self._of_host = bool(params.get("of_host")) and not self.podman.has_config_of_its_own
        self._certs_dir = params["certs_dir"] or os.path.expanduser(default)

    @property
    def is_default(self):
        # CRI-O reads the same files.
        return bool(self.podman.program) or self._has_crio

    def plan(self, desired):
        changes = certificate_changes(desired, self._certs_dir)
        if self._of_host and desired.present:
            return changes
        for insecure in (True, False):
            for name in desired.names(insecure):
                content = insecure_text(name).encode() if insecure else None
                changes.append(Change(self.podman.insecure_path(name), content, 0o644 if insecure else None))
                if desired.present:
                    check = self.podman.check_insecure if insecure else self.podman.check_secure
                    desired.warnings += check(name)
        changes += [self._mirrors_change(desired, *upstream) for upstream in sorted(desired.upstreams.items())]
        return changes + self._policies.changes(desired)

    def _mirrors_change(self, desired, upstream, mirrors):
        change = Change(self.podman.mirrors_path(upstream), None, 0o644)
        found = mirrors_of((change.before.content or b"").decode("utf-8", "replace"))
        kept = [url for url in found if desired.present or not any(same_mirror(url, other) for other in mirrors)]
        if desired.present:
            kept += [url for url in mirrors if not any(same_mirror(url, other) for other in kept)]
            desired.warnings += self.podman.check_mirrors(upstream)
        change.after = mirrors_text(upstream, kept).encode() if kept else None
        if change.after is None:
            change.mode = None
        return change

    def check(self):
        self.podman.check()
        if self._has_policies:
            self.podman.check_policies()

    def shown(self, path, content):
        return self._policies.shown(path, content)

    def report(self, changed):
        del changed
        return {"installed": bool(self.podman.program), "version": self.podman.version, "crio": self._has_crio}

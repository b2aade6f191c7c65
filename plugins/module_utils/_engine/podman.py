# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files in registries.conf.d that this collection manages. Private to this collection."""

from __future__ import annotations

import os
import re

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError
from ansible_collections.wharf.registry.plugins.module_utils._common.process import find, run
from ansible_collections.wharf.registry.plugins.module_utils._engine.docker_api import EngineError
from ansible_collections.wharf.registry.plugins.module_utils._engine.registries_conf import UnmanagedConfig

HUB = "docker.io"
# The messages of Podman about files that it cannot read.
_OF_REGISTRIES = re.compile(r"getting registries|registries configuration|registries\.conf")
_OF_POLICIES = re.compile(r"policy\.json|registries\.d|signature storage|trust policy")

_HEADER = "# Made by wharf.registry: its next run writes this file anew.\n"
_LOCATION = re.compile(r'^location = "([^"]+)"', re.MULTILINE)


class Podman:
    """Podman of this host, for all accounts or, where this is not root, for the account itself."""

    def __init__(self, timeout):
        self._timeout = timeout
        self.program = find("podman")
        self._version = None
        self.system = "/etc/containers"
        self.folder = (
            f"{self.system}/registries.conf.d"
            if os.geteuid() == 0
            else os.path.expanduser("~/.config/containers/registries.conf.d")
        )

    @property
    def has_config_of_its_own(self):
        """Whether this account has a registries.conf, and so reads none of the files of the host."""
        return os.geteuid() != 0 and os.path.exists(os.path.expanduser("~/.config/containers/registries.conf"))

    @property
    def version(self):
        if self._version is None:
            words = run([self.program, "--version"], self._timeout)[1].split() if self.program else []
            self._version = words[-1] if words else ""
        return self._version

    def insecure_path(self, host):
        """The file that permits a registry without TLS, or without a CA."""
        return os.path.join(self.folder, "wharf-registry-" + re.sub(r"[:\[\]]", "_", host) + ".conf")

    def mirrors_path(self, upstream=HUB):
        """The file of the mirrors of a registry."""
        of = "" if upstream == HUB else "-" + re.sub(r"[:\[\]]", "_", upstream)
        return os.path.join(self.folder, f"wharf-mirrors{of}.conf")

    def unmanaged_config(self, path):
        """The UnmanagedConfig around the managed file of this path."""
        return UnmanagedConfig(path, self.system)

    def check_insecure(self, host):
        """Warnings about unmanaged entries for a registry that is to be insecure.

        Raises InputError where such an entry would override the managed one, or would be lost by it.
        """
        others = self.unmanaged_config(self.insecure_path(host))
        hiding = others.hiding(host)
        if hiding is not None and not hiding.insecure:
            raise _no_effect(host, hiding, self.insecure_path(host), "insecure = true")
        warnings = _unaffected(others, host, self.insecure_path(host), "insecure = true")
        if hiding is None:
            warnings += _check_lost(others, host, self.insecure_path(host), "insecure = true")
        return warnings

    def check_secure(self, host):
        """Warnings where an unmanaged entry makes a registry insecure or blocks it."""
        entry = self.unmanaged_config(self.insecure_path(host)).counting(host)
        if entry is not None and entry.blocked:
            return [f"{entry.path} blocks {host}: Podman pulls nothing from it."]
        if entry is not None and entry.insecure:
            return [f"{entry.path} makes {host} insecure for Podman until that entry is removed."]
        return []

    def check_mirrors(self, upstream=HUB):
        """As check_insecure, for the mirrors of a registry."""
        path = self.mirrors_path(upstream)
        others = self.unmanaged_config(path)
        hiding = others.hiding(upstream)
        if hiding is not None:
            raise _no_effect(upstream, hiding, path, "the mirrors")
        warnings = _unaffected(others, upstream, path, "the mirrors")
        warnings += _check_lost(others, upstream, path, "the mirrors")
        entry = others.counting(upstream)
        if entry is not None and entry.prefix == upstream:
            warnings.append(f"{entry.path} has an entry for {upstream} as well, which Podman ignores from now on.")
        return warnings

    def check(self):
        """Raises EngineError, with the message of Podman, where Podman rejects its files of registries."""
        # Each command of Podman reads the files. This one does nothing else, and tells the version as well.
        self._version = self._ask(["info", "--format", "{{.Version.Version}}"], _OF_REGISTRIES) or self._version

    def check_policies(self):
        """As check, for policy.json and registries.d."""
        # The one takes rules of policy.json that no pull does. The other ends there, since there is no such directory.
        self._ask(["image", "trust", "show"], _OF_POLICIES)
        self._ask(["pull", "--quiet", "dir:/proc/none"], _OF_POLICIES)

    def _ask(self, arguments, about):
        """What it says, empty where it fails for another reason."""
        if not self.program:
            return ""
        status, output, error = run([self.program, *arguments], self._timeout)
        # A command also fails for an account without a storage or a user namespace, which is unrelated to the files.
        lines = [line for line in (error or output).splitlines() if about.search(line)]
        if status != 0 and lines:
            raise EngineError(f"Podman rejects its files: {lines[-1][-1000:]}")
        return output.strip() if status == 0 else ""


def _no_effect(name, entry, ours, what):
    return InputError(
        f"{entry.path} has an entry for {name} as well. Podman uses only the last file in alphabetical order, so "
        f"{ours} would have no effect",
        f"Put {what} into that entry, or remove it",
    )


def _check_lost(others, name, ours, what):
    """Warnings. Raises InputError where the managed entry would override settings of an unmanaged one."""
    entry = others.counting(name)
    effects = entry.effects_on(name) if entry is not None else ""
    if effects:
        raise InputError(
            f"{entry.path} {effects}. Podman uses only one entry, so that of {ours} would override it",
            f"Put {what} into an entry for {name} in {entry.path} and leave it out here, or remove the other one",
        )
    return [
        f"{path} names {name}, and this host's Python (before 3.11) cannot read it: check which entry Podman "
        f"should use, that one or the one of {ours}. It uses only the last file in alphabetical order."
        for path in others.mentioning(name)
    ]


def _unaffected(others, name, ours, what):
    """Warnings about cases in which the managed entry does not apply."""
    warnings = [
        f"{entry.path} has an entry of its own for {entry.prefix}, to which {what} of {name} does not apply."
        for entry in others.narrower(name)
        if not (entry.insecure and "insecure" in what)
    ]
    if others.in_place_of_all:
        warnings.append(
            f"Podman of this account reads {others.in_place_of_all} instead of all system files, and so not "
            f"{ours}: put {what} of {name} into it as well."
        )
    return warnings


def insecure_text(host):
    return f'{_HEADER}[[registry]]\nlocation = "{host}"\ninsecure = true\n'


def mirrors_text(upstream, mirrors):
    """The file that makes these URLs the mirrors of a registry."""
    text = f'{_HEADER}[[registry]]\nlocation = "{upstream}"\n'
    for url in mirrors:
        scheme, _slashes, host = url.rstrip("/").partition("://")
        text += f'\n[[registry.mirror]]\nlocation = "{host}"\ninsecure = {"true" if scheme == "http" else "false"}\n'
    return text


def mirrors_of(text):
    """The URLs in a file from mirrors_text."""
    parts = text.split("[[registry.mirror]]")[1:]
    return [
        ("http://" if "insecure = true" in part else "https://") + found.group(1)
        for part in parts
        for found in [_LOCATION.search(part)]
        if found
    ]

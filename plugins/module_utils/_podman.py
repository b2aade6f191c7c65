# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Podman's files of registries, each one of our own beside those of others. Private to this collection."""

from __future__ import annotations

import glob
import os
import re

from ansible_collections.wharf.registry.plugins.module_utils._engine import EngineError
from ansible_collections.wharf.registry.plugins.module_utils._programs import find, read_text, run

HUB = "docker.io"
# What Podman says when it can't read them.
_OF_REGISTRIES = re.compile(r"getting registries|registries configuration|registries\.conf")

_HEADER = "# Made by wharf.registry: its next run writes this file anew.\n"
_LOCATION = re.compile(r'^location = "([^"]+)"', re.MULTILINE)
_NAMES_HUB = re.compile(rf'^\s*(?:prefix|location)\s*=\s*["\']{re.escape(HUB)}["\']', re.MULTILINE)


class Podman:
    """Podman of this host, for all accounts or, where this is not root, for the account itself."""

    def __init__(self, timeout):
        self._timeout = timeout
        self.program = find("podman")
        self.folder = (
            "/etc/containers/registries.conf.d"
            if os.geteuid() == 0
            else os.path.expanduser("~/.config/containers/registries.conf.d")
        )

    @property
    def version(self):
        said = run([self.program, "--version"], self._timeout)[1].split() if self.program else []
        return said[-1] if said else ""

    def insecure_path(self, host):
        """The file that lets a registry be used without TLS, or without a CA."""
        return os.path.join(self.folder, "wharf-registry-" + re.sub(r"[:\[\]]", "_", host) + ".conf")

    @property
    def mirrors_path(self):
        return os.path.join(self.folder, "wharf-mirrors.conf")

    def neighbours_with_mirrors(self):
        """Files of others that say something of Docker Hub: the last one in the alphabet counts, and hides the rest.

        The first of all is registries.conf.
        """
        paths = [self.folder[: -len(".d")], *sorted(glob.glob(os.path.join(self.folder, "*.conf")))]
        return [path for path in paths if path != self.mirrors_path and _NAMES_HUB.search(read_text(path))]

    def check(self):
        """Raises EngineError, with Podman's words, where it does not take the files as they lie there."""
        if not self.program:
            return
        # Podman reads them at each call; this one asks nothing else.
        status, said, error = run([self.program, "info", "--format", "{{json .Registries}}"], self._timeout)
        # An account that has no storage or no user namespace yet is refused, too, and that is not for these files.
        words = [line for line in (error or said).splitlines() if _OF_REGISTRIES.search(line)]
        if status != 0 and words:
            raise EngineError(f"Podman does not take its files: {words[-1][-1000:]}")


def insecure_text(host):
    return f'{_HEADER}[[registry]]\nlocation = "{host}"\ninsecure = true\n'


def mirrors_text(mirrors):
    """The file that has these URLs asked before Docker Hub."""
    text = f'{_HEADER}[[registry]]\nlocation = "{HUB}"\n'
    for url in mirrors:
        scheme, _slashes, host = url.rstrip("/").partition("://")
        text += f'\n[[registry.mirror]]\nlocation = "{host}"\ninsecure = {"true" if scheme == "http" else "false"}\n'
    return text


def mirrors_of(text):
    """The URLs that a file of mirrors_text names."""
    parts = text.split("[[registry.mirror]]")[1:]
    return [
        ("http://" if "insecure = true" in part else "https://") + found.group(1)
        for part in parts
        for found in [_LOCATION.search(part)]
        if found
    ]

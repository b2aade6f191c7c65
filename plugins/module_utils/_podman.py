# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Podman's files of registries, each one of our own beside those of others. Private to this collection."""

from __future__ import annotations

import os
import re

from ansible_collections.wharf.registry.plugins.module_utils._engine import EngineError
from ansible_collections.wharf.registry.plugins.module_utils._errors import InputError
from ansible_collections.wharf.registry.plugins.module_utils._programs import find, run
from ansible_collections.wharf.registry.plugins.module_utils._registries_conf import Neighbours

HUB = "docker.io"
# What Podman says when it can't read them.
_OF_REGISTRIES = re.compile(r"getting registries|registries configuration|registries\.conf")

_HEADER = "# Made by wharf.registry: its next run writes this file anew.\n"
_LOCATION = re.compile(r'^location = "([^"]+)"', re.MULTILINE)


class Podman:
    """Podman of this host, for all accounts or, where this is not root, for the account itself."""

    def __init__(self, timeout):
        self._timeout = timeout
        self.program = find("podman")
        self.system = "/etc/containers"
        self.folder = (
            f"{self.system}/registries.conf.d"
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

    def neighbours(self, path):
        """What the files of others say, beside our file of this path."""
        return Neighbours(path, self.system)

    def check_insecure(self, host):
        """Warnings of what others say of a registry that is to be insecure.

        Raises InputError where it could not be so, or what an administrator has set of it would be lost.
        """
        others = self.neighbours(self.insecure_path(host))
        hiding = others.hiding(host)
        if hiding is not None and not hiding.insecure:
            raise _no_effect(host, hiding, self.insecure_path(host), "insecure = true")
        warnings = _unheard(others, host, self.insecure_path(host), "insecure = true")
        if hiding is None:
            warnings += _check_lost(others, host, self.insecure_path(host), "insecure = true")
        return warnings

    def check_secure(self, host):
        """Warnings where files of others have a registry used without TLS or a CA, or not at all."""
        entry = self.neighbours(self.insecure_path(host)).counting(host)
        if entry is not None and entry.blocked:
            return [f"{entry.path} blocks {host}: Podman pulls nothing from it."]
        if entry is not None and entry.insecure:
            return [f"{entry.path} makes {host} insecure for Podman, and it stays so until that is gone."]
        return []

    def check_mirrors(self):
        """As check_insecure, for the mirrors of Docker Hub."""
        others = self.neighbours(self.mirrors_path)
        hiding = others.hiding(HUB)
        if hiding is not None:
            raise _no_effect(HUB, hiding, self.mirrors_path, "the mirrors")
        warnings = _unheard(others, HUB, self.mirrors_path, "the mirrors")
        warnings += _check_lost(others, HUB, self.mirrors_path, "the mirrors")
        entry = others.counting(HUB)
        if entry is not None and entry.prefix == HUB:
            warnings.append(f"{entry.path} says something of {HUB} as well, and Podman passes over it from now on.")
        return warnings

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


def _no_effect(name, entry, ours, what):
    return InputError(
        f"{entry.path} has an entry for {name} as well. Podman takes the last file in the alphabet alone, so that what "
        f"{ours} says would have no effect",
        f"Put {what} into that entry, or remove it",
    )


def _check_lost(others, name, ours, what):
    """Warnings. Raises InputError where our entry would take something away that another one says."""
    entry = others.counting(name)
    said = entry.says_of(name) if entry is not None else ""
    if said:
        raise InputError(
            f"{entry.path} {said}. Podman takes one entry alone, and that of {ours} would put an end to it",
            f"Put {what} into an entry for {name} in {entry.path} and leave it out here, or remove the other one",
        )
    return [
        f"{path} names {name}, and this host's Python (before 3.11) can't read it: look whether Podman should take its "
        f"entry or that of {ours}. It takes the last file in the alphabet alone."
        for path in others.mentioning(name)
    ]


def _unheard(others, name, ours, what):
    """Warnings of where our entry does not count."""
    warnings = [
        f"{entry.path} has an entry of its own for {entry.prefix}, for which {what} of {name} does not count."
        for entry in others.narrower(name)
        if not (entry.insecure and "insecure" in what)
    ]
    if others.in_place_of_all:
        warnings.append(
            f"Podman of this account reads {others.in_place_of_all} in place of all files of the system, and so not "
            f"{ours}: put {what} of {name} into it as well."
        )
    return warnings


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

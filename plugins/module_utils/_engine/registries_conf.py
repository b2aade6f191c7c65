# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The entries for a registry in files of Podman that this collection does not manage. Private to this collection.

Podman reads registries.conf, and then each NAME.conf of registries.conf.d in alphabetical order, those in the home of
the account last. An account with a registries.conf of its own reads no system files. If two files have an entry for the
same prefix, only the later one counts: Podman ignores all of the other, including its mirrors and a block.
"""

from __future__ import annotations

import glob
import os

try:
    import tomllib
except ImportError:  # Python before 3.11
    tomllib = None


class RegistryEntry:
    """The entry of a file for a prefix: host[:port][/path], or *.domain."""

    def __init__(self, path, keys):
        self.path = path
        self.location = str(keys.get("location") or "").rstrip("/")
        self.prefix = str(keys.get("prefix") or "").rstrip("/") or self.location
        self.insecure = keys.get("insecure") is True
        self.blocked = keys.get("blocked") is True
        self.mirrors = [str(_folded(mirror).get("location") or "") for mirror in _tables(keys.get("mirror"))]
        self._by_digest = keys.get("mirror-by-digest-only") is True

    def covers(self, name):
        """Whether the prefix is a wildcard that matches a registry."""
        domain = self.prefix[1:]
        return self.prefix.startswith("*.") and (name.endswith(domain) or f"{domain}:" in name)

    def effects_on(self, name):
        """The effects on a registry, besides insecure, as a text; empty where there are none."""
        subject = name if self.prefix == name else f"{name}, as one of {self.prefix},"
        effects = [f"blocks {subject}"] if self.blocked else []
        if self.mirrors:
            effects.append(f"has mirrors for {subject} ({', '.join(self.mirrors)})")
        if self.location not in ("", self.prefix):
            effects.append(f"sends {subject} to {self.location}")
        if self._by_digest:
            effects.append("lets mirrors serve digests only")
        return " and ".join(effects)


class UnmanagedConfig:
    """The entries of all unmanaged files: those before the managed one in Podman's order, and those after it.

    managed: the path of the managed file. system, home: directories of registries.conf.
    """

    def __init__(self, managed, system, home="~/.config/containers"):
        self.before, self.after = [], []
        # Files that this Python cannot parse, although Podman reads them.
        self.unread = []
        home = os.path.expanduser(home)
        main = os.path.join(home, "registries.conf")
        alone = os.path.exists(main)
        in_home = managed.startswith(home + os.sep)
        # The file that this account reads instead of the managed one, which then applies to all other accounts.
        self.in_place_of_all = main if alone and not in_home else ""
        found = self.before
        for path in _files([home] if alone and in_home else [system] if alone else [system, home], managed):
            if path == managed:
                found = self.after
            else:
                found += self._entries(path)

    def _entries(self, path):
        try:
            with open(path, encoding="utf-8-sig") as file:
                text = file.read()
        except (OSError, UnicodeDecodeError):
            return []
        if tomllib is None:
            self.unread.append(
                (path, "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#")))
            )
            return []
        try:
            document = _folded(tomllib.loads(text))
        except (tomllib.TOMLDecodeError, RecursionError):
            # Podman itself reports this file after the managed files are written.
            return []
        old = _folded(document.get("registries"))
        return [RegistryEntry(path, _folded(table)) for table in _tables(document.get("registry"))] + [
            RegistryEntry(path, {"location": name, key: True})
            for kind, key in (("insecure", "insecure"), ("block", "blocked"))
            for name in _folded(old.get(kind)).get("registries") or []
        ]

    def counting(self, name):
        """The RegistryEntry that would count for a registry without the managed file, or None."""
        others = self.before + self.after
        exact = [entry for entry in others if entry.prefix == name]
        wide = sorted((entry for entry in others if entry.covers(name)), key=lambda entry: len(entry.prefix))
        return (exact or wide or [None])[-1]

    def hiding(self, name):
        """The RegistryEntry that overrides the managed one, or None."""
        return next((entry for entry in reversed(self.after) if entry.prefix == name), None)

    def narrower(self, name):
        """The entries for namespaces of the registry, to which the managed one does not apply."""
        return [entry for entry in self.before + self.after if entry.prefix.startswith(f"{name}/")]

    def mentioning(self, name):
        """The files that contain the name, and that this Python cannot parse."""
        return [path for path, text in self.unread if name in text]


def _files(folders, managed):
    """All files in the order in which Podman reads them, including the managed one, which may not exist yet."""
    found = [os.path.join(folders[0], "registries.conf")]
    for folder in dict.fromkeys(os.path.join(parent, "registries.conf.d") for parent in folders):
        paths = set(glob.glob(os.path.join(glob.escape(folder), "*.conf")))
        if os.path.dirname(managed) == folder:
            paths.add(managed)
        found += sorted(paths, key=os.fsencode)
    return found


def _folded(table):
    """A table with its keys in lower case, since Podman ignores their case."""
    return {key.lower(): value for key, value in table.items()} if isinstance(table, dict) else {}


def _tables(value):
    return [table for table in value if isinstance(table, dict)] if isinstance(value, list) else []

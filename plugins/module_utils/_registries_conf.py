# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What files of others make of a registry for Podman, beside one of our own. Private to this collection.

Podman reads registries.conf, and then each NAME.conf of registries.conf.d in the order of the alphabet, those of the
account's home last. An account that has a registries.conf of its own reads nothing of the system. Of a prefix that two
files have, the later one counts alone: nothing of the other is left, neither its mirrors nor that it is blocked.
"""

from __future__ import annotations

import glob
import os

try:
    import tomllib
except ImportError:  # Python before 3.11
    tomllib = None


class Entry:
    """What one file says of a prefix: host[:port][/path], or *.domain."""

    def __init__(self, path, keys):
        self.path = path
        self.location = str(keys.get("location") or "").rstrip("/")
        self.prefix = str(keys.get("prefix") or "").rstrip("/") or self.location
        self.insecure = keys.get("insecure") is True
        self.blocked = keys.get("blocked") is True
        self.mirrors = [str(_folded(mirror).get("location") or "") for mirror in _tables(keys.get("mirror"))]
        self._by_digest = keys.get("mirror-by-digest-only") is True

    def covers(self, name):
        """Whether a registry is one of the domain that the prefix stands for."""
        domain = self.prefix[1:]
        return self.prefix.startswith("*.") and (name.endswith(domain) or f"{domain}:" in name)

    def says_of(self, name):
        """What would be lost with it, besides insecure, in words; empty where nothing would."""
        whom = name if self.prefix == name else f"{name}, as one of {self.prefix},"
        said = [f"blocks {whom}"] if self.blocked else []
        if self.mirrors:
            said.append(f"has mirrors for {whom} ({', '.join(self.mirrors)})")
        if self.location not in ("", self.prefix):
            said.append(f"sends {whom} to {self.location}")
        if self._by_digest:
            said.append("lets mirrors serve digests only")
        return " and ".join(said)


class Neighbours:
    """The entries of all files but ours: those before it in Podman's order, and those after it."""

    def __init__(self, ours, system, own="~/.config/containers"):
        self._ours = ours
        self.before, self.after = [], []
        # Files that can't be read by this Python, though Podman reads them.
        self.unread = []
        own = os.path.expanduser(own)
        main = os.path.join(own, "registries.conf")
        alone = os.path.exists(main)
        in_home = ours.startswith(own + os.sep)
        # The file for whose sake this account does not read ours, which is for all other ones then.
        self.in_place_of_all = main if alone and not in_home else ""
        found = self.before
        for path in _files([own] if alone and in_home else [system] if alone else [system, own], ours):
            if path == ours:
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
            # Podman itself is asked after the files are written, and names it.
            return []
        old = _folded(document.get("registries"))
        return [Entry(path, _folded(table)) for table in _tables(document.get("registry"))] + [
            Entry(path, {"location": name, key: True})
            for kind, key in (("insecure", "insecure"), ("block", "blocked"))
            for name in _folded(old.get(kind)).get("registries") or []
        ]

    def counting(self, name):
        """The Entry of the others that counts for a registry where our file says nothing of it, or None."""
        others = self.before + self.after
        exact = [entry for entry in others if entry.prefix == name]
        wide = sorted((entry for entry in others if entry.covers(name)), key=lambda entry: len(entry.prefix))
        return (exact or wide or [None])[-1]

    def hiding(self, name):
        """The Entry that counts in place of ours, or None."""
        return next((entry for entry in reversed(self.after) if entry.prefix == name), None)

    def narrower(self, name):
        """The entries of namespaces of the registry, for which ours does not count."""
        return [entry for entry in self.before + self.after if entry.prefix.startswith(f"{name}/")]

    def mentioning(self, name):
        """The files that this Python can't read and that have the name in them."""
        return [path for path, text in self.unread if name in text]


def _files(folders, ours):
    """All files in the order in which Podman reads them, with ours where it is or will be."""
    found = [os.path.join(folders[0], "registries.conf")]
    for folder in dict.fromkeys(os.path.join(parent, "registries.conf.d") for parent in folders):
        paths = set(glob.glob(os.path.join(glob.escape(folder), "*.conf")))
        if os.path.dirname(ours) == folder:
            paths.add(ours)
        found += sorted(paths, key=os.fsencode)
    return found


def _folded(table):
    """With keys in lower case, as Podman takes them in any case."""
    return {key.lower(): value for key, value in table.items()} if isinstance(table, dict) else {}


def _tables(value):
    return [table for table in value if isinstance(table, dict)] if isinstance(value, list) else []

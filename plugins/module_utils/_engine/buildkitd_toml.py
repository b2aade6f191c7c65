# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The buildkitd.toml of BuildKit, with the registries that it asks. Pure functions. Private to this collection."""

from __future__ import annotations

from ansible_collections.wharf.registry.plugins.module_utils._common.managed_lines import is_managed
from ansible_collections.wharf.registry.plugins.module_utils._common.toml_edit import (
    managed_paths,
    with_value,
    without_values,
)
from ansible_collections.wharf.registry.plugins.module_utils._common.toml_text import TomlText

HEADER = "# Made by wharf.registry, which removes this file with the last of its own lines.\n"
REGISTRY, MIRRORS, HTTP = "registry", "mirrors", "http"


class BuildkitdToml:
    """A buildkitd.toml. Immutable. Raises InputError where it is no TOML, as a change that can't be made does."""

    def __init__(self, raw, path):
        """raw: its bytes, or None."""
        self._raw = raw
        self.document = TomlText(HEADER.encode() if raw is None else raw, path)

    @property
    def raw(self):
        """The bytes of the file, or None for one of ours in which nothing is left."""
        return None if self.document.text == HEADER else self.document.text.encode()

    @property
    def is_ours(self):
        """Whether a value of it is ours."""
        return bool(managed_paths(self.document))

    def _edited(self, document):
        found = BuildkitdToml(self._raw, self.document.path)
        found.document = document
        return found

    def with_registry(self, name, values):
        """With these values of a registry, {key: value}, and no other of ours but its mirrors."""
        base = (REGISTRY, name)
        kept = {*values, MIRRORS}
        document = without_values(
            self.document, lambda path: path[:2] == base and len(path) > 2 and path[2] not in kept
        )
        for key, value in values.items():
            document = with_value(document, (*base, key), value)
        return self._edited(_without_empty_tables(document))

    def mirrors(self, name):
        """Our mirrors of a registry."""
        owners = self._owners_mirrors(name)
        return [mirror for mirror in self.document.get((REGISTRY, name, MIRRORS)) or [] if mirror not in owners]

    def _owners_mirrors(self, name):
        path = (REGISTRY, name, MIRRORS)
        return without_values(self.document, lambda found: found == path).get(path) or []

    def with_mirrors(self, name, mirrors):
        """With these mirrors of ours, behind those of the file's owner."""
        if mirrors == self.mirrors(name):
            return self
        path = (REGISTRY, name, MIRRORS)
        document = without_values(self.document, lambda found: found == path)
        owners = document.get(path) or []
        missing = [mirror for mirror in mirrors if mirror not in owners]
        if missing:
            document = with_value(document, path, [*owners, *missing])
        return self._edited(_without_empty_tables(document))

    def is_plain_mirror(self, host):
        """Whether we have said of a host that it has no TLS, as a mirror: an insecure registry has one more value."""
        ours = {path[2] for path in managed_paths(self.document) if path[:2] == (REGISTRY, host) and len(path) > 2}
        return HTTP in ours and "insecure" not in ours

    def registries_with(self, mirror_host):
        """The registries that have a mirror of this host among ours."""
        there = self.document.get((REGISTRY,)) or {}
        return [name for name in there if any(_host(mirror) == mirror_host for mirror in self.mirrors(name))]


def _host(mirror):
    return mirror.partition("/")[0]


def _without_empty_tables(document):
    """Without the headers of ours below which nothing is left."""
    empty = [path for path in document.headers if path[:1] == (REGISTRY,) and document.get(path) == {}]
    return without_values(document, lambda path: path in empty) if empty else document


def shown(content):
    """The lines of a buildkitd.toml for a diff: ours alone."""
    return [line for line in content.decode("utf-8", "replace").splitlines() if is_managed(line)]

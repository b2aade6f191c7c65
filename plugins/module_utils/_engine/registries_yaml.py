# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The registries.yaml of k3s and RKE2, which make the files of their containerd of it. Private to this collection."""

from __future__ import annotations

from ansible_collections.wharf.registry.plugins.module_utils._common.managed_lines import is_managed
from ansible_collections.wharf.registry.plugins.module_utils._common.yaml_text import (
    YamlText,
    managed_paths,
    with_value,
    without_values,
)

HEADER = "# Made by wharf.registry, which removes this file with the last of its own lines.\n"
_CONFIGS, _MIRRORS, _ENDPOINT = "configs", "mirrors", "endpoint"


class RegistriesYaml:
    """A registries.yaml. Immutable. Raises InputError where it is not understood, as a change of it does."""

    def __init__(self, raw, path):
        """raw: its bytes, or None."""
        self._raw = raw
        self.document = YamlText(HEADER.encode() if raw is None else raw, path)

    @property
    def raw(self):
        """The bytes of the file, or None for one of ours in which nothing is left."""
        if self.document.text == HEADER:
            return None
        return self._raw if self.document.text.encode() == self._raw else self.document.text.encode()

    @property
    def has_secret(self):
        """Whether a line of ours has a secret, or the file is one of ours."""
        return self._raw is None or any("auth" in path for path in managed_paths(self.document))

    @property
    def is_ours(self):
        return bool(managed_paths(self.document))

    def _edited(self, document):
        found = RegistriesYaml(self._raw, self.document.path)
        found.document = document
        return found

    def with_registry(self, name, values):
        """With these values of a registry, {path below it: value}, and no other of ours."""
        base = (_CONFIGS, name)
        wanted = {(*base, *path): value for path, value in values.items()}
        document = without_values(self.document, lambda path: path[:2] == base and path not in wanted)
        for path, value in wanted.items():
            document = with_value(document, path, value)
        return self._edited(document)

    def managed(self, name):
        """Our values of a registry, {path below it: value}."""
        return {
            path[2:]: self.document.get(path) for path in managed_paths(self.document) if path[:2] == (_CONFIGS, name)
        }

    def endpoints(self, upstream):
        """Our endpoints for the images of a registry."""
        path = (_MIRRORS, upstream, _ENDPOINT)
        owners = without_values(self.document, lambda found: found == path).get(path) or []
        return [url for url in self.document.get(path) or [] if url not in owners]

    def with_endpoints(self, upstream, urls):
        """With these endpoints of ours, behind those of the file's owner."""
        if urls == self.endpoints(upstream):
            return self
        path = (_MIRRORS, upstream, _ENDPOINT)
        document = without_values(self.document, lambda found: found[:2] == path[:2])
        owners = document.get(path) or []
        missing = [url for url in urls if url not in owners]
        if missing:
            document = with_value(document, path, [*owners, *missing])
        return self._edited(document)


def shown(content):
    """The lines of a registries.yaml for a diff: those of ours, without passwords."""
    lines = content.decode("utf-8", "replace").splitlines()
    return ["password: (hidden)" if "password" in line else line for line in lines if is_managed(line)]

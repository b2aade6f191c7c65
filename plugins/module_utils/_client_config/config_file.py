# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Credential files on disk. Private to this collection."""

from __future__ import annotations

import os

from ansible_collections.wharf.registry.plugins.module_utils._client_config.config_json import parse
from ansible_collections.wharf.registry.plugins.module_utils._common.atomic_file import File
from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError
from ansible_collections.wharf.registry.plugins.module_utils._common.json_text import UNCHANGED, serialise

PRIVATE = 0o600


class CredentialFile(File):
    """A credential file of Docker or Podman, which its owner alone can read once it was written."""

    new_mode = widest_mode = PRIVATE
    folder_mode = 0o700

    def __init__(self, path):
        super().__init__(path, "config_path")
        self._text = ""

    @property
    def is_podmans(self):
        return os.path.basename(self.path) == "auth.json"

    @property
    def is_open(self):
        """Whether accounts other than its owner may read it."""
        return self.mode is not None and bool(self.mode & ~PRIVATE & 0o777)

    def read(self):
        """The document, empty where there is no file. Raises InputError."""
        raw = self.load()
        document = {} if raw is None else parse(raw, self.path, self.is_podmans)
        self._text = "" if raw is None else raw.decode("utf-8")
        return document

    def write(self, document):
        """Replaces the file with this document, indented as the one that was read."""
        try:
            content = serialise(document, self._text)
        except RecursionError:
            raise InputError(f"{self.path} is nested too deeply", UNCHANGED) from None
        self.replace(content)

# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The configuration that nginx has loaded, and the copy that comes back where a newer one does not serve.

Private to this collection.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess

from ansible_collections.wharf.registry.plugins.module_utils._common.atomic_file import File
from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError
from ansible_collections.wharf.registry.plugins.module_utils._common.process import read_text


class LoadedConfig:
    """What nginx has loaded: the files that count, a copy of all of them, and the stamp that says which.

    directory: that of the configuration. counting: the paths of the files that count.
    """

    def __init__(self, directory, counting):
        self._directory = directory
        self._counting = counting
        self._stamp = os.path.join(directory, "loaded")
        self._former = os.path.join(directory, "former")
        self.before = read_text(self._stamp).strip()

    def now(self):
        """What is to be loaded, in short."""
        return " ".join(_checksum(path) for path in self._counting)

    @property
    def differs(self):
        return self.before != self.now()

    @property
    def can_return(self):
        return os.path.isdir(self._former)

    def keep(self):
        """Says that what lies there is loaded, and keeps a copy of it."""
        new = f"{self._former}.new"
        try:
            shutil.rmtree(new, ignore_errors=True)
            os.mkdir(new, 0o700)
            for name in ("auth", "nginx"):
                _copy(["cp", "--archive", os.path.join(self._directory, name), new])
            shutil.rmtree(self._former, ignore_errors=True)
            os.rename(new, self._former)
        except OSError as error:
            raise InputError(f"{self._former} can't be written: {error.strerror}", "Check its file system") from None
        self.before = self.now()
        stamp = File(self._stamp)
        with stamp.locked():
            stamp.load()
            stamp.replace(self.before.encode(), mode=0o600)

    def restore(self):
        """Puts the files back. Not their directories, which the containers have mounted."""
        if self.can_return:
            for name in ("auth", "nginx"):
                _copy(["cp", "--archive", "--remove-destination", os.path.join(self._former, name), self._directory])


def _checksum(path):
    content = File(path).load()
    return "-" if content is None else hashlib.sha256(content).hexdigest()


def _copy(command):
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip()
        raise InputError(
            f"{json.dumps(command[-1])} can't be written: {said}", "Make space, or look at its file system"
        )

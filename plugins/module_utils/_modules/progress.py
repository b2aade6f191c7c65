# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A file in which a person follows a long run. Private to this collection."""

from __future__ import annotations

import os
import threading
import time

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError


class Progress:
    """Adds a line for each sentence to the file at a path, or to none."""

    def __init__(self, path=None):
        self._file = None
        self._lock = threading.Lock()
        if path is not None:
            try:
                flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
                self._file = os.fdopen(os.open(path, flags, 0o640), "a", encoding="utf-8")
            except OSError as error:
                raise InputError(f"{path} can't be written: {error.strerror}", "Give another progress_path") from None

    def __enter__(self):
        return self

    def __exit__(self, *_exception):
        if self._file is not None:
            self._file.close()

    def say(self, sentence):
        if self._file is not None:
            with self._lock:
                self._file.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} {sentence}\n")
                self._file.flush()

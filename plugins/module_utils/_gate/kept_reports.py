# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reports on images, in a directory of this host that its owner alone can write to. Private to this collection."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import zlib

from ansible_collections.wharf.registry.plugins.module_utils._gate.report_store import Facts, Stored

_LARGEST = 256 << 20


class KeptReports:
    """The reports in a directory, one for each digest of a manifest. dry_run: nothing is written."""

    def __init__(self, directory, dry_run):
        self._directory = directory
        self._dry_run = dry_run
        self._used = set()

    def _path(self, subject):
        name = f"{subject.replace(':', '-')}.gz"
        self._used.add(name)
        return os.path.join(self._directory, name)

    def find(self, subject, accept):
        """The Stored report on a digest whose Facts accept(facts) takes, or None. A damaged one is none."""
        try:
            with gzip.open(self._path(subject)) as file:
                told = json.loads(file.readline(1 << 16))
                facts = Facts(*told["facts"], scanned=told["scanned"])
                content = file.read(_LARGEST) if accept(facts) else None
        except (OSError, EOFError, ValueError, KeyError, TypeError, zlib.error):
            return None
        return None if content is None else Stored("", content, facts)

    def put(self, subject, content, facts):
        if self._dry_run:
            return
        path = self._path(subject)
        told = {
            "facts": [facts.created, facts.scanner, facts.database_date, facts.database_digest],
            "scanned": facts.scanned,
        }
        os.makedirs(self._directory, mode=0o700, exist_ok=True)
        with gzip.open(f"{path}.new", "wb", compresslevel=3) as file:
            file.write(json.dumps(told).encode() + b"\n" + content)
        os.replace(f"{path}.new", path)

    def forget_others(self):
        """Removes the reports that were not asked for: their images run no more."""
        if self._dry_run:
            return
        with contextlib.suppress(FileNotFoundError):
            for name in set(os.listdir(self._directory)) - self._used:
                os.unlink(os.path.join(self._directory, name))

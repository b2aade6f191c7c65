# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known of the blobs of a bucket, on the disk: which ones were read back and had the hash of their names."""

from __future__ import annotations

from ansible_collections.wharf.registry.plugins.module_utils._storage.move_journal import Journal

CURSOR = "cursor"


class Ledger(Journal):
    """A context, for one thread."""

    def is_new(self) -> bool:
        return self._base.execute("select 1 from proven limit 1").fetchone() is None

    def size_of(self, path: str) -> int:
        found = self._base.execute("select size from proven where path = ?", (path,)).fetchone()
        return found[0] if found else 0

    def turn(self, share: float) -> list[str]:
        """The paths whose turn it is to be read, in the order of their names: such a share of all bytes, at least one.

        Each call goes on where the one before has ended, so that in so many calls all of them are read.
        """
        total = self.figures()[2] * share
        after = self.fact(CURSOR) or ""
        found = []
        query = "select path, size from proven where path {} ? order by path"
        for where in (">", "<="):
            for path, size in self._base.execute(query.format(where), (after,)):
                found.append(path)
                total -= size
                if total <= 0:
                    break
            else:
                continue
            break
        if found:
            self.note(CURSOR, found[-1])
        return found

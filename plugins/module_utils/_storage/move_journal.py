# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a move has copied and proven, so that a run that was interrupted is gone on with. Private to this collection.

A database on the disk, since the names of a large registry have no place in the memory.
"""

from __future__ import annotations

import sqlite3
import time

_TABLES = """
create table if not exists fact (name text primary key, value text);
create table if not exists proven (path text primary key, stamp text, size integer, round integer) without rowid;
create index if not exists by_round on proven (round);
"""
# Seconds: changes become lasting at least so often. A large blob is not to be copied twice.
_BATCH = 1


class Journal:
    """A context. Use it in one thread."""

    def __init__(self, path):
        self._base = sqlite3.connect(path, timeout=5, isolation_level=None)
        self._base.executescript(_TABLES)
        self._base.execute("pragma synchronous = normal")
        self._pending, self._began = False, 0.0
        self.round = int(self.fact("round") or 0)

    def __enter__(self):
        return self

    def __exit__(self, *_exception):
        self.save()
        self._base.close()

    def fact(self, name):
        """What was noted by a name, or None."""
        found = self._base.execute("select value from fact where name = ?", (name,)).fetchone()
        return found and found[0]

    def note(self, name, value):
        self._base.execute("insert or replace into fact values (?, ?)", (name, value))

    def begin_round(self):
        self.round += 1
        self.note("round", str(self.round))

    def knows(self, entry):
        """Whether an entry is proven as it is now. It is seen in this round then."""
        found = self._base.execute("select stamp from proven where path = ?", (entry.path,)).fetchone()
        if found is None or found[0] != entry.stamp:
            return False
        self._change("update proven set round = ? where path = ?", (self.round, entry.path))
        return True

    def prove(self, entry, stamp):
        """Notes an entry; an empty stamp has it copied again in the next round."""
        self._change("insert or replace into proven values (?, ?, ?, ?)", (entry.path, stamp, entry.size, self.round))

    def gone(self):
        """The paths that this round has not seen."""
        return [row[0] for row in self._base.execute("select path from proven where round < ?", (self.round,))]

    def forget(self, path):
        self._change("delete from proven where path = ?", (path,))

    def figures(self):
        """(blobs, links, bytes of both)."""
        row = self._base.execute("select count(*), sum(path like 'blobs/%'), sum(size) from proven").fetchone()
        blobs = row[1] or 0
        return blobs, row[0] - blobs, row[2] or 0

    def save(self):
        if self._pending:
            self._base.execute("commit")
            self._pending = False

    def _change(self, statement, values):
        if not self._pending:
            self._base.execute("begin")
            self._began = time.monotonic()
        self._base.execute(statement, values)
        self._pending = True
        if time.monotonic() - self._began >= _BATCH:
            self.save()

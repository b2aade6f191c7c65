# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the cache knows of its files, in a database: sizes, last use, tags, and where a digest was served from.

A database that can't be read is put aside and begun anew, with an empty cache: all of it can be fetched again.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time

_TABLES = """
    CREATE TABLE IF NOT EXISTS objects (
        upstream TEXT, digest TEXT, size INTEGER, media_type TEXT, used REAL, PRIMARY KEY (upstream, digest));
    CREATE TABLE IF NOT EXISTS parts (upstream TEXT, parent TEXT, digest TEXT, PRIMARY KEY (upstream, parent, digest));
    CREATE INDEX IF NOT EXISTS part_of ON parts (upstream, digest);
    CREATE TABLE IF NOT EXISTS links (
        upstream TEXT, repository TEXT, digest TEXT, PRIMARY KEY (upstream, repository, digest));
    CREATE INDEX IF NOT EXISTS link_to ON links (upstream, digest);
    CREATE TABLE IF NOT EXISTS tags (
        upstream TEXT, repository TEXT, tag TEXT, digest TEXT, checked REAL, PRIMARY KEY (upstream, repository, tag));
    CREATE INDEX IF NOT EXISTS tag_of ON tags (upstream, digest);
    CREATE INDEX IF NOT EXISTS least_used ON objects (used);
"""
_DROP = (
    "DELETE FROM objects WHERE upstream=? AND digest=?",
    "DELETE FROM links WHERE upstream=? AND digest=?",
    "DELETE FROM tags WHERE upstream=? AND digest=?",
    "DELETE FROM parts WHERE upstream=? AND parent=?",
)
# Seconds. A use that is noted this late may not count: it spares a write for each request.
_USE_COUNTS_AFTER = 30


class Entry:
    """A manifest or a blob that is held: media_type is None for a blob. size is in bytes."""

    __slots__ = ("digest", "media_type", "size", "used")

    def __init__(self, digest, size, media_type, used):
        self.digest = digest
        self.size = size
        self.media_type = media_type
        self.used = used


class Index:
    """The database at a path. Threads may share it."""

    def __init__(self, path):
        self._lock = threading.RLock()
        try:
            self._database = _opened(path)
        except sqlite3.OperationalError:
            # A full disk, say: what is there is sound.
            raise
        except sqlite3.DatabaseError:
            for name in (path, f"{path}-wal", f"{path}-shm"):
                with contextlib.suppress(FileNotFoundError):
                    os.replace(name, f"{name}.damaged")
            self._database = _opened(path)

    def close(self):
        with self._lock:
            self._database.close()

    def _all(self, query, *values):
        with self._lock:
            return self._database.execute(query, values).fetchall()

    def _one(self, query, *values):
        with self._lock:
            return self._database.execute(query, values).fetchone()

    # --- what is held -------------------------------------------------------------------------------------------------

    def total(self):
        """The bytes of all that is held."""
        return self._one("SELECT coalesce(sum(size), 0) FROM objects")[0]

    def digests(self):
        """All (upstream, digest)."""
        return self._all("SELECT upstream, digest FROM objects")

    def entry(self, upstream, digest):
        """The Entry, or None."""
        row = self._one(
            "SELECT digest, size, media_type, used FROM objects WHERE upstream=? AND digest=?", upstream, digest
        )
        return None if row is None else Entry(*row)

    def is_linked(self, upstream, repository, digest):
        """Whether the upstream has served a digest from this repository."""
        query = "SELECT 1 FROM links WHERE upstream=? AND repository=? AND digest=?"
        return self._one(query, upstream, repository, digest) is not None

    def add(self, upstream, repository, digest, size, *, media_type=None, parts=()):
        """What is held from now on, as served from a repository. parts are the digests of the blobs of a manifest."""
        with self._lock, self._database as database:
            database.execute(
                "INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?, ?)",
                (upstream, digest, size, media_type, time.time()),
            )
            database.executemany(
                "INSERT OR IGNORE INTO parts VALUES (?, ?, ?)", [(upstream, digest, part) for part in parts]
            )
            self._link(database, upstream, repository, digest)

    def link(self, upstream, repository, digest):
        with self._lock, self._database as database:
            self._link(database, upstream, repository, digest)

    @staticmethod
    def _link(database, upstream, repository, digest):
        database.execute("INSERT OR IGNORE INTO links VALUES (?, ?, ?)", (upstream, repository, digest))

    def use(self, upstream, entry):
        """Notes that it is used now."""
        now = time.time()
        if now - entry.used > _USE_COUNTS_AFTER or now < entry.used:
            # On a full disk, what is held is served all the same.
            with contextlib.suppress(sqlite3.OperationalError), self._lock, self._database as database:
                database.execute(
                    "UPDATE objects SET used=? WHERE upstream=? AND digest=?", (now, upstream, entry.digest)
                )

    # --- tags ---------------------------------------------------------------------------------------------------------

    def tag(self, upstream, repository, tag):
        """(digest, when the upstream has last said so as seconds of the epoch), or None."""
        query = "SELECT digest, checked FROM tags WHERE upstream=? AND repository=? AND tag=?"
        return self._one(query, upstream, repository, tag)

    def tags(self, upstream, repository):
        query = "SELECT tag FROM tags WHERE upstream=? AND repository=? ORDER BY tag"
        return [row[0] for row in self._all(query, upstream, repository)]

    def set_tag(self, upstream, repository, tag, digest):
        with contextlib.suppress(sqlite3.OperationalError), self._lock, self._database as database:
            database.execute(
                "INSERT OR REPLACE INTO tags VALUES (?, ?, ?, ?, ?)", (upstream, repository, tag, digest, time.time())
            )

    # --- what goes ----------------------------------------------------------------------------------------------------

    def least_used(self):
        """(upstream, digest) of what was not used for the longest time, or None.

        The blobs of a manifest go with it, and not before.
        """
        return self._one(
            "SELECT upstream, digest FROM objects AS held WHERE media_type IS NOT NULL OR NOT EXISTS "
            "(SELECT 1 FROM parts WHERE parts.upstream=held.upstream AND parts.digest=held.digest) "
            "ORDER BY used LIMIT 1"
        )

    def forget(self, upstream, digest):
        """Forgets something, and the blobs that belong to it alone. Returns the Entries of all that."""
        with self._lock, self._database as database:
            parts = database.execute("SELECT digest FROM parts WHERE upstream=? AND parent=?", (upstream, digest))
            candidates = [row[0] for row in parts.fetchall()]
            gone = [self._drop(database, upstream, digest)]
            for part in candidates:
                entry = self.entry(upstream, part)
                query = "SELECT 1 FROM parts WHERE upstream=? AND digest=?"
                # An image may name a manifest as a layer, which goes by its own use.
                alone = database.execute(query, (upstream, part)).fetchone() is None
                if alone and entry is not None and entry.media_type is None:
                    gone.append(self._drop(database, upstream, part))
        return [entry for entry in gone if entry is not None]

    def _drop(self, database, upstream, digest):
        entry = self.entry(upstream, digest)
        for query in _DROP:
            database.execute(query, (upstream, digest))
        return entry


def _opened(path):
    database = sqlite3.connect(path, check_same_thread=False)
    try:
        # A power loss may take the last changes, and never the database.
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=NORMAL")
        database.executescript(_TABLES)
        _check(database)
    except BaseException:
        database.close()
        raise
    return database


def _check(database):
    found = database.execute("PRAGMA quick_check").fetchone()[0]
    if found != "ok":
        raise sqlite3.DatabaseError(found)

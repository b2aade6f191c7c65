# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known of the storage, in a file of SQLite: memory stays small, and a restart reads no manifest again."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3

# Another version begins anew: all of it is in the storage, but for who has pushed, and when images were pulled.
_VERSION = 1
_TABLES = """
CREATE TABLE repository (
  id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE,
  tags INTEGER NOT NULL DEFAULT 0, untagged INTEGER NOT NULL DEFAULT 0,
  own INTEGER NOT NULL DEFAULT 0, shared INTEGER NOT NULL DEFAULT 0, pushed INTEGER, pushed_by TEXT NOT NULL DEFAULT '',
  pulled INTEGER, worst TEXT NOT NULL DEFAULT '', seen INTEGER NOT NULL DEFAULT 0);
CREATE TABLE tag (
  repository INTEGER NOT NULL, name TEXT NOT NULL, digest TEXT NOT NULL, pushed INTEGER NOT NULL,
  pushed_by TEXT NOT NULL DEFAULT '', pulled INTEGER, PRIMARY KEY (repository, name)) WITHOUT ROWID;
CREATE INDEX tag_digest ON tag (digest);
CREATE TABLE revision (
  repository INTEGER NOT NULL, digest TEXT NOT NULL, pushed INTEGER NOT NULL, stored TEXT NOT NULL DEFAULT '',
  PRIMARY KEY (repository, digest)) WITHOUT ROWID;
CREATE INDEX revision_digest ON revision (digest);
CREATE TABLE manifest (digest TEXT PRIMARY KEY, facts TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE blob (
  id INTEGER PRIMARY KEY, digest TEXT NOT NULL UNIQUE, size INTEGER NOT NULL,
  holders INTEGER NOT NULL DEFAULT 0);
CREATE TABLE content (
  repository INTEGER NOT NULL, blob INTEGER NOT NULL, PRIMARY KEY (repository, blob)) WITHOUT ROWID;
CREATE INDEX content_blob ON content (blob);
CREATE TABLE note (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""
# Rows of one statement, and of one step of a long read.
_MANY = 500


class Catalog:
    """The file. What is changed is kept by `commit`: a program that is killed in between has lost nothing but time."""

    def __init__(self, path):
        self._path = path
        try:
            self._open()
            whole = self._one("PRAGMA user_version") == _VERSION and self._one("PRAGMA quick_check(1)") == "ok"
        except sqlite3.OperationalError:
            # A full disk is no reason to forget who has pushed.
            raise
        except sqlite3.DatabaseError:
            whole = False
        if not whole:
            self._begin_anew()

    def _open(self):
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
        self._base = sqlite3.connect(self._path, isolation_level="DEFERRED")
        self._base.execute("PRAGMA journal_mode = WAL")
        self._base.execute("PRAGMA synchronous = NORMAL")
        self._base.execute("PRAGMA cache_size = -8000")

    def _begin_anew(self):
        self._base.close()
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path + suffix)
        self._open()
        self._base.executescript(_TABLES)
        self._base.execute(f"PRAGMA user_version = {_VERSION}")
        self._base.commit()

    def commit(self):
        self._base.commit()

    def close(self):
        self._base.commit()
        self._base.close()

    def _one(self, statement, values=()):
        found = self._base.execute(statement, values).fetchone()
        return None if found is None else found[0]

    # --- repositories -------------------------------------------------------------------------------------------------

    def identify(self, name):
        """The number of a repository, a new one where it was not known."""
        self._base.execute("INSERT OR IGNORE INTO repository (name) VALUES (?)", (name,))
        return self._one("SELECT id FROM repository WHERE name = ?", (name,))

    def number_of(self, name):
        return self._one("SELECT id FROM repository WHERE name = ?", (name,))

    def names(self, unseen_in=None):
        """The names of all repositories, or of those that a look with another number has seen."""
        if unseen_in is None:
            found = self._base.execute("SELECT name FROM repository ORDER BY name")
        else:
            found = self._base.execute("SELECT name FROM repository WHERE seen <> ? ORDER BY name", (unseen_in,))
        return [name for (name,) in found]

    def mark_seen(self, number, look):
        self._base.execute("UPDATE repository SET seen = ? WHERE id = ?", (look, number))

    def remove_repository(self, number):
        """Forgets it. Returns the numbers of others whose sizes are no longer what they were."""
        others = self.set_contents(number, {})
        for table in ("tag", "revision"):
            self._base.execute(f"DELETE FROM {table} WHERE repository = ?", (number,))  # noqa: S608 - of these two
        self._base.execute("DELETE FROM repository WHERE id = ?", (number,))
        return others

    def row(self, number):
        """(name, tags, untagged, own, shared, pushed, pushed_by, pulled, worst)"""
        return self._base.execute(
            "SELECT name, tags, untagged, own, shared, pushed, pushed_by, pulled, worst FROM repository WHERE id = ?",
            (number,),
        ).fetchone()

    def rows(self):
        """Yields the rows of all repositories, by their names."""
        return self._base.execute(
            "SELECT name, tags, untagged, own, shared, pushed, pushed_by, pulled, worst FROM repository ORDER BY name"
        )

    def summarise(self, number, tags, untagged, worst):
        """Keeps what the row of a repository tells beside its sizes."""
        pushed, pushed_by = self._base.execute(
            "SELECT pushed, pushed_by FROM tag WHERE repository = ? ORDER BY pushed DESC LIMIT 1", (number,)
        ).fetchone() or (None, "")
        self._base.execute(
            "UPDATE repository SET tags = ?, untagged = ?, worst = ?, pushed = ?, pushed_by = ? WHERE id = ?",
            (tags, untagged, worst, pushed, pushed_by, number),
        )

    # --- tags and revisions -------------------------------------------------------------------------------------------

    def tags(self, number):
        """[(name, digest, pushed, pushed_by, pulled)], the newest first."""
        return self._base.execute(
            "SELECT name, digest, pushed, pushed_by, pulled FROM tag WHERE repository = ? ORDER BY pushed DESC, name",
            (number,),
        ).fetchall()

    def set_tags(self, number, found, whole=True):
        """Keeps {tag: (digest, seconds)}; with whole, no other is left. Returns the digests that lost or got a tag."""
        before = {name: (digest, pushed) for name, digest, pushed, _by, _pulled in self.tags(number)}
        changed = {name: now for name, now in found.items() if before.get(name) != now}
        gone = [name for name in before if name not in found] if whole else []
        self._base.executemany(
            "INSERT INTO tag (repository, name, digest, pushed) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (repository, name) DO UPDATE SET digest = excluded.digest, pushed = excluded.pushed,"
            " pulled = CASE WHEN digest = excluded.digest THEN pulled END,"
            " pushed_by = CASE WHEN pushed = excluded.pushed THEN pushed_by ELSE '' END",
            [(number, name, digest, pushed) for name, (digest, pushed) in changed.items()],
        )
        self._base.executemany("DELETE FROM tag WHERE repository = ? AND name = ?", [(number, name) for name in gone])
        lost = {before[name][0] for name in [*changed, *gone] if name in before}
        return lost | {digest for digest, _pushed in changed.values()}

    def set_pushed_by(self, number, tag, user):
        self._base.execute("UPDATE tag SET pushed_by = ? WHERE repository = ? AND name = ?", (user, number, tag))

    def add_pull(self, number, reference, when):
        """What was pulled by a tag or a digest, and when."""
        self._base.execute(
            "UPDATE tag SET pulled = ? WHERE repository = ? AND (name = ? OR digest = ?) AND coalesce(pulled, 0) < ?",
            (when, number, reference, reference, when),
        )
        self._base.execute(
            "UPDATE repository SET pulled = ? WHERE id = ? AND coalesce(pulled, 0) < ?", (when, number, when)
        )

    def tagged(self, digest, most):
        """[(repository, tag)] of the tags that lead to a digest, in all repositories."""
        return self._base.execute(
            "SELECT r.name, t.name FROM tag t JOIN repository r ON r.id = t.repository WHERE t.digest = ?"
            " ORDER BY r.name, t.name LIMIT ?",
            (digest, most),
        ).fetchall()

    def shared_digests(self):
        """Yields the digests to which tags of several repositories lead."""
        found = self._base.execute("SELECT digest FROM tag GROUP BY digest HAVING min(repository) <> max(repository)")
        return (digest for (digest,) in found)

    def revisions(self, number):
        """{digest: (seconds, the digest under which it is stored)}"""
        found = self._base.execute("SELECT digest, pushed, stored FROM revision WHERE repository = ?", (number,))
        return {digest: (pushed, stored) for digest, pushed, stored in found}

    def set_revisions(self, number, found, whole=True):
        """Keeps {digest: (seconds, the digest under which it is stored)}; with whole, no other one is left."""
        before = self.revisions(number)
        new = [(number, digest, *told) for digest, told in found.items() if before.get(digest) != told]
        self._base.executemany("INSERT OR REPLACE INTO revision VALUES (?, ?, ?, ?)", new)
        if whole:
            gone = [(number, digest) for digest in before if digest not in found]
            self._base.executemany("DELETE FROM revision WHERE repository = ? AND digest = ?", gone)

    # --- manifests ----------------------------------------------------------------------------------------------------

    def facts(self, digests):
        """{digest: facts} of those that are known."""
        found, digests = {}, list(digests)
        for start in range(0, len(digests), _MANY):
            some = digests[start : start + _MANY]
            marks = ",".join("?" * len(some))
            rows = self._base.execute(f"SELECT digest, facts FROM manifest WHERE digest IN ({marks})", some)  # noqa: S608
            found.update((digest, json.loads(facts)) for digest, facts in rows)
        return found

    def keep_facts(self, digest, facts):
        self._base.execute("INSERT OR REPLACE INTO manifest VALUES (?, ?)", (digest, json.dumps(facts)))

    def forget_unneeded(self):
        """Forgets manifests, blobs and notes that no repository needs any more."""
        self._base.execute("DELETE FROM manifest WHERE digest NOT IN (SELECT digest FROM revision)")
        self._base.execute("DELETE FROM blob WHERE holders = 0")
        self._base.execute(
            "DELETE FROM note WHERE instr(name, ' ') > 0 AND substr(name, 1, instr(name, ' ') - 1)"
            " NOT IN (SELECT digest FROM revision)"
        )

    # --- contents -----------------------------------------------------------------------------------------------------

    def set_contents(self, number, sizes):
        """Keeps the blobs of a repository, {digest: bytes}. Returns the numbers of others whose sizes change by it."""
        known = self._base.execute(
            "SELECT b.digest, b.id FROM content c JOIN blob b ON b.id = c.blob WHERE c.repository = ?", (number,)
        )
        before = dict(known.fetchall())
        gone = [blob for digest, blob in before.items() if digest not in sizes]
        new = [(digest, size) for digest, size in sizes.items() if digest not in before]
        touched = set(gone)
        self._base.executemany(
            "DELETE FROM content WHERE repository = ? AND blob = ?", [(number, blob) for blob in gone]
        )
        self._base.executemany("INSERT OR IGNORE INTO blob (digest, size) VALUES (?, ?)", new)
        for digest, _size in new:
            blob = self._one("SELECT id FROM blob WHERE digest = ?", (digest,))
            self._base.execute("INSERT OR IGNORE INTO content VALUES (?, ?)", (number, blob))
            touched.add(blob)
        return self._count_holders(number, touched)

    def _count_holders(self, number, blobs):
        others = set()
        for blob in blobs:
            # Whether it has none, one, or more is what counts: of a layer that all share, not all are counted.
            holders = [
                one for (one,) in self._base.execute("SELECT repository FROM content WHERE blob = ? LIMIT 3", (blob,))
            ]
            self._base.execute("UPDATE blob SET holders = ? WHERE id = ?", (len(holders), blob))
            if len(holders) < 3:
                others.update(holders)
        others.discard(number)
        return others

    def measure(self, number):
        """Works out the sizes of a repository: what it alone holds, and what others hold, too."""
        own, shared = self._base.execute(
            "SELECT coalesce(sum(CASE WHEN b.holders < 2 THEN b.size END), 0),"
            " coalesce(sum(CASE WHEN b.holders > 1 THEN b.size END), 0)"
            " FROM content c JOIN blob b ON b.id = c.blob WHERE c.repository = ?",
            (number,),
        ).fetchone()
        self._base.execute("UPDATE repository SET own = ?, shared = ? WHERE id = ?", (own, shared, number))

    def name_of(self, number):
        return self._one("SELECT name FROM repository WHERE id = ?", (number,))

    # --- notes --------------------------------------------------------------------------------------------------------

    def note(self, name):
        """What was noted under a name, or None."""
        found = self._one("SELECT value FROM note WHERE name = ?", (name,))
        return None if found is None else json.loads(found)

    def keep_note(self, name, value):
        self._base.execute("INSERT OR REPLACE INTO note VALUES (?, ?)", (name, json.dumps(value)))

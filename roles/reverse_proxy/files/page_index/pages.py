# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files that nginx serves: those of repositories, and an index for each access policy, so that names never leak."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil

from documents import COLUMNS, now_text

# The changes since a base was written that its index tells one by one: a push must not cost what the storage is large.
_MOST_CHANGES = 400
# Tags of one digest that are told.
_MOST_TAGS = 1000
# No name of a repository has a part that is called so.
_DETAILS = "_.json"


class Pages:
    """The directory of the page's data."""

    def __init__(self, directory, registry, policies, catalog):
        self._directory = directory
        self._catalog = catalog
        for name in ("repositories", "policies"):
            os.makedirs(os.path.join(directory, name), exist_ok=True)
        self._indexes = [Index(directory, registry, policy, catalog) for policy in policies]
        self._remove_former({policy["index"] for policy in policies})

    def _remove_former(self, wanted):
        top = os.path.join(self._directory, "policies")
        for name in set(os.listdir(top)) - wanted:
            shutil.rmtree(os.path.join(top, name), ignore_errors=True)

    # --- repositories -------------------------------------------------------------------------------------------------

    def write_details(self, name, document):
        """Writes what there is to know of a repository, where that is something else than before."""
        path = self._details(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if _without_time(_read(path)) != _without_time(document):
            write(path, document)

    def remove_details(self, name):
        path = self._details(name)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        top = os.path.join(self._directory, "repositories")
        while True:
            path = os.path.dirname(path)
            if path == top:
                return
            try:
                os.rmdir(path)
            except OSError:
                # Another repository lies within it.
                return

    def remove_others(self, names):
        """Removes the files of repositories that are not among these: what is left of a time when this did not run."""
        top = os.path.join(self._directory, "repositories")
        for place, _folders, files in os.walk(top, topdown=False):
            name = os.path.relpath(place, top)
            if _DETAILS in files and name not in names:
                self.remove_details(name)

    def _details(self, name):
        return os.path.join(self._directory, "repositories", *name.split("/"), _DETAILS)

    # --- indexes ------------------------------------------------------------------------------------------------------

    def publish(self, changed, gone, told):
        """Writes the indexes anew. changed: numbers of repositories. gone: names. told: what all indexes tell."""
        rows = [row for row in map(self._catalog.row, changed) if row is not None]
        for index in self._indexes:
            index.publish(rows, gone, told)

    def begin_anew(self, told):
        """Writes the indexes whole."""
        for index in self._indexes:
            index.write_base()
            index.publish([], [], told)

    def write_digests(self, digests):
        """Tells which tags lead to these digests, where they are in several repositories."""
        for digest in digests:
            tags = self._catalog.tagged(digest, _MOST_TAGS)
            for index in self._indexes:
                index.write_digest(digest, tags)

    def write_all_digests(self):
        for index in self._indexes:
            index.forget_digests()
        self.write_digests(self._catalog.shared_digests())

    def write_fleet(self, document):
        for index in self._indexes:
            index.write_fleet(document)


class Index:
    """What one policy may see."""

    def __init__(self, directory, registry, policy, catalog):
        self._directory = os.path.join(directory, "policies", policy["index"])
        self._registry = registry
        self._policy = policy
        self._catalog = catalog
        self._sees = re.compile("|".join(f"(?:{one})" for one in policy["pull"]) or r"(?!)")
        self._base = ""
        self._changes = {}
        os.makedirs(os.path.join(self._directory, "digests"), exist_ok=True)

    def sees(self, name):
        return bool(self._sees.fullmatch(name))

    def _told(self, row):
        """A row as this policy may know it: that others hold the same data is for those who see all repositories."""
        if "(?:.*)" in self._policy["pull"]:
            return row
        name, tags, untagged, own, shared, *more = row
        return (name, tags, untagged, own + shared, 0, *more)

    def write_base(self):
        """Writes the rows of all repositories. A page that has just asked for the former base gets it still."""
        temporary = os.path.join(self._directory, "base.new")
        digest = hashlib.sha256()
        with open(temporary, "wb") as file:
            for piece in self._base_pieces():
                digest.update(piece)
                file.write(piece)
        former, self._base = self._base, f"index-{digest.hexdigest()[:32]}.json"
        os.replace(temporary, os.path.join(self._directory, self._base))
        self._changes = {}
        for name in os.listdir(self._directory):
            if name.startswith("index-") and name not in (former, self._base):
                os.unlink(os.path.join(self._directory, name))

    def _base_pieces(self):
        yield f'{{"columns":{json.dumps(COLUMNS)},"rows":['.encode()
        separator = ""
        for row in self._catalog.rows():
            if self.sees(row[0]):
                yield f"{separator}{json.dumps(self._told(row), separators=(',', ':'))}".encode()
                separator = ",\n"
        yield b"]}"

    def publish(self, rows, gone, told):
        for name in gone:
            if self.sees(name):
                self._changes[name] = {"gone": name}
        for row in rows:
            if self.sees(row[0]):
                self._changes[row[0]] = self._told(row)
        if not self._base or len(self._changes) > _MOST_CHANGES:
            self.write_base()
        catalog = self._policy["catalog"]
        document = {
            "version": 1,
            "made": now_text(),
            "registry": self._registry,
            "base": self._base,
            "changes": list(self._changes.values()),
            "delete": self._policy["delete"],
            "fleet": catalog,
            **{name: value for name, value in told.items() if catalog or name != "storage"},
        }
        write(os.path.join(self._directory, "index.json"), document)

    def write_digest(self, digest, tags):
        path = os.path.join(self._directory, "digests", f"{digest.replace(':', '-')}.json")
        seen = [(name, tag) for name, tag in tags if self.sees(name)]
        if len({name for name, _tag in seen}) > 1:
            write(path, {"digest": digest, "tags": [f"{name}:{tag}" for name, tag in seen]})
        else:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)

    def forget_digests(self):
        shutil.rmtree(os.path.join(self._directory, "digests"), ignore_errors=True)
        os.makedirs(os.path.join(self._directory, "digests"), exist_ok=True)

    def write_fleet(self, document):
        """For those who may list all repositories: it names what runs, wherever that comes from."""
        if self._policy["catalog"] and self._policy["pull"]:
            write(os.path.join(self._directory, "fleet.json"), document)


def write(path, document):
    """Replaces a file, whole or not at all."""
    with open(f"{path}.new", "w", encoding="utf-8") as file:
        json.dump(document, file, separators=(",", ":"))
    os.replace(f"{path}.new", path)


def _read(path):
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError):
        return None


def _without_time(document):
    """As JSON gives it back, without the time at which it was made."""
    if not isinstance(document, dict):
        return None
    return json.loads(json.dumps({name: value for name, value in document.items() if name != "made"}))

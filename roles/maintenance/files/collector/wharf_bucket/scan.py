# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The repositories of a bucket, from one list of all their objects."""

from __future__ import annotations

import collections
import hashlib
import sys

from ansible_collections.wharf.registry.plugins.module_utils._storage.s3_errors import S3Error
from wharf_storage import names
from wharf_storage.found import Link, Oddities

from wharf_bucket.clock import now_by, seconds_of

# A digest is shorter.
_MOST_LINK = 256


def etag_of(text):
    """The ETag that S3 gives an object with this content, where it is its MD5; None where this host has no MD5."""
    try:
        return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
    except TypeError:
        # Before Python 3.9, hashlib does not take what it is for.
        return _old_md5(text)
    except ValueError:
        return None


def _old_md5(text):
    try:
        return hashlib.md5(text.encode()).hexdigest()  # noqa: S324 - no secret rests on it
    except ValueError:
        return None


class Repository:
    """What the objects of one repository say. mark tells it from another state of the same one."""

    def __init__(self, name, mark):
        self.name, self.mark = name, mark
        self.layers, self.revisions, self.tags = {}, {}, {}
        # {tag: digests that it points to and has pointed to}, of tags that are gone as well.
        self.history = collections.defaultdict(list)
        self.last_upload = 0.0
        # How many there are, and their bytes.
        self.objects = self.bytes = 0
        self.oddities = Oddities()

    def read(self, objects, read_link):
        """Takes (parts of the key below the repository, Listed) of all its objects."""
        currents, known = {}, collections.defaultdict(dict)
        for parts, listed in objects:
            self.objects += 1
            self.bytes += max(0, listed.size)
            kind, place = parts[0], parts[1:]
            if kind == "_uploads":
                self.last_upload = max(self.last_upload, seconds_of(listed))
            elif kind == "_layers":
                self._take_link(self.layers, place, listed, read_link)
            elif place[0] == "revisions":
                self._take_link(self.revisions, place[1:], listed, read_link)
            elif place[0] == "tags" and len(place) > 3 and names.is_tag(place[1]):
                if place[2:] == ["current", "link"]:
                    currents[place[1]] = listed
                else:
                    digest = self._digest(place[3:], listed) if place[2] == "index" else self._odd(listed)
                    if digest:
                        self.history[place[1]].append(digest)
                        known[place[1]][etag_of(digest)] = digest
            else:
                self._odd(listed)
        for tag, listed in currents.items():
            target = known[tag].get(listed.etag) or read_link(listed.key)
            if target is not None:
                self.tags[tag] = Link(target or None, seconds_of(listed))
        return self

    def _take_link(self, links, place, listed, read_link):
        digest = self._digest(place, listed)
        if not digest:
            return
        target = digest if listed.etag == etag_of(digest) else read_link(listed.key)
        if target is None:
            return
        if not target:
            self.oddities.add(f"the link {names.shown(listed.key)} is damaged")
        links[digest] = Link(target or None, seconds_of(listed))

    def _digest(self, place, listed):
        """The digest of a link by its place, or None. Beside a link may be signatures of a time long ago."""
        if len(place) < 3 or not names.is_encoded(place[0], place[1]):
            return self._odd(listed)
        # Repositories have many layers in common.
        return sys.intern(f"{place[0]}:{place[1]}") if place[2:] == ["link"] else None

    def _odd(self, listed):
        self.oddities.add(f"the registry makes no object of this name: {names.shown(listed.key)}")


class Scan:
    """Groups the objects below a prefix by repositories. What was seen before and is the same is not read again."""

    def __init__(self, client, prefix):
        self._client, self._prefix = client, prefix
        self.repositories = {}
        self.objects = self.bytes = 0
        # When the last list was made.
        self.time = 0.0

    def again(self, oddities):
        """Lists all of it."""
        former, self.repositories = self.repositories, {}
        self.objects = self.bytes = 0
        for name, objects in self._groups(oddities):
            self.repositories[name] = self._of(name, objects, former.get(name))
        self.time = now_by(self._client)

    def again_of(self, chosen, oddities):
        """Lists some of them: what each has, or that it is gone."""
        for name in sorted(chosen):
            former = self.repositories.pop(name, None)
            if former is not None:
                self.objects -= former.objects
                self.bytes -= former.bytes
            # No repository within this one begins like that.
            for found, objects in self._groups(oddities, f"{name}/_"):
                if found != name:
                    raise S3Error(
                        f"The storage lists {found} among the objects of {name}, and nothing more is removed",
                        "Use a storage that lists what begins as it is told",
                    )
                self.repositories[name] = self._of(name, objects, former)
        self.time = now_by(self._client)

    def gone(self, key):
        """Takes note of an object that was deleted."""
        name = self._place(key)[0] if key.startswith(self._prefix) else None
        if name in self.repositories:
            self.objects -= 1
            self.repositories[name].objects -= 1

    def _of(self, name, objects, known):
        """What it is by its objects, which are not read where they are what is known of it."""
        mark = _mark(objects)
        if known is not None and known.mark == mark:
            return known
        return Repository(name, mark).read(objects, self._read_link)

    def _groups(self, oddities, begin=""):
        """Yields (name, [(parts of the key below the repository, Listed)]) in the order of the list."""
        seen, name, objects = set(), None, []
        for listed in self._client.objects(self._prefix + begin):
            self.objects += 1
            self.bytes += max(0, listed.size)
            found, parts = self._place(listed.key)
            if found is None:
                # Other programs mark directories by empty objects.
                if listed.size or not listed.key.endswith("/"):
                    oddities.add(f"the registry makes no object of this name: {names.shown(listed.key)}")
                continue
            if found != name:
                if objects:
                    yield name, objects
                if found in seen:
                    raise S3Error(
                        f"The storage lists {found} twice, with others in between, and nothing was removed",
                        "Use a storage that lists names in order",
                    )
                seen.add(found)
                name, objects = found, []
            objects.append((parts, listed))
        if objects:
            yield name, objects

    def _place(self, key):
        """(repository, parts of the key below it), or (None, None) where the key has no place in one."""
        parts = key[len(self._prefix) :].split("/")
        at = next((number for number, part in enumerate(parts) if part in names.PARTS), 0)
        name = "/".join(parts[:at])
        # Each part has more below it.
        if not at or len(parts) < at + 3 or "" in parts or not names.is_repository(name):
            return None, None
        return sys.intern(name), parts[at:]

    def _read_link(self, key):
        """The digest that a link says; empty where it says none of use, and None where it has gone."""
        try:
            content = self._client.get(key, limit=_MOST_LINK)
        except S3Error as error:
            if error.code == "NoSuchKey":
                return None
            raise
        text = content.decode("ascii", "replace").strip()
        return sys.intern(text) if names.is_digest(text) else ""


def _mark(objects):
    """A digest of the names, contents and times of objects."""
    found = hashlib.blake2b(digest_size=16)
    for _parts, listed in objects:
        found.update(f"{listed.key}\n{listed.etag}\n{listed.size}\n{listed.modified}\n".encode())
    return found.digest()

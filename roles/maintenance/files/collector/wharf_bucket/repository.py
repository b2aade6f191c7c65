# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One repository of a bucket, by the objects that a list shows of it."""

from __future__ import annotations

import collections
import hashlib
import sys

from wharf_storage import names
from wharf_storage.found import Link, Oddities

from wharf_bucket.clock import seconds_of


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

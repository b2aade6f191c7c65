# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What lies below a prefix of a bucket, by repositories, from one list of all of it."""

from __future__ import annotations

import sys

from ansible_collections.wharf.registry.plugins.module_utils._storage.s3_errors import S3Error
from wharf_storage import names

# A digest is shorter.
_MOST_LINK = 256


class Groups:
    """Lists by an S3Client what is below a prefix. objects and bytes count what was listed."""

    def __init__(self, client, prefix):
        self._client, self._prefix = client, prefix
        self.objects = self.bytes = 0

    def each(self, oddities, begin=""):
        """Yields (name, [(parts of the key below the repository, Listed)]) in the order of the list."""
        seen, name, objects = set(), None, []
        for listed in self._client.objects(self._prefix + begin):
            self.objects += 1
            self.bytes += max(0, listed.size)
            found, parts = self.place(listed.key)
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
                        f"The storage lists {found} twice, with others in between",
                        "Use a storage that lists names in order",
                    )
                seen.add(found)
                name, objects = found, []
            objects.append((parts, listed))
        if objects:
            yield name, objects

    def place(self, key):
        """(repository, parts of the key below it), or (None, None) where the key has no place in one."""
        parts = key[len(self._prefix) :].split("/")
        at = next((number for number, part in enumerate(parts) if part in names.PARTS), 0)
        name = "/".join(parts[:at])
        # Each part has more below it.
        if not at or len(parts) < at + 3 or "" in parts or not names.is_repository(name):
            return None, None
        return sys.intern(name), parts[at:]

    def read_link(self, key):
        """The digest that a link says; empty where it says none of use, and None where it has gone."""
        try:
            content = self._client.get(key, limit=_MOST_LINK)
        except S3Error as error:
            if error.code == "NoSuchKey":
                return None
            raise
        text = content.decode("ascii", "replace").strip()
        return sys.intern(text) if names.is_digest(text) else ""

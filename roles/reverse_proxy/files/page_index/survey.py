# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Brings the catalog up to date with a repository of the storage."""

from __future__ import annotations

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import RegistryError
from facts import facts_of, unreadable


class Survey:
    """Reads repositories of a place into a Catalog."""

    def __init__(self, place, registry, catalog):
        self._place = place
        self._registry = registry
        self._catalog = catalog

    def names(self):
        """The names of all repositories that there are."""
        return self._place.names()

    def read(self, name):
        """Reads a repository whole. Returns (its number, or None where it is gone, digests whose tags have changed)."""
        there = self._place.repository(name)
        tags, revisions = there.tags, there.revisions
        if not tags and not revisions:
            return None, self._forget(name)
        number = self._catalog.identify(name)
        found = {tag: (link.target, int(link.time)) for tag, link in tags.items() if link.target}
        changed = self._catalog.set_tags(number, found)
        self._catalog.set_revisions(
            number, {digest: (int(link.time), link.target or "") for digest, link in revisions.items()}
        )
        self._learn(name, {digest: link.target for digest, link in revisions.items()})
        return number, changed

    def read_tag(self, name, tag):
        """Reads one tag of a repository that is known, and its manifest. Returns as `read`."""
        number = self._catalog.number_of(name)
        link = None if number is None else self._place.tag(name, tag)
        if link is None or not link.target:
            return self.read(name)
        changed = self._catalog.set_tags(number, {tag: (link.target, int(link.time))}, whole=False)
        self.read_revision(name, number, link.target)
        return number, changed

    def read_revision(self, name, number, digest):
        """Reads a manifest that was pushed to a repository that is known, where it is there still."""
        found = self._registry.revision(name, digest)
        if found is not None:
            stored, when = found
            self._catalog.set_revisions(number, {digest: (when, stored)}, whole=False)
            self._learn(name, {digest: stored})

    def _forget(self, name):
        number = self._catalog.number_of(name)
        return set() if number is None else {digest for _name, digest, *_more in self._catalog.tags(number)}

    def _learn(self, name, stored):
        """Keeps the facts of manifests, {digest: the digest under which it is stored}, that are not known yet."""
        known = self._catalog.facts(stored)
        for digest, lies_at in stored.items():
            if digest not in known or known[digest]["kind"] == "unknown":
                self._catalog.keep_facts(digest, self._facts(name, digest, lies_at))

    def _facts(self, name, digest, stored):
        try:
            return facts_of(self._registry, name, self._registry.content_of(digest, stored or digest))
        except RegistryError as error:
            return unreadable(error.message)

# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A whole run: chosen images are copied, several at a time, and others removed. Private to this collection."""

from __future__ import annotations

import concurrent.futures

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._distribution.client_errors import concerns_all
from ansible_collections.wharf.registry.plugins.module_utils._transfer.blob_mover import BlobMover, Moved
from ansible_collections.wharf.registry.plugins.module_utils._transfer.copy import ImageCopy, ReferrerLists
from ansible_collections.wharf.registry.plugins.module_utils._transfer.prune import Pruning
from ansible_collections.wharf.registry.plugins.module_utils._transfer.selection import Selection


class Sync:
    """Copies what rules choose. sources and destinations are Pools; tell is called with a sentence on each step.

    places are {digest: repository of the destination} of blobs that are there already.
    """

    def __init__(
        self, sources, destinations, rules, *, overwrite=False, dry_run=False, max_workers=8, tell=None, places=None
    ):
        self._sources = sources
        self._destinations = destinations
        self._rules = rules
        self._overwrite = overwrite
        self._dry_run = dry_run
        self._max_workers = max_workers
        self._tell = tell or (lambda _sentence: None)
        self._mover = BlobMover(sources, destinations, dry_run, places)
        self._lists = ReferrerLists()
        self._stopped = None
        self._selection = None
        self.outcomes = []
        self.pruning = None

    def copy(self, now):
        """Copies. Raises RegistryError only where nothing could be chosen; all else is in the outcomes."""
        self._selection = Selection(self._sources, self._rules, now)
        items = self._selection.items
        self._tell(f"{len(items)} tags are chosen")
        with concurrent.futures.ThreadPoolExecutor(self._max_workers) as executor:

            def blobs(item, descriptors):
                # Each once, however often a manifest names it.
                unique = {blob["digest"]: blob for blob in descriptors}.values()
                moves = [executor.submit(self._mover.move, item.repository, item.to, blob) for blob in unique]
                moved = Moved()
                for move in moves:
                    moved += move.result()
                return moved

            def copy(destination, item):
                return self._copy(destination, blobs, item)

            for number, outcome in enumerate(self._destinations.map(copy, items), 1):
                self.outcomes.append(outcome)
                self._tell(f"{number} of {len(items)}: {_sentence(outcome, self._dry_run)}")

    def _copy(self, destination, blobs, item):
        with self._sources.client() as source:
            options = {"overwrite": self._overwrite, "dry_run": self._dry_run}
            copy = ImageCopy(source, destination, blobs, self._lists, item, **options)
            if self._stopped is not None:
                copy.outcome.problem = self._stopped
                return copy.outcome
            try:
                copy.run()
            except RegistryError as error:
                copy.outcome.problem = error
                if concerns_all(error):
                    # There is no use in asking on.
                    self._stopped = error
        return copy.outcome

    def prune(self, now, most, most_percent):
        """Removes what no rule chooses any more. Raises CapError, and other RegistryErrors of the whole registry.

        A repository of which not all could be read at the source is left alone.
        """
        chosen, unread = self._selection.destinations, self._selection.unread
        self.pruning = Pruning(self._destinations, {name: chosen[name] for name in chosen.keys() - unread})
        self.pruning.judge(now, most, most_percent)
        if not self._dry_run:
            self.pruning.remove()
        for repository, tags in self.pruning.removed.items():
            verb = "would be removed" if self._dry_run else "was removed"
            for tag in tags:
                self._tell(f"{repository}:{tag} {verb}: no rule chooses it")

    @property
    def problems(self):
        """All that went wrong: (what, RegistryError)."""
        return [
            *(self._selection.problems.items() if self._selection else ()),
            *((f"{one.item.to}:{one.item.tag}", one.problem) for one in self.outcomes if one.problem is not None),
            *(self.pruning.problems.items() if self.pruning else ()),
        ]


def _sentence(outcome, dry_run):
    """What became of a tag, for a person who follows a long run."""
    item = outcome.item
    name = f"{item.repository}:{item.tag}"
    if outcome.problem is not None:
        return f"{name} failed. {outcome.problem}"
    if outcome.skipped and not outcome.changed:
        return f"{name} is unchanged"
    done = "would be copied" if dry_run else "was copied"
    return f"{name} {done} to {item.to}: {outcome.moved.copied} bytes, and {outcome.moved.present} were there"

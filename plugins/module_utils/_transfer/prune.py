# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tags at the destination that the rules no longer choose. Private to this collection."""

from __future__ import annotations

from ansible_collections.wharf.registry.plugins.module_utils._retention.executor import Cleanup
from ansible_collections.wharf.registry.plugins.module_utils._retention.manifest_index import Holdings
from ansible_collections.wharf.registry.plugins.module_utils._retention.policy import Rule, check_cap


class Chosen(Rule):
    """Keeps the tags of a repository that are copied, and no other."""

    def __init__(self, repository, tags):
        super().__init__("images", [repository])
        self._chosen = frozenset(tags)

    def names_repository(self, name):
        # No glob: a name may hold what would be one.
        return name in self.repositories

    def judge(self, tags, now):  # noqa: ARG002 - as of any Rule
        return {tag.name: "images chooses it" for tag in tags if tag.name in self._chosen}


class Pruning:
    """Removes what no rule chooses from these repositories, {name: its chosen tags}, as retention does."""

    def __init__(self, pool, chosen):
        self._cleanup = Cleanup(pool, [Chosen(name, tags) for name, tags in sorted(chosen.items())], Holdings())

    def judge(self, now, most, most_percent):
        """Decides. Raises CapError where more would go than may in one run."""
        self._cleanup.judge(frozenset(), now)
        check_cap(self._cleanup.deleted, self._cleanup.considered, most, most_percent)

    def remove(self):
        self._cleanup.remove()

    @property
    def removed(self):
        """{repository: its tags} that are gone, or would be."""
        found = ((one.name, one.chosen(kept=False)) for one in self._cleanup.repositories)
        return {name: [decision.tag.name for decision in decisions] for name, decisions in found if decisions}

    @property
    def problems(self):
        return {one.name: one.problem for one in self._cleanup.repositories if one.problem is not None}

    @property
    def warnings(self):
        return [message for one in self._cleanup.repositories for message in one.moved]

# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which images are copied, and to where, by rules in the words of retention. Private to this collection."""

from __future__ import annotations

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError, RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._common.reference import (
    check_digest,
    check_repository,
    check_tag,
    is_digest,
)
from ansible_collections.wharf.registry.plugins.module_utils._distribution.client_errors import concerns_all
from ansible_collections.wharf.registry.plugins.module_utils._distribution.describe import (
    find_repositories,
    is_glob,
    subject_of,
)
from ansible_collections.wharf.registry.plugins.module_utils._distribution.transport_errors import AnswerError
from ansible_collections.wharf.registry.plugins.module_utils._retention.manifest_index import Holdings
from ansible_collections.wharf.registry.plugins.module_utils._retention.policy import Rule, Tag, parse_rule

# What a tag is chosen by, and what retention calls the same.
CONDITIONS = {
    "matching": "keep_matching",
    "versions": "keep_versions",
    "newest": "keep_newest",
    "younger": "keep_younger",
}
# Those that need to know when an image was made.
_BY_TIME = ("newest", "younger")


class ImageRule:
    """What is copied of the repositories that it names.

    to is the repository at the destination, or with a slash at its end, what is put before the name.
    """

    def __init__(self, number, options):
        """Raises InputError."""
        self.name = f"images[{number}]"
        self.repository = options["repository"]
        self.to = options["to"] or ""
        self.platforms = tuple(options["platforms"])
        self.sparse = options["sparse_index"]
        self.referrers = options["referrers"]
        tags = options["tags"] or {}
        self.globs = tuple(tags.get("globs") or ["*"])
        given = {name: tags.get(name) for name in CONDITIONS if tags.get(name) not in (None, [])}
        # Without a condition, all that the globs name.
        self.conditions = self._conditions(number, given) if given else None
        self.by_time = any(name in given for name in _BY_TIME)
        self._check()

    def _conditions(self, number, given):
        try:
            return parse_rule(
                number,
                {
                    "repositories": ["*"],
                    "tags": self.globs,
                    **{CONDITIONS[name]: value for name, value in given.items()},
                },
            )
        except InputError as error:
            message = error.message.replace(f"rule {number}", self.name, 1)
            for ours, theirs in CONDITIONS.items():
                message = message.replace(theirs, ours)
            raise InputError(message, error.cure) from None

    def _check(self):
        if is_glob(self.repository):
            if self.to and not self.to.endswith("/"):
                raise InputError(
                    f"{self.name} brings all repositories {self.repository!r} into the one {self.to!r}",
                    "End to with a slash, which puts it before the name of each",
                )
        else:
            check_repository(self.destination(self.repository))
        for glob in self.globs:
            if is_digest(glob):
                check_digest(glob)
            elif not is_glob(glob):
                check_tag(glob)
        if self.to.endswith("/"):
            check_repository(self.to[:-1])

    def destination(self, repository):
        """The repository at the destination of one at the source."""
        return self.to + repository if self.to.endswith("/") or not self.to else self.to

    @property
    def needs_list(self):
        """Whether a list of all tags is of use: to choose from, and to see which signatures there are."""
        return self.literal is None or self.referrers

    @property
    def literal(self):
        """The tags where they are named one by one, else None. They are copied also where no list can be read."""
        if self.conditions is not None or any(map(is_glob, self.globs)):
            return None
        return self.globs


class Item:
    """One tag that is to be copied: from where, to where, and by which rule."""

    def __init__(self, rule, repository, tag, tags=None):
        self.rule = rule
        self.repository = repository
        self.tag = tag
        self.to = rule.destination(repository)
        # All tags of the repository at the source, or None where they were not listed.
        self.tags = tags


class Selection:
    """The Items of all rules, and the RegistryErrors of repositories that could not be read, by their name."""

    def __init__(self, pool, rules, now):
        self._pool = pool
        self._now = now
        self.items = []
        self.problems = {}
        # {repository at the destination: its tags} that the rules choose, and those for which not all could be read.
        self.destinations, self.unread = {}, set()
        found = [(rule, repository) for rule in rules for repository in self._repositories(rule)]
        needed = {repository for rule, repository in found if rule.literal is None}
        listed = self._listed({name: name in needed for rule, name in found if rule.needs_list})
        for rule, repository in found:
            to = rule.destination(repository)
            tags = self.destinations.setdefault(to, set())
            for item in self._chosen(rule, repository, listed.get(repository)):
                if item.tag not in tags:
                    tags.add(item.tag)
                    self.items.append(item)
            if repository in self.problems:
                self.unread.add(to)

    def _repositories(self, rule):
        if not is_glob(rule.repository):
            return [rule.repository]
        with self._pool.client() as client:
            return find_repositories(client, [rule.repository])

    def _listed(self, repositories):
        """{repository: its tags} of those that could be listed. repositories are {name: whether the list is needed}."""
        places = sorted(repositories.items())
        lists = zip(places, self._pool.map(self._list, places))
        return {name: tags for (name, _needed), tags in lists if tags is not None}

    def _list(self, client, place):
        repository, needed = place
        try:
            tags = client.tags(repository)
        except RegistryError as error:
            if concerns_all(error):
                raise
            if needed:
                self._stop(repository, error)
            return None
        if tags is None and needed:
            self._stop(repository, AnswerError(f"{client.registry.name} has no repository {repository}", _CORRECT))
        return tags

    def _stop(self, repository, error):
        self.problems.setdefault(repository, error)

    def _chosen(self, rule, repository, tags):
        if rule.literal is not None:
            return [Item(rule, repository, tag, tags) for tag in rule.literal]
        if tags is None:
            return []
        named = Rule("", ["*"], rule.globs)
        # Signatures and the like are copied with what they belong to.
        names = sorted(tag for tag in tags if named.names(tag) and not subject_of(tag))
        if rule.conditions is not None:
            names = self._judged(rule, repository, names)
        return [Item(rule, repository, tag, tags) for tag in names]

    def _judged(self, rule, repository, names):
        """The names that a condition of the rule chooses."""
        if not rule.by_time:
            tags = [Tag(name, name) for name in names]
        else:
            holdings = Holdings()

            def look(client, name):
                head = client.head(repository, name)
                if head is None:
                    return None
                holding = holdings.read(client, repository, head.digest)
                return Tag(name, head.digest, created=holding.created)

            try:
                tags = [tag for tag in self._pool.map(look, names) if tag is not None]
            except RegistryError as error:
                if concerns_all(error):
                    raise
                self._stop(repository, error)
                return []
        kept = rule.conditions.judge(tags, self._now)
        return [name for name in names if name in kept]


_CORRECT = "Correct the name, or look whether the user may read it"

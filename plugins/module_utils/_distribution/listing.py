# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The repositories and tags of a registry, as registry_info returns them. Private to this collection.

What is odd costs itself: it is told of in `problems`, and all else is listed.
"""

from __future__ import annotations

import functools
import itertools

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._common.reference import full_name
from ansible_collections.wharf.registry.plugins.module_utils._distribution.client_errors import concerns_all
from ansible_collections.wharf.registry.plugins.module_utils._distribution.describe import (
    facts_of,
    find_repositories,
    is_glob,
    kind_of,
    matching,
    total_size,
)
from ansible_collections.wharf.registry.plugins.module_utils._distribution.transport_errors import AnswerError

# The most warnings of one run, and the most problems that are told of one repository.
_MOST_WARNINGS = 50
_MOST_PROBLEMS = 20
_SHOWN = ("artifact_type", "platforms", "created", "labels")


class Listing:
    """One look at the repositories and tags of a registry that patterns mean.

    The pool is that of the connections; each function raises RegistryError where the registry as a whole is at fault.
    """

    def __init__(self, pool, patterns, tags):
        self._pool = pool
        self._patterns = patterns
        self._tags = tags
        self._nameless = []
        # The first error of a tag of which nothing was read, and whether anything was read of another.
        self._failure = None
        self._any_read = False
        self.repositories = []

    def find(self):
        """Lists the names of the repositories and of their tags."""
        names = functools.partial(find_repositories, patterns=self._patterns, odd=self._nameless)
        found = list(self._pool.map(self._list, names))
        failed = [error for _repository, error in found if error is not None]
        if failed and len(failed) == len([one for one, _error in found if one is not None]):
            raise failed[0]
        self.repositories = [repository for repository, _error in found if repository is not None]

    def _list(self, api, name):
        """(what is returned of a repository, the error that left it without tags); None for one that does not exist."""
        odd = []
        try:
            tags = api.tags(name, odd)
        except RegistryError as error:
            # One that was asked for by its name is what the task is about.
            if concerns_all(error) or name in self._named(api):
                raise
            return {"name": name, "tags": [], "problems": [error.message]}, error
        if tags is None:
            return None, None
        problems = [f"{one} is listed among the tags, and is none" for one in odd[:_MOST_PROBLEMS]]
        named = [{"name": tag} for tag in matching(tags, self._tags)]
        return _with_problems({"name": name, "tags": named}, problems), None

    def _named(self, api):
        return {full_name(api.registry, pattern) for pattern in self._patterns if not is_glob(pattern)}

    def look(self, describer):
        """Looks at each tag. describer is that of the manifests, or None where no more than digests are asked for."""

        def look(api, place):
            return self._look(api, describer, *place)

        places = [(one["name"], tag["name"]) for one in self.repositories for tag in one["tags"]]
        looked = self._pool.map(look, places)
        for repository in self.repositories:
            tags = itertools.islice(looked, len(repository["tags"]))
            repository["tags"] = [tag for tag in tags if tag is not None]
        # One that answers for no tag at all is no registry with odd tags.
        if self._failure is not None and not self._any_read:
            raise self._failure

    def _look(self, api, describer, repository, tag):
        """What is returned of a tag, or None for one that has gone meanwhile."""
        found = {"name": tag, "digest": "", "media_type": ""}
        try:
            head = api.head(repository, tag)
            facts = None
            if head is not None:
                self._any_read = True
                found.update(digest=head.digest, media_type=head.media_type)
                facts = _described(api, describer, repository, head.digest)
            if facts is None and tag not in (api.tags(repository) or []):
                return None
            if facts is None:
                raise AnswerError("what it points to is not there")
        except RegistryError as error:
            if concerns_all(error):
                # One of thousands: which it is must be said.
                error.message = f"{api.registry.name}: {repository}:{tag}: {error.message}"
                raise
            if error.mistake == "registry_error":
                self._failure = self._failure or error
            facts = facts_of("unknown", {}, problems=[error.message])
        if describer is not None:
            found.update({name: facts[name] for name in _SHOWN}, kind=kind_of(tag, facts), size=total_size(facts))
        return _with_problems(found, facts["problems"])

    def warnings(self, registry):
        """Messages on all that is odd, each with the repository and the first tag that has it."""
        messages = [f"the catalogue lists {name}, which is no name of a repository" for name in self._nameless]
        for repository in self.repositories:
            # Tags share what they point to.
            first = {}
            for place, problem in _problems(repository):
                first.setdefault(problem, place)
            messages += [f"{place}: {problem}" for problem, place in first.items()]
        beyond = len(messages) - _MOST_WARNINGS
        more = [f"{beyond} more problems are in the result"] if beyond > 0 else []
        return [f"{registry}: {message}" for message in messages[:_MOST_WARNINGS] + more]


def _described(api, describer, repository, digest):
    """The facts of a manifest, None where it is gone, and empty ones where none are asked for."""
    return facts_of("unknown", {}) if describer is None else describer.describe(api, repository, digest)


def _with_problems(found, problems):
    """What is returned of a tag or a repository. Where nothing is wrong, there is no such key."""
    return {**found, "problems": problems} if problems else found


def _problems(repository):
    """Yields (repository or tag, problem)."""
    for problem in repository.get("problems", []):
        yield repository["name"], problem
    for tag in repository["tags"]:
        for problem in tag.get("problems", []):
            yield f"{repository['name']}:{tag['name']}", problem

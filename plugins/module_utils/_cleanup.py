# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Applies the policy of retention to a registry: reads, has it decide, and removes. Private to this collection."""

from __future__ import annotations

import collections
import functools
import itertools

from ansible_collections.wharf.registry.plugins.module_utils._auth import RefusedError
from ansible_collections.wharf.registry.plugins.module_utils._errors import RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._http import AnswerError, UnreachableError
from ansible_collections.wharf.registry.plugins.module_utils._images import find_repositories, subject_of
from ansible_collections.wharf.registry.plugins.module_utils._registry import ConflictError, UnsupportedError
from ansible_collections.wharf.registry.plugins.module_utils._retention import Decision, Tag, belonging, decide, holders
from ansible_collections.wharf.registry.plugins.module_utils._tags import remove_alone

# What is the same for every repository: there is no use in asking on.
_EVERYWHERE = (UnreachableError, RefusedError)


class Repository:
    """A repository that rules name, what was decided there, and the RegistryError that stopped it, if one did."""

    def __init__(self, name, rules):
        self.name = name
        self.rules = rules
        self.decisions = []
        self.problem = None
        # Messages on tags that were left alone since they are not what they were.
        self.moved = []

    def stop(self, error):
        self.problem = self.problem or error

    def keep_all(self, names, tags):
        """Nothing may be deleted here, as not everything is known. names are of all tags, tags those that were read."""
        read = {tag.name: tag for tag in tags}
        why = "nothing is deleted here, since not all of it could be read"
        self.decisions = [Decision(read.get(name) or Tag(name, ""), True, why, False) for name in sorted(names)]

    def chosen(self, kept):
        return [decision for decision in self.decisions if decision.kept is kept]


class Cleanup:
    """One run over the repositories that rules name."""

    def __init__(self, pool, rules, holdings):
        self._pool = pool
        self._rules = rules
        self._holdings = holdings
        self._stopped = None
        self.repositories = []

    # --- reading and deciding -----------------------------------------------------------------------------------------

    def judge(self, in_use, now):
        """Decides on every tag. Raises RegistryError where the registry as a whole does not answer."""
        patterns = sorted({pattern for rule in self._rules for pattern in rule.repositories})
        (names,) = self._pool.map(find_repositories, [patterns])
        found = [Repository(name, [rule for rule in self._rules if rule.names_repository(name)]) for name in names]
        # One that does not exist has no tags.
        listed = [(one, tags) for one, tags in zip(found, self._pool.map(_list, found)) if tags is not None]
        places = ((repository, tag) for repository, tags in listed for tag in tags)
        looks = self._pool.map(self._look, places)
        for repository, names in listed:
            tags = [tag for tag in itertools.islice(looks, len(names)) if tag is not None]
            if repository.problem is None:
                repository.decisions = decide(repository.rules, tags, in_use, now)
            else:
                repository.keep_all(names, tags)
            self.repositories.append(repository)

    def _look(self, api, place):
        """The Tag at a place, or None where it is gone or the repository has stopped already."""
        repository, name = place
        if repository.problem is not None:
            return None
        try:
            head = api.head(repository.name, name)
            if head is None:
                if name not in (api.tags(repository.name) or []):
                    return None
                raise AnswerError(
                    "the tag is listed, and what it points to is not there", "Push it again, or remove it"
                )
            holding = self._holdings.read(api, repository.name, head.digest)
        except _EVERYWHERE:
            raise
        except RegistryError as error:
            named = f"{api.registry.name}: {repository.name}:{name} can't be read, so nothing is deleted there: "
            repository.stop(RegistryError(named + error.message, error.cure))
            return None
        digest = holding.digests[0]
        return Tag(
            name,
            digest,
            holds=holding.digests,
            created=holding.created,
            labels=holding.labels,
            subject=subject_of(name),
            # What is left of a removal that was killed.
            abandoned=holding.removes == name,
        )

    # --- removing -----------------------------------------------------------------------------------------------------

    def remove(self):
        """Removes what is to go. What could not be removed is kept then, with the reason."""
        # Signatures come last: no image may be without its own, whatever happens in between.
        for which in (_doomed_images, _doomed_signatures):
            collections.deque(self._pool.map(functools.partial(self._remove, which), self.repositories), maxlen=0)

    def _remove(self, which, api, repository):
        # One after another in a repository: version 2 reads the links of all of its tags for each that goes, and takes
        # offence at one that is just being written.
        needed_by = _needed_by(repository)
        for decision in which(repository):
            problem = self._stopped or repository.problem
            if problem is not None:
                decision.kept, decision.reason = True, "it was to be deleted, and the run had stopped here before"
                repository.stop(problem)
            else:
                self._remove_one(api, repository, decision, needed_by(decision.tag.digest))

    def _remove_one(self, api, repository, decision, needed_by):
        try:
            remove_alone(api, repository.name, decision.tag.name, decision.tag.digest, needed_by)
        except ConflictError as error:
            decision.kept, decision.reason = True, "it was to be deleted, and was moved since it was judged"
            repository.moved.append(error.message)
        except RegistryError as error:
            decision.kept, decision.reason = True, "it was to be deleted, and could not be"
            problem = RegistryError(
                f"{repository.name}:{decision.tag.name} was not deleted: {error.message}", error.cure
            )
            if isinstance(error, (*_EVERYWHERE, UnsupportedError)):
                self._stopped = problem
            repository.stop(problem)

    # --- what came of it ----------------------------------------------------------------------------------------------

    @property
    def deleted(self):
        return sum(len(repository.chosen(kept=False)) for repository in self.repositories)

    @property
    def considered(self):
        return sum(decision.considered for repository in self.repositories for decision in repository.decisions)

    def freed(self):
        """The bytes that nothing needs any more that is known here."""
        digests = {kept: set() for kept in (True, False)}
        for repository in self.repositories:
            for decision in repository.decisions:
                if decision.tag.digest:
                    digests[decision.kept].add(decision.tag.digest)
        return self._holdings.freed(digests[True], digests[False])

    def forget(self):
        """Lets go of what was read and decided, for one who has told of it."""
        self._holdings = None
        self.repositories = []


def _list(api, repository):
    """The tags of a repository, or None where there is no such repository."""
    try:
        return api.tags(repository.name)
    except _EVERYWHERE:
        raise
    except RegistryError as error:
        repository.stop(error)
        return []


def _doomed_images(repository):
    return [decision for decision in repository.chosen(kept=False) if not decision.tag.subject]


def _doomed_signatures(repository):
    """Those that are to go still: the signatures of what was to be deleted, and is still there, stay with it."""
    doomed = {decision.tag.name: decision for decision in repository.chosen(kept=False)}
    held = holders(decision.tag for decision in repository.chosen(kept=True))
    signatures = [decision.tag for decision in doomed.values() if decision.tag.subject]
    for name, holder in belonging(signatures, held).items():
        spared = doomed.pop(name)
        spared.kept = True
        spared.reason = f"belongs to {spared.tag.subject}, and {holder} was not deleted"
    return list(doomed.values())


def _needed_by(repository):
    """A function that returns the references that must lead to a digest afterwards."""
    kept = [decision.tag for decision in repository.chosen(kept=True)]
    held, tags = holders(kept), collections.defaultdict(list)
    for tag in kept:
        tags[tag.digest].append(tag.name)
    return lambda digest: tags.get(digest) or ([digest] if digest in held else [])

# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Applies the policy of retention to a registry: reads, has it decide, and removes. Private to this collection."""

from __future__ import annotations

import collections
import functools
import itertools

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._distribution.client_errors import (
    EVERYWHERE,
    ConflictError,
    UnsupportedError,
)
from ansible_collections.wharf.registry.plugins.module_utils._distribution.describe import find_repositories, subject_of
from ansible_collections.wharf.registry.plugins.module_utils._distribution.promote import remove_alone
from ansible_collections.wharf.registry.plugins.module_utils._distribution.transport_errors import AnswerError
from ansible_collections.wharf.registry.plugins.module_utils._retention.policy import (
    Decision,
    Tag,
    belonging,
    decide_images,
    decide_signatures,
    holders,
    orphaned,
)


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
        # What the catalogue lists and is no name of a repository, as messages show it.
        self.nameless = []

    # --- reading and deciding -----------------------------------------------------------------------------------------

    def judge(self, in_use, now):
        """Decides on every tag. Raises RegistryError where the registry as a whole does not answer."""
        patterns = sorted({pattern for rule in self._rules for pattern in rule.repositories})
        with self._pool.client() as client:
            names = find_repositories(client, patterns, odd=self.nameless)
        found = [Repository(name, [rule for rule in self._rules if rule.names_repository(name)]) for name in names]
        # One that does not exist has no tags.
        listed = [(one, tags) for one, tags in zip(found, self._pool.map(_list, found)) if tags is not None]
        places = ((repository, tag) for repository, tags in listed for tag in tags)
        looks = self._pool.map(self._look, places)
        whole = []
        for repository, names in listed:
            tags = [tag for tag in itertools.islice(looks, len(names)) if tag is not None]
            if repository.problem is None:
                images = decide_images(repository.rules, tags, in_use, now)
                repository.decisions = list(images.values())
                whole.append((repository, tags, images))
            else:
                repository.keep_all(names, tags)
            self.repositories.append(repository)
        # Signatures may be kept apart from their images, so that all of these come first.
        alive = self._alive([(repository, orphaned(tags), images) for repository, tags, images in whole])
        for repository, tags, images in whole:
            repository.decisions = decide_signatures(
                repository.rules, tags, images, in_use, alive.get(repository.name, {})
            )

    def _alive(self, places):
        """{repository: {subject: why it is needed}} of subjects to which no tag of the repository leads."""
        judged = self._holders({subject for _repository, subjects, _images in places for subject in subjects})
        unread = bool(self.nameless) or any(repository.problem for repository in self.repositories)
        alive, unknown = collections.defaultdict(dict), []
        for repository, subjects, images in places:
            for subject in sorted(subjects):
                kept = judged[True].get(subject)
                if kept:
                    alive[repository.name][subject] = f"{kept} needs"
                elif subject in judged[False]:
                    continue
                elif unread or not images:
                    where = "could not be read" if unread else "no rule names"
                    alive[repository.name][subject] = f"may be in a repository that {where}"
                else:
                    unknown.append((repository.name, subject))
        # What was pushed by its digest, and signed, is about to get its tag, or is used without one.
        for (name, subject), why in zip(unknown, self._pool.map(_why_alive, unknown)):
            if why:
                alive[name][subject] = why
        return alive

    def _holders(self, digests):
        """{whether they stay: {digest: repository and tag}} of the tags that were decided on and lead to these."""
        found = {True: {}, False: {}}
        for repository in self.repositories if digests else ():
            for decision in repository.decisions:
                for digest in digests.intersection(decision.tag.holds):
                    found[decision.kept].setdefault(digest, f"{repository.name}:{decision.tag.name}")
        return found

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
        except EVERYWHERE:
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
        for which in (_doomed_images, self._doomed_signatures):
            collections.deque(self._pool.map(functools.partial(self._remove, which), self.repositories), maxlen=0)

    def _remove(self, which, api, repository):
        # One after another in a repository: version 2 reads the links of all of its tags for each that goes, and takes
        # offence at one that is just being written.
        needed_by = _needed_by(repository)
        for decision in which(api, repository):
            problem = self._stopped or repository.problem
            if problem is not None:
                decision.kept, decision.reason = True, "it was to be deleted, and the run had stopped here before"
                repository.stop(problem)
            else:
                self._remove_one(api, repository, decision, needed_by(decision.tag.digest))

    def _doomed_signatures(self, api, repository):
        """Those that are to go still. The signatures of what is still there, or there again, stay with it."""
        doomed = {decision.tag.name: decision for decision in repository.chosen(kept=False) if decision.tag.subject}
        if doomed and not self._stopped and not repository.problem:
            self._spare(api, repository, doomed)
        return list(doomed.values())

    def _spare(self, api, repository, doomed):
        """Takes those out of the doomed signatures whose subject a tag leads to, as tags are now."""
        try:
            names = [name for name in api.tags(repository.name) or [] if name not in doomed]
            tags = [self._look(api, (repository, name)) for name in names]
        except RegistryError as error:
            self._stop(repository, error, RegistryError(f"{repository.name}: {error.message}", error.cure))
            return
        own = holders(decision.tag for decision in repository.decisions)
        held = self._holders({decision.tag.subject for decision in doomed.values()}.difference(own))[True]
        held.update((digest, f"{repository.name}:{name}") for digest, name in holders(filter(None, tags)).items())
        for name, holder in belonging([decision.tag for decision in doomed.values()], held).items():
            spared = doomed.pop(name)
            spared.kept = True
            spared.reason = f"belongs to {spared.tag.subject}, and {holder} is there"

    def _stop(self, repository, error, problem):
        if isinstance(error, (*EVERYWHERE, UnsupportedError)):
            self._stopped = problem
        repository.stop(problem)

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
            self._stop(repository, error, problem)

    # --- what came of it ----------------------------------------------------------------------------------------------

    @property
    def deleted(self):
        return sum(len(repository.chosen(kept=False)) for repository in self.repositories)

    @property
    def considered(self):
        return sum(decision.considered for repository in self.repositories for decision in repository.decisions)

    def reclaimable_bytes(self):
        """The bytes that nothing needs any more that is known here."""
        digests = {kept: set() for kept in (True, False)}
        for repository in self.repositories:
            for decision in repository.decisions:
                if decision.tag.digest:
                    digests[decision.kept].add(decision.tag.digest)
        return self._holdings.reclaimable_bytes(digests[True], digests[False])

    def forget(self):
        """Lets go of what was read and decided, for one who has told of it."""
        self._holdings = None
        self.repositories = []


def _list(api, repository):
    """The tags of a repository, or None where there is no such repository. What is no tag stops it."""
    odd = []
    try:
        tags = api.tags(repository.name, odd)
    except EVERYWHERE:
        raise
    except RegistryError as error:
        repository.stop(error)
        return []
    if odd:
        named = f"{api.registry.name}: {repository.name} lists {odd[0]} among its tags, which is none, so nothing is "
        repository.stop(RegistryError(f"{named}deleted there", "Remove it from the storage of the registry"))
    return tags


def _why_alive(api, place):
    """Why the manifest at a place, to which no tag leads, is needed, or an empty string."""
    try:
        return "is there without a tag" if api.head(*place) is not None else ""
    except EVERYWHERE:
        raise
    except RegistryError as error:
        return f"may be there: {error.message}"


def _doomed_images(_api, repository):
    return [decision for decision in repository.chosen(kept=False) if not decision.tag.subject]


def _needed_by(repository):
    """A function that returns the references that must lead to a digest afterwards."""
    kept = [decision.tag for decision in repository.chosen(kept=True)]
    held, tags = holders(kept), collections.defaultdict(list)
    for tag in kept:
        tags[tag.digest].append(tag.name)
    return lambda digest: tags.get(digest) or ([digest] if digest in held else [])

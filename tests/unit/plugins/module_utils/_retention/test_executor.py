"""The run of a retention over its repositories, with a registry that changes while it goes."""

from __future__ import annotations

import contextlib
import types

import pytest
from ansible_collections.wharf.registry.plugins.module_utils._common.errors import RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._distribution.client_errors import ConflictError
from ansible_collections.wharf.registry.plugins.module_utils._distribution.transport_errors import UnreachableError
from ansible_collections.wharf.registry.plugins.module_utils._retention import executor
from ansible_collections.wharf.registry.plugins.module_utils._retention.executor import Cleanup
from ansible_collections.wharf.registry.plugins.module_utils._retention.policy import SECOND, parse_rule

NOW = 1_800_000_000 * SECOND
DAY = 86400 * SECOND


def digest(letter):
    return "sha256:" + letter * 64


def signature_of(letter):
    return f"sha256-{letter * 64}.sig"


class Registry:
    """A registry of {repository: {tag: letter of its digest}}, which is the API, the pool and the holdings of a run.

    failing and meanwhile are what happens, an error or a function, when a (repository, tag) is to be removed.
    """

    registry = types.SimpleNamespace(name="registry.test", is_hub=False)

    def __init__(self, places, ages=(), untagged=()):
        self.places = places
        self.ages = dict(ages)
        self.untagged = set(untagged)
        self.failing, self.meanwhile, self.removed = {}, {}, []

    def client(self):
        return contextlib.nullcontext(self)

    def map(self, function, values):
        return (function(self, value) for value in values)

    def repositories(self, _odd=None):
        return list(self.places)

    def tags(self, repository, _odd=None):
        return sorted(self.places[repository])

    def head(self, repository, reference):
        letter = self.places[repository].get(reference)
        if reference.startswith("sha256:") and (
            reference[7] in self.places[repository].values() or (repository, reference[7]) in self.untagged
        ):
            letter = reference[7]
        return letter and types.SimpleNamespace(digest=digest(letter))

    def read(self, _api, _repository, name):
        created = NOW - self.ages.get(name[7], 100) * DAY
        return types.SimpleNamespace(digests=(name,), created=created, labels=(), removes="")

    def reclaimable_bytes(self, _kept, deleted):
        return len(deleted)

    def remove_alone(self, _api, repository, tag, seen, _needed_by):
        if (repository, tag) in self.failing:
            raise self.failing[repository, tag]
        if self.places[repository].get(tag) not in (None, seen[7]):
            raise ConflictError(f"{tag} was moved")
        self.removed.append((repository, tag))
        self.places[repository].pop(tag, None)
        self.meanwhile.pop((repository, tag), lambda: None)()


@pytest.fixture
def run(monkeypatch):
    def run(registry, *rules, remove=True):
        monkeypatch.setattr(executor, "remove_alone", registry.remove_alone)
        options = [{"repositories": ["*"], "tags": ["*"], **one} for one in rules or [{"keep_younger": "30d"}]]
        cleanup = Cleanup(registry, [parse_rule(*numbered) for numbered in enumerate(options, 1)], registry)
        cleanup.judge(frozenset(), NOW)
        if remove:
            cleanup.remove()
        return cleanup

    return run


def told(cleanup, kept):
    return {f"{one.name}:{decision.tag.name}" for one in cleanup.repositories for decision in one.chosen(kept)}


def reasons(cleanup):
    return {decision.tag.name: decision.reason for one in cleanup.repositories for decision in one.decisions}


def test_each_goes_once(run):
    registry = Registry({"web": {"old": "a", signature_of("a"): "b", "older": "c"}})
    cleanup = run(registry)
    assert registry.removed == [("web", "old"), ("web", "older"), ("web", signature_of("a"))]
    assert cleanup.deleted == 3


def test_what_has_gone_counts_as_gone_when_the_run_stops_later(run):
    """In the repository, and in others."""
    registry = Registry({"web": {"a": "a", "b": "b"}, "zoo": {"c": "c", "d": "d", signature_of("c"): "e"}})
    registry.failing["zoo", "d"] = UnreachableError("nobody answers")
    cleanup = run(registry)
    assert told(cleanup, kept=False) == {"web:a", "web:b", "zoo:c"}
    assert cleanup.deleted == 3
    assert cleanup.repositories[1].problem and not cleanup.repositories[0].problem


def test_what_is_pushed_again_meanwhile_stays(run):
    registry = Registry({"web": {"a": "a", "b": "b"}})
    registry.meanwhile["web", "b"] = lambda: registry.places["web"].update(a="a")
    run(registry)
    assert registry.places == {"web": {"a": "a"}}


@pytest.mark.parametrize("how", [{"other": "b"}, {"one": "b"}])
def test_a_signature_stays_when_its_subject_gets_a_tag_meanwhile(run, how):
    """By a push of another tag, or as one moves to it that was to go."""
    registry = Registry({"web": {"new": "d", "one": "a", "two": "b", signature_of("b"): "c"}}, {"d": 1})
    registry.places["web"]["zero"] = "0"
    # The first that goes.
    first = "one" if "other" in how else "two"
    registry.meanwhile["web", first] = lambda: registry.places["web"].update(how)
    cleanup = run(registry)
    assert signature_of("b") in registry.places["web"]
    assert "is there" in reasons(cleanup)[signature_of("b")]


def test_signatures_that_are_kept_apart_follow_their_images(run):
    registry = Registry(
        {"apps": {"new": "d", "old": "f"}, "signatures": {signature_of("d"): "a", signature_of("f"): "b"}}, {"d": 1}
    )
    cleanup = run(registry)
    assert registry.places == {"apps": {"new": "d"}, "signatures": {signature_of("d"): "a"}}
    assert reasons(cleanup)[signature_of("d")] == f"belongs to {digest('d')}, which apps:new needs"


def test_signatures_of_images_that_no_rule_names_stay(run):
    registry = Registry({"apps": {"old": "f"}, "signatures": {signature_of("f"): "a"}})
    cleanup = run(registry, {"repositories": ["signatures"], "keep_newest": 0})
    assert cleanup.deleted == 0
    assert "may be in a repository that no rule names" in reasons(cleanup)[signature_of("f")]


def test_a_signature_goes_once_its_subject_is_gone(run):
    """One that was pushed by its digest has no tag yet, or is used without one."""
    registry = Registry({"web": {"new": "d", signature_of("f"): "a"}}, {"d": 1}, untagged={("web", "f")})
    cleanup = run(registry)
    assert reasons(cleanup)[signature_of("f")] == f"belongs to {digest('f')}, which is there without a tag"
    registry.untagged.clear()
    assert told(run(registry), kept=False) == {f"web:{signature_of('f')}"}


def test_where_a_repository_can_not_be_read_no_signature_is_alone(run, monkeypatch):
    registry = Registry({"apps": {"1.0": "f"}, "web": {"new": "d", signature_of("f"): "a"}}, {"d": 1})
    read = registry.read

    def damaged(api, repository, name):
        if repository == "apps":
            raise RegistryError("it is damaged")
        return read(api, repository, name)

    monkeypatch.setattr(registry, "read", damaged)
    cleanup = run(registry)
    assert cleanup.deleted == 0
    assert "could not be read" in reasons(cleanup)[signature_of("f")]


def test_the_run_does_what_was_foretold(run):
    """Of an image that another repository keeps, and whose signature lies beside the one that goes."""
    places = {"a": {"old": "a", signature_of("a"): "b"}, "b": {"prod": "a"}}
    rules = ({"repositories": ["a"], "keep_newest": 0}, {"repositories": ["b"], "keep_newest": 1})
    foretold = run(Registry(places), *rules, remove=False)
    done = run(Registry({name: dict(tags) for name, tags in places.items()}), *rules)
    assert told(done, kept=False) == told(foretold, kept=False) == {"a:old", f"a:{signature_of('a')}"}


def test_a_subject_that_can_not_be_asked_for_stops_nobody(run, monkeypatch):
    registry = Registry({"web": {"new": "d", signature_of("f"): "a"}, "zoo": {"new": "d", "old": "c"}}, {"d": 1})
    head = registry.head

    def broken(repository, reference):
        if reference == digest("f"):
            raise RegistryError("it answered 500")
        return head(repository, reference)

    monkeypatch.setattr(registry, "head", broken)
    assert told(run(registry), kept=False) == {"zoo:old"}

"""A registry against a model of it: whatever is pushed, moved, deleted and collected, what should be there is there."""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING

import hypothesis
import pytest
from collecting import Collector, Fresh, bytes_of, content_of, fresh, pull
from http_client import ACCEPT, OCI
from hypothesis import strategies
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

if TYPE_CHECKING:
    from collections.abc import Callable

    from front import Front

# A link is the text of a digest.
LINK_BYTES = len("sha256:") + 64
# More than CI has time for, by hand; a failure is made smaller then, which may take minutes.
BY_HAND = "WHARF_MODEL" in os.environ
EXAMPLES, STEPS = (int(number) for number in os.environ.get("WHARF_MODEL", "3 25").split())
REPOSITORIES = ["apps/web", "apps/web/deep", "base"]
TAGS = ["1.0.0", "1.0.1", "edge"]
# Big enough that what a repository's links take does not matter, and few enough that images share them.
LAYERS = [secrets.token_bytes(60_000 + 20_000 * number) for number in range(5)]


class Model(RuleBasedStateMachine):
    """The model: {(repository, tag): digest}, and the tags of signatures, which belong to a digest."""

    proxy: Front
    registry: Fresh
    # The proxy's storage, which each run has emptied.
    collected = 0

    def __init__(self) -> None:
        super().__init__()
        self.content = content_of(self.proxy)
        self.collector = Collector(self.proxy)
        self.tags: dict[tuple[str, str], str] = {}
        # {digest: digests of what has it as its subject}
        self.referrers: dict[tuple[str, str], set[str]] = {}

    def teardown(self) -> None:
        for repository, digest in {(repository, digest) for (repository, _tag), digest in self.tags.items()}:
            self.content.ask("DELETE", f"/v2/{repository}/manifests/{digest}")
        self.tags.clear()
        self.collector.run()
        assert bytes_of(self.proxy.directory / "storage") == 0

    @rule(
        repository=strategies.sampled_from(REPOSITORIES),
        tag=strategies.sampled_from(TAGS),
        layer=strategies.integers(0, len(LAYERS) - 1),
        label=strategies.sampled_from("ab"),
    )
    def push(self, repository: str, tag: str, layer: int, label: str) -> None:
        image = self.content.image(repository, tag, layer=LAYERS[layer], labels={"is": label})
        self.tags[repository, tag] = image["digest"]

    @rule(repository=strategies.sampled_from(REPOSITORIES), tag=strategies.sampled_from(TAGS))
    def push_index(self, repository: str, tag: str) -> None:
        index, _children = self.content.index(repository, tag)
        self.tags[repository, tag] = index["digest"]

    @precondition(lambda self: self.tags)
    @rule(data=strategies.data(), tag=strategies.sampled_from(TAGS))
    def move(self, data: strategies.DataObject, tag: str) -> None:
        (repository, _tag), digest = data.draw(strategies.sampled_from(sorted(self.tags.items())))
        _status, headers, body = self.content.ask("GET", f"/v2/{repository}/manifests/{digest}", Accept=ACCEPT)
        status, _headers, said = self.content.ask(
            "PUT", f"/v2/{repository}/manifests/{tag}", body, Content_Type=headers["Content-Type"]
        )
        assert status == 201, said
        self.tags[repository, tag] = digest

    @precondition(lambda self: self.tags)
    @rule(data=strategies.data(), tagged=strategies.booleans())
    def sign(self, data: strategies.DataObject, tagged: bool) -> None:
        """As cosign does: by a tag, or by a subject and no tag."""
        (repository, _tag), digest = data.draw(strategies.sampled_from(sorted(self.tags.items())))
        if tagged:
            tag = self.content.sign(repository, {"digest": digest})
            self.tags[repository, tag] = self.content.digest(repository, tag)
            return
        document = {
            "schemaVersion": 2,
            "mediaType": OCI,
            "config": {**self.content.blob(repository, b"{}"), "mediaType": "application/vnd.example"},
            "layers": [
                {**self.content.blob(repository, secrets.token_bytes(99)), "mediaType": "application/vnd.example"}
            ],
            "subject": {"digest": digest, "size": 1, "mediaType": OCI},
        }
        descriptor = self.content.manifest(repository, None, document, OCI)
        self.referrers.setdefault((repository, digest), set()).add(descriptor["digest"])

    @precondition(lambda self: self.tags)
    @rule(data=strategies.data())
    def delete(self, data: strategies.DataObject) -> None:
        """A digest, with all of its tags, as version 2 does it."""
        repository, digest = data.draw(
            strategies.sampled_from(sorted({(name, digest) for (name, _tag), digest in self.tags.items()}))
        )
        assert self.content.ask("DELETE", f"/v2/{repository}/manifests/{digest}")[0] == 202
        self.tags = {(name, tag): at for (name, tag), at in self.tags.items() if (name, at) != (repository, digest)}
        # An image that is pushed again has its referrers again, where no collection came between.

    @rule()
    def collect(self) -> None:
        self.collector.run()
        type(self).collected += 1
        there = {(name, digest) for (name, _tag), digest in self.tags.items()}
        self.referrers = {subject: found for subject, found in self.referrers.items() if subject in there}
        wanted = [
            *self.tags,
            *((name, digest) for (name, _subject), found in self.referrers.items() for digest in found),
        ]
        storage = self.proxy.directory / "storage"
        # A tag may still know a former manifest that something else needs, and no other one.
        links = (storage / "docker").glob("registry/v2/repositories/**/_manifests/tags/*/index/sha256/*/link")
        known = [link for link in links if (link.parents[5] / "revisions" / "sha256" / link.parent.name).exists()]
        of_former = LINK_BYTES * (len(known) - len(self.tags))
        assert bytes_of(storage) - of_former == pytest.approx(self.registry.bytes_with(self.content, wanted), rel=0.01)

    @invariant()
    def all_is_there(self) -> None:
        for (repository, tag), digest in self.tags.items():
            assert pull(self.content, repository, tag)[0] == digest
            for referrer in self.referrers.get((repository, digest), ()):
                pull(self.content, repository, referrer)
        for repository in REPOSITORIES:
            assert self.content.tags(repository) == sorted(tag for name, tag in self.tags if name == repository)


@pytest.mark.long
def test_the_registry_is_as_the_model(fronts: Callable[..., Front], images: dict, tmp_path: object) -> None:
    Model.proxy = fronts([{"name": "admin", "access": "admin"}])
    with fresh(tmp_path, images) as Model.registry:
        run_state_machine_as_test(
            Model,
            settings=hypothesis.settings(
                max_examples=EXAMPLES,
                stateful_step_count=STEPS,
                deadline=None,
                database=None,
                phases=[hypothesis.Phase.generate, *([hypothesis.Phase.shrink] if BY_HAND else [])],
                suppress_health_check=list(hypothesis.HealthCheck),
            ),
        )
    assert Model.collected >= EXAMPLES

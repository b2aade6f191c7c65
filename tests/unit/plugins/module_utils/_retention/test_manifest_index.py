"""What is kept in memory of manifests, and what is not to be read over."""

from __future__ import annotations

import collections
import concurrent.futures
import json

import pytest
from ansible_collections.wharf.registry.plugins.module_utils._distribution.client import Head
from ansible_collections.wharf.registry.plugins.module_utils._distribution.manifest import (
    OCI_INDEX,
    OCI_MANIFEST,
    new_manifest,
)
from ansible_collections.wharf.registry.plugins.module_utils._distribution.transport_errors import AnswerError
from ansible_collections.wharf.registry.plugins.module_utils._retention.manifest_index import Holdings
from ansible_collections.wharf.registry.plugins.module_utils._retention.policy import parse_created

CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "sha256:" + "a" * 64


class Shelf:
    """What Holdings ask an Api for, in repositories that share nothing, and how often each was asked for."""

    def __init__(self):
        self.manifests = {}
        self.blobs = {}
        self.asked = collections.Counter()

    def put(self, document, *repositories):
        manifest = new_manifest({"schemaVersion": 2, **document}, document["mediaType"])
        self.manifests.update({(repository, manifest.digest): manifest for repository in repositories})
        return manifest

    def image(self, *repositories, **config):
        content = json.dumps(config).encode()
        digest = f"sha256:{hash(content) & (2**256 - 1):064x}"
        self.blobs[digest] = content
        layers = [{"digest": LAYER, "size": 1000}]
        config = {"mediaType": CONFIG, "digest": digest, "size": len(content)}
        return self.put({"mediaType": OCI_MANIFEST, "config": config, "layers": layers}, *repositories)

    def index(self, children, *repositories, **more):
        return self.put(
            {"mediaType": OCI_INDEX, "manifests": [{"digest": one.digest} for one in children], **more}, *repositories
        )

    def manifest(self, repository, digest):
        self.asked[repository, digest] += 1
        return self.manifests.get((repository, digest))

    def head(self, repository, digest):
        found = self.manifests.get((repository, digest))
        return found and Head(found.digest, found.media_type)

    def blob(self, _repository, digest):
        return self.blobs.get(digest)


@pytest.fixture
def shelf():
    return Shelf()


def test_an_index_is_as_new_as_its_newest_child_and_has_all_labels(shelf):
    old, new = "2020-01-01T00:00:00Z", "2024-05-06T07:08:09.5Z"
    children = [
        shelf.image("a", created=new, config={"Labels": {"keep": "1", "other": "x"}}),
        shelf.image("a", created=old, config={"Labels": {"keep": "2"}}),
        shelf.image("a", created="1970-01-01T00:00:00Z"),
    ]
    holdings = Holdings(frozenset(["keep"]))
    found = holdings.read(shelf, "a", shelf.index(children, "a").digest)
    assert (found.created, found.labels) == (parse_created(new), (("keep", "1"), ("keep", "2")))
    assert {child.digest for child in children} | set(shelf.blobs) < set(found.digests)
    later = {"org.opencontainers.image.created": "2025-01-01T00:00:00Z"}
    annotated = shelf.index(children, "a", annotations=later)
    assert holdings.read(shelf, "a", annotated.digest).created == parse_created("2025-01-01T00:00:00Z")
    assert holdings.read(shelf, "a", shelf.index(children[2:], "a").digest).created is None


def test_each_is_read_once_by_many_threads_in_many_repositories(shelf):
    repositories = [f"r{number}" for number in range(5)]
    children = [shelf.image(*repositories, created="", number=number) for number in range(4)]
    indexes = [shelf.index(children[number:], *repositories) for number in range(4)]
    holdings = Holdings()
    with concurrent.futures.ThreadPoolExecutor(8) as executor:
        wanted = [(repository, one.digest) for repository in repositories for one in [*indexes, *children]] * 3
        list(executor.map(lambda place: holdings.read(shelf, *place), wanted))
    assert sum(shelf.asked.values()) == 8


def test_what_is_not_there(shelf):
    child = shelf.image("a", "b", created="")
    index, config = shelf.index([child], "a", "b", "c"), shelf.image("a", created="", gone=True)
    shelf.blobs.pop(config.config["digest"])
    unknown = shelf.put({"mediaType": "application/vnd.example"}, "a")
    holdings = Holdings()
    for repository in ("c", "a", "b", "c"):
        if repository == "c":
            with pytest.raises(AnswerError, match=f"{child.digest} is not there"):
                holdings.read(shelf, repository, index.digest)
        else:
            holdings.read(shelf, repository, index.digest)
    for digest, says in ((config.digest, "configuration"), (unknown.digest, "media type"), (LAYER, "is not there")):
        # The same again, and not what the first failure left behind.
        for _time in range(2):
            with pytest.raises(AnswerError, match=says):
                holdings.read(shelf, "a", digest)


def test_too_deep(shelf):
    one = shelf.image("a", created="")
    for _level in range(10):
        one = shelf.index([one], "a")
    with pytest.raises(AnswerError, match="deep"):
        Holdings().read(shelf, "a", one.digest)


def test_reclaimable_bytes_counts_each_once_and_nothing_that_stays(shelf):
    first, second, third = (shelf.image("a", created="", number=number) for number in range(3))
    index = shelf.index([second], "a")
    holdings = Holdings()
    for one in (first, second, third, index):
        holdings.read(shelf, "a", one.digest)

    def size(*manifests):
        return sum(len(one.content) + (one.config or {"size": 0})["size"] for one in manifests)

    digests = [one.digest for one in (first, second, third, index)]
    assert holdings.reclaimable_bytes([], digests) == size(first, second, third, index) + 1000
    assert holdings.reclaimable_bytes([first.digest], digests) == size(second, third, index)
    # The index needs its child.
    assert holdings.reclaimable_bytes([index.digest], digests) == size(first, third)
    assert holdings.reclaimable_bytes(digests, digests) == 0

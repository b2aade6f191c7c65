"""Moving and removing tags at a registry that fails in the middle: a tag is never lost, nor at half an image."""

from __future__ import annotations

import json

import pytest
from ansible_collections.wharf.registry.plugins.module_utils._common.errors import RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._common.reference import RegistryName
from ansible_collections.wharf.registry.plugins.module_utils._distribution.client import RegistryClient
from ansible_collections.wharf.registry.plugins.module_utils._distribution.client_errors import (
    ConflictError,
    UnsupportedError,
)
from ansible_collections.wharf.registry.plugins.module_utils._distribution.manifest import OCI_INDEX, OCI_MANIFEST
from ansible_collections.wharf.registry.plugins.module_utils._distribution.promote import (
    Promotion,
    Removal,
    Source,
)
from ansible_collections.wharf.registry.plugins.module_utils._distribution.tls import TLSConfig
from ansible_collections.wharf.registry.plugins.module_utils._distribution.transport import HttpClient
from memory_registry import Fake, digest_of
from misbehaving import reply

IMAGE = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "layers": [{"digest": "sha256:" + "a" * 64, "size": 1}]}


@pytest.fixture
def fake(server):
    return Fake(server)


@pytest.fixture
def api(server):
    # Without patience, so that a failure that stays one is told at once.
    api = RegistryClient(
        RegistryName(server.netloc), HttpClient(TLSConfig(server.netloc), timeout=2, attempts=1), None, plain_http=True
    )
    yield api
    api.close()


def test_only_the_tag_goes(api, fake):
    digest = fake.add("a/b", IMAGE, "rc")
    fake.tags["a/b", "1.0"] = digest
    Removal(api, "a/b", "rc").remove(digest)
    assert fake.tags == {("a/b", "1.0"): digest}
    assert [repository for repository, _digest in fake.manifests] == ["a/b"]


@pytest.mark.parametrize("status", [400, 405])
def test_deletes_that_are_disabled_are_found_before_anything_is_moved(api, fake, server, status):
    digest = fake.add("a/b", IMAGE, "rc")
    fake.fail["DELETE", "digest"] = fake.fail["DELETE", "tag"] = reply(status)
    with pytest.raises(RegistryError):
        Removal(api, "a/b", "rc").remove(digest)
    assert fake.tags == {("a/b", "rc"): digest}
    assert {request.method for request in server.requests} <= {"DELETE", "GET", "HEAD"}


@pytest.mark.parametrize("status", [403, 429, 500, 503])
def test_a_delete_that_fails_in_the_middle_is_undone(api, fake, status):
    digest = fake.add("a/b", IMAGE, "rc")

    def fail():
        fake.fail["DELETE", "digest"] = reply(status)

    # From the moment on when the tag has moved.
    fake.before["PUT", "tag"] = fail
    with pytest.raises(RegistryError, match=str(status)):
        Removal(api, "a/b", "rc").remove(digest)
    assert fake.tags == {("a/b", "rc"): digest}


def test_a_registry_that_says_yes_and_deletes_nothing(api, fake):
    digest = fake.add("a/b", IMAGE, "rc")

    def lie():
        fake.fail["DELETE", "digest"] = reply(202)

    fake.before["PUT", "tag"] = lie
    with pytest.raises(RegistryError, match="still answers for it"):
        Removal(api, "a/b", "rc").remove(digest)
    assert fake.tags == {("a/b", "rc"): digest}


def test_a_tag_that_moves_meanwhile_is_not_removed(api, fake):
    digest = fake.add("a/b", IMAGE, "rc")
    newer = fake.add("a/b", {**IMAGE, "layers": []})

    def move():
        fake.tags["a/b", "rc"] = newer

    fake.before["POST", "upload"] = move
    with pytest.raises(ConflictError, match=newer):
        Removal(api, "a/b", "rc").remove(digest)
    assert fake.tags == {("a/b", "rc"): newer}


def test_a_tag_that_is_pushed_again_afterwards_is_left(api, fake):
    digest = fake.add("a/b", IMAGE, "rc")
    newer = fake.add("a/b", {**IMAGE, "layers": []})
    removal = Removal(api, "a/b", "rc")

    def push():
        # The throw-away manifest is at the tag now, and a client pushes before it is deleted.
        fake.before["DELETE", "digest"] = lambda: fake.tags.update({("a/b", "rc"): newer})

    fake.before["PUT", "tag"] = push
    removal.remove(digest)
    assert fake.tags == {("a/b", "rc"): newer}


def test_a_registry_that_deletes_tags_is_asked_to(api, fake, server):
    digest = fake.add("a/b", IMAGE, "rc")
    fake.tags["a/b", "1.0"] = digest
    fake.fail["DELETE", "tag"] = reply(202)
    fake.before["DELETE", "tag"] = lambda: fake.tags.pop(("a/b", "rc"))
    Removal(api, "a/b", "rc").remove(digest)
    assert fake.tags == {("a/b", "1.0"): digest}
    assert "PUT" not in {request.method for request in server.requests}


@pytest.mark.parametrize("kind", ["mount", "digest", "tag"])
def test_a_promotion_that_fails_leaves_the_tag(api, fake, kind):
    child = fake.add("s", IMAGE)
    index = fake.add("s", {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [{"digest": child}]}, "rc")
    former = fake.add("t", IMAGE, "1.0")
    fake.fail["POST" if kind == "mount" else "PUT", kind] = reply(503)
    manifest = api.manifest("s", index)
    with pytest.raises(RegistryError, match="503"):
        promote(api, manifest)
    assert fake.tags["t", "1.0"] == former


def promote(api, manifest, *, overwrite=False):
    promotion = Promotion(api, Source("s", "rc"), "t", overwrite)
    promotion.copy(manifest, promotion.missing(manifest))
    api.put_manifest("t", "1.0", manifest)
    return promotion.warnings


def test_a_blob_that_can_not_be_mounted(api, fake):
    index = fake.add("s", IMAGE, "rc")
    fake.fail["POST", "mount"] = reply(202, Location="/v2/t/blobs/uploads/1")
    with pytest.raises(RegistryError, match="did not take the blob"):
        promote(api, api.manifest("s", index))
    assert ("t", "1.0") not in fake.tags


def test_what_refers_to_a_manifest_goes_along(api, fake):
    """A registry with a list of referrers keeps signatures without a tag."""
    image = fake.add("s", IMAGE, "rc")
    signature = fake.add("s", {**IMAGE, "subject": {"digest": image}})
    of_signature = fake.add("s", {**IMAGE, "subject": {"digest": signature}})
    fake.referrers = {image: [signature], signature: [of_signature]}
    promote(api, api.manifest("s", "rc"))
    assert {digest for repository, digest in fake.manifests if repository == "t"} == {image, signature, of_signature}
    assert fake.tags == {("s", "rc"): image, ("t", "1.0"): image}


def test_indexes_that_hold_each_other(api, fake):
    """A digest can't hold itself, but a registry that lies can say so."""
    deep = fake.add("s", IMAGE)
    for _level in range(20):
        deep = fake.add("s", {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [{"digest": deep}]})
    with pytest.raises(RegistryError, match="deep"):
        promote(api, api.manifest("s", deep))
    assert ("t", "1.0") not in fake.tags


def test_unsupported_is_told_apart(api, fake):
    digest = fake.add("a/b", IMAGE, "rc")
    fake.fail["DELETE", "digest"] = fake.fail["DELETE", "tag"] = reply(405)
    with pytest.raises(UnsupportedError, match=r"storage\.delete\.enabled"):
        Removal(api, "a/b", "rc").remove(digest)


# --- what else may happen in the middle ------------------------------------------------------------------------------


def lost(answer):
    """Does what it is asked for, and its answer is lost."""

    def behave(request, connection):
        class Nowhere:
            def sendall(self, content):
                """Goes nowhere."""

        answer(request, Nowhere())
        return reply(504)(request, connection)

    return behave


def test_an_answer_that_is_lost_is_no_tag_that_is_lost(api, fake):
    """The tag has moved to the throw-away manifest, and no answer says so."""
    digest = fake.add("a/b", IMAGE, "rc")

    def put(request, connection):
        fake.fail.pop(("PUT", "tag"))
        return lost(fake.answer(request, "a/b", "tag", "rc"))(request, connection)

    fake.fail["PUT", "tag"] = put
    with pytest.raises(RegistryError, match="504"):
        Removal(api, "a/b", "rc").remove(digest)
    assert fake.tags == {("a/b", "rc"): digest}


def test_an_interruption_is_undone(api, fake, monkeypatch):
    digest = fake.add("a/b", IMAGE, "rc")

    def interrupt(*_arguments):
        raise KeyboardInterrupt

    removal = Removal(api, "a/b", "rc")
    monkeypatch.setattr(removal, "_delete", interrupt)
    with pytest.raises(KeyboardInterrupt):
        removal.remove(digest)
    assert fake.tags == {("a/b", "rc"): digest}


def test_what_can_not_be_undone_is_said(api, fake):
    digest = fake.add("a/b", IMAGE, "rc")

    def fail():
        fake.before["DELETE", "digest"] = lambda: fake.fail.update({("PUT", "tag"): reply(503)})
        fake.fail["DELETE", "digest"] = reply(503)

    fake.before["PUT", "tag"] = fail
    with pytest.raises(RegistryError) as error:
        Removal(api, "a/b", "rc").remove(digest)
    assert digest in str(error.value) and "empty manifest" in str(error.value)


def test_a_tag_that_has_moved_is_not_deleted_by_its_name_either(api, fake, server):
    digest = fake.add("a/b", IMAGE, "rc")
    newer = fake.add("a/b", {**IMAGE, "layers": []}, "rc")
    with pytest.raises(ConflictError, match=newer):
        Removal(api, "a/b", "rc").remove(digest)
    assert {request.method for request in server.requests} == {"HEAD"}


SIGNATURE = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "layers": [{"digest": "sha256:" + "c" * 64, "size": 1}]}


def signed(fake, repository, image, *layers):
    tag = f"{image.replace(':', '-')}.sig"
    document = {**SIGNATURE, "layers": [{"digest": f"sha256:{layer * 64}", "size": 1} for layer in layers]}
    return tag, fake.add(repository, document, tag)


@pytest.mark.parametrize(
    ("theirs", "ours", "kept"),
    [("", "c", "ours"), ("c", "c", "theirs"), ("c", "cd", "ours"), ("cd", "c", "theirs")],
)
def test_no_signature_is_lost(api, fake, theirs, ours, kept):
    """In the other repository there may be signatures already, and more may have come here since."""
    image = fake.add("s", IMAGE, "rc")
    tag, here = signed(fake, "s", image, *ours)
    there = signed(fake, "t", image, *theirs)[1] if theirs else None
    promote(api, api.manifest("s", image))
    assert fake.tags["t", tag] == (here if kept == "ours" else there)


def test_signatures_of_both_are_not_chosen_between(api, fake):
    image = fake.add("s", IMAGE, "rc")
    tag, here = signed(fake, "s", image, "c")
    _tag, there = signed(fake, "t", image, "d")
    with pytest.raises(ConflictError) as error:
        promote(api, api.manifest("s", image))
    assert here in str(error.value) and there in str(error.value)
    assert fake.tags["t", tag] == there and ("t", "1.0") not in fake.tags
    promote(api, api.manifest("s", image), overwrite=True)
    assert fake.tags["t", tag] == here


@pytest.mark.parametrize("status", [429, 500, 503])
def test_signatures_that_can_not_be_listed_are_not_forgotten(api, fake, status):
    image = fake.add("s", IMAGE, "rc")
    fake.fail["GET", "referrers"] = reply(status, Retry_After="3600")
    with pytest.raises(RegistryError, match=str(status)):
        promote(api, api.manifest("s", image))
    assert ("t", "1.0") not in fake.tags


@pytest.mark.parametrize("odd", ["1.0", None, {"digest": "evil"}, ["x"]])
def test_a_list_of_referrers_that_names_no_digest(api, fake, odd):
    """The entry is left out, with a warning, and the others go along."""
    image = fake.add("s", IMAGE, "rc")
    signature = fake.add("s", {**IMAGE, "annotations": {"of": image}})
    fake.tags["t", "1.0"] = fake.add("t", IMAGE)
    fake.referrers = {image: [odd, signature]}
    warnings = promote(api, api.manifest("s", image))
    assert ("t", signature) in fake.manifests
    assert len(warnings) == 1 and "without a digest" in warnings[0] and image in warnings[0]


@pytest.mark.parametrize("content", [b"no JSON", b'{"layers": {}}', b'{"Layers": []}', b"[" * 5000, None])
def test_a_signature_that_is_damaged_stays_where_it_is(api, fake, content):
    image = fake.add("s", IMAGE, "rc")
    good = fake.add("s", {**IMAGE, "annotations": {"of": image}})
    fake.tags["t", "1.0"] = fake.add("t", IMAGE)
    damaged = digest_of(content or b"")
    if content is not None:
        fake.manifests["s", damaged] = content, OCI_MANIFEST
    fake.referrers = {image: [damaged, good]}
    warnings = promote(api, api.manifest("s", image))
    assert ("t", good) in fake.manifests and ("t", damaged) not in fake.manifests
    assert len(warnings) == 1 and damaged in warnings[0] and "s was not taken over" in warnings[0]


def test_referrers_without_end(api, fake):
    """Each refers to the one before."""
    image = fake.add("s", IMAGE, "rc")
    last = image
    for number in range(1100):
        following = fake.add("s", {**IMAGE, "annotations": {"n": str(number)}})
        fake.referrers[last] = [following]
        last = following
    with pytest.raises(RegistryError, match="more than 1000 referrers"):
        promote(api, api.manifest("s", image))


def test_an_index_by_another_type_is_whole(api, fake, server):
    """A static registry says application/json of everything."""
    child = fake.add("s", IMAGE)
    document = {"schemaVersion": 2, "mediaType": "application/json", "manifests": [{"digest": child}]}
    index = fake.add("s", document, "rc")
    manifest = api.manifest("s", index)
    assert manifest.media_type == "application/json" and not manifest.is_index
    with pytest.raises(RegistryError, match="can be promoted"):
        promote(api, manifest)
    del document["mediaType"]
    content = json.dumps(document).encode()
    fake.manifests["s", digest_of(content)] = content, "application/json"
    manifest = api.manifest("s", digest_of(content))
    assert manifest.media_type == OCI_INDEX
    promote(api, manifest)
    assert ("t", child) in fake.manifests

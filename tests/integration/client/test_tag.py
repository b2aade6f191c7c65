"""registry_tag against a real registry, which deletes digests and no tags, behind TLS and a password."""

from __future__ import annotations

import functools
import secrets
from typing import TYPE_CHECKING

import pytest
from content import Content
from http_client import DOCKER, DOCKER_LIST, OCI_INDEX, connection_to
from managed import collect, words
from marks import repeated
from steps import four_runs

if TYPE_CHECKING:
    from collections.abc import Callable

    from managed import Host
    from peers import Peers

OTHER = "sha256:" + "1" * 64


def test_a_name_more(tag: Callable[..., dict], content: Content, room: str) -> None:
    image = content.image(f"{room}/web", "1.0")
    done = four_runs(
        functools.partial(tag, repository=f"{room}/web", tag="stable", source="1.0"),
        lambda: content.digest(f"{room}/web", "stable"),
    )
    assert (done["digest"], done["previous_digest"], done["media_type"]) == (image["digest"], "", image["mediaType"])


@pytest.mark.parametrize("kind", [*repeated(DOCKER_LIST), OCI_INDEX])
def test_a_promotion_takes_everything_along(
    tag: Callable[..., dict], content: Content, room: str, kind: str, peers: Peers
) -> None:
    index, children = content.index(f"{room}/staging/web", "rc", kind=kind)
    signatures = [content.sign(f"{room}/staging/web", one, "sig") for one in (index, *children)]
    signatures.append(content.sign(f"{room}/staging/web", index, "att"))
    # The signature of an attestation, and one of another image, which stays.
    (attestation,) = [name for name in signatures if name.endswith(".att")]
    attested = {"digest": content.digest(f"{room}/staging/web", attestation)}
    signatures.append(content.sign(f"{room}/staging/web", attested))
    other = content.sign(f"{room}/staging/web", content.image(f"{room}/staging/web", "other"))
    before = len(peers.requests("basic"))
    done = four_runs(
        functools.partial(tag, repository=f"{room}/apps/web", tag="1.4.2", source=f"{room}/staging/web:rc"),
        lambda: content.tags(f"{room}/apps/web"),
    )
    assert done["digest"] == index["digest"]
    assert content.tags(f"{room}/apps/web") == sorted(["1.4.2", *signatures])
    assert other not in content.tags(f"{room}/apps/web")
    assert content.pull(f"{room}/apps/web", "1.4.2") == content.pull(f"{room}/staging/web", "rc")
    for signature in signatures:
        assert content.pull(f"{room}/apps/web", signature) == content.pull(f"{room}/staging/web", signature)
    # No layer passes the client: blobs are neither read nor written, only mounted.
    blobs = [path for _method, path, _status, _user in peers.requests("basic")[before:] if "/blobs/" in path]
    assert blobs and all("/blobs/uploads/?mount=" in path for path in blobs)


def test_a_signature_that_comes_later_is_brought_later(tag: Callable[..., dict], content: Content, room: str) -> None:
    image = content.image(f"{room}/staging", "rc")
    run = functools.partial(tag, repository=f"{room}/apps", tag="1.0", source=f"{room}/staging:rc")
    assert run()["changed"] and not run()["changed"]
    signature = content.sign(f"{room}/staging", image)
    done = four_runs(run, lambda: content.tags(f"{room}/apps"))
    assert done["copied_referrers"] == [signature]
    assert content.tags(f"{room}/apps") == sorted(["1.0", signature])


@pytest.mark.parametrize(
    "form", ["{digest}", "{repository}@{digest}", "{repository}:1.0", "{registry}/{repository}:1.0"]
)
def test_sources(tag: Callable[..., dict], content: Content, room: str, peers: Peers, form: str) -> None:
    image = content.image(f"{room}/web", "1.0", kind=DOCKER)
    source = form.format(digest=image["digest"], repository=f"{room}/web", registry=peers["basic"])
    assert tag(repository=f"{room}/web", tag="x", source=source)["digest"] == image["digest"]
    assert content.digest(f"{room}/web", "x") == image["digest"]


def test_tags_do_not_move_unless_told_to(tag: Callable[..., dict], content: Content, room: str) -> None:
    old, new = (content.image(f"{room}/web", name) for name in ("1.0", "2.0"))
    for check in (True, False):
        said = words(tag(repository=f"{room}/web", tag="1.0", source="2.0", failed=True, check=check)["msg"])
        assert old["digest"] in said and new["digest"] in said and f"{room}/web:1.0" in said
    assert content.digest(f"{room}/web", "1.0") == old["digest"]
    done = four_runs(
        functools.partial(tag, repository=f"{room}/web", tag="1.0", source="2.0", overwrite=True),
        lambda: content.digest(f"{room}/web", "1.0"),
    )
    assert (done["previous_digest"], done["digest"]) == (old["digest"], new["digest"])


def test_one_tag_is_removed_and_no_other(tag: Callable[..., dict], content: Content, room: str) -> None:
    index, _children = content.index(f"{room}/web", "rc")
    signature = content.sign(f"{room}/web", index)
    for name in ("rc1", "1.0"):
        tag(repository=f"{room}/web", tag=name, source="rc")
    whole = content.pull(f"{room}/web", "1.0")
    done = four_runs(
        functools.partial(tag, repository=f"{room}/web", tag="rc", state="absent"),
        lambda: content.tags(f"{room}/web"),
    )
    assert (done["previous_digest"], done["digest"], done["siblings"]) == (index["digest"], "", ["1.0", "rc1"])
    assert content.tags(f"{room}/web") == sorted(["1.0", "rc1", signature])
    assert content.pull(f"{room}/web", "1.0") == content.pull(f"{room}/web", "rc1") == whole


def test_the_last_tag_of_an_image(tag: Callable[..., dict], content: Content, room: str) -> None:
    image = content.image(f"{room}/web", "rc")
    done = tag(repository=f"{room}/web", tag="rc", state="absent")
    assert (done["changed"], done["siblings"]) == (True, [])
    assert content.tags(f"{room}/web") == []
    # What it pointed to is left to the garbage collection.
    assert content.pull(f"{room}/web", image["digest"])
    assert not tag(repository=f"{room}/none", tag="rc", state="absent")["changed"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"source": "none"}, "the source {room}/web:none was not found"),
        ({"source": OTHER}, "was not found"),
        ({"source": "{room}/none:1.0"}, "was not found"),
        ({"source": "{room}/web"}, "names no tag"),
        ({"source": "a b"}, "is no tag"),
        ({"source": "sha256:xyz"}, "is no digest"),
        ({"source": "{room}/Web:1.0"}, "lower case"),
        ({"source": None}, "source"),
        ({"tag": "-x"}, "is no tag"),
        ({"repository": "A/b"}, "lower case"),
    ],
)
def test_what_can_not_be_meant(tag: Callable[..., dict], content: Content, room: str, options: dict, says: str) -> None:
    content.image(f"{room}/web", "1.0")
    given = {"repository": f"{room}/web", "tag": "x", "source": "1.0", **options}
    given = {name: value and value.replace("{room}", room) for name, value in given.items()}
    assert says.replace("{room}", room) in words(tag(failed=True, **given)["msg"])
    assert content.tags(f"{room}/web") == ["1.0"]


def test_a_source_that_is_not_whole(tag: Callable[..., dict], content: Content, room: str) -> None:
    """A child of an index was deleted: nothing is half promoted under the tag."""
    index, children = content.index(f"{room}/staging", "rc")
    assert content.ask("DELETE", f"/v2/{room}/staging/manifests/{children[1]['digest']}")[0] == 202
    said = words(tag(repository=f"{room}/apps", tag="1.0", source=f"{room}/staging:rc", failed=True)["msg"])
    assert children[1]["digest"] in said and "Push the source again" in said
    assert content.digest(f"{room}/apps", "1.0") is None
    assert content.digest(f"{room}/staging", "rc") == index["digest"]


def test_a_registry_that_deletes_nothing(tag: Callable[..., dict], peers: Peers, room: str) -> None:
    """It says so before the tag has moved."""
    password = peers.tokens.users["ci"]
    token = peers.tokens.access("ci", f"repository:{room}/web:pull,push")
    content = Content(connection_to(peers["token_registry"]), f"Bearer {token}")
    image = content.image(f"{room}/web", "1.0")
    options = {"registry": peers["bearer"], "password": password, "repository": f"{room}/web"}
    said = words(tag(**options, tag="1.0", state="absent", failed=True)["msg"])
    assert "405" in said and "storage.delete.enabled" in said
    assert content.digest(f"{room}/web", "1.0") == image["digest"]
    assert tag(**options, tag="2.0", source="1.0")["digest"] == image["digest"]
    # From one repository to another, with a token that is good for both.
    promoted = tag(**{**options, "repository": f"{room}/apps"}, tag="1.0", source=f"{room}/web:1.0")
    assert promoted["digest"] == image["digest"]


def test_two_promotions_and_a_removal_at_once(host: Host, peers: Peers, content: Content, room: str) -> None:
    """Whatever the order, the tag is at one of the two images, whole, or gone; and no other tag has changed."""
    first, second = content.image(f"{room}/a", "rc"), content.image(f"{room}/b", "rc")
    content.image(f"{room}/web", "keep", layer=b"kept")
    kept = content.pull(f"{room}/web", "keep")
    ends = set()
    for _round in range(6):
        common = {
            "registry": peers["basic"],
            "username": "ci",
            "password": peers.users["ci"],
            "ca_path": str(peers.ca),
            "repository": f"{room}/web",
            "tag": "1.0",
        }
        runs = [
            {**common, "source": f"{room}/a:rc", "overwrite": True},
            {**common, "source": f"{room}/b:rc", "overwrite": True},
            {**common, "state": "absent"},
        ]
        secrets.SystemRandom().shuffle(runs)
        for process, options in [(host.start("registry_tag", options), options) for options in runs]:
            try:
                collect(process, options)
            except AssertionError as error:
                # The one failure that an order explains.
                assert "while it was to be removed" in str(error), error
        end = content.digest(f"{room}/web", "1.0")
        assert end in (None, first["digest"], second["digest"])
        if end is not None:
            content.pull(f"{room}/web", "1.0")
        ends.add(end)
        assert content.pull(f"{room}/web", "keep") == kept
        assert set(content.tags(f"{room}/web")) <= {"keep", "1.0"}
    assert ends

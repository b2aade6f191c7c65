"""registry_retention against a real registry, which deletes digests and no tags, behind TLS and a password."""

from __future__ import annotations

import contextlib
import datetime
import functools
import re
import time
from typing import TYPE_CHECKING

import pytest
from content import Content
from engine import command
from http_client import ACCEPT, DOCKER, DOCKER_LIST, OCI_INDEX, connection_to
from managed import collect, words
from marks import repeated
from steps import four_runs, write_tags

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from managed import Host
    from peers import Peers

BLOBS = "/data/docker/registry/v2/blobs/sha256"


def days_ago(days: float) -> str:
    when = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=days)
    return when.isoformat().replace("+00:00", "Z")


def name_too(content: Content, repository: str, reference: str, *tags: str) -> None:
    """Give what a reference leads to other names, too."""
    _status, headers, body = content.ask("GET", f"/v2/{repository}/manifests/{reference}", Accept=ACCEPT)
    for tag in tags:
        path = f"/v2/{repository}/manifests/{tag}"
        assert content.ask("PUT", path, body, Content_Type=headers["Content-Type"])[0] == 201


def tags_of(result: dict, which: str, repository: str) -> list[str]:
    (found,) = [one for one in result["repositories"] if one["name"] == repository]
    return [one["tag"] for one in found[which]]


def reasons(result: dict, repository: str) -> dict[str, str]:
    (found,) = [one for one in result["repositories"] if one["name"] == repository]
    return {one["tag"]: one["reason"] for one in [*found["kept"], *found["deleted"]]}


def size_of(content: Content, repository: str, digest: str) -> int:
    for kind in ("blobs", "manifests"):
        status, _headers, body = content.ask("GET", f"/v2/{repository}/{kind}/{digest}", Accept=ACCEPT)
        if status == 200:
            return len(body)
    raise AssertionError(digest)


def test_four_runs(retention: Callable[..., dict], content: Content, room: str) -> None:
    """Shared layers, other names of what stays, and the bytes that nothing needs any more."""
    web, other = f"{room}/web", f"{room}/other"
    shared = b"shared by all"
    for age in range(1, 6):
        content.image(web, f"build-{age}", layer=shared, created=days_ago(age))
    content.image(web, "1.4.2", layer=b"a release", created=days_ago(90))
    name_too(content, web, "1.4.2", "rc", "build-0")
    content.image(web, "old", layer=b"of two repositories", created=days_ago(90), labels={"a": "b"})
    content.image(web, "labelled", created=days_ago(91), labels={"keep": "true"})
    content.image(other, "x", layer=b"of two repositories", created=days_ago(1))
    wanted = {tag: content.pull(web, tag) for tag in ("build-1", "build-2", "1.4.2", "labelled")}
    gone = [content.pull(web, tag) for tag in ("build-3", "build-4", "build-5", "old")]
    alone = set().union(*gone) - set().union(*wanted.values(), content.pull(other, "x"))
    # Of each, the manifest and the configuration: one layer is in all of them, the other in another repository.
    assert len(alone) == 8
    freed = sum(size_of(content, web, digest) for digest in alone)
    run = functools.partial(
        retention,
        rules=[
            {"repositories": [f"{room}/*"], "keep_newest": 2, "keep_labels": {"keep": "t*"}},
            {"repositories": [f"{room}/*"], "keep_versions": ["^1"]},
        ],
    )
    foretold = run(check=True)
    done = four_runs(run, lambda: (content.tags(web), content.tags(other)))
    assert {key: done[key] for key in ("repositories", "deleted", "considered", "reclaimable_bytes", "changed")} == {
        key: foretold[key] for key in ("repositories", "deleted", "considered", "reclaimable_bytes", "changed")
    }
    assert (done["deleted"], done["considered"], done["reclaimable_bytes"]) == (6, 11, freed)
    assert content.tags(web) == sorted(wanted) == tags_of(done, "kept", web) == done["diff"]["after"][web]
    assert {tag: content.pull(web, tag) for tag in wanted} == wanted
    assert content.tags(other) == ["x"] and content.pull(other, "x")
    told = reasons(done, web)
    assert told["1.4.2"] == "rule 2: is a version in ^1" and told["build-1"] == "rule 1: is one of the 2 newest"
    assert told["rc"] == "nothing in rule 1, rule 2 keeps it; what it points to stays, as 1.4.2 needs it"


@pytest.mark.parametrize("kind", [*repeated(DOCKER_LIST), OCI_INDEX])
def test_children_and_signatures(retention: Callable[..., dict], content: Content, room: str, kind: str) -> None:
    web = f"{room}/web"
    new, children = content.index(web, "new", kind=kind, created=days_ago(1))
    old, old_children = content.index(web, "old", kind=kind, created=days_ago(40))
    # A child with a tag of its own, which goes, and an index whose children have no known age.
    name_too(content, web, children[0]["digest"], "new-amd64")
    content.index(web, "ageless", kind=kind, created="1970-01-01T00:00:00Z")
    stay = [content.sign(web, one) for one in (new, *children)]
    attestation = content.sign(web, new, "att")
    stay += [attestation, content.sign(web, {"digest": content.digest(web, attestation)})]
    go = [content.sign(web, one) for one in (old, *old_children)]
    go.append(content.sign(web, {"digest": "sha256:" + "5" * 64}))
    whole = {tag: content.pull(web, tag) for tag in ("new", "ageless", *stay)}
    rules = [{"repositories": [web], "tags": ["[!n]*", "new-*"], "keep_younger": "4w", "keep_matching": ["^new$"]}]
    # Young as it is, a rule of its own has it go.
    rules[0]["tags"] = ["[!n]*"]
    rules.append({"repositories": [web], "tags": ["new-*"], "keep_newest": 0})
    run = functools.partial(retention, rules=rules, max_delete_percent=100)
    done = four_runs(run, lambda: content.tags(web))
    assert tags_of(done, "deleted", web) == sorted(["old", "new-amd64", *go])
    assert content.tags(web) == sorted(whole)
    assert {tag: content.pull(web, tag) for tag in whole} == whole
    assert "creation date is unknown" in reasons(done, web)["ageless"]


def test_what_the_fleet_runs(retention: Callable[..., dict], content: Content, room: str, peers: Peers) -> None:
    web = f"{room}/web"
    old, children = content.index(web, "old", created=days_ago(40))
    content.image(web, "by-id", created=days_ago(40))
    content.image(web, "other", created=days_ago(40))
    signature = content.sign(web, old)
    _status, _headers, body = content.ask("GET", f"/v2/{web}/manifests/by-id", Accept=ACCEPT)
    in_use = [f"{peers['basic']}/{web}@{children[1]['digest']}", *(["sha256:" + "7" * 64])]
    in_use.append(body.decode().partition('"config": {"digest": "')[2].partition('"')[0])
    done = retention(rules=[{"repositories": [web], "keep_younger": "4w"}], protected_digests=in_use)
    assert content.tags(web) == sorted(["old", "by-id", signature])
    assert reasons(done, web)["old"] == f"{children[1]['digest']} is in use"


@contextlib.contextmanager
def damaged(peers: Peers, digest: str, damage: str) -> Iterator[None]:
    """The blob of a manifest, damaged on the registry's disk."""
    path = f"{BLOBS}/{digest[7:9]}/{digest[7:]}/data"

    def at_registry(script: str) -> None:
        command("docker", "exec", peers.containers["registry"], "sh", "-ec", script, "sh", path)

    at_registry(f'cp "$1" "$1.whole"; {damage}')
    try:
        yield
    finally:
        at_registry('mv "$1.whole" "$1"')


@pytest.mark.parametrize(
    ("what", "damage"),
    [("tag", 'rm "$1"'), ("tag", 'echo "{}" >"$1"'), ("child", 'printf " " >>"$1"'), ("child", 'rm "$1"')],
)
def test_fail_closed(  # noqa: PLR0917 - what damages it, and two fixtures more
    retention: Callable[..., dict], content: Content, peers: Peers, room: str, what: str, damage: str
) -> None:
    bad, good = f"{room}/bad", f"{room}/good"
    index, children = content.index(bad, "damaged", created=days_ago(1))
    for repository in (bad, good):
        content.image(repository, "old", created=days_ago(40))
        content.image(repository, "new", created=days_ago(1))
    digest = index["digest"] if what == "tag" else children[1]["digest"]
    run = functools.partial(retention, rules=[{"repositories": [f"{room}/*"], "keep_younger": "4w"}])
    with damaged(peers, digest, damage):
        results = [run(check=check, failed=True) for check in (True, False)]
        for result in results:
            said = words(result["msg"])
            assert f"{bad}:damaged" in said and "nothing is deleted there" in said, said
            assert tags_of(result, "kept", bad) == ["damaged", "new", "old"]
            assert (tags_of(result, "deleted", bad), tags_of(result, "deleted", good)) == ([], ["old"])
            assert result["changed"]
        assert {**results[0], "invocation": 0} == {**results[1], "invocation": 0}
        # What needs no manifest still says so.
        assert content.tags(bad) == ["damaged", "new", "old"] and content.tags(good) == ["new"]
    assert run()["changed"] and content.tags(bad) == ["damaged", "new"]


def test_a_configuration_that_is_gone(
    retention: Callable[..., dict], content: Content, peers: Peers, room: str
) -> None:
    web = f"{room}/web"
    content.image(web, "1.0", labels={"keep": "true", "room": room})
    _status, _headers, body = content.ask("GET", f"/v2/{web}/manifests/1.0", Accept=ACCEPT)
    config = body.decode().partition('"config": {"digest": "')[2].partition('"')[0]
    with damaged(peers, config, 'rm "$1"'):
        result = retention(rules=[{"repositories": [web], "keep_labels": {"keep": "true"}}], failed=True)
    assert f"the configuration {config} is not there" in words(result["msg"]) and content.tags(web) == ["1.0"]


def test_the_cap(retention: Callable[..., dict], content: Content, room: str) -> None:
    web = f"{room}/web"
    content.image(web, "a-0", created=days_ago(40))
    name_too(content, web, "a-0", *(f"a-{number}" for number in range(1, 9)), "b-1")
    rules = [{"repositories": [web], "tags": ["a-*"], "keep_matching": ["0$"]}]
    for options, says in (
        (
            {"max_delete": 7},
            "would delete 8 of the 9 tags that they consider, and max_delete is 7. Nothing was deleted",
        ),
        ({}, "would delete 8 of the 9 tags that they consider (89 %), and max_delete_percent is 80"),
    ):
        for check in (True, False):
            result = retention(rules=rules, check=check, failed=True, **options)
            assert says in words(result["msg"]) and not result["changed"]
            assert len(tags_of(result, "deleted", web)) == 8
            assert len(content.tags(web)) == 10
    assert retention(rules=rules, max_delete=8, max_delete_percent=89)["deleted"] == 8
    assert content.tags(web) == ["a-0", "b-1"]


def test_a_user_who_may_not_delete(retention: Callable[..., dict], content: Content, peers: Peers, room: str) -> None:
    web = f"{room}/web"
    for tag in ("a", "b", "c"):
        content.image(web, tag, created=days_ago(40))
    content.image(web, "new", created=days_ago(1))
    content.sign(web, {"digest": content.digest(web, "a")})
    before = content.tags(web)
    run = functools.partial(retention, rules=[{"repositories": [web], "keep_younger": "4w"}])
    assert run(check=True, registry=peers["read_only"])["deleted"] == 4
    result = run(registry=peers["read_only"], failed=True)
    said = words(result["msg"])
    assert re.match(rf"{web}:a was not deleted: .* 403: user 'ci' may not delete", said), said
    assert not result["changed"] and (result["deleted"], result["reclaimable_bytes"]) == (0, 0)
    assert tags_of(result, "kept", web) == before == content.tags(web)
    assert "was to be deleted" in reasons(result, web)["c"]


def test_a_registry_that_deletes_nothing(retention: Callable[..., dict], peers: Peers, room: str) -> None:
    password = peers.tokens.users["ci"]
    token = peers.tokens.access("ci", f"repository:{room}/web:pull,push")
    content = Content(connection_to(peers["token_registry"]), f"Bearer {token}")
    for tag in ("1.0", "2.0"):
        content.image(f"{room}/web", tag)
    options = {"registry": peers["bearer"], "password": password, "max_delete_percent": 100}
    result = retention(**options, rules=[{"repositories": [f"{room}/web"], "keep_newest": 0}], failed=True)
    assert "405" in result["msg"] and "storage.delete.enabled" in words(result["msg"])
    assert content.tags(f"{room}/web") == ["1.0", "2.0"] and not result["changed"]


def test_a_removal_that_was_killed(retention: Callable[..., dict], content: Content, room: str) -> None:
    """The tag is at the manifest that was made to be deleted. It leads to no image, and goes, whatever its name."""
    web, config = f"{room}/web", "application/vnd.oci.image.config.v1+json"
    content.image(web, "1.0", created=days_ago(40))
    for tag in ("1.1", "other"):
        content.artifact(web, tag, config, "layer", layers=[], annotations={"registry.wharf.removes": "1.1"})
    rules = [{"repositories": [web], "keep_versions": ["*"], "keep_younger": "1d"}]
    done = four_runs(functools.partial(retention, rules=rules), lambda: content.tags(web))
    assert content.tags(web) == ["1.0", "other"] and "killed" in reasons(done, web)["1.1"]


def test_a_tag_that_is_moved_meanwhile(host: Host, peers: Peers, content: Content, room: str) -> None:
    web = f"{room}/web"
    content.image(web, "a-00", created=days_ago(40))
    name_too(content, web, "a-00", *(f"a-{number:02}" for number in range(1, 40)), "z")
    options = {
        "registry": peers["basic"],
        "username": "ci",
        "password": peers.users["ci"],
        "ca_path": str(peers.ca),
        "rules": [{"repositories": [web], "keep_younger": "4w"}],
        "max_delete_percent": 100,
        "max_workers": 1,
    }
    run = host.start("registry_retention", options)
    end = time.monotonic() + 30
    while "a-00" in content.tags(web):
        assert time.monotonic() < end, collect(run, options)
        time.sleep(0.02)
    moved = content.image(web, "z", created=days_ago(50))
    result = collect(run, options)
    assert content.tags(web) == ["z"] == tags_of(result, "kept", web)
    assert content.digest(web, "z") == moved["digest"] and content.pull(web, "z")
    assert result["deleted"] == 40 and "was moved since it was judged" in reasons(result, web)["z"]
    (warning,) = result["warnings"]
    assert f"{web}:z was moved from" in str(warning)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"rules": []}, "rules is empty"),
        ({"rules": [{"repositories": ["a"]}]}, "rule 1 keeps nothing"),
        ({"rules": [{"keep_newest": 1}, {"keep_younger": "1 month"}]}, "rule 2: '1 month' is no duration"),
        ({"rules": [{"repositories": ["A"], "keep_newest": 1}]}, "lower case"),
        ({"protected_digests": ["latest"]}, "is no digest"),
        ({"max_delete": -1}, "max_delete is -1"),
        ({"max_delete_percent": 101}, "max_delete_percent is 101"),
        ({"max_workers": 0}, "max_workers is 0"),
    ],
)
def test_what_can_not_be_meant(retention: Callable[..., dict], options: dict, says: str) -> None:
    assert says in words(retention(**{"rules": [{"keep_newest": 1}], **options}, failed=True)["msg"])


@pytest.mark.long
def test_thousands_of_tags(retention: Callable[..., dict], content: Content, peers: Peers, room: str) -> None:
    """Written straight to the registry's disk, as links to an image; the catalogue finds the repository."""
    web = f"{room}/web"
    image = content.image(web, "0", kind=DOCKER, created=days_ago(1))
    write_tags(peers, web, image["digest"], 1500)
    before = len(peers.requests("basic"))
    result = retention(rules=[{"repositories": [f"{room}/*"], "keep_newest": 1}], check=True)
    assert not result["changed"] and len(tags_of(result, "kept", web)) == result["considered"] == 1501
    asked = [(method, path) for method, path, status, _user in peers.requests("basic")[before:] if status == 200]
    # One question for each tag; the manifest and the configuration were read once.
    assert sum(method == "HEAD" for method, _path in asked) == 1501
    assert sum(method == "GET" and "/manifests/" in path for method, path in asked) == 1
    assert sum(method == "GET" and "/blobs/" in path for method, path in asked) == 1

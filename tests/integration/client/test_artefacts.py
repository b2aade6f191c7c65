"""What is no image, at a real registry: shown as what it is, promoted with all that it lists, kept or removed whole."""

from __future__ import annotations

import functools
import json
import secrets
from typing import TYPE_CHECKING

import pytest
from content import Content
from http_client import ACCEPT, CONFIGS, DOCKER, DOCKER_LIST, LAYERS, OCI, OCI_INDEX
from managed import words
from marks import repeated
from steps import four_runs

if TYPE_CHECKING:
    from collections.abc import Callable

CACHE = "application/vnd.buildkit.cacheconfig.v0"
ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"
EMPTY = "application/vnd.oci.empty.v1+json"
HELM = "application/vnd.cncf.helm.config.v1+json"
THING = "application/vnd.example.thing"
OWN_TYPE = "a manifest of a type of its own"


def blob(content: Content, repository: str, media_type: str, size: int = 100) -> dict:
    return {**content.blob(repository, secrets.token_bytes(size)), "mediaType": media_type}


def index_of(content: Content, repository: str, tag: str | None, listed: list, kind: str = OCI_INDEX, **more) -> dict:
    document = {"schemaVersion": 2, "mediaType": kind, "manifests": listed, **more}
    return content.manifest(repository, tag, document, kind)


def cache(content: Content, repository: str, tag: str | None = "it", kind: str = OCI_INDEX) -> dict:
    """As BuildKit exports its cache to a registry: layers, and then what they are of."""
    types = (LAYERS[OCI], LAYERS[OCI], ZSTD) if kind == OCI_INDEX else (LAYERS[DOCKER],) * 2
    layers = [blob(content, repository, media_type) for media_type in types]
    config = content.blob(repository, json.dumps({"layers": [{"blob": one["digest"]} for one in layers]}).encode())
    return index_of(content, repository, tag, [*layers, {**config, "mediaType": CACHE}], kind)


# What an index lists, and the type that it is shown as, or the platform where it is an image.
LISTED = {
    "blobs alone": (lambda c, r: [blob(c, r, LAYERS[OCI]), blob(c, r, ZSTD)], ""),
    "one blob of a type of its own": (lambda c, r: [blob(c, r, THING)], THING),
    "with a type that it tells": (lambda c, r: [blob(c, r, "text/plain")], "application/vnd.example.set"),
    "an image and a blob": (lambda c, r: [c.image(r), blob(c, r, THING)], "linux/amd64"),
    "a cache in an index": (lambda c, r: [cache(c, r, None), c.image(r, architecture="arm64")], "linux/arm64"),
    OWN_TYPE: (lambda c, r: [{**c.image(r), "mediaType": THING}], THING),
    "nothing": (lambda _c, _r: [], ""),
}
# Of a manifest: the types of its configuration and of its layer, and its own.
MANIFESTS = {
    "cache in a manifest": (CACHE, LAYERS[OCI], ""),
    "chart": (HELM, "application/vnd.cncf.helm.chart.content.v1.tar+gzip", ""),
    "empty configuration": (EMPTY, "text/plain", "application/vnd.example.a"),
    "image that says that it is none": (CONFIGS[OCI], LAYERS[OCI], "application/vnd.example.b"),
}
CACHES = {"cache": OCI_INDEX, "cache of Docker's types": DOCKER_LIST}


def make(content: Content, repository: str, name: str) -> str:
    """Push one of each kind under the tag `it`; the type that it is shown as, or its platform."""
    if name in CACHES:
        cache(content, repository, kind=CACHES[name])
        return CACHE
    if name in LISTED:
        listed, shown = LISTED[name]
        more = {"artifactType": shown} if "tells" in name else {}
        index_of(content, repository, "it", listed(content, repository), **more)
        return shown
    config, layer, own = MANIFESTS[name]
    content.artifact(repository, "it", config, layer, **({"artifactType": own} if own else {}))
    return own or config


def size_of(content: Content, repository: str, digests: set[str]) -> int:
    """The bytes of these manifests and blobs, as they lie there."""
    sizes = []
    for digest in digests:
        status, headers, _body = content.ask("HEAD", f"/v2/{repository}/blobs/{digest}")
        if status != 200:
            status, headers, _body = content.ask("HEAD", f"/v2/{repository}/manifests/{digest}", Accept=ACCEPT)
        sizes.append(int(headers["Content-Length"]))
    return sum(sizes)


# One of each form, and what no client knows.
SOME = ("cache", "an image and a blob", OWN_TYPE, "chart")
OTHERS = [kind for kind in (*CACHES, *LISTED, *MANIFESTS) if kind not in SOME]


@pytest.mark.parametrize("kind", [*SOME, *repeated(*OTHERS)])
def test_each_kind(  # noqa: PLR0917 - what is pushed, and three modules that meet it
    info: Callable[..., dict],
    tag: Callable[..., dict],
    retention: Callable[..., dict],
    content: Content,
    room: str,
    kind: str,
) -> None:
    shown = make(content, f"{room}/a", kind)
    content.image(f"{room}/a", "image")
    result = info(repositories=[f"{room}/a"], details="full")
    found = {one["name"]: one for one in result["repositories"][0]["tags"]}["it"]
    assert not result.get("warnings") and "problems" not in found
    if found["kind"] == "image":
        assert found["platforms"] == [shown]
    else:
        assert (found["kind"], found["artifact_type"], found["platforms"]) == ("artifact", shown, [])

    if kind != OWN_TYPE:
        # The size of what no client knows is that which its descriptor tells.
        whole = content.pull(f"{room}/a", "it")
        assert found["size"] == size_of(content, f"{room}/a", whole)

    promote = functools.partial(tag, repository=f"{room}/b", tag="1.0", source=f"{room}/a:it")
    done = four_runs(promote, lambda: content.tags(f"{room}/b"))
    assert not done.get("warnings") and content.digest(f"{room}/b", "1.0") == found["digest"]
    if kind == OWN_TYPE:
        (child,) = json.loads(content.ask("GET", f"/v2/{room}/b/manifests/1.0", Accept=OCI_INDEX)[2])["manifests"]
        assert content.pull(f"{room}/b", child["digest"]) == content.pull(f"{room}/a", child["digest"])
    else:
        assert content.pull(f"{room}/b", "1.0") == whole

    # What one rule keeps stays whole, and what another names goes alone.
    rules = [{"repositories": [f"{room}/*"], "tags": ["it", "1.0"], "keep_matching": ["^1"]}]
    removed = retention(rules=rules, max_delete_percent=100)
    assert removed["deleted"] == 1 and content.tags(f"{room}/a") == ["image"]
    if kind != OWN_TYPE:
        assert content.pull(f"{room}/b", "1.0") == whole


def test_a_cache_does_not_stop_the_others(retention: Callable[..., dict], content: Content, room: str) -> None:
    """It tells no time, so that rules by time keep it, and what one removes is what no other manifest needs."""
    repository = f"{room}/web"
    cache(content, repository, "cache")
    for number in range(1, 4):
        content.image(repository, str(number), created=f"2026-01-0{number}T00:00:00Z")
    rules = [{"repositories": [repository], "keep_newest": 1}]
    done = four_runs(functools.partial(retention, rules=rules), lambda: content.tags(repository))
    assert done["deleted"] == 2 and content.tags(repository) == ["3", "cache"]
    freed = size_of(content, repository, content.pull(repository, "cache"))
    rules = [{"repositories": [repository], "tags": ["cache"], "keep_newest": 0}]
    done = retention(rules=rules, max_delete_percent=100)
    assert (done["deleted"], done["reclaimable_bytes"]) == (1, freed) and content.tags(repository) == ["3"]


def test_signatures_of_a_cache(
    tag: Callable[..., dict], retention: Callable[..., dict], content: Content, room: str
) -> None:
    repository = f"{room}/web"
    signature = content.sign(repository, cache(content, repository, "cache"))
    assert tag(repository=f"{room}/other", tag="cache", source=f"{repository}:cache")["copied_referrers"] == [signature]
    content.image(repository, "1")
    rules = [{"repositories": [repository], "tags": ["cache", "sha256-*"], "keep_newest": 0}]
    assert retention(rules=rules, max_delete_percent=100)["deleted"] == 2
    assert content.tags(repository) == ["1"] and content.tags(f"{room}/other") == sorted(["cache", signature])


# What a registry takes, odd as it is.
ODD = {
    "a subject that is none": (OCI, {"subject": {"digest": "evil"}}, False),
    "a subject that is text": (OCI, {"subject": "x"}, False),
    "a negative size": (OCI, {"layers": [{"size": -1, "mediaType": LAYERS[OCI]}]}, False),
    "a blob as a manifest": (OCI_INDEX, {"manifests": [{"size": 1, "mediaType": OCI}]}, True),
    "a type that is a list": (OCI, {"artifactType": ["x"]}, False),
    "a configuration as a layer's": (OCI, {"config": {"size": 5, "mediaType": CONFIGS[OCI]}}, True),
    "keys in capitals": (OCI, {"Layers": [{"size": 5, "mediaType": LAYERS[OCI]}]}, True),
}


@pytest.mark.parametrize("name", ODD)
def test_what_is_odd_costs_itself(
    info: Callable[..., dict], retention: Callable[..., dict], content: Content, room: str, name: str
) -> None:
    odd, whole = f"{room}/odd", f"{room}/whole"
    for repository in (odd, whole):
        content.image(repository, "new")
        content.image(repository, "old", created="2026-01-01T00:00:00Z")
    kind, document, stops = ODD[name]
    here = blob(content, odd, LAYERS[OCI])
    document = {name: _with_digest(value, here["digest"]) for name, value in document.items()}
    if kind == OCI:
        config = {**content.blob(odd, b"{}"), "mediaType": CONFIGS[OCI]}
        document = {"config": config, **document}
    content.manifest(odd, "odd", {"schemaVersion": 2, "mediaType": kind, **document}, kind)
    result = info(repositories=[f"{room}/*"], details="full")
    tags = {one["name"]: {tag["name"]: tag for tag in one["tags"]} for one in result["repositories"]}
    for repository, tag in ((odd, "new"), (odd, "old"), (whole, "new"), (whole, "old")):
        assert tags[repository][tag]["platforms"] == ["linux/amd64"]
    if name != "a type that is a list":
        assert tags[odd]["odd"]["problems"] and all(f"{odd}:odd: " in str(warning) for warning in result["warnings"])
    run = functools.partial(retention, rules=[{"repositories": [f"{room}/*"], "keep_matching": ["^(new|odd)$"]}])
    result = run(failed=stops)
    assert content.tags(whole) == ["new"]
    assert content.tags(odd) == (["new", "odd", "old"] if stops else ["new", "odd"])
    if stops:
        assert f"{odd}:odd can't be read, so nothing is deleted there" in words(result["msg"])


def _with_digest(value: object, digest: str) -> object:
    """The same with a digest for each descriptor that has a size."""
    if isinstance(value, list):
        return [_with_digest(one, digest) for one in value]
    return {"digest": digest, **value} if isinstance(value, dict) and "size" in value else value

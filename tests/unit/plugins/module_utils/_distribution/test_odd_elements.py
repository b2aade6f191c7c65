"""One odd element costs itself. What can be odd, in a registry that stores most of what it is given:

- a manifest: no JSON, no object, nested without end, of no known type, gone, or one that the registry fails on
- its references: lists that are none, entries that are none, digests and types that are none, keys in capitals
- its sizes: negative, text, true, larger than any number of 64 bits
- its subject and its annotations: of any type
- what an index lists: gone, damaged, of another type, itself in a long chain
- a configuration: gone, no JSON, of other types in each of its fields, text that no encoding can hold
- the list of tags and the catalogue: names that are none, twice the same, nothing at all
"""

from __future__ import annotations

import json
import random

import pytest
from ansible_collections.wharf.registry.plugins.module_utils._common.errors import RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._distribution.describe import Describer
from ansible_collections.wharf.registry.plugins.module_utils._distribution.manifest import Manifest
from ansible_collections.wharf.registry.plugins.module_utils._retention.manifest_index import Holdings
from inprocess import run_module
from misbehaving import reply
from odd_registry import IMAGE_CONFIG, LAYER, OCI, OCI_INDEX, WHOLE, OddRegistry, digest_of

GONE = "sha256:" + "0" * 64
KEPT, GOES = ["good", "other"], ["old"]


@pytest.fixture
def odd(server):
    """Two repositories that are as they should be."""
    odd = OddRegistry(server)
    for name in ("a/odd", "b/whole"):
        odd.image(name, "good")
        odd.image(name, "other", annotations={"n": "1"})
    return odd


def run(odd, module, **options):
    """The result, with its warnings as text whatever the version of ansible-core."""
    result = run_module(module, {"registry": odd.address, "plain_http": True, **options})
    warnings = [one if isinstance(one, str) else one["event"]["msg"] for one in result.get("warnings", [])]
    return {**result, "warnings": warnings}


def info(odd, **options):
    result = run(odd, "registry_info", **{"details": "full", **options})
    assert "msg" not in result, result["msg"]
    tags = {one["name"]: {tag["name"]: tag for tag in one["tags"]} for one in result["repositories"]}
    # All that is as it should be is described whole, whatever lies beside it.
    for name in ("a/odd", "b/whole"):
        for tag in ("good", "other"):
            assert tags[name][tag]["platforms"] == ["linux/amd64"] and "problems" not in tags[name][tag]
    return tags, result


def descriptor(**more):
    return {"digest": "sha256:" + "1" * 64, "size": 5, "mediaType": LAYER, **more}


def of_layers(layers):
    return {"schemaVersion": 2, "mediaType": OCI, "layers": layers}


# What is odd by itself, whether references can't be followed, and what is said of it.
DOCUMENTS = {
    "no JSON": (b"no JSON", True, "not a JSON object"),
    "a list": (b"[]", True, "not a JSON object"),
    "nested": (b'{"schemaVersion":2,"x":' + b"[" * 200_000 + b"]" * 200_000 + b"}", True, "not a JSON object"),
    "half a character": (b'{"schemaVersion":2,"x":"\xff"}', True, "not a JSON object"),
    "layers that are an object": (of_layers({}), True, "layers that are no list"),
    "layers that are text": (of_layers("x"), True, "layers that are no list"),
    "a layer that is text": (of_layers(["x"]), True, "without a digest"),
    "a layer that is null": (of_layers([None]), True, "without a digest"),
    "a digest that is none": (of_layers([descriptor(digest="evil")]), True, "without a digest"),
    "a digest that leads elsewhere": (of_layers([descriptor(digest="sha256:../../x")]), True, "without a digest"),
    "a digest that is a number": (of_layers([descriptor(digest=5)]), True, "without a digest"),
    "a digest of another kind": (of_layers([descriptor(digest="md5:" + "1" * 32)]), True, "without a digest"),
    "a configuration that is text": ({**of_layers([]), "config": "x"}, True, "without a digest"),
    "a configuration that is a list": ({**of_layers([]), "config": []}, True, "without a digest"),
    "keys in capitals": ({"schemaVersion": 2, "Layers": [descriptor()]}, True, "some clients take for"),
    "a negative size": (of_layers([descriptor(size=-5)]), False, "a size that can't be"),
    "a size that is text": (of_layers([descriptor(size="5")]), False, "a size that can't be"),
    "a size that is true": (of_layers([descriptor(size=True)]), False, "a size that can't be"),
    "a size of more than 64 bits": (of_layers([descriptor(size=1 << 80)]), False, "a size that can't be"),
    "a size of a million digits": (
        b'{"schemaVersion":2,"layers":[{"digest":"' + GONE.encode() + b'","size":' + b"9" * 1_000_000 + b"}]}",
        False,
        "a size that can't be",
    ),
    "a subject without a digest": ({**of_layers([]), "subject": {"digest": "evil"}}, False, "names a subject"),
    "a subject that is text": ({**of_layers([]), "subject": GONE}, False, "names a subject"),
    "a subject with a number": ({**of_layers([]), "subject": {"digest": 5}}, False, "names a subject"),
    "annotations that are a list": ({**of_layers([]), "annotations": ["x"]}, False, "annotations that are not text"),
    "an annotation that is a number": ({**of_layers([]), "annotations": {"a": 1}}, False, "annotations that"),
    "URLs that are a number": (of_layers([descriptor(urls=[5])]), False, "URLs that are not text"),
}
INDEXES = {
    "manifests that are an object": ({}, True, "manifests that are no list"),
    "manifests that are text": ("x", True, "manifests that are no list"),
    "a child that is text": (["x"], True, "without a digest"),
    "a child that is gone": ([descriptor(digest=GONE, mediaType=OCI)], True, "is not there"),
    "a child with a type that is a list": ([descriptor(mediaType=["x"])], True, "a media type that is not text"),
    "a child with a type that is a number": ([descriptor(mediaType=5)], True, "a media type that is not text"),
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_an_odd_manifest_costs_itself(odd, name):
    document, stops, says = DOCUMENTS[name]
    digest = odd.manifest("a/odd", "odd", document)["digest"]
    tags, result = info(odd)
    assert tags["a/odd"]["odd"]["digest"] == digest
    assert tags["a/odd"]["odd"]["size"] < 1 << 63
    _is_told(result, tags, says)
    _is_retained(odd, stops, says)


@pytest.mark.parametrize("name", INDEXES)
def test_an_odd_index_costs_itself(odd, name):
    manifests, stops, says = INDEXES[name]
    if isinstance(manifests, list):
        # What it lists beside is described nevertheless.
        manifests = [*manifests, odd.image("a/odd")]
    odd.index("a/odd", "odd", manifests)
    tags, result = info(odd)
    assert tags["a/odd"]["odd"]["platforms"] == (["linux/amd64"] if isinstance(manifests, list) else [])
    _is_told(result, tags, says)
    _is_retained(odd, stops, says)


@pytest.mark.parametrize(
    ("child", "says"),
    [
        (b"no JSON", "not a JSON object"),
        (b'{"schemaVersion":2,"layers":{}}', "layers that are no list"),
        (reply(500), "500"),
        (reply(403), "403"),
        (reply(200, b"another", Content_Type=OCI), "does not match|other content|digest"),
    ],
)
def test_a_child_that_can_not_be_read(odd, child, says):
    content = child if isinstance(child, bytes) else b"{}"
    listed = {**odd.manifest("a/odd", None, content), "mediaType": OCI}
    if not isinstance(child, bytes):
        odd.answers[f"/v2/a/odd/manifests/{listed['digest']}"] = child
    odd.index("a/odd", "odd", [listed, odd.image("a/odd")])
    tags, result = info(odd)
    assert tags["a/odd"]["odd"]["platforms"] == ["linux/amd64"]
    _is_told(result, tags, listed["digest"])
    _is_retained(odd, True, listed["digest"])


@pytest.mark.parametrize(
    ("config", "stops", "says"),
    [
        (b"no JSON", True, "not a JSON object"),
        ([], True, "not a JSON object"),
        (b"[" * 100_000, True, "not a JSON object"),
        ({**WHOLE, "config": {"Labels": ["a"]}}, True, "labels that are not text"),
        ({**WHOLE, "config": {"Labels": {"a": 1}}}, True, "labels that are not text"),
        ({**WHOLE, "config": {"Labels": "x"}}, True, "labels that are not text"),
        ({**WHOLE, "created": 5}, False, ""),
        ({**WHOLE, "created": "0000-99-99T99:99:99Z"}, False, ""),
        ({**WHOLE, "os": 5, "architecture": {"a": 1}}, False, ""),
        ({**WHOLE, "config": "x"}, False, ""),
        ({**WHOLE, "config": {"Labels": {"half": "\ud800"}}, "created": "\udfff", "variant": "\ud800"}, False, ""),
    ],
)
def test_an_odd_configuration_costs_itself(odd, config, stops, says):
    odd.image("a/odd", "odd", config)
    tags, result = info(odd)
    assert tags["a/odd"]["odd"]["kind"] == "image"
    json.dumps(result, ensure_ascii=False).encode()
    if says:
        _is_told(result, tags, says)
    else:
        assert not result.get("warnings")
    _is_retained(odd, stops, says)


def test_a_configuration_that_is_gone_costs_itself(odd):
    odd.image("a/odd", "odd", {"only": "this"})
    odd.blobs.pop(("a/odd", digest_of(b'{"only": "this"}')))
    tags, result = info(odd)
    _is_told(result, tags, "is not there")
    _is_retained(odd, True, "is not there")


@pytest.mark.parametrize("answer", [reply(500), reply(400), reply(403), reply(200, b"<html>"), reply(404), reply(302)])
def test_a_tag_that_can_not_be_read_costs_itself(odd, answer):
    odd.image("a/odd", "odd")
    odd.answers["/v2/a/odd/manifests/odd"] = answer
    for details in ("digests", "full"):
        result = run(odd, "registry_info", details=details)
        (found,) = [one for one in result["repositories"] if one["name"] == "a/odd"]
        tags = {tag["name"]: tag for tag in found["tags"]}
        assert sorted(tags) == ["good", "odd", "other"]
        assert tags["odd"]["digest"] == "" and len(tags["odd"]["problems"]) == 1
        assert any("a/odd:odd: " in warning for warning in result["warnings"])
    _is_retained(odd, True, "a/odd:odd can't be read")


def test_a_tag_whose_manifest_is_gone_costs_itself(odd):
    """The registry still tells its digest."""
    odd.image("a/odd", "odd")
    odd.answers["/v2/a/odd/manifests/odd"] = reply(200, Content_Type=OCI, Docker_Content_Digest=GONE)
    tags, result = info(odd)
    assert tags["a/odd"]["odd"]["digest"] == GONE
    _is_told(result, tags, "is not there")
    _is_retained(odd, True, "is not there")


@pytest.mark.parametrize("answer", [reply(500), reply(503)])
def test_a_registry_that_answers_for_no_tag_is_an_error(odd, answer):
    for repository, tag in odd.tags:
        odd.answers[f"/v2/{repository}/manifests/{tag}"] = answer
    assert "answered 50" in run(odd, "registry_info", details="digests")["msg"]


@pytest.mark.parametrize("name", [5, None, "", "../x", "a b", "ä", "x" * 200, {"a": 1}, ["odd"], "-x", "a\n", "\ud800"])
def test_a_tag_that_is_none_costs_itself(odd, name):
    odd.listed["a/odd"] = ["good", name, "other", "good"]
    for details in ("names", "digests", "full"):
        result = run(odd, "registry_info", details=details)
        assert "msg" not in result, result["msg"]
        listed = {one["name"]: [tag["name"] for tag in one["tags"]] for one in result["repositories"]}
        assert listed == {"a/odd": ["good", "other"], "b/whole": ["good", "other"]}
        assert len(result["warnings"]) == 1 and "a/odd" in result["warnings"][0]
        assert result["repositories"][0]["problems"] and "problems" not in result["repositories"][1]
    _is_retained(odd, True, "among its tags")


@pytest.mark.parametrize("name", [5, None, "", "../x", "a b", "A", "a//b", "/a", {"a": 1}, "\ud800"])
def test_an_entry_of_the_catalogue_that_is_no_name_costs_itself(odd, name):
    odd.catalogue = ["a/odd", name, "b/whole", "a/odd"]
    _tags, result = info(odd)
    assert [one["name"] for one in result["repositories"]] == ["a/odd", "b/whole"]
    assert len(result["warnings"]) == 1 and "catalogue" in result["warnings"][0]
    for repository in ("a/odd", "b/whole"):
        odd.image(repository, "old", {**WHOLE, "created": "2020-01-01T00:00:00Z"})
    result = run(odd, "registry_retention", rules=[{"keep_matching": ["good|other"]}], max_delete=10)
    assert "msg" not in result and result["deleted"] == 2
    assert len(result["warnings"]) == 1 and "catalogue" in result["warnings"][0]


@pytest.mark.parametrize("answer", [reply(500), reply(403), reply(200, b'{"tags": {}}'), reply(200, b"<html>")])
def test_a_repository_that_can_not_be_listed_costs_itself(odd, answer):
    odd.answers["/v2/a/odd/tags/list"] = answer
    result = run(odd, "registry_info")
    assert [(one["name"], len(one["tags"])) for one in result["repositories"]] == [("a/odd", 0), ("b/whole", 2)]
    assert result["repositories"][0]["problems"] and "a/odd" in result["warnings"][0]
    # What was asked for by its name is what the task is about.
    assert "a/odd" in run(odd, "registry_info", repositories=["a/odd", "b/*"])["msg"]


def test_indexes_in_a_long_chain_cost_what_lies_below(odd):
    deep = odd.image("a/odd", "0")
    for level in range(1, 30):
        deep = odd.index("a/odd", str(level), [deep])
    tags, result = info(odd)
    assert tags["a/odd"]["5"]["platforms"] == ["linux/amd64"] and "indexes deep" in tags["a/odd"]["29"]["problems"][0]
    assert any("indexes deep" in warning for warning in result["warnings"])


def test_thousands_of_odd_tags_are_told_of_in_few_warnings(odd):
    for number in range(300):
        odd.manifest("a/odd", f"odd{number}", of_layers([descriptor(size=-number - 1)] * 40))
    tags, result = info(odd)
    assert len(result["warnings"]) <= 51 and "more problems" in result["warnings"][-1]
    assert all(len(tags["a/odd"][f"odd{number}"]["problems"]) == 10 for number in range(300))


def test_an_odd_tag_beside_it_does_not_keep_a_tag_from_being_removed(odd):
    odd.image("a/odd", "odd")
    odd.answers["/v2/a/odd/manifests/odd"] = reply(500)
    result = run(odd, "registry_tag", repository="a/odd", tag="good", state="absent")
    assert result["changed"] and odd.names("a/odd") == ["odd", "other"]
    assert len(result["warnings"]) == 1 and "a/odd:odd" in result["warnings"][0]


def test_any_value_in_any_place(odd):
    """Manifests, indexes and configurations with a part replaced by another one, in many ways."""
    chance = random.Random(16)  # noqa: S311 - the same ones each time
    child, config = odd.image("a/odd"), {**odd.blob("a/odd", WHOLE), "mediaType": IMAGE_CONFIG}
    layer = descriptor(urls=["https://a/"], annotations={"a": "b"})
    seeds = [
        ({**of_layers([layer]), "config": config, "subject": child, "annotations": {"a": "b"}}, OCI),
        (
            {"schemaVersion": 2, "manifests": [{**child, "platform": {"os": "linux"}}, layer], "artifactType": "x"},
            OCI_INDEX,
        ),
    ]
    values = [None, 0, -1, 1 << 70, 1e400, True, "", "x", "\ud800", [], {}, [[]], {"digest": "x"}, ["x"], [None], GONE]
    for number in range(600):
        document, kind = json.loads(json.dumps(seeds[number % 2][0])), seeds[number % 2][1]
        for _time in range(chance.randint(1, 3)):
            _replace(chance, document, values)
        manifest = Manifest(json.dumps(document).encode(), "", kind)
        odd.manifest("a/odd", "odd", manifest.content, kind)
        digest = odd.tags["a/odd", "odd"]
        facts = Describer().describe(_Api(odd), "a/odd", digest)
        json.dumps(facts, ensure_ascii=False).encode()
        try:
            Holdings().read(_Api(odd), "a/odd", digest)
        except RegistryError as error:
            assert error.message


class _Api:
    """What Describer and Holdings ask for, without a connection."""

    def __init__(self, odd):
        self._odd = odd

    def manifest(self, repository, digest):
        found = self._odd.manifests.get((repository, digest))
        return found and Manifest(found[0], digest, found[1])

    def blob(self, repository, digest):
        return self._odd.blobs.get((repository, digest))

    def has_blob(self, repository, digest):
        return (repository, digest) in self._odd.blobs


def _replace(chance, document, values):
    """Puts a value into a place of a document, at any depth."""
    while True:
        names = list(document) if isinstance(document, dict) else range(len(document))
        if not names:
            return
        name = chance.choice(list(names))
        if isinstance(document[name], (dict, list)) and document[name] and chance.random() < 0.8:
            document = document[name]
        else:
            document[name] = json.loads(json.dumps(chance.choice(values)))
            return


def _is_told(result, tags, says):
    """The tag tells what is odd, and a warning names it."""
    problems = tags["a/odd"]["odd"]["problems"]
    assert any(says in problem for problem in problems), problems
    assert any("a/odd:odd: " in warning and says in warning for warning in result["warnings"]), result["warnings"]
    assert not any("b/whole" in warning for warning in result["warnings"])


def _is_retained(odd, stops, says):
    """A repository that can't be read whole loses nothing, and the other one what is to go."""
    for repository in ("a/odd", "b/whole"):
        odd.image(repository, "old", {**WHOLE, "created": "2020-01-01T00:00:00Z"})
    if "a/odd" in odd.listed:
        odd.listed["a/odd"].append("old")
    rules = [{"keep_matching": ["^(good|other|odd|[0-9]+)$"], "keep_labels": {"keep": "*"}}]
    result = run(odd, "registry_retention", rules=rules)
    deleted = {one["name"]: [tag["tag"] for tag in one["deleted"]] for one in result["repositories"]}
    assert deleted == {"a/odd": [] if stops else GOES, "b/whole": GOES}
    assert odd.names("b/whole") == KEPT and ("old" in odd.names("a/odd")) is stops
    if stops:
        assert "a/odd" in result["msg"] and says in result["msg"], result["msg"]
        (error,) = [one["error"] for one in result["repositories"] if one["name"] == "a/odd"]
        assert says in error
    else:
        assert "msg" not in result, result["msg"]

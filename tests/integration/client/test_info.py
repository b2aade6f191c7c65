"""registry_info against a real registry, behind TLS and a password."""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING

import pytest
from content import Content
from http_client import DOCKER, DOCKER_LIST, OCI, OCI_INDEX
from managed import encoded, words
from steps import write_tags

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from peers import Peers

MANY_TAGS = 5000
MANY_REPOSITORIES = 300


def tags_of(result: dict, repository: str) -> dict[str, dict]:
    (found,) = [one for one in result["repositories"] if one["name"] == repository]
    assert [tag["name"] for tag in found["tags"]] == sorted(tag["name"] for tag in found["tags"])
    return {tag["name"]: tag for tag in found["tags"]}


def test_all_kinds_of_content(info: Callable[..., dict], content: Content, room: str) -> None:
    docker = content.image(f"{room}/kinds", "docker", kind=DOCKER, labels={"version": "1"})
    oci = content.image(f"{room}/kinds", "oci", layer=b"x" * 1000)
    index, children = content.index(f"{room}/kinds", "index")
    docker_list, _children = content.index(f"{room}/kinds", "list", kind=DOCKER_LIST)
    chart = content.artifact(f"{room}/kinds", "chart", "application/vnd.cncf.helm.config.v1+json", "text/plain")
    signature = content.sign(f"{room}/kinds", index)
    attestation = content.sign(f"{room}/kinds", children[0], "att")
    found = tags_of(info(repositories=[f"{room}/*"], details="full"), f"{room}/kinds")

    kinds = {name: tag["kind"] for name, tag in found.items()}
    assert kinds == {
        "docker": "image",
        "oci": "image",
        "index": "image",
        "list": "image",
        "chart": "artifact",
        signature: "signature",
        attestation: "attestation",
    }
    types = {name: found[name]["media_type"] for name in ("docker", "oci", "index", "list", "chart")}
    assert types == {"docker": DOCKER, "oci": OCI, "index": OCI_INDEX, "list": DOCKER_LIST, "chart": OCI}
    for name, descriptor in {"docker": docker, "oci": oci, "index": index, "list": docker_list, "chart": chart}.items():
        assert found[name]["digest"] == descriptor["digest"]
    assert found["docker"]["labels"] == {"version": "1"}
    assert found["docker"]["created"] == "2026-11-01T10:00:00Z"
    assert found["oci"]["platforms"] == ["linux/amd64"]
    assert found["index"]["platforms"] == found["list"]["platforms"] == ["linux/amd64", "linux/arm64"]
    assert found["chart"]["artifact_type"] == "application/vnd.cncf.helm.config.v1+json"
    assert found["chart"]["platforms"] == []


def test_a_login_of_a_namespace(
    info: Callable[..., dict],
    retention: Callable[..., dict],
    content: Content,
    peers: Peers,
    tmp_path: Path,
) -> None:
    """It is found where all that the task names lies in it, and it is no login for anything else."""
    room = f"team-{secrets.token_hex(4)}"
    for repository in ("a", "b/c"):
        content.image(f"{room}/{repository}", "1.0.0")
    login = tmp_path / "auth.json"
    login.write_text(json.dumps({"auths": {f"{peers['basic']}/{room}": {"auth": encoded(f"ci:{peers.users['ci']}")}}}))
    options = {"username": None, "password": None, "config_path": str(login)}
    for patterns in ([f"{room}/a", f"{room}/b/c"], [f"{room}/*"]):
        found = info(repositories=patterns, **options)["repositories"]
        assert [one["name"] for one in found] == [f"{room}/a", f"{room}/b/c"]
        rules = [{"repositories": [pattern], "keep_newest": 1} for pattern in patterns]
        assert retention(rules=rules, check=True, **options)["changed"] is False
    for patterns in (["*"], [f"{room}/a", "elsewhere/app"]):
        assert "asks for a login" in info(repositories=patterns, failed=True, **options)["msg"]


def test_sizes_count_each_byte_once(info: Callable[..., dict], content: Content, room: str) -> None:
    layer = secrets.token_bytes(5000)
    image = content.image(f"{room}/sizes", "one", layer=layer)
    config = content.ask("GET", f"/v2/{room}/sizes/manifests/one", Accept=OCI)[2]
    children = [content.image(f"{room}/sizes", layer=layer, annotations={"n": str(n)}) for n in range(2)]
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": children}
    index = content.manifest(f"{room}/sizes", "both", document, OCI_INDEX)
    found = tags_of(info(repositories=[f"{room}/sizes"], details="full"), f"{room}/sizes")
    config_size = json.loads(config)["config"]["size"]
    assert found["one"]["size"] == image["size"] + config_size + 5000
    assert found["both"]["size"] == index["size"] + sum(child["size"] for child in children) + config_size + 5000


def test_only_what_is_asked_for(info: Callable[..., dict], content: Content, room: str, peers: Peers) -> None:
    for repository in ("a", "b/c"):
        for tag in ("1.0", "1.1", "latest"):
            content.image(f"{room}/{repository}", tag, layer=b"same")
    result = info(repositories=[f"{room}/*"], tags=["1.*"])
    assert result["repositories"] == [
        {"name": f"{room}/a", "tags": [{"name": "1.0"}, {"name": "1.1"}]},
        {"name": f"{room}/b/c", "tags": [{"name": "1.0"}, {"name": "1.1"}]},
    ]
    assert info(repositories=[f"{room}/a", f"{room}/b/?", f"{room}/none"], tags=["latest"])["repositories"] == [
        {"name": f"{room}/a", "tags": [{"name": "latest"}]},
        {"name": f"{room}/b/c", "tags": [{"name": "latest"}]},
    ]
    assert result["changed"] is False
    assert info(repositories=[f"{room}/*"], tags=["1.*"], check=True) == result


def test_each_manifest_is_read_once(info: Callable[..., dict], content: Content, room: str, peers: Peers) -> None:
    for number in range(20):
        content.image(f"{room}/once", f"{number}", layer=b"same")
    before = len(peers.requests("basic"))
    info(repositories=[f"{room}/once"], details="full")
    asked = [
        (method, path.rsplit("/", 2)[1])
        for method, path, status, _user in peers.requests("basic")[before:]
        if status == 200
    ]
    assert asked.count(("HEAD", "manifests")) == 20
    assert asked.count(("GET", "manifests")) == asked.count(("GET", "blobs")) == 1
    # The first request of each connection asks what the registry wants to know.
    assert len(peers.requests("basic")) - before <= 23 + 8 * 2


def test_what_is_gone_in_one_repository_is_whole_in_another(
    info: Callable[..., dict], content: Content, room: str
) -> None:
    index, children = content.index(f"{room}/whole", "multi")
    for descriptor in (*children, index):
        document = content.ask(
            "GET", f"/v2/{room}/whole/manifests/{descriptor['digest']}", Accept=descriptor["mediaType"]
        )[2]
        for blob in [] if descriptor is index else [json.loads(document)["config"], *json.loads(document)["layers"]]:
            mounted = f"/v2/{room}/broken/blobs/uploads/?mount={blob['digest']}&from={room}/whole"
            assert content.ask("POST", mounted)[0] == 201
        reference = "multi" if descriptor is index else descriptor["digest"]
        target = f"/v2/{room}/broken/manifests/{reference}"
        assert content.ask("PUT", target, document, Content_Type=descriptor["mediaType"])[0] == 201
    assert content.ask("DELETE", f"/v2/{room}/broken/manifests/{children[0]['digest']}")[0] == 202
    for connections in (1, 8):
        result = info(repositories=[f"{room}/*"], details="full", max_workers=connections)
        assert tags_of(result, f"{room}/broken")["multi"]["platforms"] == ["linux/arm64"]
        assert tags_of(result, f"{room}/whole")["multi"]["platforms"] == ["linux/amd64", "linux/arm64"]


def test_indexes_in_indexes(info: Callable[..., dict], content: Content, room: str) -> None:
    deep = content.image(f"{room}/deep", "0")
    for level in range(1, 40):
        document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [deep]}
        deep = content.manifest(f"{room}/deep", str(level), document, OCI_INDEX)
    found = tags_of(info(repositories=[f"{room}/deep"], details="full"), f"{room}/deep")
    assert len(found) == 40 and found["3"]["platforms"] == ["linux/amd64"]


def test_a_tag_that_can_not_be_described_is_named(info: Callable[..., dict], content: Content, room: str) -> None:
    blob = content.blob(f"{room}/odd", b"no JSON")
    config = {**blob, "mediaType": "application/vnd.oci.image.config.v1+json"}
    content.manifest(f"{room}/odd", "1.0", {"schemaVersion": 2, "mediaType": OCI, "config": config, "layers": []}, OCI)
    content.image(f"{room}/odd", "2.0")
    result = info(repositories=[f"{room}/odd"], details="full")
    found = tags_of(result, f"{room}/odd")
    assert blob["digest"] in found["1.0"]["problems"][0] and found["1.0"]["platforms"] == []
    assert found["2.0"]["platforms"] == ["linux/amd64"] and "problems" not in found["2.0"]
    (warning,) = result["warnings"]
    assert f"{room}/odd:1.0" in str(warning) and blob["digest"] in str(warning)


def test_an_emptied_repository(info: Callable[..., dict], content: Content, room: str) -> None:
    image = content.image(f"{room}/emptied", "gone")
    assert content.ask("DELETE", f"/v2/{room}/emptied/manifests/{image['digest']}")[0] == 202
    for details in ("names", "digests", "full"):
        found = info(repositories=[f"{room}/*"], details=details)["repositories"]
        assert found == [{"name": f"{room}/emptied", "tags": []}]


@pytest.mark.long
def test_many_tags_and_many_repositories(info: Callable[..., dict], content: Content, peers: Peers, room: str) -> None:
    """More than one page of the catalogue, and a list of thousands: in order, whole, and the same each time."""
    image = content.image(f"{room}/tags", "0")
    write_tags(peers, f"{room}/tags", image["digest"], MANY_TAGS - 1)
    for number in range(MANY_REPOSITORIES):
        content.image(f"{room}/many/{number}", "1.0", layer=b"same")
    listed = info(repositories=[f"{room}/*"])
    assert len(listed["repositories"]) == MANY_REPOSITORIES + 1
    assert list(tags_of(listed, f"{room}/tags")) == sorted(str(number) for number in range(MANY_TAGS))
    found = info(repositories=[f"{room}/*"], details="digests")
    assert {tag["digest"] for tag in tags_of(found, f"{room}/tags").values()} == {image["digest"]}
    assert [one["name"] for one in found["repositories"]] == [one["name"] for one in listed["repositories"]]


@pytest.mark.parametrize("peer", ["not_found", "forbidden"])
def test_without_a_catalogue(info: Callable[..., dict], peers: Peers, peer: str) -> None:
    said = words(info(registry=peers[peer], failed=True)["msg"])
    assert peers[peer] in said and "Name the repositories in full" in said
    if peer == "not_found":
        assert info(registry=peers[peer], repositories=["a/b"])["repositories"] == []


def test_a_web_page_is_no_registry(info: Callable[..., dict], peers: Peers) -> None:
    for options in ({}, {"repositories": ["a"]}):
        assert "Check that it is a registry" in words(info(registry=peers["web_page"], failed=True, **options)["msg"])


@pytest.mark.parametrize(
    "options", [{"repositories": ["A"]}, {"repositories": ["a//b"]}, {"max_workers": 0}, {"max_workers": 65}]
)
def test_options_that_can_not_be_meant(info: Callable[..., dict], options: dict) -> None:
    assert info(failed=True, **options)["msg"]


def test_the_login_of_the_account_is_used(
    info: Callable[..., dict], login: Callable[..., dict], content: Content, room: str, config: Path
) -> None:
    content.image(f"{room}/private", "1.0")
    anonymous = {"username": None, "password": None, "config_path": str(config), "repositories": [f"{room}/private"]}
    assert "asks for a login" in info(failed=True, **anonymous)["msg"]
    login()
    assert info(**anonymous)["repositories"][0]["name"] == f"{room}/private"

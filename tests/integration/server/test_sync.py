"""registry_sync between real registries: from one with a password into one with rules, and over a layout."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import random
import secrets
import time
from typing import TYPE_CHECKING

import pytest
from clients import Box
from content import Content
from engine import run_container, wait_for
from http_client import ACCEPT, DOCKER_LIST, OCI, SocketConnection, connection_to, digest_of
from managed import words
from marks import repeated

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from front import Front
    from managed import Host
    from peers import Peers

USERS = [
    {"name": "admin", "access": "admin"},
    {"name": "ci", "rules": [{"repositories": ["mirror/*"], "actions": ["pull", "push"]}]},
]
PLATFORMS = ("amd64", "arm64", "ppc64le", "s390x")
OFFLINE = "--yes --use-signing-config=false --tlog-upload=false --key cosign.key"
KILLS = int(os.environ.get("WHARF_KILLS", "4"))


@pytest.fixture(scope="module")
def proxy(fronts: Callable[..., Front]) -> Front:
    return fronts(USERS, reverse_proxy_immutable_tags=["mirror/fixed/*:*"])


@dataclasses.dataclass
class Mirror:
    """Both sides: a registry with a password, and the proxy with its rules before another one."""

    host: Host
    # Options of the module.
    sides: dict
    # What the two registries hold, straight from them.
    content: Content
    there: Content
    room: str

    @property
    def secrets(self) -> tuple[str, ...]:
        return tuple(side["password"] for side in self.sides.values() if "password" in side)

    def sync(self, **options: object) -> dict:
        of_run = {key: options.pop(key) for key in ("check", "failed") if key in options}
        return self.host.run_module("registry_sync", {**self.sides, **options}, secrets=self.secrets, **of_run)


def mirror_of(host: Host, peers: Peers, proxy: Front, room: str) -> Mirror:
    here, there = (
        {"registry": address, "username": "ci", "password": password, "ca_path": str(ca)}
        for address, password, ca in (
            (peers["basic"], peers.users["ci"], peers.ca),
            (f"localhost:{proxy.port}", proxy.passwords["ci"], proxy.ca),
        )
    )
    content, straight = Content(connection_to(peers["registry"])), Content(SocketConnection(proxy.socket()))
    return Mirror(host, {"source": here, "destination": there}, content, straight, room)


@pytest.fixture
def mirror(host: Host, peers: Peers, proxy: Front, room: str) -> Mirror:
    return mirror_of(host, peers, proxy, room)


@pytest.fixture
def filled(mirror: Mirror) -> dict[str, str]:
    """Images of all kinds at the source: {repository:tag: digest}."""
    content, room = mirror.content, mirror.room
    repository = f"{room}/app"
    index, _children = content.index(repository, "oci", architectures=PLATFORMS)
    docker, _children = content.index(repository, "docker", kind=DOCKER_LIST, architectures=PLATFORMS[:2])
    helm = "application/vnd.cncf.helm"
    content.artifact(repository, "chart-0.1.0", f"{helm}.config.v1+json", f"{helm}.chart.content.v1.tar+gzip")
    for name, tag in (("other", "1.0"), ("other", "1.1"), ("third", "1.0")):
        content.image(f"{room}/{name}", tag, layer=b"shared")
    signature, attestation = content.sign(repository, index), content.sign(repository, docker, "att")
    places = [(repository, tag) for tag in ("oci", "docker", "chart-0.1.0", signature, attestation)]
    places += [(f"{room}/other", "1.0"), (f"{room}/other", "1.1"), (f"{room}/third", "1.0")]
    return {f"{name}:{tag}": content.digest(name, tag) for name, tag in places}


def assert_mirrored(mirror: Mirror, names: dict[str, str]) -> None:
    """Every tag is at the same digest, and can be pulled whole."""
    for name, digest in names.items():
        repository, tag = name.split(":")
        assert mirror.there.digest(f"mirror/{repository}", tag) == digest, name
        assert mirror.there.pull(f"mirror/{repository}", tag) == mirror.content.pull(repository, tag)


def test_four_runs(mirror: Mirror, filled: dict, peers: Peers) -> None:
    sync, images = mirror.sync, [{"repository": f"{mirror.room}/*", "to": "mirror/"}]
    foretold = sync(images=images, check=True)
    assert foretold["changed"], foretold
    assert mirror.there.tags(f"mirror/{mirror.room}/app") == []
    done = sync(images=images)
    assert done["copied_bytes"] == foretold["copied_bytes"] > 0
    assert [one["digest"] for one in done["images"]] == [one["digest"] for one in foretold["images"]]
    assert_mirrored(mirror, filled)
    before = len(peers.requests("basic"))
    for check in (True, False):
        again = sync(images=images, check=check)
        assert not again["changed"] and {one["skipped"] for one in again["images"]} == {"unchanged"}
    asked = [(method, path) for method, path, status, _user in peers.requests("basic")[before:] if status == 200]
    assert [path for method, path in asked if method == "GET" and "/manifests/" in path] == []


def test_layers_are_mounted(mirror: Mirror, filled: dict) -> None:
    """A blob comes once, and is taken over into other repositories."""
    done = mirror.sync(images=[{"repository": f"{mirror.room}/{name}", "to": "mirror/"} for name in ("other", "third")])
    assert sum(one["present_bytes"] for one in done["images"]) >= 2 * len(b"shared")
    assert_mirrored(mirror, {name: digest for name, digest in filled.items() if "/app:" not in name})
    assert digest_of(b"shared") in mirror.there.pull(f"mirror/{mirror.room}/third", "1.0")


@pytest.fixture
def of_any(any_host: Host, peers: Peers, proxy: Front, room: str) -> Mirror:
    return mirror_of(any_host, peers, proxy, room)


def test_each_python(of_any: Mirror, tmp_path: Path) -> None:
    """To a layout and back into another registry, with each Python of managed hosts."""
    of_any.content.index(f"{of_any.room}/app", "1.0")
    layout = {"layout": str(tmp_path / "medium")}
    images = [{"repository": f"{of_any.room}/app", "to": "mirror/"}]
    assert of_any.sync(images=images, destination=layout, check=True)["changed"]
    out = of_any.sync(images=images, destination=layout)
    back = of_any.sync(source=layout, images=[{"repository": "*"}])
    assert out["changed"] and back["changed"]
    assert [one["digest"] for one in back["images"]] == [one["digest"] for one in out["images"]]


def test_other_tools_read_the_layout(mirror: Mirror, tmp_path: Path, images: dict[str, str]) -> None:
    """skopeo finds in it what the registry has, and what skopeo writes is found in turn."""
    name = f"{mirror.room}/app"
    mirror.content.index(name, "1.0", architectures=PLATFORMS)
    digest = mirror.content.digest(name, "1.0")
    mirror.sync(images=[{"repository": name}], destination={"layout": str(tmp_path / "medium")})
    box = Box(run_container(images["trixie-podman"], "sleep", "infinity", options=(f"--volume={tmp_path}:/m",)), "root")
    found = box.run(f"skopeo inspect --raw oci:/m/medium:{name}:1.0").stdout
    assert digest_of(found.encode()) == digest
    box.run(f"skopeo copy --all --preserve-digests oci:/m/medium:{name}:1.0 oci:/m/theirs:2.0")
    theirs, copy = ({"layout": str(tmp_path / which)} for which in ("theirs", "copy"))
    done = mirror.sync(images=[{"repository": name}], source=theirs, destination=copy)
    assert [(one["tag"], one["digest"]) for one in done["images"]] == [("2.0", digest)]


def test_layers_in_zstd(mirror: Mirror, tmp_path: Path, images: dict[str, str]) -> None:
    """As skopeo compresses them: they arrive as they are, and skopeo reads them there."""
    name = f"{mirror.room}/app"
    mirror.content.image(name, "1.0", layer=secrets.token_bytes(1000))
    mirror.sync(images=[{"repository": name}], destination={"layout": str(tmp_path / "medium")})
    box = Box(run_container(images["trixie-podman"], "sleep", "infinity", options=(f"--volume={tmp_path}:/m",)), "root")
    box.run(f"skopeo copy --dest-compress-format zstd --dest-compress oci:/m/medium:{name}:1.0 oci:/m/zstd:2.0")
    rule = {"repository": name, "to": f"mirror/{name}"}
    (done,) = mirror.sync(source={"layout": str(tmp_path / "zstd")}, images=[rule])["images"]
    manifest = json.loads(mirror.there.ask("GET", f"/v2/mirror/{name}/manifests/2.0", Accept=OCI)[2])
    assert [layer["mediaType"].rpartition("+")[2] for layer in manifest["layers"]] == ["zstd"]
    assert mirror.there.digest(f"mirror/{name}", "2.0") == done["digest"]
    mirror.sync(
        source=mirror.sides["destination"],
        destination={"layout": str(tmp_path / "back")},
        images=[{"repository": f"mirror/{name}"}],
    )
    box.run(f"skopeo copy oci:/m/back:mirror/{name}:2.0 dir:/m/unpacked")


class Signer:
    """cosign and crane, logged in at both sides."""

    def __init__(self, image: str, mirror: Mirror) -> None:
        names = ("source", "destination")
        volumes = [f"--volume={mirror.sides[name]['ca_path']}:/{name}.crt:ro" for name in names]
        self.box = Box(run_container(image, "sleep", "infinity", options=tuple(volumes)), "root")
        for name in names:
            side = mirror.sides[name]
            self.run(
                f"crane auth login --username ci --password-stdin {side['registry']}", name, stdin=side["password"]
            )
        self.run("cosign generate-key-pair")

    def run(self, script: str, side: str = "source", **more: str) -> str:
        environment = {"COSIGN_PASSWORD": "", "DOCKER_CONFIG": "/root/.docker", "SSL_CERT_FILE": f"/{side}.crt"}
        return self.box.run(script, env=environment, **more).stdout


@pytest.mark.parametrize("bundle", [*repeated("false"), "true"])
def test_signatures_of_cosign(mirror: Mirror, images: dict[str, str], bundle: str) -> None:
    """Old and new ones verify at the destination, and one that comes later is brought by the next run."""
    signer = Signer(images["signers"], mirror)
    here = f"{mirror.sides['source']['registry']}/{mirror.room}/app"
    there = f"{mirror.sides['destination']['registry']}/mirror/{mirror.room}/app"
    signer.run("head -c 1000 /dev/urandom >file; tar -cf layer.tar file")
    signer.run(f"crane append --new_layer layer.tar --new_tag {here}:1.0")
    digest = signer.run(f"crane digest {here}:1.0").strip()

    def sign(number: int) -> None:
        signer.run(f"cosign sign {OFFLINE} --new-bundle-format={bundle} -a number={number} {here}@{digest}")

    def verified() -> int:
        told = signer.run(
            f"cosign verify --insecure-ignore-tlog=true --key cosign.pub --output json {there}@{digest}", "destination"
        )
        return sum(len(json.loads(line)) for line in told.splitlines() if line.startswith("["))

    sign(1)
    rule = {"repository": f"{mirror.room}/app", "to": "mirror/"}
    (done,) = mirror.sync(images=[rule])["images"]
    assert done["digest"] == digest and done["referrers"] >= 1
    assert verified() == 1
    assert not mirror.sync(images=[rule])["changed"]
    sign(2)
    (done,) = mirror.sync(images=[rule])["images"]
    assert done["changed"] and done["skipped"] == "unchanged"
    assert verified() == 2


def test_what_oras_attaches(mirror: Mirror, images: dict[str, str]) -> None:
    """An SBOM is found at the destination by oras itself, and one that comes later is brought by the next run."""
    signer = Signer(images["signers"], mirror)
    here = f"{mirror.sides['source']['registry']}/{mirror.room}/app"
    there = f"{mirror.sides['destination']['registry']}/mirror/{mirror.room}/app"
    mirror.content.index(f"{mirror.room}/app", "1.0", architectures=PLATFORMS)
    digest = mirror.content.digest(f"{mirror.room}/app", "1.0")

    def attach(number: int) -> None:
        signer.run(
            f"echo '{{\"number\": {number}}}' >sbom-{number}.json; oras attach --plain-http=false "
            f"--distribution-spec v1.1-referrers-tag --artifact-type application/spdx+json {here}@{digest} "
            f"sbom-{number}.json:application/spdx+json"
        )

    def found() -> list[str]:
        told = signer.run(f"oras discover --plain-http=false --format json {there}@{digest}", "destination")
        return [one["artifactType"] for one in json.loads(told)["referrers"]]

    attach(1)
    rule = {"repository": f"{mirror.room}/app", "to": "mirror/"}
    (done,) = mirror.sync(images=[rule])["images"]
    assert done["digest"] == digest and done["referrers"] == 1
    assert found() == ["application/spdx+json"]
    attach(2)
    mirror.sync(images=[rule])
    assert found() == ["application/spdx+json"] * 2
    assert not mirror.sync(images=[rule])["changed"]


def test_a_tag_that_may_not_move(mirror: Mirror) -> None:
    sync, content, room = mirror.sync, mirror.content, mirror.room
    content.image(f"{room}/app", "1.0")
    rule = {"repository": f"{room}/app", "to": f"mirror/fixed/{room}"}
    before = sync(images=[rule])["images"][0]["digest"]
    content.image(f"{room}/app", "1.0")
    after = content.digest(f"{room}/app", "1.0")
    for options in ({}, {"overwrite": True}):
        said = words(sync(images=[rule], failed=True, **options)["msg"])
        assert before in said and after in said
    assert "immutable" in said
    assert mirror.there.digest(f"mirror/fixed/{room}", "1.0") == before


def test_a_tag_that_was_being_removed(mirror: Mirror) -> None:
    """What a killed run has left is no image that someone else has put there."""
    name = f"{mirror.room}/app"
    mirror.content.image(name, "1.0")
    config = "application/vnd.oci.image.config.v1+json"
    mirror.there.artifact(
        f"mirror/{name}", "1.0", config, "layer", layers=[], annotations={"registry.wharf.removes": "1.0"}
    )
    rule = {"repository": name, "to": "mirror/"}
    for check in (True, False):
        assert mirror.sync(images=[rule], check=check)["changed"]
    assert_mirrored(mirror, {f"{name}:1.0": mirror.content.digest(name, "1.0")})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"destination": {"password": "wrong"}}, "refuses user 'ci'"),
        ({"source": {"password": "wrong"}}, "refuses user 'ci'"),
        ({"destination": {"ca_path": None}}, "unknown CA"),
    ],
)
def test_a_side_that_refuses(mirror: Mirror, change: dict, said: str) -> None:
    mirror.content.image(f"{mirror.room}/app", "1.0")
    for side, options in change.items():
        changed = {**mirror.sides[side], **options}
        mirror.sides[side] = {name: value for name, value in changed.items() if value is not None}
    done = mirror.sync(images=[{"repository": f"{mirror.room}/app", "to": "mirror/"}], failed=True)
    assert said in words(done["msg"])


def test_no_right_to_write(mirror: Mirror) -> None:
    mirror.content.image(f"{mirror.room}/app", "1.0")
    done = mirror.sync(images=[{"repository": f"{mirror.room}/app", "to": "elsewhere/app"}], failed=True)
    assert "403" in done["msg"] and "user 'ci' may not" in done["msg"]


@pytest.mark.parametrize(("medium", "said"), [("/full", "No space left"), ("/read-only", "Read-only file system")])
def test_a_medium_that_takes_no_more(mirror: Mirror, root_box: Box, medium: str, said: str) -> None:
    """One clear error, and no image that looks whole."""
    name = f"{mirror.room}/app"
    mirror.content.image(name, "1.0", layer=secrets.token_bytes(100_000))
    options = {
        "source": {**mirror.sides["source"], "ca_path": "/ca.crt"},
        "destination": {"layout": f"{medium}/images"},
        "images": [{"repository": name}],
    }
    try:
        done = root_box.host.run_module("registry_sync", options, failed=True, secrets=mirror.secrets)
        assert said in words(done["msg"]) and f"{medium}/images" in done["msg"]
        assert root_box.output(f"grep -rl {name} {medium} || true") == ""
        assert root_box.output(f"find {medium} -name '.wharf*'") == ""
    finally:
        root_box.run("rm -rf /full/*")


def test_what_no_rule_chooses_is_removed(mirror: Mirror, proxy: Front) -> None:
    """By a user who may delete, with the signatures."""
    mirror.sides["destination"] |= {"username": "admin", "password": proxy.passwords["admin"]}
    name, to = f"{mirror.room}/app", f"mirror/{mirror.room}"
    for tag in ("1.0", "1.1", "2.0"):
        mirror.content.sign(name, mirror.content.image(name, tag))
    rule = {"repository": name, "to": to}
    mirror.sync(images=[rule])
    assert len(mirror.there.tags(to)) == 6
    narrow = {**rule, "tags": {"versions": [">=1.1"]}}
    for check in (True, False):
        done = mirror.sync(images=[narrow], prune=True, check=check)
        assert len(done["removed"][to]) == 2
    assert [tag for tag in mirror.there.tags(to) if not tag.startswith("sha256-")] == ["1.1", "2.0"]
    assert len(mirror.there.tags(to)) == 4
    assert not mirror.sync(images=[narrow], prune=True)["changed"]


def is_well(mirror: Mirror, name: str, tag: str, *, pruned: bool) -> bool:
    """Whether a tag at the destination is whole, or one that is pruned is on its way out."""
    status, _headers, raw = mirror.there.ask("GET", f"/v2/mirror/{name}/manifests/{tag}", Accept=ACCEPT)
    if status == 404:
        return pruned
    if pruned and json.loads(raw).get("annotations", {}).get("registry.wharf.removes") == tag:
        # On its way out: a registry removes a digest with all of its tags, so the tag is moved away before.
        return True
    return mirror.there.pull(f"mirror/{name}", tag) == mirror.content.pull(name, tag)


@pytest.mark.long
def test_killed_at_any_moment(mirror: Mirror, proxy: Front) -> None:
    """No tag leads to a broken image, and the next run finishes what a killed one has begun."""
    mirror.sides["destination"] |= {"username": "admin", "password": proxy.passwords["admin"]}
    names = [f"{mirror.room}/app-{number}" for number in range(6)]
    for name in names:
        mirror.content.index(name, "1.0", architectures=PLATFORMS)
        mirror.content.image(name, "2.0", layer=secrets.token_bytes(1 << 20))
    began = time.monotonic()
    mirror.sync(images=[{"repository": f"{mirror.room}/*", "to": "mirror/whole/"}], max_workers=2)
    whole = time.monotonic() - began
    options = {**mirror.sides, "images": [{"repository": f"{mirror.room}/*", "to": "mirror/"}], "max_workers": 2}

    def kill(options: dict) -> None:
        process = mirror.host.start("registry_sync", options)
        time.sleep(random.uniform(0.2, whole))  # noqa: S311 # a moment, no secret
        process.kill()
        process.communicate()
        for name in names:
            for tag in mirror.there.tags(f"mirror/{name}"):
                pruned = "prune" in options and tag == "1.0"
                # The registry goes on with what it was told last, and lists a tag just before it has it.
                wait_for(
                    f"{name}:{tag} is whole", functools.partial(is_well, mirror, name, tag, pruned=pruned), seconds=10
                )

    for _kill in range(KILLS):
        kill(options)
    done = mirror.sync(images=options["images"])
    assert len(done["images"]) == 2 * len(names)
    for name in names:
        assert mirror.there.tags(f"mirror/{name}") == ["1.0", "2.0"]
    # What the rules no longer choose goes, and nothing with it.
    pruning = {**options, "images": [{**options["images"][0], "tags": {"globs": ["2.*"]}}], "prune": True}
    for _kill in range(KILLS):
        mirror.sync(images=options["images"])
        kill(pruning)
        assert all("2.0" in mirror.there.tags(f"mirror/{name}") for name in names)
    mirror.sync(images=pruning["images"], prune=True)
    for name in names:
        assert mirror.there.tags(f"mirror/{name}") == ["2.0"]

"""Layers that lie elsewhere, as those of Windows do: what a registry takes of them, and what modules make of that."""

from __future__ import annotations

import functools
import json
import secrets
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from content import Content
from engine import free_ports, listening, run_container, wait_for
from http_client import CONFIGS, DOCKER, LAYERS, OCI, connection_to, digest_of
from managed import words
from marks import repeated
from role_config import role_configs
from steps import four_runs

if TYPE_CHECKING:
    from collections.abc import Callable

    from front import Front

FOREIGN = {
    DOCKER: "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    OCI: "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
}
MICROSOFT = "https://mcr.microsoft.com/v2/windows/blobs/sha256:1"


class Registries:
    """Registries on one storage, each with the configuration that the role makes of its variables."""

    def __init__(self, directory: Path, image: str) -> None:
        self.directory = directory
        self.image = image
        (directory / "data").mkdir()

    def start(self, **variables: object) -> str:
        """The address of a registry with these variables of the role."""
        port = free_ports(1)[0]
        self._configure(f"{port}.yml", {"addr": f"127.0.0.1:{port}", "secret": "x", "relativeurls": True}, variables)
        options = (f"--volume={self.directory}:/made", f"--volume={self.directory / 'data'}:/data")
        container = run_container(self.image, "registry", "serve", f"/made/{port}.yml", options=options)
        wait_for(f"{container} listens", lambda: listening(port))
        return f"127.0.0.1:{port}"

    def refuses(self, pattern: str) -> str:
        """The words with which a registry does not start that has this pattern, or an empty string."""
        settings = {
            "version": 0.1,
            "storage": {"inmemory": {}},
            "http": {"addr": "127.0.0.1:5000"},
            "validation": {"manifests": {"urls": {"allow": [pattern]}}},
        }
        (self.directory / "try.yml").write_text(yaml.safe_dump(settings))
        options = (f"--volume={self.directory}:/made", "--rm", "--network=none", "--pull=never")
        trial = ["docker", "run", *options, self.image, "timeout", "1", "registry", "serve", "/made/try.yml"]
        done = subprocess.run(trial, capture_output=True, text=True, timeout=60, check=False)
        return done.stderr if "error parsing regexp" in done.stderr else ""

    def _configure(self, file: str, http: dict, variables: dict) -> None:
        made = role_configs(self.directory, **variables)[0]
        # All but where it listens, and where its storage lies.
        made["storage"]["filesystem"]["rootdirectory"] = "/data"
        (self.directory / file).write_text(yaml.safe_dump({**made, "http": http, "health": {}}))


@pytest.fixture(scope="module")
def registries(images: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Registries:
    return Registries(tmp_path_factory.mktemp("foreign"), images["registry"])


@pytest.fixture(scope="module")
def default(registries: Registries) -> str:
    """A registry as the role makes it by default."""
    return registries.start()


@pytest.fixture(scope="module")
def allowing(registries: Registries) -> str:
    """One on the same storage that takes layers of Microsoft."""
    return registries.start(registry_manifest_urls_allow=[r"^https://mcr\.microsoft\.com/"])


@pytest.fixture
def plain() -> dict:
    return {"plain_http": True, "username": None, "password": None, "ca_path": None}


def document(content: Content, repository: str, kind: str, layers: list[dict]) -> dict:
    config = content.blob(repository, json.dumps({"os": "windows", "architecture": "amd64"}).encode())
    own = {**content.blob(repository, secrets.token_bytes(50)), "mediaType": LAYERS[kind]}
    of_config = {**config, "mediaType": CONFIGS[kind]}
    return {"schemaVersion": 2, "mediaType": kind, "config": of_config, "layers": [*layers, own]}


def foreign(kind: str, *urls: str, **more: object) -> dict:
    urls = urls or (MICROSOFT,)
    return {
        "digest": digest_of(secrets.token_bytes(9)),
        "size": 5000,
        "mediaType": FOREIGN[kind],
        "urls": [*urls],
        **more,
    }


def put(content: Content, repository: str, made: dict) -> int:
    body = json.dumps(made).encode()
    return content.ask("PUT", f"/v2/{repository}/manifests/win", body, Content_Type=made["mediaType"])[0]


@pytest.mark.parametrize("kind", [*repeated(DOCKER), OCI])
def test_the_variables(registries: Registries, default: str, allowing: str, room: str, kind: str) -> None:
    """Nothing is taken by default; what matches one of those allowed, and none of those denied, is."""
    denying = registries.start(registry_manifest_urls_deny=[r"^http://", r"\.evil\.test/"])
    both = registries.start(
        registry_manifest_urls_allow=["^https://a/", "^https://b/"], registry_manifest_urls_deny=["/x$"]
    )
    cases = [
        (default, [MICROSOFT], 500),
        (allowing, [MICROSOFT], 201),
        (allowing, [MICROSOFT, "https://evil.test/"], 500),
        (allowing, ["https://evil.test/https://mcr.microsoft.com/"], 500),
        (denying, [MICROSOFT], 201),
        (denying, ["http://a/"], 500),
        (denying, ["https://mirror.evil.test/"], 500),
        (both, ["https://a/1", "https://b/2"], 201),
        (both, ["https://a/1", "https://c/2"], 500),
        (both, ["https://a/x"], 500),
    ]
    for address, urls, status in cases:
        content = Content(connection_to(address))
        assert put(content, f"{room}/win", document(content, f"{room}/win", kind, [foreign(kind, *urls)])) == status, (
            urls
        )


@pytest.mark.parametrize("kind", [DOCKER, *repeated(OCI)])
def test_a_promotion(  # noqa: PLR0917 - the modules, and the two registries that they are run at
    tag: Callable[..., dict], info: Callable[..., dict], default: str, allowing: str, room: str, kind: str, plain: dict
) -> None:
    """A layer goes along where it is stored, and needs not be; a registry that refuses it says what to set."""
    content = Content(connection_to(allowing))
    stored = {**foreign(kind), **content.blob(f"{room}/a", secrets.token_bytes(700))}
    absent = foreign(kind)
    assert put(content, f"{room}/a", document(content, f"{room}/a", kind, [stored, absent])) == 201
    (found,) = info(registry=allowing, repositories=[f"{room}/a"], details="full", **plain)["repositories"][0]["tags"]
    assert found["platforms"] == ["windows/amd64"] and "problems" not in found
    _status, headers, body = content.ask("GET", f"/v2/{room}/a/manifests/win", Accept=kind)
    config = json.loads(body)["config"]["size"]
    assert found["size"] == int(headers["Content-Length"]) + config + 50 + 700

    promote = functools.partial(tag, repository=f"{room}/b", tag="win", source=f"{room}/a:win", **plain)
    said = words(promote(registry=default, failed=True)["msg"])
    assert "answered 500" in said and r"add '^https://mcr\.microsoft\.com/' to registry_manifest_urls_allow" in said
    assert content.tags(f"{room}/b") == []
    four_runs(functools.partial(promote, registry=allowing), lambda: content.tags(f"{room}/b"))
    for blob, status in ((stored, 200), (absent, 404)):
        assert content.ask("HEAD", f"/v2/{room}/b/blobs/{blob['digest']}")[0] == status


def test_retention(retention: Callable[..., dict], allowing: str, room: str, plain: dict) -> None:
    """A layer that is not there is no damage, and frees nothing."""
    content = Content(connection_to(allowing))
    made = document(content, f"{room}/a", OCI, [foreign(OCI)])
    assert put(content, f"{room}/a", made) == 201
    content.image(f"{room}/a", "new")
    done = retention(registry=allowing, rules=[{"repositories": [f"{room}/*"], "keep_matching": ["new"]}], **plain)
    manifest = len(json.dumps(made))
    assert (done["deleted"], done["reclaimable_bytes"]) == (1, manifest + made["config"]["size"] + 50)


def test_through_the_proxy(fronts: Callable[..., Front], tag: Callable[..., dict], room: str) -> None:
    """Whatever it makes of the registry's 500, the message says what to set."""
    front = fronts([{"name": "ci", "access": "push"}])
    for content in (b"{}", b"layer"):
        front.registry().put_blob(f"{room}/a", content)
    made = {
        "schemaVersion": 2,
        "mediaType": OCI,
        "config": {"mediaType": CONFIGS[OCI], "digest": digest_of(b"{}"), "size": 2},
        "layers": [foreign(OCI, "https://a.test:8443/x")],
    }
    body = json.dumps(made).encode()
    path = f"/v2/{room}/a/manifests/win"
    direct = front.registry().ask("PUT", path, body, Content_Type=OCI)
    assert (direct.status, direct.code) == (500, "UNKNOWN")
    proxied = front.client("ci").ask("PUT", path, body, Content_Type=OCI)
    assert (proxied.status, proxied.code) == (500, "UNKNOWN")
    assert b"set registry_manifest_urls_allow" in proxied.body
    store(front.directory / "storage" / "docker" / "registry" / "v2", f"{room}/a", body)
    front.give_away()
    options = {"registry": f"127.0.0.1:{front.port}", "ca_path": str(front.ca), "password": front.passwords["ci"]}
    result = tag(repository=f"{room}/b", tag="win", source=f"{room}/a:win", failed=True, **options)
    assert r"add '^https://a\.test:8443/' to registry_manifest_urls_allow" in words(result["msg"])


def store(root: Path, repository: str, manifest: bytes) -> None:
    """Put a manifest under the tag `win` as a registry did that took it."""
    digest = digest_of(manifest)
    name = digest.partition(":")[2]
    manifests = root / "repositories" / repository / "_manifests"
    links = ("revisions/sha256/{}", "tags/win/current", "tags/win/index/sha256/{}")
    files = {root / "blobs" / "sha256" / name[:2] / name / "data": manifest}
    files |= {manifests / link.format(name) / "link": digest.encode() for link in links}
    for path, content in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


@pytest.mark.parametrize("pattern", [r"^(?!https://evil/)", r"(a)\1", r"a(?#why)", r"a\Z", r"a{1001}", r"(?x)a", "a("])
def test_patterns_that_are_refused_before_a_registry_does_not_start(registries: Registries, pattern: str) -> None:
    assert registries.refuses(pattern)


@pytest.mark.parametrize("pattern", [r"[(?=]+x\+\+", r"^https://(?P<name>a)\\1/", r"a{1000}", r"[^]*+]{2,}", r"\(\?<!"])
def test_patterns_that_a_registry_starts_with(registries: Registries, pattern: str) -> None:
    assert not registries.refuses(pattern)

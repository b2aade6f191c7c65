"""What a check of a host takes for an image, and the image that it pushes where none is named."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import time

import pytest
from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError
from ansible_collections.wharf.registry.plugins.module_utils._common.reference import RegistryName, parse_reference
from ansible_collections.wharf.registry.plugins.module_utils._diagnosis import probe_image, verification

REGISTRY = RegistryName("r.example.com:5000")
DIGEST = "sha256:" + "1" * 64
IMAGE = parse_reference("r.example.com:5000/apps/web:1.0")


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("apps/web", "r.example.com:5000/apps/web:latest"),
        (" apps/web:1.0\n", "r.example.com:5000/apps/web:1.0"),
        ("r.example.com:5000/apps/web:1.0", "r.example.com:5000/apps/web:1.0"),
        (f"apps/web@{DIGEST}", f"r.example.com:5000/apps/web@{DIGEST}"),
        (f"apps/web:1.0@{DIGEST}", f"r.example.com:5000/apps/web@{DIGEST}"),
    ],
)
def test_images_by_name(text, reference):
    assert str(verification.parse_image(text, REGISTRY)) == reference


@pytest.mark.parametrize("text", ["", "A/b", "a:", "a@", "a@sha256:1", "other.example.com:5000/a:1", "../x", "a b"])
def test_what_names_no_image(text):
    with pytest.raises(InputError):
        verification.parse_image(text, REGISTRY)


def test_the_hub_has_a_namespace():
    assert str(verification.parse_image("nginx:1.28.0", RegistryName("docker.io"))) == "docker.io/library/nginx:1.28.0"


@pytest.mark.parametrize(
    ("node", "tag"),
    [
        ("web1.example.com", "web1"),
        ("Büro-1", "B-ro-1"),
        ("-odd", "odd"),
        ("", "this-host"),
        ("...", "this-host"),
        ("x" * 300, "x" * 128),
    ],
)
def test_the_tag_of_a_host(monkeypatch, node, tag):
    monkeypatch.setattr("platform.node", lambda: node)
    assert str(probe_image.probe_reference(REGISTRY)) == f"r.example.com:5000/wharf-verify:{tag}"


def test_the_image_of_a_host_is_the_same_each_time(monkeypatch):
    made = probe_image.probe_archive(IMAGE)
    time.sleep(1.1)
    assert probe_image.probe_archive(IMAGE) == made
    monkeypatch.setattr("platform.node", lambda: "another")
    assert probe_image.probe_archive(IMAGE) != made


def test_the_archive_is_one_that_engines_load():
    with tarfile.open(fileobj=io.BytesIO(probe_image.probe_archive(IMAGE))) as tar:
        files = {member.name: tar.extractfile(member).read() for member in tar}
    (manifest,) = json.loads(files["manifest.json"])
    assert manifest["RepoTags"] == [str(IMAGE)]
    config = files[manifest["Config"]]
    assert manifest["Config"] == hashlib.sha256(config).hexdigest() + ".json"
    layers = [f"sha256:{hashlib.sha256(files[layer]).hexdigest()}" for layer in manifest["Layers"]]
    assert json.loads(config)["rootfs"]["diff_ids"] == layers

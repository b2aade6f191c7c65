from __future__ import annotations

import pytest
from ansible_collections.wharf.registry.plugins.module_utils._distribution.describe import (
    MOST_LEVELS,
    Describer,
    kind_of,
    subject_of,
)
from ansible_collections.wharf.registry.plugins.module_utils._distribution.manifest import (
    OCI_INDEX,
    OCI_MANIFEST,
    new_manifest,
)


class Shelf:
    """What Describer asks an Api for: manifests by digest."""

    def __init__(self):
        self.manifests = {}

    def add(self, document):
        manifest = new_manifest({"schemaVersion": 2, **document}, document["mediaType"])
        self.manifests[manifest.digest] = manifest
        return manifest.digest

    def manifest(self, _repository, digest):
        return self.manifests.get(digest)

    def blob(self, _repository, _digest):
        return b'{"os": "linux", "architecture": "amd64"}'


def test_what_lies_too_deep_under_one_tag_is_known_under_another():
    shelf = Shelf()
    config = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": "sha256:" + "a" * 64}
    levels = [shelf.add({"mediaType": OCI_MANIFEST, "config": config})]
    for _level in range(MOST_LEVELS + 4):
        levels.append(shelf.add({"mediaType": OCI_INDEX, "manifests": [{"digest": levels[-1]}]}))
    for order in (levels, levels[::-1]):
        describer = Describer()
        found = {digest: describer.describe(shelf, "a/b", digest)["platforms"] for digest in order}
        known = [bool(found[digest]) for digest in levels]
        assert known == [True] * (MOST_LEVELS + 2) + [False] * 3


HEX = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("suffix", "kind"),
    [
        ("", "referrers"),
        (".sig", "signature"),
        (".att", "attestation"),
        (".sbom", "sbom"),
        (".vex", "referrers"),
        (".of-a_tool.2", "referrers"),
        # No tag becomes an image by its name.
        (".image", "referrers"),
    ],
)
def test_what_belongs_to_another_manifest(suffix, kind):
    tag = f"sha256-{HEX}{suffix}"
    assert subject_of(tag) == f"sha256:{HEX}"
    assert kind_of(tag, {"kind": "artifact"}) == kind


@pytest.mark.parametrize(
    "tag",
    [
        "1.0",
        f"sha256-{HEX[1:]}",
        f"sha256-{HEX}.",
        f"sha256-{HEX}-sig",
        f"sha256-{HEX}0.sig",
        f"x-sha256-{HEX}",
        # As OCI cuts it: what it belongs to can't be told, and it must not seem to belong to no manifest.
        f"sha512-{HEX}",
    ],
)
def test_what_belongs_to_none(tag):
    assert subject_of(tag) == ""
    assert kind_of(tag, {"kind": "artifact"}) == "artifact"

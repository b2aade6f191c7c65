"""Garbage collection of a damaged storage: nothing of what can't be read whole is removed, and it is told."""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING

import pytest
from collecting import MIB, USERS, Collector, delete, pull
from http_client import OCI
from marks import repeated

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from content import Content
    from front import Front


@pytest.fixture(scope="module")
def proxy(fronts: Callable[..., Front]) -> Front:
    return fronts(USERS, reverse_proxy_immutable_tags=["v*"])


def test_a_manifest_that_names_what_is_no_digest_costs_its_repository_alone(
    content: Content, collector: Collector
) -> None:
    """A registry of version 2 takes any subject."""
    content.image("apps/odd", "1.0.0", subject={"digest": "evil", "mediaType": OCI, "size": 1})
    for repository in ("apps/odd", "apps/web"):
        kept = content.image(repository, "moved", layer=secrets.token_bytes(MIB))
        content.image(repository, "moved")
    status, output, errors = collector.finish(collector.start())
    assert status == 1, errors
    assert "PROBLEM: apps/odd: the manifest sha256:" in output
    assert "names what is no digest; nothing of this repository is removed" in output
    assert "Freed  1.0 MiB: " in output
    assert content.digest("apps/web", kept["digest"]) is None
    for tag in ("1.0.0", "moved"):
        pull(content, "apps/odd", tag)


def test_a_damaged_tag_keeps_all_of_its_repository(content: Content, collector: Collector, proxy: Front) -> None:
    """As a registry leaves one that is killed while it writes it. What it pointed to is in its history."""
    image = content.image("apps/web", "1.0.0")
    content.image("apps/web", "1.0.1")
    link = proxy.directory / "storage/docker/registry/v2/repositories/apps/web/_manifests/tags/1.0.0/current/link"
    before = link.read_bytes()
    for damage in (b"", b"sha256:\xff\xfe"):
        link.write_bytes(damage)
        status, output, errors = collector.finish(collector.start())
        assert status == 1
        assert "apps/web: the tag 1.0.0 is damaged; nothing of this repository is removed" in output, errors
    link.write_bytes(before)
    assert pull(content, "apps/web", "1.0.0")[0] == image["digest"]


def test_links_that_lead_out_of_the_storage_are_not_followed(
    content: Content, collector: Collector, proxy: Front, tmp_path: Path
) -> None:
    """The account of the containers can make them, and the collector is root."""
    victim = tmp_path / "sha256" / ("0" * 64)
    victim.mkdir(parents=True)
    (victim / "link").write_text("precious")
    content.image("apps/web", "1.0.0")
    content.image("apps/web", "1.0.0")
    place = proxy.directory / "storage/docker/registry/v2/repositories/apps/web"
    flag = proxy.directory / "sockets" / "hold"
    flag.symlink_to(victim / "link")
    for link in (place / "_manifests/revisions/sha512", place / "_layers/sha512", place.with_name("other")):
        link.symlink_to(tmp_path)
        status, output, _errors = collector.finish(collector.start())
        assert status == 1
        assert f"the registry makes no symbolic link, and this is one: '{link}'" in output
        link.unlink()
    content.image("apps/web", "1.0.0")
    index = place / "_manifests/tags/1.0.0/index"
    index.rename(tmp_path / "index")
    index.symlink_to(tmp_path / "index")
    status, output, _errors = collector.finish(collector.start())
    # It leads to nothing that is needed, and the image that nothing needs goes.
    assert status == 0
    assert f"WARNING: the registry makes no symbolic link, and this is one: '{index}'" in output
    assert "Freed  " in output and "1 manifests" in output
    index.unlink()
    collector.run()
    assert (victim / "link").read_text() == "precious"
    assert list((tmp_path / "index").rglob("link"))


@pytest.mark.parametrize("mounted", [True, *repeated(False)])
def test_blobs_without_repositories_are_no_garbage(
    content: Content, collector: Collector, proxy: Front, mounted: bool
) -> None:
    """A storage that is not whole, as where a part of it is not mounted on the directory that is made for it."""
    image = content.image("apps/web", "1.0.0")
    place = proxy.directory / "storage/docker/registry/v2/repositories"
    place.rename(place.with_name("away"))
    if mounted:
        place.mkdir()
    status, _output, errors = collector.finish(collector.start())
    assert status == 1
    assert "there are blobs, and no repositories" in errors
    if mounted:
        place.rmdir()
    place.with_name("away").rename(place)
    assert pull(content, "apps/web", "1.0.0")[0] == image["digest"]


@pytest.mark.parametrize("damage", ["missing", *repeated("cut")])
def test_what_can_not_be_read_keeps_all_of_its_repository(
    content: Content, collector: Collector, proxy: Front, damage: str
) -> None:
    tagged = content.image("apps/broken", "1.0.0")
    content.image("apps/broken", "1.0.1")
    spare = content.image("apps/broken", "moved")
    content.image("apps/broken", "moved")
    delete(content, "apps/whole", content.image("apps/whole", "x", layer=secrets.token_bytes(MIB))["digest"])
    name = tagged["digest"].partition(":")[2]
    data = proxy.directory / "storage" / "docker/registry/v2/blobs/sha256" / name[:2] / name / "data"
    data.write_bytes(data.read_bytes()[:50]) if damage == "cut" else data.unlink()
    status, output, errors = collector.finish(collector.start())
    assert status == 1
    assert "apps/broken: the manifest " + tagged["digest"] in output
    assert "1 repositories can't be read whole" in errors
    pull(content, "apps/broken", "1.0.1")
    pull(content, "apps/broken", spare["digest"])
    report = json.loads((proxy.directory / "report.json").read_text())
    # The other repository is collected all the same.
    assert report["freed"] > MIB


def test_a_tag_whose_manifest_is_gone_goes(content: Content, collector: Collector, proxy: Front) -> None:
    """As a registry leaves it that is killed while it deletes."""
    image = content.image("apps/web", "x")
    content.image("apps/web", "1.0.0")
    name = image["digest"].partition(":")[2]
    place = proxy.directory / "storage/docker/registry/v2/repositories/apps/web/_manifests"
    (place / "revisions" / "sha256" / name / "link").unlink()
    assert content.digest("apps/web", "x") is None
    assert content.tags("apps/web") == ["1.0.0", "x"]
    collector.run()
    assert content.tags("apps/web") == ["1.0.0"]
    pull(content, "apps/web", "1.0.0")

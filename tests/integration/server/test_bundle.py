"""registry_bundle across an air gap: from one real registry to another, by a directory and nothing else."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import random
import secrets
import shutil
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
from content import Content
from engine import wait_for
from http_client import SocketConnection, connection_to
from managed import words
from marks import repeated

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from front import Front
    from managed import Host
    from peers import Peers

USERS = [{"name": "ci", "rules": [{"repositories": ["*"], "actions": ["pull", "push"]}]}]
KILLS = int(os.environ.get("WHARF_KILLS", "3"))


@pytest.fixture(scope="module")
def proxy(fronts: Callable[..., Front]) -> Front:
    return fronts(USERS)


@dataclasses.dataclass
class Gap:
    """Both sides of an air gap, each with a key, and the medium between them."""

    host: Host
    near: dict
    far: dict
    # What the registries hold, straight from them.
    content: Content
    there: Content
    room: str
    medium: Path
    keys: Path

    def public(self, side: str) -> str:
        return (self.keys / f"{side}.pub").read_text()

    def run(self, state: str, name: str = "bundle", **options: object) -> dict:
        of_run = {key: options.pop(key) for key in ("check", "failed") if key in options}
        secret = (self.near["password"], self.far["password"])
        options = {"state": state, "path": str(self.medium / name), **options}
        return self.host.run_module("registry_bundle", options, secrets=secret, **of_run)

    def export(self, name: str = "bundle", **options: object) -> dict:
        defaults = {
            "source": self.near,
            "images": [{"repository": f"{self.room}/*"}],
            "signing_key": str(self.keys / "near"),
        }
        return self.run("exported", name, **{**defaults, **options})

    def bring(self, name: str = "bundle", **options: object) -> dict:
        """Import it."""
        return self.run("imported", name, **{"destination": self.far, "trusted_keys": [self.public("near")], **options})

    def receipt(self) -> dict:
        """The options of an import that writes a receipt."""
        return {"receipt": str(self.medium / "receipt.json"), "signing_key": str(self.keys / "far")}

    def answered(self) -> dict:
        """The options of an export that reads it."""
        return {"receipt": str(self.medium / "receipt.json"), "trusted_keys": [self.public("far")]}

    def assert_there(self, *names: str) -> None:
        for name in names:
            repository, tag = f"{self.room}/{name}".split(":")
            assert self.there.digest(repository, tag) == self.content.digest(repository, tag) is not None
            assert self.there.pull(repository, tag) == self.content.pull(repository, tag)

    def tags(self) -> list[str]:
        """All tags at the far side."""
        return [tag for name in ("app", "other") for tag in self.there.tags(f"{self.room}/{name}")]


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("keys")
    for name in ("near", "far", "stranger"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", directory / name], check=True)
    return directory


@pytest.fixture
def gap(host: Host, peers: Peers, proxy: Front, room: str, keys: Path) -> Gap:
    near, far = (
        {"registry": address, "username": "ci", "password": password, "ca_path": str(ca)}
        for address, password, ca in (
            (peers["basic"], peers.users["ci"], peers.ca),
            (f"localhost:{proxy.port}", proxy.passwords["ci"], proxy.ca),
        )
    )
    medium = keys.parent / f"medium-{room}"
    medium.mkdir()
    content, there = Content(connection_to(peers["registry"])), Content(SocketConnection(proxy.socket()))
    return Gap(host, near, far, content, there, room, medium, keys)


@pytest.fixture
def filled(gap: Gap) -> Gap:
    index, _children = gap.content.index(f"{gap.room}/app", "1.0")
    gap.content.sign(f"{gap.room}/app", index)
    gap.content.image(f"{gap.room}/other", "1.0", layer=b"shared by both")
    gap.content.image(f"{gap.room}/app", "2.0", layer=b"shared by both")
    return gap


def test_four_runs_of_both(filled: Gap) -> None:
    gap = filled
    foretold = gap.export(check=True)
    assert foretold["changed"] and not (gap.medium / "bundle").exists()
    done = gap.export()
    assert done["bundle"] and foretold["copied_bytes"] == done["copied_bytes"] > 0
    assert {f"{one['repository']}:{one['tag']}" for one in done["images"]} == {
        f"{gap.room}/{name}" for name in ("app:1.0", "app:2.0", "other:1.0")
    }
    for check in (True, False):
        assert not gap.export(check=check)["changed"]
    assert not gap.run("verified", trusted_keys=[gap.public("near")])["changed"]
    foretold = gap.bring(check=True)
    assert foretold["changed"] and gap.tags() == []
    done = gap.bring()
    assert foretold["copied_bytes"] == done["copied_bytes"]
    gap.assert_there("app:1.0", "app:2.0", "other:1.0")
    assert len(gap.there.tags(f"{gap.room}/app")) == 3
    for check in (True, False):
        assert not gap.bring(check=check)["changed"]


def test_the_next_bundle_holds_what_is_missing(filled: Gap) -> None:
    gap = filled
    gap.export("41")
    gap.bring("41", **gap.receipt())
    assert not gap.bring("41", **gap.receipt())["changed"]
    # A new image on the same base, in a repository that does not have the base there.
    gap.content.image(f"{gap.room}/other", "1.1", layer=b"shared by both")
    gap.content.image(f"{gap.room}/third", "1.0", layer=b"shared by both")
    small = gap.export("42", **gap.answered())
    listed = json.loads((gap.medium / "42" / "bundle.json").read_text())
    assert (
        len(listed["needs"]) > 3
        and listed["based_on"] == json.loads((gap.medium / "receipt.json").read_text())["bundles"]
    )
    assert small["copied_bytes"] < 1000
    gap.bring("42", **gap.receipt())
    gap.assert_there("other:1.1", "third:1.0", "app:1.0")
    # The third one holds nothing but manifests.
    assert gap.export("43", **gap.answered())["copied_bytes"] == 0


def test_a_bundle_that_needs_another_one(filled: Gap, proxy: Front) -> None:
    """The receipt is of a registry that has lost what it had."""
    gap = filled
    gap.export("41")
    gap.bring("41", to=f"lost-{gap.room}/", **gap.receipt())
    gap.content.image(f"{gap.room}/other", "1.1", layer=b"shared by both")
    gap.export("42", **gap.answered())
    for repository in ("app", "other"):
        shutil.rmtree(
            proxy.directory / "storage/docker/registry/v2/repositories" / f"lost-{gap.room}" / gap.room / repository
        )
    for state, options in (("imported", {"check": True}), ("imported", {}), ("verified", {})):
        done = gap.run(state, "42", destination=gap.far, trusted_keys=[gap.public("near")], failed=True, **options)
        assert "Import bundle" in done["msg"] and done["missing"]
    assert gap.tags() == []


@pytest.mark.parametrize("part_size", ["1K", *repeated("100000B", "262144"), "1G"])
def test_parts(gap: Gap, part_size: str) -> None:
    gap.content.image(f"{gap.room}/app", "1.0", layer=secrets.token_bytes(262144))
    gap.export(part_size=part_size)
    sizes = [path.stat().st_size for path in (gap.medium / "bundle").rglob("*") if path.is_file()]
    most = {"1K": 1024, "100000B": 100000}.get(part_size)
    blobs = [path.stat().st_size for path in (gap.medium / "bundle" / "blobs").rglob("*") if path.is_file()]
    assert most is None or max(blobs) == most
    assert len(sizes) > 5
    assert not gap.export(part_size=part_size)["changed"]
    gap.bring()
    gap.assert_there("app:1.0")


def flip(path: Path) -> None:
    """One bit, in the middle."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def layer_of(bundle: Path) -> Path:
    return max(bundle.glob("blobs/sha256/*"), key=lambda path: path.stat().st_size)


def renamed(bundle: Path) -> None:
    """A tag that leads to another image of the same bundle, all of which is signed."""
    index = json.loads((bundle / "index.json").read_text())
    first, *others = [one for one in index["manifests"] if "annotations" in one]
    # Two of the images are the same but for their names.
    second = next(one for one in others if one["digest"] != first["digest"])
    first["digest"], second["digest"] = second["digest"], first["digest"]
    (bundle / "index.json").write_text(json.dumps(index))


DAMAGES = {
    "a bit": (lambda bundle: flip(layer_of(bundle)), "does not match its digest"),
    "a blob": (lambda bundle: layer_of(bundle).unlink(), "is not there"),
    "its end": (lambda bundle: layer_of(bundle).write_bytes(b""), "does not match its digest"),
    "the list": (lambda bundle: flip(bundle / "bundle.json"), "not signed by a key of trusted_keys, or was changed"),
    "the signature": (lambda bundle: flip(bundle / "bundle.json.sig"), "not signed by a key of trusted_keys"),
    "no signature": (lambda bundle: (bundle / "bundle.json.sig").unlink(), "has no signature"),
    "no list": (lambda bundle: (bundle / "bundle.json").unlink(), "bundle.json does not exist"),
    "the marker": (lambda bundle: flip(bundle / "oci-layout"), "no OCI image layout"),
    "no index": (lambda bundle: (bundle / "index.json").unlink(), "does not list manifests"),
    "other names": (renamed, "does not name"),
    "all of it": (shutil.rmtree, "does not exist"),
}


def test_a_damaged_medium(filled: Gap) -> None:
    """One clear error, and nothing at the far side."""
    gap = filled
    gap.content.image(f"{gap.room}/app", "3.0", layer=secrets.token_bytes(100_000))
    gap.export("whole")
    for name, (change, said) in DAMAGES.items():
        shutil.copytree(gap.medium / "whole", gap.medium / name)
        change(gap.medium / name)
        assert said in words(gap.bring(name, failed=True)["msg"]), name
        assert gap.tags() == []
    assert gap.bring("whole")["changed"]


def test_a_foreign_signature(filled: Gap) -> None:
    gap = filled
    gap.export(signing_key=str(gap.keys / "stranger"))
    assert "is not signed by a key of trusted_keys" in words(gap.bring(failed=True)["msg"])
    assert gap.tags() == []
    assert gap.bring(trusted_keys=[gap.public("near"), gap.public("stranger")])["changed"]


def test_a_foreign_receipt(filled: Gap) -> None:
    gap = filled
    gap.export("41")
    gap.bring("41", receipt=str(gap.medium / "receipt.json"), signing_key=str(gap.keys / "stranger"))
    assert "is not signed by a key of trusted_keys" in words(gap.export("42", failed=True, **gap.answered())["msg"])
    assert not (gap.medium / "42").exists()


def test_a_receipt_that_a_killed_run_has_left(filled: Gap) -> None:
    """Between the signature and what is signed: it is written anew, and the next export takes it."""
    gap = filled
    gap.export("41")
    (gap.medium / "receipt.json").write_text("{}")
    (gap.medium / "receipt.json.sig").write_text("of another one")
    done = gap.bring("41", **gap.receipt())
    assert "written anew" in str(done["warnings"])
    assert gap.export("42", **gap.answered())["copied_bytes"] == 0


def test_tags_come_all_or_none(filled: Gap) -> None:
    """One that is at another image there stops all, before anything is written."""
    gap = filled
    gap.export()
    theirs = gap.there.image(f"{gap.room}/other", "1.0")
    done = gap.bring(failed=True)
    assert theirs["digest"] in done["msg"] and "overwrite" in done["msg"]
    assert gap.there.tags(f"{gap.room}/app") == []
    assert gap.bring(overwrite=True)["changed"]
    gap.assert_there("app:1.0", "app:2.0", "other:1.0")


@pytest.mark.parametrize(
    ("state", "options", "said"),
    [
        ("exported", {"source": None}, "source is missing"),
        ("exported", {"images": []}, "images is missing"),
        ("exported", {"signing_key": None}, "signing_key is missing"),
        ("exported", {"signing_key": "/proc/none"}, "/proc/none is no private key"),
        ("exported", {"part_size": "many"}, "part_size is 'many'"),
        ("exported", {"receipt": "/proc/none"}, "receipt needs trusted_keys"),
        ("imported", {"destination": None}, "destination is missing"),
        ("imported", {"trusted_keys": []}, "trusted_keys is missing"),
        ("imported", {"trusted_keys": ["no key"]}, "trusted_keys[1] is no public key"),
        ("imported", {"receipt": "/proc/none"}, "receipt needs signing_key"),
        ("verified", {"trusted_keys": []}, "trusted_keys is missing"),
    ],
)
def test_wrong_options(gap: Gap, state: str, options: dict, said: str) -> None:
    runs = {"exported": gap.export, "imported": gap.bring, "verified": functools.partial(gap.run, "verified")}
    done = runs[state](failed=True, **options)
    assert said in words(done["msg"])
    assert list(gap.medium.iterdir()) == []


def test_a_key_with_a_passphrase(gap: Gap) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", gap.medium / "locked"], check=True)
    gap.content.image(f"{gap.room}/app", "1.0")
    said = words(gap.export(failed=True, signing_key=str(gap.medium / "locked"))["msg"])
    assert "without a passphrase" in said


def test_killed_at_any_moment(filled: Gap) -> None:
    """The export leaves no bundle that looks whole, and the import no tag at a broken image."""
    gap = filled
    for number in range(4):
        gap.content.image(f"{gap.room}/app", f"3.{number}", layer=secrets.token_bytes(1 << 20))
    began = time.monotonic()
    gap.export("whole")
    whole = time.monotonic() - began
    options = {
        "state": "exported",
        "path": str(gap.medium / "bundle"),
        "source": gap.near,
        "images": [{"repository": f"{gap.room}/*"}],
        "signing_key": str(gap.keys / "near"),
    }
    for _kill in range(KILLS):
        killed(gap, options, whole)
        verified = gap.run("verified", trusted_keys=[gap.public("near")], failed=not signed(gap))
        # Killed before the layout had its first file, or before there was any.
        said = ("not exist", "is no OCI image layout", "no signature")
        assert signed(gap) or any(one in verified["msg"] for one in said), verified
    gap.export()
    gap.run("verified", trusted_keys=[gap.public("near")])
    options = {
        "state": "imported",
        "path": str(gap.medium / "bundle"),
        "destination": gap.far,
        "trusted_keys": [gap.public("near")],
    }
    for _kill in range(KILLS):
        killed(gap, options, whole)
        for name in ("app", "other"):
            repository = f"{gap.room}/{name}"
            for tag in gap.there.tags(repository):
                # The registry goes on with what it was told last, and lists a tag just before it has it.
                wait_for(f"the registry has {tag}", functools.partial(gap.there.digest, repository, tag), seconds=10)
                gap.assert_there(f"{name}:{tag}")
    gap.bring()
    gap.assert_there("app:1.0", "other:1.0", *(f"app:3.{number}" for number in range(4)))


def signed(gap: Gap) -> bool:
    return (gap.medium / "bundle" / "bundle.json").exists()


def killed(gap: Gap, options: dict, seconds: float) -> None:
    process = gap.host.start("registry_bundle", options)
    time.sleep(random.uniform(0.2, seconds))  # noqa: S311 # a moment, no secret
    process.kill()
    process.communicate()

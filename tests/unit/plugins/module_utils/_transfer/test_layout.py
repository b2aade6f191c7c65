"""Layouts on both sides, platforms, and what belongs to images."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from pathlib import Path

import pytest
from ansible_collections.wharf.registry.plugins.module_utils._common.errors import RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._distribution.manifest import new_manifest
from ansible_collections.wharf.registry.plugins.module_utils._transfer.layout import Layout
from inprocess import run_module

OCI = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
REF_NAME = "org.opencontainers.image.ref.name"


class Written:
    """A layout that a test writes by the code under test, and looks at by its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.layout = Layout(str(path), create=True)

    def blob(self, content: bytes) -> dict:
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        self.layout.upload_blob("", digest, len(content), [content])
        return {"digest": digest, "size": len(content), "mediaType": "application/octet-stream"}

    def manifest(self, repository: str, tag: str | None, document: dict) -> dict:
        manifest = new_manifest(document, document["mediaType"])
        self.layout.put_manifest(repository, tag or manifest.digest, manifest)
        return {"mediaType": manifest.media_type, "digest": manifest.digest, "size": len(manifest.content)}

    def image(self, repository: str, tag: str | None = None, content: bytes = b"layer", **more: object) -> dict:
        config, layer = self.blob(b'{"os": "linux"}'), self.blob(content)
        document = {"schemaVersion": 2, "mediaType": OCI, "config": config, "layers": [layer], **more}
        return self.manifest(repository, tag, document)

    def index(self, repository: str, tag: str, children: list[dict], **more: object) -> dict:
        return self.manifest(repository, tag, {"schemaVersion": 2, "mediaType": INDEX, "manifests": children, **more})

    def platforms(self, repository: str, tag: str, *names: str, **more: object) -> dict:
        """An index of images for these platforms, each with its attestation, as BuildKit makes them."""
        children = []
        for name in names:
            fields = dict(zip(("os", "architecture", "variant"), name.split("/"), strict=False))
            image = {**self.image(repository, content=name.encode()), "platform": fields}
            attestation = {
                **self.image(repository, content=b"attestation of " + name.encode()),
                "platform": {"os": "unknown", "architecture": "unknown"},
                "annotations": {
                    "vnd.docker.reference.type": "attestation-manifest",
                    "vnd.docker.reference.digest": image["digest"],
                },
            }
            children += [image, attestation]
        return self.index(repository, tag, children, **more)

    def entries(self) -> list[dict]:
        return json.loads((self.path / "index.json").read_text())["manifests"]

    def names(self) -> dict[str, str]:
        return {one["annotations"][REF_NAME]: one["digest"] for one in self.entries() if "annotations" in one}

    def read(self, digest: str) -> dict:
        return json.loads((self.path / "blobs" / digest.replace(":", "/")).read_text())

    def holds(self, digest: str) -> bool:
        return (self.path / "blobs" / digest.replace(":", "/")).is_file()


@pytest.fixture
def source(tmp_path):
    return Written(tmp_path / "source")


@pytest.fixture
def sync(source, tmp_path):
    def run(check=False, failed=False, **options):
        done = run_module(
            "registry_sync",
            {
                "source": {"layout": str(source.path)},
                "destination": {"layout": str(tmp_path / "copy")},
                "images": [{"repository": "*"}],
                **options,
            },
            check=check,
        )
        assert done.get("failed", False) is failed, done
        return done

    return run


@pytest.fixture
def copy(tmp_path):
    """The destination, read anew each time."""
    return lambda: Written(tmp_path / "copy")


def test_several_repositories_and_shared_layers(source, sync, copy) -> None:
    for repository in ("apps/web", "apps/api", "base"):
        source.image(repository, "1.0")
    done = sync(images=[{"repository": "apps/*", "to": "mirror/"}, {"repository": "base", "to": "other"}])
    assert set(copy().names()) == {"mirror/apps/web:1.0", "mirror/apps/api:1.0", "other:1.0"}
    # The layer and the configuration, once.
    assert done["copied_bytes"] == len(b"layer") + len(b'{"os": "linux"}')
    assert not sync(images=[{"repository": "apps/*", "to": "mirror/"}])["changed"]


ALL = ("linux/amd64", "linux/arm64/v8", "linux/arm/v6", "linux/arm/v7")


@pytest.mark.parametrize(
    ("wanted", "kept"),
    [
        (["linux/amd64"], ["linux/amd64"]),
        (["linux/arm64"], ["linux/arm64/v8"]),
        (["linux/arm"], ["linux/arm/v6", "linux/arm/v7"]),
        (["linux/arm/v7", "linux/amd64"], ["linux/amd64", "linux/arm/v7"]),
    ],
)
def test_a_reduced_index(source, sync, copy, wanted, kept) -> None:
    whole = source.platforms("app", "1", *ALL, annotations={"a": "b"})
    rule = {"repository": "app", "platforms": wanted}
    foretold = sync(check=True, images=[rule])
    done = sync(images=[rule])
    assert foretold["images"] == done["images"]
    (image,) = done["images"]
    assert image["source_digest"] == whole["digest"] != image["digest"] == copy().names()["app:1"]
    index = copy().read(image["digest"])
    assert index["annotations"] == {
        "a": "b",
        "registry.wharf.whole-index": whole["digest"],
        "registry.wharf.platforms": " ".join(sorted(wanted)),
    }
    found = ["/".join(child["platform"].values()) for child in index["manifests"]]
    assert [one for one in found if one != "unknown/unknown"] == kept
    # Each with its attestation, and none of another one.
    assert found.count("unknown/unknown") == len(kept)
    assert sum(copy().holds(child["digest"]) for child in source.read(whole["digest"])["manifests"]) == 2 * len(kept)
    assert not sync(images=[rule])["changed"]
    # Other platforms are another index.
    other = sync(failed=True, images=[{**rule, "platforms": ["linux/amd64", "linux/arm64"]}])
    assert "overwrite" in other["msg"]


def test_a_sparse_index(source, sync, copy) -> None:
    whole = source.platforms("app", "1", *ALL)
    rule = {"repository": "app", "platforms": ["linux/arm64"], "sparse_index": True}
    assert sync(images=[rule])["changed"]
    assert copy().names() == {"app:1": whole["digest"]}
    assert sum(copy().holds(child["digest"]) for child in source.read(whole["digest"])["manifests"]) == 2
    assert not sync(images=[rule])["changed"]
    # One platform more, and the digest is the same.
    assert sync(images=[{**rule, "platforms": ["linux/arm64", "linux/amd64"]}])["changed"]
    assert sum(copy().holds(child["digest"]) for child in source.read(whole["digest"])["manifests"]) == 4


def test_a_platform_that_is_not_there(source, sync) -> None:
    source.platforms("app", "1", "linux/amd64", "linux/arm64/v8")
    done = sync(failed=True, images=[{"repository": "app", "platforms": ["linux/riscv64"]}])
    assert "not there for linux/riscv64. It has linux/amd64, linux/arm64/v8" in done["msg"]


def test_nested_indexes_and_what_is_no_image(source, sync, copy) -> None:
    inner = source.platforms("app", "inner", "linux/amd64")
    cache = {**source.blob(b"a layer of a cache"), "mediaType": "application/vnd.oci.image.layer.v1.tar+zstd"}
    outer = source.index("app", "outer", [inner, cache])
    chart = source.image("app", "chart", content=b"chart", artifactType="application/vnd.cncf.helm.config.v1+json")
    sync()
    assert copy().names() == {"app:inner": inner["digest"], "app:outer": outer["digest"], "app:chart": chart["digest"]}
    assert copy().holds(cache["digest"])


def test_what_belongs_to_an_image(source, sync, copy) -> None:
    """By its subject and by tags, and what belongs to that in turn."""
    image = source.image("app", "1")
    sbom = source.image("app", content=b"sbom", subject=image)
    signature = source.image("app", content=b"signature of the sbom", subject=sbom)
    stem = image["digest"].replace(":", "-")
    old = source.image("app", f"{stem}.sig", content=b"cosign 2")
    listed = source.index("app", stem, [sbom])
    (done,) = sync()["images"]
    assert done["tag"] == "1" and done["referrers"] == 4
    assert copy().names() == {
        "app:1": image["digest"],
        f"app:{stem}.sig": old["digest"],
        f"app:{stem}": listed["digest"],
    }
    assert {one["digest"] for one in copy().entries()} >= {sbom["digest"], signature["digest"]}
    # One that comes later.
    assert not sync()["changed"]
    more = source.image("app", content=b"another signature", subject=image)
    (done,) = sync()["images"]
    assert done["changed"] and done["skipped"] == "unchanged" and done["referrers"] == 1
    assert copy().holds(more["digest"])
    assert not sync()["changed"]


def test_referrers_may_stay(source, sync, copy) -> None:
    image = source.image("app", "1")
    signature = source.image("app", content=b"signature", subject=image)
    sync(images=[{"repository": "app", "referrers": False}])
    assert not copy().holds(signature["digest"])


def test_signatures_of_others_are_not_lost(source, sync, copy) -> None:
    image = source.image("app", "1")
    tag = f"{image['digest'].replace(':', '-')}.sig"
    source.image("app", tag, content=b"theirs")
    sync()
    ours = copy().image("app", tag, content=b"ours")
    done = sync()
    assert not done["changed"] and "holds signatures that the source has not" in str(done["warnings"])
    assert copy().names()[f"app:{tag}"] == ours["digest"]


def test_what_no_rule_chooses_is_removed(source, sync, copy) -> None:
    for tag in ("1.0", "1.1", "2.0"):
        image = source.image("app", tag, content=tag.encode())
        source.image("app", f"{image['digest'].replace(':', '-')}.sig", content=b"signature of " + tag.encode())
    source.image("other", "1")
    sync()
    rule = {"repository": "app", "tags": {"versions": ["^2"]}}
    limited = sync(failed=True, images=[rule], prune=True, max_delete=1)
    assert "max_delete is 1" in limited["msg"] and len(copy().names()) == 7
    for check in (True, False):
        done = sync(check=check, images=[rule], prune=True, max_delete=10)
        assert len(done["removed"].pop("app")) == 4 and done["removed"] == {}
    names = copy().names()
    assert len(names) == 3 and {"app:2.0", "other:1"} < set(names)
    assert not sync(images=[rule], prune=True)["changed"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"images": []}, "images is empty"),
        ({"images": [{"repository": "*", "to": "one"}]}, "End to with a slash"),
        ({"images": [{"repository": "App"}]}, "App"),
        ({"images": [{"repository": "app", "to": "A b"}]}, "A b"),
        ({"images": [{"repository": "app", "tags": {"globs": ["a b"]}}]}, "a b"),
        ({"images": [{"repository": "app", "tags": {"globs": ["sha256:1"]}}]}, "sha256:1"),
        ({"images": [{"repository": "app", "tags": {"matching": ["("]}}]}, "images[1]: '(' is no regular expression"),
        ({"images": [{"repository": "app", "tags": {"versions": ["x y"]}}]}, "images[1]: "),
        ({"images": [{"repository": "app", "tags": {"newest": -1}}]}, "images[1] has newest: -1"),
        ({"images": [{"repository": "app", "tags": {"younger": "3"}}]}, "'3' is no duration"),
        ({"max_workers": 0}, "max_workers is 0"),
        ({"max_wait": -1}, "max_wait is -1"),
        ({"prune": True, "images": [{"repository": "app", "platforms": ["a/b"], "sparse_index": True}]}, "together"),
        ({"source": {"layout": "/proc/none"}}, "/proc/none does not exist"),
        ({"source": {}}, "one of the following is required: registry, layout"),
        ({"source": {"registry": "a.test", "layout": "/b"}}, "mutually exclusive"),
        ({"source": {"registry": "a.test", "username": "ci"}}, "required together"),
        ({"source": {"registry": "a b"}}, "a b"),
        ({"progress_path": "/proc/none/file"}, "/proc/none/file can't be written"),
    ],
)
def test_wrong_options(source, sync, tmp_path, options, said) -> None:
    source.image("app", "1")
    assert said in sync(failed=True, **options)["msg"]
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda path: (path / "oci-layout").unlink(), "is no OCI image layout"),
        (lambda path: (path / "oci-layout").write_text("{"), "is no OCI image layout"),
        (lambda path: (path / "index.json").unlink(), "does not list manifests"),
        (lambda path: (path / "index.json").write_text("[]"), "does not list manifests"),
        (lambda path: (path / "index.json").write_text('{"manifests": [{}]}'), "does not list manifests"),
        (lambda path: flip(path, "manifest"), "does not match its digest"),
        (lambda path: flip(path, "layer"), "does not match its digest"),
        (lambda path: blob(path, "layer").unlink(), "is not there"),
        (lambda path: blob(path, "manifest").unlink(), "The layout is damaged"),
        (lambda path: blob(path, "layer").write_bytes(b""), "and not the"),
    ],
)
def test_a_damaged_layout(source, sync, copy, change, said) -> None:
    source.image("app", "1")
    change(source.path)
    assert said in sync(failed=True)["msg"]
    assert not copy().path.joinpath("index.json").exists() or copy().names() == {}


def blob(path: Path, which: str) -> Path:
    (digest,) = [one["digest"] for one in json.loads((path / "index.json").read_text())["manifests"]]
    manifest = path / "blobs" / digest.replace(":", "/")
    if which == "manifest":
        return manifest
    return path / "blobs" / json.loads(manifest.read_text())["layers"][0]["digest"].replace(":", "/")


def flip(path: Path, which: str) -> None:
    """One bit."""
    file = blob(path, which)
    content = file.read_bytes()
    file.write_bytes(bytes([content[0] ^ 1]) + content[1:])


@pytest.mark.parametrize(
    ("annotations", "repository"),
    [
        ({REF_NAME: "1.0"}, "any/name"),
        ({REF_NAME: "1.0", "io.containerd.image.name": "docker.io/library/web:1.0"}, "library/web"),
        ({REF_NAME: "registry.test/web:1.0"}, "registry.test/web"),
    ],
)
def test_names_of_other_tools(source, sync, copy, annotations, repository) -> None:
    """Of BuildKit, skopeo and oras."""
    image = source.image("app", "1.0")
    index = source.path / "index.json"
    document = json.loads(index.read_text())
    document["manifests"][0]["annotations"] = annotations
    index.write_text(json.dumps(document))
    sync(images=[{"repository": repository, "to": "copied"}])
    assert copy().names() == {"copied:1.0": image["digest"]}


@pytest.mark.parametrize("left", [[], [".oci-layout.wharf-new"], [".oci-layout.wharf-new", ".oci-layout.wharf-lock"]])
def test_what_a_run_leaves_that_is_killed_at_its_begin_is_gone_on_with(source, sync, copy, tmp_path, left) -> None:
    image = source.image("app", "1.0")
    (tmp_path / "copy" / "blobs").mkdir(parents=True)
    for name in left:
        (tmp_path / "copy" / name).write_text('{"imageLay')
    sync()
    assert copy().names() == {"app:1.0": image["digest"]}
    assert not (tmp_path / "copy" / ".oci-layout.wharf-new").exists()


def test_a_directory_of_others_is_left_alone(source, sync, tmp_path) -> None:
    source.image("app", "1")
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "photo.jpg").write_text("")
    assert "is no OCI image layout" in sync(failed=True)["msg"]
    assert [path.name for path in (tmp_path / "copy").iterdir()] == ["photo.jpg"]


def is_locked(path: Path) -> bool:
    """Without an attempt to lock it, which could come before that of its writer."""
    return f":{path.stat().st_ino} " in Path("/proc/locks").read_text()


def test_what_a_killed_run_has_left_is_removed_and_what_another_writes_is_not(tmp_path) -> None:
    Written(tmp_path / "copy").image("app", "1")
    blobs = tmp_path / "copy" / "blobs"
    (blobs / ".wharf-dead").write_text("")
    os.utime(blobs / ".wharf-dead", (0, 0))
    content, go = b"slow", threading.Event()
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"

    def slowly():
        go.wait(10)
        yield content

    slow = Layout(str(tmp_path / "copy"), create=True)
    thread = threading.Thread(target=slow.upload_blob, args=("", digest, len(content), slowly()))
    thread.start()
    while (blobs / ".wharf-dead").exists() or not list(blobs.glob(".wharf-*")):
        time.sleep(0.01)
    # As one that takes hours: it is old, and has been locked all the time.
    (unfinished,) = blobs.glob(".wharf-*")
    while not is_locked(unfinished):
        time.sleep(0.01)
    os.utime(unfinished, (0, 0))
    Written(tmp_path / "copy").image("app", "2")
    assert unfinished.exists()
    go.set()
    thread.join()
    assert Written(tmp_path / "copy").holds(digest) and not list(blobs.glob(".wharf-*"))


def test_several_writers_lose_no_name(tmp_path) -> None:
    """Each with a view of its own, as processes have it."""
    writers = [Written(tmp_path / "copy") for _writer in range(4)]

    def write(number: int) -> None:
        for tag in range(5):
            writers[number].image("app", f"{number}.{tag}", content=f"{number} {tag}".encode())

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(Written(tmp_path / "copy").names()) == 20


def test_nothing_is_written_outside(tmp_path) -> None:
    """A digest becomes a path."""
    layout = Layout(str(tmp_path / "copy"), create=True)
    for digest in ("sha256:../../x", "sha256:", "md5:" + "0" * 32, "sha256:" + "0" * 64 + "/../x"):
        with pytest.raises(RegistryError, match="no digest that a layout can hold"):
            layout.upload_blob("", digest, 0, [])
    assert list(tmp_path.iterdir()) == []

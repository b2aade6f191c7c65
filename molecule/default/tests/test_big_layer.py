"""A layer that is larger than any buffer on its way, there and back."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from labtest import DockerClient, LabHost, Registry

# The proxy may use 64 MiB of memory for files, and none of a disk. make kills takes a whole GiB.
SIZE = int(os.environ.get("WHARF_LAYER_MIB", "128")) << 20


def timed(what: str, began: float) -> float:
    now = time.monotonic()
    print(f"{what}: {now - began:.1f} s")
    return now


def test_there_and_back(lab: LabHost, registry: Registry, clients: dict[str, DockerClient]) -> None:
    reference = f"{registry.hostname}/big/layer:1"
    began = time.monotonic()
    # Random, so that nothing compresses it. A host that was tested before has the image already.
    lab.run(f"""
        docker image inspect {reference} > /dev/null 2>&1 && exit
        directory=$(mktemp -d -p /var/tmp)
        head -c {SIZE} /dev/urandom > $directory/payload
        tar -C $directory -c payload | docker import - {reference} > /dev/null
        rm -r $directory
    """)
    began = timed("made", began)
    layers = clients["ci"].layers(reference)
    digest = clients["ci"].push(reference)
    began = timed("pushed", began)

    manifest = registry.manifest("big/layer", digest, "runtime")
    assert manifest.headers["Docker-Content-Digest"] == digest
    (layer,) = manifest.json["layers"]
    assert layer["size"] >= SIZE
    assert registry.blob_digest("big/layer", layer["digest"], "runtime") == (layer["digest"], layer["size"])
    began = timed("downloaded and hashed", began)

    # The engine hashes what it unpacks, so equal layers are equal bytes.
    assert clients["runtime"].pull_anew(reference) == layers
    timed("pulled", began)
    pulled = json.loads(clients["runtime"].run("image", "inspect", reference).stdout)[0]
    assert [name.rpartition("@")[2] for name in pulled["RepoDigests"]] == [digest]

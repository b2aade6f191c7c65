"""A front whose registries have their images in a bucket of SeaweedFS."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import front
import memory_s3
from front import Front
from role_config import role_configs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from seaweedfs import SeaweedFS


def registry_s3(endpoint: str) -> dict:
    """The bucket of the tests for registries whose proxies do not know of the storage, which answers by HTTP."""
    return {**memory_s3.bucket_at(endpoint), "plain_http": True, "redirect": False}


@contextlib.contextmanager
def running(directory: Path, images: dict[str, str], users: list[dict], storage: SeaweedFS) -> Iterator[Front]:
    """It is stopped in the end. Its storage answers by HTTP on this machine."""
    given = registry_s3(f"http://127.0.0.1:{storage.gateways[0]}")
    (directory / "config-of-s3").mkdir()
    made = role_configs(directory / "config-of-s3", registry_storage="s3", registry_s3=given)[0]

    class BucketFront(Front):
        driver = made["storage"]
        # By which its replicas reach the storage on this machine.
        network = "host"

    with front.running(directory / "front", images, users, kind=BucketFront) as proxy:
        yield proxy

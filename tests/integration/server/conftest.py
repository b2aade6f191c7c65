"""What tests of the registry's host begin with, at the `proxy` that each file starts with users of its own."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import managed
import pytest
from certificates import Authority
from collecting import Collector, content_of
from hostile_requests import SECRET
from seaweedfs import SeaweedFS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from content import Content
    from front import Front
    from http_client import Client


@pytest.fixture(scope="module")
def registry(proxy: Front) -> Client:
    """Past the proxy."""
    return proxy.registry()


@pytest.fixture(scope="module")
def secret(registry: Client) -> str:
    """The digest of a blob in a repository that the team may not read."""
    registry.put_image("team/app", "one", b"the team's own")
    return registry.put_image("secret/app", "one", SECRET)[1]


@pytest.fixture
def content(proxy: Front) -> Content:
    """The content of a registry with nothing in it."""
    for name in ("storage", "looked-at"):
        for path in (proxy.directory / name).iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    return content_of(proxy)


@pytest.fixture
def collector(proxy: Front, content: Content) -> Collector:
    # The oldest Python of managed hosts that there is.
    return Collector(proxy, next(iter(managed.pythons().values())))


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The one that an object storage is trusted by."""
    return Authority(tmp_path_factory.mktemp("ca"), "storage-ca")


@pytest.fixture(scope="module")
def storage(ca: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS]:
    """An object storage, by HTTP and HTTPS."""
    with SeaweedFS(tmp_path_factory.mktemp("seaweedfs"), ca.issue("storage")) as storage:
        yield storage

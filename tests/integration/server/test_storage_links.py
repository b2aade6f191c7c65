"""A storage whose owner is not to be trusted: what is planted there leads nginx to none of its own files."""

from __future__ import annotations

import dataclasses
import http.client
import json
import os
import secrets
import shutil
import time
from typing import TYPE_CHECKING

import pytest
from engine import command, wait_for
from front import INSIDE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from front import Front
    from http_client import Answer, Client

USERS = [{"name": "ci", "access": "push"}, {"name": "reader", "access": "pull"}]


@pytest.fixture(scope="module")
def proxy(fronts: Callable[..., Front]) -> Front:
    return fronts(USERS)


@dataclasses.dataclass(frozen=True)
class Blob:
    """One of a repository of its own, and its files."""

    proxy: Front
    repository: str
    digest: str
    content: bytes

    @property
    def root(self) -> Path:
        return self.proxy.directory / "storage" / "docker" / "registry" / "v2"

    @property
    def data(self) -> Path:
        hexadecimal = self.digest.partition(":")[2]
        return self.root / "blobs" / "sha256" / hexadecimal[:2] / hexadecimal / "data"

    @property
    def layer(self) -> Path:
        name = self.digest.partition(":")[2]
        return self.root / "repositories" / self.repository / "_layers" / "sha256" / name / "link"

    def pull(self) -> Answer:
        return self.proxy.client("reader").ask("GET", f"/v2/{self.repository}/blobs/{self.digest}")

    def served(self) -> list[str]:
        """By what, of the pulls that were logged."""
        lines = [json.loads(line) for line in self.proxy.log().splitlines() if line.startswith("{")]
        return [line["served"] for line in lines if line["path"].endswith(self.digest)]


@pytest.fixture
def blob(proxy: Front, registry: Client) -> Blob:
    content = secrets.token_bytes(5000)
    repository = f"team/{secrets.token_hex(4)}"
    return Blob(proxy, repository, registry.put_blob(repository, content), content)


# What lies in the container of the proxy, and in part in that of the registry.
@pytest.mark.parametrize(
    "target",
    [
        f"{INSIDE['config']}/nginx/tls/server.key",
        f"{INSIDE['config']}/nginx/nginx.conf",
        f"{INSIDE['config']}/auth/htpasswd",
        "/proc/self/environ",
        "/proc/1/cmdline",
        "/etc/passwd",
    ],
)
def test_data_that_is_a_link(blob: Blob, target: str) -> None:
    assert blob.pull().body == blob.content
    # Another worker may serve the second pull, and log it first.
    wait_for("a line of the log", lambda: blob.served() == ["disk"])
    blob.data.unlink()
    blob.data.symlink_to(target)
    answer = blob.pull()
    assert not [text for text in (b"PRIVATE KEY", b"worker_processes", b"$2") if text in answer.body], answer
    wait_for("a line of the log", lambda: len(blob.served()) == 2)
    assert blob.served() == ["disk", "registry"], answer


@pytest.mark.parametrize("depth", [0, 1, 2, 3])
def test_a_directory_on_the_way_that_is_a_link(blob: Blob, depth: int) -> None:
    """To a directory that holds the very blob, so that only the link can be what is wrong."""
    place = blob.data.parents[depth]
    elsewhere = place.with_name(f"moved-{secrets.token_hex(4)}")
    place.rename(elsewhere)
    place.symlink_to(elsewhere.name)
    try:
        assert blob.pull().body == blob.content
        wait_for("a line of the log", blob.served)
        assert blob.served() == ["registry"]
    finally:
        place.unlink()
        elsewhere.rename(place)


@pytest.mark.parametrize("which", ["the link", "its directory", "the repository"])
def test_a_repository_that_has_a_blob_by_a_link(blob: Blob, which: str) -> None:
    if which == "the link":
        blob.layer.unlink()
        blob.layer.symlink_to("/etc/passwd")
    else:
        place = blob.layer.parent if which == "its directory" else blob.layer.parents[3]
        place.rename(place.with_name("moved"))
        place.symlink_to("moved")
    blob.pull()
    wait_for("a line of the log", blob.served)
    assert blob.served() == ["registry"]


@pytest.mark.parametrize("kind", ["fifo", "directory", "none"])
def test_data_that_is_no_file(blob: Blob, kind: str) -> None:
    blob.data.unlink()
    if kind == "fifo":
        os.mkfifo(blob.data)
    elif kind == "directory":
        blob.data.mkdir()
    began = time.monotonic()
    answer = blob.pull()
    assert answer.status >= 400 and answer.code, answer
    assert time.monotonic() - began < 5
    assert blob.proxy.client("reader").ask("GET", "/v2/").status == 200
    shutil.rmtree(blob.data.parent)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file to an account that the containers do not have")
def test_data_that_nginx_may_not_read(blob: Blob) -> None:
    """It is asked of the registry. nginx does not say 429, as for too many passwords."""
    os.chown(blob.data, 0, 0)
    blob.data.chmod(0o600)
    # The registry announces what it can't read either, and ends there.
    with pytest.raises(http.client.IncompleteRead):
        blob.pull()
    wait_for("a line of the log", blob.served)
    assert blob.served() == ["registry"]


# --- what each container has ------------------------------------------------------------------------------------------


def test_each_container_has_the_secrets_that_it_uses(proxy: Front) -> None:
    for name, own, others in (
        ("proxy", b"PRIVATE KEY", b"ci:$2"),
        ("auth", b"ci:$2", b"PRIVATE KEY"),
    ):
        script = f"find {INSIDE['config']} -type f -exec cat {{}} +"
        said = command("docker", "exec", proxy.containers[name], "sh", "-c", script).stdout.encode()
        assert own in said, name
        assert others not in said, name

"""A registry whose images are objects of a real S3 storage, as the role configures it."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import memory_s3
import pytest
import yaml
from content import Content
from engine import command, free_ports, listening, run_container, wait_for
from http_client import connection_to, digest_of, with_digest
from role_config import role_configs

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from certificates import Authority
    from seaweedfs import SeaweedFS

CA_PLACE = "/made/s3-ca.pem"


def bucket(storage: SeaweedFS, **more: object) -> dict:
    """The value of registry_s3."""
    return {
        **memory_s3.bucket_at(f"https://localhost:{storage.https}"),
        # No proxy follows them here.
        "redirect": False,
        **more,
    }


@pytest.fixture
def serve(images: dict[str, str], ca: Authority, tmp_path: Path) -> Callable[..., tuple[str, str]]:
    """serve(**variables of the role) starts a registry: its address, and its container."""

    def serve(**variables: object) -> tuple[str, str]:
        port = free_ports(1)[0]
        made = role_configs(tmp_path, registry_storage="s3", **variables)[0]
        http = {"addr": f"127.0.0.1:{port}", "secret": "x", "relativeurls": True}
        (tmp_path / f"{port}.yml").write_text(yaml.safe_dump({**made, "http": http}))
        (tmp_path / "s3-ca.pem").write_bytes(ca.certificate.read_bytes())
        container = run_container(
            images["registry"],
            "registry",
            "serve",
            f"/made/{port}.yml",
            options=(f"--volume={tmp_path}:/made:ro", f"--env=SSL_CERT_FILE={CA_PLACE}"),
        )
        wait_for(f"{container} listens", lambda: listening(port))
        return f"127.0.0.1:{port}", container

    return serve


def test_what_is_pushed_are_objects_and_is_there_after_a_restart(serve: Callable, storage: SeaweedFS) -> None:
    address, container = serve(registry_s3=bucket(storage, root_directory="wharf/images"))
    content = Content(connection_to(address))
    tag = secrets.token_hex(4)
    image = content.image("team/app", tag)
    keys = storage.objects()
    assert f"wharf/images/docker/registry/v2/repositories/team/app/_manifests/tags/{tag}/current/link" in keys
    # Nothing of it lies on the disk of the container.
    assert "registry/v2" not in command("docker", "diff", container).stdout
    command("docker", "restart", "--time=1", container)
    wait_for(f"{container} listens again", lambda: listening(int(address.split(":")[1])))
    again = Content(connection_to(address))
    assert again.digest("team/app", tag) == image["digest"]
    assert again.tags("team/app") == [tag]


def test_one_goes_on_with_an_upload_that_another_began(serve: Callable, storage: SeaweedFS) -> None:
    variables = {"registry_s3": bucket(storage, chunk_size=5 << 20)}
    one, other = (Content(connection_to(serve(**variables)[0])) for _replica in range(2))
    first, second = secrets.token_bytes(6 << 20), secrets.token_bytes(3 << 20)
    location = one.begin("team/large")
    for content, part in ((one, first), (other, second)):
        status, headers, body = content.ask("PATCH", location, part, Content_Type="application/octet-stream")
        assert status == 202, body
        location = headers["Location"]
    digest = digest_of(first + second)
    assert one.ask("PUT", with_digest(location, digest), b"")[0] == 201
    # From the registry itself: a client may not reach the storage.
    status, _headers, body = other.ask("GET", f"/v2/team/large/blobs/{digest}")
    assert (status, body) == (200, first + second)
    status, _headers, body = one.ask("GET", f"/v2/team/large/blobs/{digest}", Range=f"bytes={len(first)}-")
    assert (status, body) == (206, second)
    assert storage.uploads() == []


def test_files_of_a_disk_are_served_as_objects(
    serve: Callable, storage: SeaweedFS, images: dict[str, str], tmp_path: Path
) -> None:
    """The layout is the same: what the guide says of copying."""
    port, disk = free_ports(1)[0], tmp_path / "disk"
    disk.mkdir()
    settings = {
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": "/disk"}},
        "http": {"addr": f"127.0.0.1:{port}"},
    }
    (tmp_path / "disk.yml").write_text(yaml.safe_dump(settings))
    options = (f"--volume={tmp_path}:/made:ro", f"--volume={disk}:/disk")
    run_container(images["registry"], "registry", "serve", "/made/disk.yml", options=options)
    wait_for("the registry of the disk listens", lambda: listening(port))
    image = Content(connection_to(f"127.0.0.1:{port}")).image("moved/app", "1.0")
    for path in (path for path in disk.rglob("*") if path.is_file()):
        key = f"/{memory_s3.BUCKET}/moved/{path.relative_to(disk)}"
        assert storage.ask("PUT", key, body=path.read_bytes())[0] == 200
    content = Content(connection_to(serve(registry_s3=bucket(storage, root_directory="moved"))[0]))
    assert content.tags("moved/app") == ["1.0"]
    assert image["digest"] in content.pull("moved/app", "1.0")


def test_a_wrong_key_is_told_by_the_health(serve: Callable, storage: SeaweedFS) -> None:
    """The driver itself asks for nothing when it starts. The role waits for the health, and asks for the catalog."""
    address, container = serve(registry_s3=bucket(storage, secret_key="wrong"))
    content = Content(connection_to(address))
    assert content.ask("GET", "/v2/_catalog?n=1")[0] >= 500
    said = command("docker", "logs", container)
    assert memory_s3.SECRET_KEY not in said.stdout + said.stderr

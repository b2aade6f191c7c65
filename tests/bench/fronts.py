"""Proxies with their registries on this machine, before a disk or an object storage, and what they compute.

Clients and storages run on the same processors, and are no part of what is counted.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import memory_s3
from content import Content
from engine import bridge_address, command, make_images, run, run_container
from front import running
from http_client import at_once
from seaweedfs import SeaweedFS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from front import Front

USERS = [{"name": "ci", "access": "push"}]
# One that is slow counts for the first request of a user alone.
OPTIONS = {"reverse_proxy_bcrypt_cost": 5}
# Several hosts take a third of the writes each: by the hash of their names, each has two of these.
REPOSITORIES = ["apps/web", "team/a", "apps/api", "team/c", "team/b", "web/shop"]
# Clock ticks of the processes of containers. Some end meanwhile, such as the one by which nginx loads its cache.
COUNT = """
for container in "$@"; do
  for pid in $(docker top "$container" -o pid | tail -n +2); do
    cut -d ' ' -f 14-15 "/proc/$pid/stat" 2>/dev/null || true
  done
done
"""


class Lab:
    """A directory, an object storage, a container with clients, and fronts that end with it."""

    def __init__(self, directory: Path, stack: contextlib.ExitStack) -> None:
        self.directory = directory
        self.stack = stack
        stack.enter_context(run())
        self.images = make_images()
        (directory / "storage").mkdir()
        self.storage = stack.enter_context(SeaweedFS(directory / "storage", outside=True, volumes=100))
        self.tools = run_container(self.images["tools"], "sleep", "infinity", options=("--entrypoint=",))

    def front(self, name: str, **options: object) -> Front:
        (self.directory / name).mkdir()
        front = running(self.directory / name, self.images, USERS, **OPTIONS, **options)
        return self.stack.enter_context(front)

    def in_tools(self, script: str) -> str:
        return command("docker", "exec", "--interactive", self.tools, "sh", "-s", stdin=script).stdout


@contextlib.contextmanager
def lab(name: str) -> Iterator[Lab]:
    directory = Path(tempfile.mkdtemp(prefix=f"bench-{name}-"))
    # Containers have another account.
    directory.chmod(0o755)
    try:
        with contextlib.ExitStack() as stack:
            yield Lab(directory, stack)
    finally:
        shutil.rmtree(directory)


def bucket(port: int, **more: object) -> dict:
    """The variables of the inventory for the storage at this port."""
    return {
        "registry_storage": "s3",
        "registry_s3": {
            "endpoint": f"http://{bridge_address()}:{port}",
            "plain_http": True,
            "bucket": memory_s3.BUCKET,
            "region": memory_s3.REGION,
            "access_key": memory_s3.ACCESS_KEY,
            "secret_key": memory_s3.SECRET_KEY,
            **more,
        },
        "reverse_proxy_storage_directory": "",
    }


def used(front: Front) -> float:
    """The processor seconds of nginx and the registries so far."""
    counted = command("sh", "-c", COUNT, "-", *front.containers.values()).stdout.split()
    return sum(map(int, counted)) / 100


def content_of(front: Front) -> Content:
    """A connection of its own."""
    client = front.client("ci")
    client.connection.timeout = 300
    return Content(client.connection, client.authorization)


def push(fronts: Sequence[Front], tags: Sequence[str], clients: int) -> int:
    """Push a small image for each tag and repository, by clients that each stay at one front; the number of images."""
    images = [(repository, tag) for tag in tags for repository in REPOSITORIES]

    def push_some(client: int) -> None:
        content = content_of(fronts[client % len(fronts)])
        for repository, tag in images[client::clients]:
            content.image(repository, tag, labels={"of": f"{repository} {tag}"})

    at_once([lambda client=client: push_some(client) for client in range(clients)])
    return len(images)

"""Compares the ways of a blob: from a disk, and from an object storage by the registry, by nginx and by its cache.

Usage: blobs.py, with tests/support and tests/lab on PYTHONPATH. It starts a storage, and a proxy with registries for
each way, on this machine.
"""

from __future__ import annotations

import contextlib
import secrets
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import memory_s3
from engine import bridge_address, command, make_images, run, run_container
from front import running
from http_client import Client, SocketConnection
from seaweedfs import SeaweedFS
from table import Row, report, say

if TYPE_CHECKING:
    from front import Front

USERS = [{"name": "ci", "access": "push"}]
REPOSITORY = "bench/blobs"
BLOB_MIB = 256
PULLS, TOGETHER = 4, 2
ROUNDS = 3
COLD = "cache, cold"
# Clock ticks of the processes of containers.
COUNT = """
for container in "$@"; do
  for pid in $(docker top "$container" -o pid | tail -n +2); do
    cut -d ' ' -f 14-15 "/proc/$pid/stat"
  done
done
"""


def bucket(storage: SeaweedFS, **more: object) -> dict:
    return {
        "registry_storage": "s3",
        "registry_s3": {
            "endpoint": f"http://{bridge_address()}:{storage.gateways[0]}",
            "plain_http": True,
            "bucket": memory_s3.BUCKET,
            "region": memory_s3.REGION,
            "access_key": memory_s3.ACCESS_KEY,
            "secret_key": memory_s3.SECRET_KEY,
            **more,
        },
        "reverse_proxy_storage_directory": "",
    }


def ticks(front: Front) -> int:
    """What nginx and the registries have computed."""
    counted = command("sh", "-c", COUNT, "-", *front.containers.values()).stdout.split()
    return sum(map(int, counted))


def forget(front: Front) -> None:
    """Make the cache of nginx cold."""
    for path in (front.directory / "blob-cache").iterdir():
        shutil.rmtree(path)


def pull(front: Front, digest: str, tools: str) -> tuple[float, float]:
    """Processor seconds of the server for each GiB, and MiB a second."""
    login = f"user = ci:{front.passwords['ci']}"
    script = f"""
for turn in $(seq {PULLS}); do
  printf '%s' '{login}' | curl -sSf --insecure --http1.1 --config - -o /dev/null \
    https://localhost:{front.port}/v2/{REPOSITORY}/blobs/{digest} &
  [ $((turn % {TOGETHER})) -ne 0 ] || wait
done
wait
"""
    before, began = ticks(front), time.monotonic()
    command("docker", "exec", "--interactive", tools, "sh", "-s", stdin=script)
    mib = PULLS * BLOB_MIB
    return (ticks(front) - before) / 100 / (mib / 1024), mib / (time.monotonic() - began)


def measure(fronts: dict[str, Front], digests: dict[str, str], tools: str) -> dict[str, dict[str, list[float]]]:
    """Of each way, processor time and rate in each round."""
    used: dict[str, dict[str, list[float]]] = {name: {"used": [], "rate": []} for name in fronts}
    # Passwords are remembered, and so is what is warm.
    for name, front in fronts.items():
        pull(front, digests[name], tools)
    for turn in range(1, ROUNDS + 1):
        for name in list(fronts) if turn % 2 else list(fronts)[::-1]:
            if name == COLD:
                forget(fronts[name])
            seconds, rate = pull(fronts[name], digests[name], tools)
            used[name]["used"].append(seconds)
            used[name]["rate"].append(rate)
        said = ", ".join(f"{name} {ways['used'][-1]:.2f} s {ways['rate'][-1]:.0f} MiB/s" for name, ways in used.items())
        say(f"blobs {turn}/{ROUNDS}, for each GiB: {said}")
    return used


def main() -> None:
    directory = Path(tempfile.mkdtemp(prefix="bench-blobs-"))
    # Containers have another account.
    directory.chmod(0o755)
    try:
        with contextlib.ExitStack() as stack:
            stack.enter_context(run())
            images = make_images()
            (directory / "storage").mkdir()
            storage = stack.enter_context(SeaweedFS(directory / "storage", outside=True))
            tools = run_container(images["tools"], "sleep", "infinity", options=("--entrypoint=",))
            ways = {
                "disk": {},
                "registry": bucket(storage, redirect=False),
                "nginx": {**bucket(storage), "reverse_proxy_blob_cache_size": "0"},
                COLD: bucket(storage),
                "cache, warm": bucket(storage),
            }
            fronts, digests = {}, {}
            content = secrets.token_bytes(BLOB_MIB << 20)
            for number, (name, options) in enumerate(ways.items()):
                (directory / str(number)).mkdir()
                front = running(directory / str(number), images, USERS, reverse_proxy_bcrypt_cost=5, **options)
                fronts[name] = stack.enter_context(front)
                connection = SocketConnection(fronts[name].socket())
                connection.timeout = 300
                digests[name] = Client(connection).put_blob(REPOSITORY, content)
            used = measure(fronts, digests, tools)
    finally:
        shutil.rmtree(directory)
    rows = [Row(f"a GiB pulled, {name}, disk", used[name]["used"], used["disk"]["used"]) for name in list(ways)[1:]] + [
        Row(f"rate of pulls, {name}, disk", used[name]["rate"], used["disk"]["rate"], unit="MiB/s")
        for name in list(ways)[1:-1]
    ]
    rows.append(
        Row(
            "rate of pulls, cache, warm, disk",
            used["cache, warm"]["rate"],
            used["disk"]["rate"],
            unit="MiB/s",
            at_least=0.8,
        )
    )
    report(rows)
    sys.exit(0 if all(row.met for row in rows) else 1)


if __name__ == "__main__":
    main()

"""Compares the ways of a blob: from a disk, and from an object storage by the registry, by nginx and by its cache.

Usage: blobs.py, with tests/support and tests/lab on PYTHONPATH. It starts a storage, and a proxy with registries for
each way, on this machine.
"""

from __future__ import annotations

import secrets
import shutil
import sys
import time
from typing import TYPE_CHECKING

from fronts import bucket, lab, used
from http_client import Client, SocketConnection
from table import Row, report, say

if TYPE_CHECKING:
    from front import Front
    from fronts import Lab

REPOSITORY = "bench/blobs"
BLOB_MIB = 256
PULLS, TOGETHER = 4, 2
ROUNDS = 3
COLD = "cache, cold"


def forget(front: Front) -> None:
    """Make the cache of nginx cold."""
    for path in (front.directory / "blob-cache").iterdir():
        shutil.rmtree(path)


def pull(here: Lab, front: Front, digest: str, *, cold: bool) -> tuple[float, float]:
    """Processor seconds of the server for each GiB, and MiB a second."""
    login = f"user = ci:{front.passwords['ci']}"
    script = f"""
rm -f /tmp/failed
for turn in $(seq {TOGETHER}); do
  printf '%s' '{login}' | curl -sSf --insecure --http1.1 --config - -o /dev/null \
    https://localhost:{front.port}/v2/{REPOSITORY}/blobs/{digest} || touch /tmp/failed &
done
wait
[ ! -e /tmp/failed ]
"""
    before, began = used(front), time.monotonic()
    for _time in range(PULLS // TOGETHER):
        if cold:
            forget(front)
        here.in_tools(script)
    mib = PULLS * BLOB_MIB
    return (used(front) - before) / (mib / 1024), mib / (time.monotonic() - began)


def measure(here: Lab, fronts: dict[str, Front], digests: dict[str, str]) -> dict[str, dict[str, list[float]]]:
    """Of each way, processor time and rate in each round."""
    figures: dict[str, dict[str, list[float]]] = {name: {"used": [], "rate": []} for name in fronts}
    # Passwords are remembered, and so is what is warm.
    for name, front in fronts.items():
        pull(here, front, digests[name], cold=False)
    for turn in range(1, ROUNDS + 1):
        for name in list(fronts) if turn % 2 else list(fronts)[::-1]:
            seconds, rate = pull(here, fronts[name], digests[name], cold=name == COLD)
            figures[name]["used"].append(seconds)
            figures[name]["rate"].append(rate)
        said = ", ".join(
            f"{name} {ways['used'][-1]:.2f} s {ways['rate'][-1]:.0f} MiB/s" for name, ways in figures.items()
        )
        say(f"blobs {turn}/{ROUNDS}, for each GiB: {said}")
    return figures


def main() -> None:
    with lab("blobs") as here:
        storage = bucket(here.storage.gateways[0])
        ways = {
            "disk": {},
            "registry": bucket(here.storage.gateways[0], redirect=False),
            "nginx": {**storage, "reverse_proxy_blob_cache_size": "0"},
            COLD: storage,
            "cache, warm": storage,
        }
        fronts, digests = {}, {}
        content = secrets.token_bytes(BLOB_MIB << 20)
        for number, (name, options) in enumerate(ways.items()):
            fronts[name] = here.front(str(number), **options)
            connection = SocketConnection(fronts[name].socket())
            connection.timeout = 300
            digests[name] = Client(connection).put_blob(REPOSITORY, content)
        figures = measure(here, fronts, digests)
    rows = [
        Row(f"a GiB pulled, {name}, disk", figures[name]["used"], figures["disk"]["used"]) for name in list(ways)[1:]
    ] + [
        Row(f"rate of pulls, {name}, disk", figures[name]["rate"], figures["disk"]["rate"], unit="MiB/s")
        for name in list(ways)[1:-1]
    ]
    rows.append(
        Row(
            "rate of pulls, cache, warm, disk",
            figures["cache, warm"]["rate"],
            figures["disk"]["rate"],
            unit="MiB/s",
            at_least=0.8,
        )
    )
    report(rows)
    sys.exit(0 if all(row.met for row in rows) else 1)


if __name__ == "__main__":
    main()

"""Fills two repositories, has registry_retention decide on them, and prints the table. Runs in the container `tools`.

Usage: retention.py < PASSWORD

Nothing is removed: check mode reads and decides the same.
"""

from __future__ import annotations

import base64
import concurrent.futures
import json
import os
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from content import Content
from http_client import CONFIGS, LAYERS, OCI, connection_to
from table import Row, report, say

ADDRESS = "registry.bench.test:443"
USER = "ci"
# How many images each repository has. All of them have as many tags.
REPOSITORIES = {"retention/small": 200, "retention/large": 2000}
TAGS_OF_AN_IMAGE = 5
CONNECTIONS = 8
ROUNDS = 3
# What the issue demands of the larger one.
MOST_SECONDS = 60

HERE = Path(__file__).resolve().parent


def names(number: int) -> list[str]:
    return [f"1.{number}.0", *(f"{word}-{number}" for word in ("build", "commit", "main", "nightly"))]


def fill(authorization: str) -> None:
    """Images of two layers, one of which all share, that were made an hour after one another."""
    local = threading.local()

    def connect() -> None:
        local.content = Content(connection_to(ADDRESS, ssl.create_default_context()), authorization)

    def put(repository: str, number: int) -> None:
        content = local.content
        created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(1_700_000_000 + 3600 * number))
        labels = {f"com.example.label-{part}": f"some text about image {number} " * 4 for part in range(8)}
        settings = {"architecture": "amd64", "os": "linux", "created": created, "config": {"Labels": labels}}
        layers = [content.blob(repository, b"a layer"), content.blob(repository, f"layer {number}".encode())]
        image = {
            "schemaVersion": 2,
            "mediaType": OCI,
            "config": {**content.blob(repository, json.dumps(settings).encode()), "mediaType": CONFIGS[OCI]},
            "layers": [{**layer, "mediaType": LAYERS[OCI]} for layer in layers],
        }
        for tag in names(number):
            content.manifest(repository, tag, image, OCI)

    images = [(repository, number) for repository, count in REPOSITORIES.items() for number in range(count)]
    with concurrent.futures.ThreadPoolExecutor(CONNECTIONS, initializer=connect) as executor:
        list(executor.map(put, *zip(*images, strict=True)))


def module(name: str, password: str, **options: object) -> tuple[float, float, Path]:
    """One run of a module, from the start of Python to its end: seconds, MiB of memory at most, and its result.

    The result stays in a file, since the memory of this process is the least that a child is said to have had.
    """
    login = {"registry": ADDRESS, "username": USER, "password": password, "max_workers": CONNECTIONS}
    arguments = json.dumps({"ANSIBLE_MODULE_ARGS": {**login, **options, "_ansible_check_mode": True}})
    path = Path(tempfile.mkstemp(prefix=f"{name}-")[1])
    began = time.monotonic()
    with path.open("wb") as output:
        run = subprocess.Popen(("python3", "managed/launch.py", name), stdin=subprocess.PIPE, stdout=output, cwd=HERE)
        run.stdin.write(arguments.encode())
        run.stdin.close()
        _process, status, used = os.wait4(run.pid, 0)
    if status:
        sys.exit(f"FAILED: {name}: {path.read_text()[-2000:]}")
    return time.monotonic() - began, used.ru_maxrss / 1024, path


def retention(repository: str, password: str) -> tuple[float, float, Path]:
    rules = [{"repositories": [repository], "keep_newest": 10, "keep_versions": [">=1.100"]}]
    return module("registry_retention", password, rules=rules, max_delete=100_000, max_delete_percent=100)


def check(path: Path, images: int) -> None:
    """What was decided is what must be: the ten newest and the versions stay, and nothing of these is freed."""
    result = json.loads(path.read_text())
    (repository,) = result["repositories"]
    kept = {one["tag"] for one in repository["kept"]}
    wanted = {tag for number in range(images - 10, images) for tag in names(number)}
    wanted |= {f"1.{number}.0" for number in range(100, images)}
    if kept != wanted or result["considered"] != images * TAGS_OF_AN_IMAGE or not result["reclaimable_bytes"]:
        sys.exit("FAILED: registry_retention does not keep what it must")


def main() -> None:
    password = sys.stdin.readline().strip()
    began = time.monotonic()
    fill("Basic " + base64.b64encode(f"{USER}:{password}".encode()).decode())
    tags = {repository: images * TAGS_OF_AN_IMAGE for repository, images in REPOSITORIES.items()}
    say(f"{sum(tags.values())} tags were put in {time.monotonic() - began:.0f} s")
    small, large = REPOSITORIES
    runs: dict[str, list[tuple[float, float, Path]]] = {small: [], large: [], "info": []}
    for turn in range(1, ROUNDS + 1):
        for repository in (small, large):
            runs[repository].append(retention(repository, password))
        runs["info"].append(module("registry_info", password, repositories=[large], details="full"))
        shown = ", ".join(f"{name} {done[-1][0]:.1f} s, {done[-1][1]:.0f} MiB" for name, done in runs.items())
        say(f"retention {turn}/{ROUNDS}: {shown}")
    for repository, images in REPOSITORIES.items():
        for _seconds, _memory, path in runs[repository]:
            check(path, images)
    seconds = {name: [done[0] for done in of_name] for name, of_name in runs.items()}
    memory = {name: [done[1] for done in of_name] for name, of_name in runs.items()}
    each = {name: [1000 * one / tags[name] for one in seconds[name]] for name in (small, large)}
    rows = [
        Row(f"retention, {tags[large]} tags, and registry_info", seconds[large], seconds["info"], at_most=1.2),
        Row(f"each of {tags[large]} tags, and of {tags[small]}", each[large], each[small], at_most=1.2, unit="ms"),
        Row(f"memory for {tags[large]} tags, and {tags[small]}", memory[large], memory[small], at_most=1.5, unit="MiB"),
    ]
    report(rows)
    longest = statistics.median(seconds[large])
    say(f"{tags[large]} tags in {longest:.1f} s, of {MOST_SECONDS} s at most")
    sys.exit(0 if all(row.met for row in rows) and longest < MOST_SECONDS else 1)


if __name__ == "__main__":
    main()

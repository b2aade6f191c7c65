"""Compares an object storage with a disk: pushes, and the list of many tags; and counts what the storage is asked.

Usage: storages.py, with tests/support and tests/lab on PYTHONPATH. It starts an object storage, and proxies with two
registries each before it and before a disk, on this machine.
"""

from __future__ import annotations

import collections
import concurrent.futures
import functools
import re
import secrets
import sys
import time
from typing import TYPE_CHECKING

from engine import command, wait_for
from front import REPLICAS
from fronts import bucket, content_of, lab, push, used
from http_client import digest_of, with_digest
from memory_s3 import BUCKET
from s3_relay import Relay
from table import Row, report, say

if TYPE_CHECKING:
    from collections.abc import Callable

    from content import Content
    from front import Front
    from fronts import Lab
    from http_client import Answer
    from s3_relay import Seen

ROUNDS = 3
CLIENTS = 4
PUSHED_TAGS = 6  # in each of six repositories, in each round
LAYER_MIB = 256
TAGS = [f"1.{number}" for number in range(5000)]
LISTED = "bench/listed"
WRITERS = 8
IMAGES = "bench/counted"
COUNTED = 5


def rounds(
    sides: dict[str, Front], measure: Callable[[Front], tuple[float, ...]]
) -> dict[str, list[tuple[float, ...]]]:
    """What is measured of each side, in turn."""
    figures: dict[str, list] = {name: [] for name in sides}
    for turn in range(1, ROUNDS + 1):
        for name in list(sides) if turn % 2 else list(sides)[::-1]:
            figures[name].append(measure(sides[name]))
        said = ", ".join(f"{name} {' '.join(f'{one:.4g}' for one in found[-1])}" for name, found in figures.items())
        say(f"{measure.__name__} {turn}/{ROUNDS}: {said}")
    return figures


def row(what: str, figures: dict[str, list[tuple[float, ...]]], place: int, unit: str) -> Row:
    s3, disk = ([found[place] for found in figures[name]] for name in ("s3", "disk"))
    return Row(f"{what}, S3, disk", s3, disk, unit=unit)


# --- pushes -----------------------------------------------------------------------------------------------------------


def small_images(front: Front) -> tuple[float, float]:
    """Images a second, and processor milliseconds for each."""
    tags = [secrets.token_hex(8) for _tag in range(PUSHED_TAGS)]
    before, began = used(front), time.monotonic()
    images = push([front], tags, CLIENTS)
    seconds = time.monotonic() - began
    return images / seconds, 1000 * (used(front) - before) / images


def large_layer(front: Front) -> tuple[float, float]:
    """MiB a second, and processor seconds for each GiB."""
    content, layer = content_of(front), secrets.token_bytes(LAYER_MIB << 20)
    before, began = used(front), time.monotonic()
    upload(content, layer)
    seconds = time.monotonic() - began
    return LAYER_MIB / seconds, (used(front) - before) / (LAYER_MIB / 1024)


def upload(content: Content, layer: bytes) -> None:
    """As Docker does: the content by one request, and the digest by another."""
    kind = {"Content_Type": "application/octet-stream"}
    taken = content.ask("PATCH", content.begin("bench/layers"), layer, **kind)
    ended = content.ask("PUT", with_digest(taken.headers["Location"], digest_of(layer)), b"", **kind)
    if ended.status != 201:
        sys.exit(f"FAILED: a layer of {LAYER_MIB} MiB: {ended}")


# --- a list of tags ---------------------------------------------------------------------------------------------------


def fill(lab: Lab, sides: dict[str, Front]) -> None:
    """Give one image all tags, by the link of each that a registry lists and reads."""
    digests = {content_of(front).image(LISTED, TAGS[0], layer=b"listed")["digest"] for front in sides.values()}
    (digest,) = digests
    links = [f"docker/registry/v2/repositories/{LISTED}/_manifests/tags/{tag}/current/link" for tag in TAGS[1:]]

    def put(key: str) -> None:
        status, said = lab.storage.ask("PUT", f"/{BUCKET}/{key}", body=digest.encode())
        if status != 200:
            sys.exit(f"FAILED: {key}: {status} {said}")

    with concurrent.futures.ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(put, links))
    for link in links:
        path = sides["disk"].directory / "storage" / link
        path.parent.mkdir(parents=True)
        path.write_text(digest)
    for name, front in sides.items():
        if content_of(front).digest(LISTED, TAGS[-1]) != digest:
            sys.exit(f"FAILED: {name} lacks a tag that was written")


def list_of_tags(front: Front) -> tuple[float]:
    """Seconds, of replicas that have just begun."""
    command("docker", "restart", "--time=10", *(front.containers[f"registry-{replica}"] for replica in REPLICAS))
    for replica in REPLICAS:
        wait_for("a replica answers", lambda replica=replica: front.answers(replica))
    content = content_of(front)
    # The connection and the password are no part of it.
    wait_for("the proxy answers", lambda: content.ask("GET", "/v2/").status == 200)
    began = time.monotonic()
    found = content.tags(LISTED)
    seconds = time.monotonic() - began
    if found != sorted(TAGS):
        sys.exit(f"FAILED: {len(found)} tags are listed, and {len(TAGS)} are there")
    return (seconds,)


# --- what the storage is asked ----------------------------------------------------------------------------------------


class Counted:
    """Counts the requests of a client, and those that the storage gets for them."""

    def __init__(self, relay: Relay, front: Front) -> None:
        self.relay = relay
        self.front = front
        self.content = content_of(front)
        self.sent = 0
        ask = self.content.ask

        def counting(*arguments: object, **more: object) -> Answer:
            self.sent += 1
            return ask(*arguments, **more)

        self.content.ask = counting

    def row(self, what: str, acts: list[Callable[[], object]], at_most: float) -> Row:
        """The requests for each of the acts, in the mean."""
        sent, before = self.sent, len(self.relay.requests)
        for act in acts:
            act()
        seen = collections.Counter(map(kind_of, self.relay.requests[before:]))
        kinds = ", ".join(f"{number / len(acts):g} {kind}" for kind, number in seen.most_common())
        ours, theirs = seen.total() / len(acts), (self.sent - sent) / len(acts)
        say(f"{what}: {ours:g} requests to the storage for {theirs:g} of the client: {kinds}")
        return Row(f"requests to S3, {what}, of the client", [ours], [theirs], unit="", at_most=at_most)


def kind_of(seen: Seen) -> str:
    if seen.method == "GET" and re.search(r"[?&](list-type|prefix|uploads)=", seen.target):
        return "LIST"
    return "COPY" if "x-amz-copy-source" in seen.headers else seen.method


def count_requests(lab: Lab) -> list[Row]:
    with Relay(lab.storage.gateways[0]) as relay:
        counted = Counted(relay, lab.front("counted", **bucket(relay.port)))
        content = counted.content
        # The first image of a repository is not as the others, nor is the first request of a connection.
        content.image(IMAGES, "first", labels={"of": "first"}, layer=b"first")
        layers = [secrets.token_bytes(1000) for _image in range(COUNTED)]
        tags = [secrets.token_hex(8) for _image in range(COUNTED)]
        images = [
            functools.partial(content.image, IMAGES, tag, labels={"of": tag}, layer=layer)
            for tag, layer in zip(tags, layers, strict=True)
        ]
        manifests = [functools.partial(content.digest, IMAGES, tag) for tag in tags]
        blobs = [functools.partial(content.ask, "GET", f"/v2/{IMAGES}/blobs/{digest_of(layer)}") for layer in layers]
        rows = [
            counted.row("a push of a small image", images, at_most=9),
            counted.row("a manifest by tag", manifests, at_most=4),
            counted.row("a blob, cold", blobs, at_most=8),
            counted.row("a blob, warm", blobs, at_most=7),
            counted.row(f"{len(TAGS)} tags", [functools.partial(content.tags, LISTED)], at_most=len(TAGS) / 1000 + 1),
        ]
        before = len(relay.requests)
        names = counted.front.registry().ask("GET", "/v2/_catalog?n=1000").json["repositories"]
        asked = len(relay.requests) - before
    say(f"the catalogue: {asked} requests to the storage for {len(names)} repositories")
    return [*rows, Row("requests to S3, the catalogue, repositories", [asked], [len(names)], unit="", at_most=2)]


def main() -> None:
    with lab("storages") as here:
        sides = {"disk": here.front("disk"), "s3": here.front("s3", **bucket(here.storage.gateways[0]))}
        for front in sides.values():
            push([front], ["first"], CLIENTS)
        small, large = rounds(sides, small_images), rounds(sides, large_layer)
        fill(here, sides)
        listed = rounds(sides, list_of_tags)
        rows = [
            row("rate of pushes of small images", small, 0, "/s"),
            row("a push of a small image", small, 1, "ms"),
            row(f"rate of a push of {LAYER_MIB} MiB", large, 0, "MiB/s"),
            row("a GiB pushed", large, 1, "s"),
            row(f"a list of {len(TAGS)} tags", listed, 0, "s"),
            *count_requests(here),
        ]
    report(rows)
    sys.exit(0 if all(row.met for row in rows) else 1)


if __name__ == "__main__":
    main()

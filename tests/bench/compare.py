"""Fills the registry, compares, and prints the table. Runs in the container `tools`, with ci's password on its input.

Usage: compare.py < PASSWORD
"""

from __future__ import annotations

import base64
import concurrent.futures
import json
import re
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path

from content import Content
from http_client import CONFIGS, LAYERS, OCI, connection_to
from table import Row, report, say

REGISTRY = "registry.bench.test"
USER = "ci"
# Repositories of many tags, the digests of which are read, and more that make the catalogue long.
DEEP = {f"deep/service-{number:02}": [f"1.{patch}.0" for patch in range(40)] for number in range(50)}
FLAT = {f"flat/service-{number:03}": ["1.0.0"] for number in range(250)}
# Requests at the same time, for each of the programs: the module's default.
CONNECTIONS = 8

ROUNDS = 3
# skopeo takes longer still than crane: some of the tags show by how much.
SKOPEO_TAGS = 200
# Short ones, in turn, since the machine may have other work that comes and goes.
LISTING_ROUNDS = 7
LISTING_SECONDS = 3

HERE = Path(__file__).resolve().parent


def command(*arguments: str, stdin: str = "") -> str:
    done = subprocess.run(arguments, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{arguments[0]} ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def timed(*arguments: str, stdin: str) -> tuple[float, str]:
    began = time.monotonic()
    output = command(*arguments, stdin=stdin)
    return time.monotonic() - began, output


# --- what is asked ----------------------------------------------------------------------------------------------------


def fill(authorization: str) -> None:
    """Put an image for each tag. They share configuration and layer, and differ in an annotation."""
    local = threading.local()

    def connect() -> None:
        local.content = Content(connection_to(f"{REGISTRY}:443", ssl.create_default_context()), authorization)

    def put(repository: str, tags: list[str]) -> None:
        content = local.content
        settings = {"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": []}}
        config = {**content.blob(repository, json.dumps(settings).encode()), "mediaType": CONFIGS[OCI]}
        layer = {**content.blob(repository, b"a layer"), "mediaType": LAYERS[OCI]}
        for tag in tags:
            image = {"schemaVersion": 2, "mediaType": OCI, "config": config, "layers": [layer]}
            content.manifest(repository, tag, {**image, "annotations": {"bench": f"{repository}:{tag}"}}, OCI)

    with concurrent.futures.ThreadPoolExecutor(CONNECTIONS, initializer=connect) as executor:
        list(executor.map(put, *zip(*(DEEP | FLAT).items(), strict=True)))


# --- who asks ---------------------------------------------------------------------------------------------------------


class Clients:
    """Each asks in its own way, and is timed by the clock. What they answer is compared, too."""

    def __init__(self, password: str) -> None:
        self._password = password
        credentials = base64.b64encode(f"{USER}:{password}".encode()).decode()
        self.authorization = f"Basic {credentials}"
        self._header = HERE / "authorization"
        self._header.touch(mode=0o600)
        self._header.write_text(self.authorization)
        self._paths = HERE / "paths"
        listing = ["/v2/_catalog?n=1000", *(f"/v2/{repository}/tags/list" for repository in DEEP | FLAT)]
        self._paths.write_text("\n".join(listing) + "\n")
        self.requests = len(listing)
        # crane and skopeo both take the login from Docker's configuration.
        command("crane", "auth", "login", REGISTRY, f"--username={USER}", "--password-stdin", stdin=password)

    def _arguments(self, **options: object) -> str:
        login = {"registry": REGISTRY, "username": USER, "password": self._password}
        return json.dumps({"ANSIBLE_MODULE_ARGS": {**login, "max_workers": CONNECTIONS, **options}})

    def module(self, **options: object) -> tuple[float, dict[str, str]]:
        """One run of registry_info, from the start of Python to its end; the digests of what it found, by reference."""
        seconds, output = timed("python3", "managed/launch.py", "registry_info", stdin=self._arguments(**options))
        found = json.loads(output)["repositories"]
        return seconds, {
            f"{REGISTRY}/{repository['name']}:{tag['name']}": tag.get("digest", "")
            for repository in found
            for tag in repository["tags"]
        }

    def crane(self, references: list[str]) -> tuple[float, list[str]]:
        return self._each(references, "crane", "digest")

    def skopeo(self, references: list[str]) -> tuple[float, list[str]]:
        inspect = ("skopeo", "inspect", "--no-tags", "--format={{.Digest}}")
        return self._each([f"docker://{reference}" for reference in references], *inspect)

    def _each(self, references: list[str], *client: str) -> tuple[float, list[str]]:
        """One process for each reference, as a shell script would do it."""
        parallel = ("xargs", "--max-args=1", f"--max-procs={CONNECTIONS}")
        seconds, output = timed(*parallel, *client, stdin="\n".join(references))
        # Not by lines: a client that writes its digest and the line feed apart lets another's come between.
        return seconds, re.findall(r"sha256:[0-9a-f]{64}", output)

    def listing(self) -> tuple[float, dict[str, set[str]]]:
        """Seconds of one listing by registry_info, and the tags that it found in each repository."""
        listing = command("python3", "listing.py", str(LISTING_SECONDS), stdin=self._arguments(details="names"))
        answer = json.loads(listing)
        found = {
            repository["name"]: {tag["name"] for tag in repository["tags"]} for repository in answer["repositories"]
        }
        return answer["seconds"] / answer["times"], found

    def wrk(self) -> float:
        """Seconds that the server needs for the requests of one listing, when wrk sends them."""
        options = ("--threads=1", f"--connections={CONNECTIONS}", f"--duration={LISTING_SECONDS}s")
        files = (str(self._header), str(self._paths))
        output = command("wrk", *options, "--script=catalogue.lua", f"https://{REGISTRY}", "--", *files)
        answer = json.loads(output.splitlines()[-1])
        if answer["failed"]:
            sys.exit(f"wrk: {answer['failed']} requests failed:\n{output}")
        return answer["seconds"] / answer["requests"] * self.requests


# --- the comparisons --------------------------------------------------------------------------------------------------


def same(what: str, ours: list, theirs: list) -> None:
    """A client that answers something else has not done the same work."""
    if sorted(ours) != sorted(theirs):
        sys.exit(f"FAILED: {what} and registry_info do not answer the same")


def compare_digests(clients: Clients) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {"registry_info": [], "crane": [], "skopeo": []}
    wanted = {f"{REGISTRY}/{repository}:{tag}" for repository, tags in DEEP.items() for tag in tags}
    for turn in range(1, ROUNDS + 1):
        ours, digests = clients.module(repositories=["deep/*"], details="digests")
        if digests.keys() != wanted or len(set(digests.values())) != len(wanted):
            sys.exit("FAILED: registry_info does not list what was put in")
        crane, answers = clients.crane(list(digests))
        same("crane", list(digests.values()), answers)
        # Spread over all repositories.
        some = list(digests)[:: len(digests) // SKOPEO_TAGS]
        skopeo, answers = clients.skopeo(some)
        same("skopeo", [digests[reference] for reference in some], answers)
        skopeo *= len(digests) / len(some)
        for name, seconds in zip(times, (ours, crane, skopeo), strict=True):
            times[name].append(seconds)
        say(f"digests {turn}/{ROUNDS}: registry_info {ours:.1f} s, crane {crane:.1f} s, skopeo {skopeo:.0f} s (scaled)")
    return times


def compare_listings(clients: Clients) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {"listing": [], "process": [], "wrk": []}
    wanted = {repository: set(tags) for repository, tags in (DEEP | FLAT).items()}
    for turn in range(1, LISTING_ROUNDS + 1):
        listing, found = clients.listing()
        if found != wanted:
            sys.exit("FAILED: registry_info does not list what was put in")
        wrk = clients.wrk()
        process, _names = clients.module(details="names")
        for name, seconds in zip(times, (listing, process, wrk), strict=True):
            times[name].append(seconds)
        in_ms = ", ".join(f"{name} {1000 * seconds[-1]:.0f} ms" for name, seconds in times.items())
        say(f"catalogue {turn}/{LISTING_ROUNDS}: {in_ms}")
    return times


def main() -> None:
    clients = Clients(sys.stdin.readline().strip())
    began = time.monotonic()
    fill(clients.authorization)
    say(f"{len(DEEP | FLAT)} repositories were filled in {time.monotonic() - began:.0f} s")
    listings = compare_listings(clients)
    digests = compare_digests(clients)
    tags = sum(map(len, DEEP.values()))
    rows = [
        Row(f"digests of {tags} tags, crane", digests["registry_info"], digests["crane"], at_least=5, faster=True),
        Row(f"the same, skopeo (from {SKOPEO_TAGS})", digests["registry_info"], digests["skopeo"], faster=True),
        Row(f"catalogue, {clients.requests} requests, wrk", listings["listing"], listings["wrk"], at_most=1.2),
        Row("the same with Python's start", listings["process"], listings["wrk"]),
    ]
    report(rows)
    sys.exit(0 if all(row.met for row in rows) else 1)


if __name__ == "__main__":
    main()

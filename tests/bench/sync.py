"""Compares registry_sync with skopeo and crane between two registries, and prints the table.

Usage: sync.py, which `run` starts once the container `tools` is there.

Each copy goes into a registry that holds nothing, by HTTP on the network of the lab. All read the same images.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from table import Row, report, say

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
TOOLS = "wharf-lab-tools"
FROM, TO = "wharf-lab-from", "wharf-lab-to"
REPOSITORIES, TAGS = 20, 10
ROUNDS = 3
LARGE_GIB = 5
MOST_MIB = 150
# In memory, so that no disk has a say, but for the large layer.
MEMORY = ("--tmpfs=/var/lib/registry",)

SETTINGS = """
version: 0.1
log: {level: error, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: /var/lib/registry}, delete: {enabled: true}}
http: {addr: ":5000", relativeurls: true, secret: bench}
"""
# Images with three layers that all share and one of their own, as those of a team with one base.
FILL = f"""
import os, secrets
from content import Content
from http_client import connection_to, CONFIGS, LAYERS, OCI
content = Content(connection_to("{FROM}:5000"))
shared = [secrets.token_bytes(1 << 20) for _layer in range(3)]
for number in range({REPOSITORIES}):
    name = f"app-{{number:02}}"
    for tag in range({TAGS}):
        config = b'{{"architecture": "amd64", "os": "linux", "n": "%d-%d"}}' % (number, tag)
        layers = [content.blob(name, one) for one in (*shared, secrets.token_bytes(1 << 18))]
        content.manifest(name, f"1.{{tag}}.0", {{
            "schemaVersion": 2, "mediaType": OCI, "config": {{**content.blob(name, config), "mediaType": CONFIGS[OCI]}},
            "layers": [{{**layer, "mediaType": LAYERS[OCI]}} for layer in layers]}}, OCI)
"""
# Runs a command, and prints its seconds and the MiB of memory that it had at most. What it reads is in a file.
MEASURE = """
import json, os, resource, subprocess, sys, time
began = time.monotonic()
with open(sys.argv[1], "rb") as given:
    done = subprocess.run(sys.argv[2:], stdin=given, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
used = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
if done.returncode:
    sys.exit(done.stdout.decode()[-3000:])
print(json.dumps([time.monotonic() - began, used]))
"""
# A layout with one image, whose layer is a hole in a file.
LAYOUT = f"""
import hashlib, json, os
os.makedirs("large/blobs/sha256", exist_ok=True)
def put(content):
    digest = hashlib.sha256(content).hexdigest()
    open(f"large/blobs/sha256/{{digest}}", "wb").write(content)
    return {{"digest": f"sha256:{{digest}}", "size": len(content)}}
size, zeros, hashed = {LARGE_GIB} << 30, bytes(1 << 20), hashlib.sha256()
for _piece in range(size >> 20):
    hashed.update(zeros)
with open(f"large/blobs/sha256/{{hashed.hexdigest()}}", "wb") as file:
    file.truncate(size)
oci = "application/vnd.oci.image."
image = {{"schemaVersion": 2, "mediaType": oci + "manifest.v1+json",
  "config": {{**put(b"{{}}"), "mediaType": oci + "config.v1+json"}},
  "layers": [{{"mediaType": oci + "layer.v1.tar", "digest": f"sha256:{{hashed.hexdigest()}}", "size": size}}]}}
entry = {{**put(json.dumps(image).encode()), "mediaType": oci + "manifest.v1+json"}}
entry["annotations"] = {{"org.opencontainers.image.ref.name": "large:1"}}
open("large/oci-layout", "w").write('{{"imageLayoutVersion": "1.0.0"}}')
open("large/index.json", "w").write(json.dumps({{"schemaVersion": 2, "manifests": [entry]}}))
"""


def command(*arguments: str, stdin: str = "") -> str:
    done = subprocess.run(arguments, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"FAILED: {' '.join(arguments[:6])} ended with {done.returncode}:\n{done.stdout}{done.stderr[-3000:]}")
    return done.stdout


def in_tools(*arguments: str, stdin: str = "") -> str:
    return command("docker", "exec", "--interactive", "--workdir=/bench", TOOLS, *arguments, stdin=stdin)


def measured(*arguments: str, given: str = "") -> tuple[float, float]:
    """Seconds and MiB of a command in the container of the tools, from its start to its end."""
    in_tools("sh", "-c", "cat >given", stdin=given)
    seconds, mebibytes = json.loads(in_tools("python3", "-c", MEASURE, "given", *arguments))
    return seconds, mebibytes


@contextlib.contextmanager
def registry(name: str, *options: str) -> Iterator[None]:
    """An empty registry of this name."""
    image = (ROOT / ".cache" / "lab" / "registry.id").read_text().split()[0]
    if command("docker", "ps", "--all", "--quiet", f"--filter=name=^{name}$").strip():
        command("docker", "rm", "--force", "--volumes", name)
    base = (
        "docker",
        "run",
        "--detach",
        f"--name={name}",
        "--label=wharf.lab=bench",
        "--network=wharf-lab",
        "--pull=never",
    )
    settings = ("--env", f"SETTINGS={SETTINGS}")
    script = 'printf "%s" "$SETTINGS" >/tmp/config.yml && exec registry serve /tmp/config.yml'
    command(*base, *settings, *options, "--entrypoint=/bin/sh", image, "-c", script)
    try:
        end = time.monotonic() + 30
        while time.monotonic() < end and "200" not in answers(name):
            time.sleep(0.1)
        yield
    finally:
        command("docker", "rm", "--force", "--volumes", name)


def answers(name: str) -> str:
    curl = ("curl", "--silent", "--output", "/dev/null", "--write-out", "%{http_code}", f"http://{name}:5000/v2/")
    return subprocess.run(["docker", "exec", TOOLS, *curl], capture_output=True, text=True, check=False).stdout


def ours(source: dict, images: list[dict]) -> tuple[float, float]:
    options = {
        "source": source,
        "destination": {"registry": f"{TO}:5000", "plain_http": True},
        "images": images,
        "max_workers": 8,
    }
    return measured("python3", "managed/launch.py", "registry_sync", given=json.dumps({"ANSIBLE_MODULE_ARGS": options}))


def sync() -> tuple[float, float]:
    return ours({"registry": f"{FROM}:5000", "plain_http": True}, [{"repository": "*"}])


def skopeo() -> tuple[float, float]:
    names = "".join(f"    app-{number:02}: []\n" for number in range(REPOSITORIES))
    in_tools("sh", "-c", "cat >sync.yml", stdin=f"{FROM}:5000:\n  tls-verify: false\n  images:\n{names}")
    # What it remembers of blobs would spare it some of the work of another round.
    in_tools("rm", "-rf", "/var/lib/containers/cache")
    tls = ("--src-tls-verify=false", "--dest-tls-verify=false")
    return measured("skopeo", "sync", "--src=yaml", "--dest=docker", *tls, "sync.yml", f"{TO}:5000")


def crane() -> tuple[float, float]:
    names = [f"app-{number:02}:1.{tag}.0" for number in range(REPOSITORIES) for tag in range(TAGS)]
    copy = f"crane cp --insecure {FROM}:5000/{{}} {TO}:5000/{{}}"
    # Where two of them bring the same layer at once, one may fail, and does not when it is tried again.
    return measured("xargs", "-P4", "-I{}", "sh", "-c", f"{copy} || {copy}", given="\n".join(names))


def copied() -> int:
    """How many tags the destination has."""
    count = 'for n in $(seq -f %02g 0 19); do crane ls --insecure "$0/app-$n"; done | wc -l'
    return int(in_tools("sh", "-c", count, f"{TO}:5000"))


def compare() -> dict[str, list[float]]:
    figures = {name: [] for name in ("ours", "skopeo", "crane", "ours again", "skopeo again", "memory")}
    for _round in range(ROUNDS):
        for name, copy in (("ours", sync), ("skopeo", skopeo), ("crane", crane)):
            with registry(TO, *MEMORY):
                seconds, mebibytes = copy()
                figures[name].append(seconds)
                if copied() < (REPOSITORIES * TAGS if name != "skopeo" else 0):
                    sys.exit(f"FAILED: {name} copied {copied()} tags")
                if name != "crane":
                    figures[f"{name} again"].append(copy()[0])
                if name == "ours":
                    figures["memory"].append(mebibytes)
    return figures


def main() -> int:
    with registry(FROM, *MEMORY):
        in_tools("python3", "-", stdin=FILL)
        say(f"copying {REPOSITORIES * TAGS} images, {ROUNDS} times each")
        figures = compare()
    say(f"copying a layer of {LARGE_GIB} GiB")
    in_tools("python3", "-", stdin=LAYOUT)
    with registry(TO):
        large = ours({"layout": "/bench/large"}, [{"repository": "large"}])
    in_tools("rm", "-rf", "large")
    rows = [
        Row("200 images, skopeo sync", figures["ours"], figures["skopeo"], at_most=0.7),
        Row("200 images, crane cp, 4 at a time", figures["ours"], figures["crane"], at_most=0.7),
        Row("unchanged, skopeo sync", figures["ours again"], figures["skopeo again"], at_most=0.1),
        Row("memory for 200 images", figures["memory"], [MOST_MIB] * ROUNDS, at_most=1, unit="MiB"),
        Row(f"memory for a layer of {LARGE_GIB} GiB", [large[1]], [MOST_MIB], at_most=1, unit="MiB"),
    ]
    report(rows)
    return 0 if all(row.met for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())

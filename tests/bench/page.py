"""Compares what the page costs: a push in a small storage and in a large one, and requests with its log and without.

Usage: page.py, which `run` starts. It needs only the images of the registry and the proxy, and the Python of .venv.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from table import Row, report, say

sys.path.append(str(Path(__file__).resolve().parents[1] / "support"))
sys.path.append(str(Path(__file__).resolve().parents[1] / "lab"))
sys.path.append(str(Path(__file__).resolve().parents[2] / ".venv" / "collections"))

import engine
import page_program
from engine import command
from front import Front

ROUNDS = 2
SMALL, LARGE, IMAGES, TAGS = 100, 10_000, 4, 20
PUSHES, REQUESTS = 30, 4000
OCI = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
USERS = [
    {"name": "admin", "access": "admin"},
    {"name": "team", "rules": [{"repositories": ["team-7/*"], "actions": ["pull"]}]},
]


class Storage:
    """Repositories with images of a base that all share, as far as a look at them reads it: no layer has content."""

    def __init__(self, top: Path, repositories: int) -> None:
        self.root = top / "docker" / "registry" / "v2"
        for number in range(repositories):
            name = f"team-{number % 50}/service-{number:05}"
            digests = [self.image(name, number, image) for image in range(IMAGES)]
            for tag in range(TAGS):
                self.tag(name, f"1.{tag}.0", digests[tag % IMAGES])

    def put(self, path: str, content: str) -> None:
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(content)

    def blob(self, content: str) -> str:
        encoded = hashlib.sha256(content.encode()).hexdigest()
        self.put(f"blobs/sha256/{encoded[:2]}/{encoded}/data", content)
        return encoded

    def image(self, name: str, number: int, image: int) -> str:
        config = json.dumps(
            {"os": "linux", "architecture": "amd64", "created": "2026-11-01T10:00:00Z", "n": f"{number}-{image}"}
        )
        encoded = self.blob(config)
        self.put(f"repositories/{name}/_layers/sha256/{encoded}/link", f"sha256:{encoded}")
        layers = [f"base {number % 3}", f"layer {number} {image}"]
        document = {
            "schemaVersion": 2,
            "mediaType": OCI,
            "config": {"mediaType": CONFIG, "digest": f"sha256:{encoded}", "size": len(config)},
            "layers": [
                {"mediaType": LAYER, "digest": f"sha256:{hashlib.sha256(one.encode()).hexdigest()}", "size": 1 << 20}
                for one in layers
            ],
        }
        manifest = self.blob(json.dumps(document))
        self.put(f"repositories/{name}/_manifests/revisions/sha256/{manifest}/link", f"sha256:{manifest}")
        return manifest

    def tag(self, name: str, tag: str, manifest: str) -> None:
        self.put(f"repositories/{name}/_manifests/tags/{tag}/current/link", f"sha256:{manifest}")


# Run for each size in a process of its own, whose memory is its own.
LOOK = """
import json, sys, time, types
from keeper import Keeper
place = json.load(open(sys.argv[1]))
keeper = Keeper(types.SimpleNamespace(**place["settings"]))
began = time.monotonic(); keeper.look_at_all(); look = time.monotonic() - began
names = sorted(keeper._catalog.names())
cost = 0
for number in range(place["pushes"]):
    entry = {"call": "tag", "method": "PUT", "status": 201, "user": "ci", "reference": "1.0.0"}
    entry["repository"] = names[number % len(names)]
    with open(place["settings"]["log"], "a") as file:
        file.write(json.dumps(entry) + "\\n")
    keeper._times["indexes"] = 0.0
    began = time.process_time(); keeper.turn(); cost += time.process_time() - began
# Not of getrusage(), which tells of the process that has started this one, too.
memory = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) / 1024
print(json.dumps({"look": look, "push": cost / place["pushes"], "memory": memory}))
"""


def look(top: Path, repositories: int) -> dict:
    place = top / f"{repositories}"
    if not place.exists():
        Storage(place / "storage", repositories)
    state = Path(tempfile.mkdtemp(dir=top))
    (state / "data").mkdir()
    (state / "requests.log").touch()
    settings = {
        "storage": str(place / "storage"),
        "s3": "",
        "host": "here",
        "others": [],
        "log": str(state / "requests.log"),
        "data": str(state / "data"),
        "catalog": str(state / "catalog.db"),
        "registry": "registry.test",
        "policies": [
            {"index": "all", "pull": [".*"], "delete": [".*"], "catalog": True},
            {"index": "team", "pull": ["(?:team-7/.*)"], "delete": [], "catalog": False},
        ],
        "retention": [{"repositories": ["*"], "tags": ["*"], "keep_newest": 3}],
        "keep_digests": [],
        "running": "/nonexistent",
        "gate": {"keys": [], "policy": {}, "waivers": [], "cache": ""},
        "signs": [],
        "fleet": {},
    }
    (state / "place.json").write_text(json.dumps({"settings": settings, "pushes": PUSHES}))
    program = page_program.install(top / "program")
    (program / "look.py").write_text(LOOK)
    done = subprocess.run(
        [sys.executable, "-B", str(program / "look.py"), str(state / "place.json")],
        check=True,
        capture_output=True,
        text=True,
    )
    return json.loads(done.stdout)


def compare_sizes(top: Path) -> list[Row]:
    found: dict[int, list[dict]] = {SMALL: [], LARGE: []}
    for turn in range(ROUNDS):
        for repositories, told in found.items():
            told.append(look(top, repositories))
            one = told[-1]
            say(
                f"page {turn + 1}/{ROUNDS}: {repositories} repositories, {repositories * TAGS} tags: "
                f"first look {one['look']:.1f} s, a push {one['push'] * 1000:.1f} ms, memory {one['memory']:.0f} MiB"
            )
    return [
        Row(
            f"a push on the page, with {LARGE} repositories and with {SMALL}",
            [1000 * one["push"] for one in found[LARGE]],
            [1000 * one["push"] for one in found[SMALL]],
            at_most=1.5,
            unit="ms",
        ),
        Row(
            f"memory of its program, with {LARGE * TAGS} tags and with {SMALL * TAGS}",
            [one["memory"] for one in found[LARGE]],
            [one["memory"] for one in found[SMALL]],
            at_most=3,
            unit="MiB",
        ),
    ]


def computed(container: str) -> float:
    """The seconds that the workers of an nginx have computed."""
    listed = command("docker", "top", container, "-o", "pid,args").stdout.splitlines()[1:]
    total = 0
    for line in listed:
        pid, _space, arguments = line.strip().partition(" ")
        if "nginx: worker" in arguments:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def compare_log(top: Path) -> Row:
    """What nginx computes for a request that it answers by itself, with the log of requests and without."""
    with_log: list[float] = []
    without: list[float] = []
    front = Front(top / "front", engine.make_images())
    try:
        front.configure(USERS, reverse_proxy_page=True)
        front.start()
        client = front.client("admin")
        digest = client.put_image("team-7/app", "1.0", b"a layer")[1]
        for turn in range(ROUNDS):
            for logs, found in ((True, with_log), (False, without)):
                front.change(USERS, reverse_proxy_page=logs, reverse_proxy_request_log=logs)
                client = front.client("admin")
                before = computed(front.containers["proxy"])
                for _request in range(REQUESTS):
                    assert client.ask("GET", f"/v2/team-7/app/blobs/{digest}").status == 200
                found.append(1e6 * (computed(front.containers["proxy"]) - before) / REQUESTS)
            say(
                f"log {turn + 1}/{ROUNDS}: nginx computes {with_log[-1]:.0f} µs a request with it, "
                f"and {without[-1]:.0f} µs without"
            )
    finally:
        front.stop()
    return Row("a request of nginx, with the log of requests and without", with_log, without, at_most=1.1, unit="µs")


def main() -> None:
    with tempfile.TemporaryDirectory() as place, engine.run():
        rows = [*compare_sizes(Path(place)), compare_log(Path(place))]
    report(rows)
    sys.exit(0 if all(row.met for row in rows) else 1)


if __name__ == "__main__":
    main()

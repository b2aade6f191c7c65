"""Compares nginx as the role makes it with nginx as it is mostly put before a registry, and prints the table.

Usage: proxy.py, which `run` starts once the registry host `bench` and the container `tools` are there.

Both serve the same storage of the same host by the same images. What the server side computes is counted from its
processes, whatever the clients on the same processors do.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from table import Row, report, say

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "plugins" / "filter"))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / ".venv" / "collections"))
from htpasswd import htpasswd

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).resolve().parent
CACHE = HERE.parent.parent / ".cache" / "bench"
HOST = "wharf-lab-bench"
TOOLS = "wharf-lab-tools"
NAME = "registry.bench.test"
BLOBS = "bench/blobs"
CACHED = "cached.bench.test"
# The role's proxy, the same without a password, and the recipe.
OURS, OPEN, RECIPE = 443, 8445, 8444

ROUNDS = 3
RATE_SECONDS = 5
BLOB_MIB = 256
PULLS = 8  # of the blob, in each round
PULLERS, PUSHERS, LOAD_SECONDS = 50, 10, 40
GUESSES = 200  # a second
LATENCY_SECONDS = 8

# The proxy and all that it stands before; the recipe has a registry of its own.
SERVERS = {
    OURS: ["wharf-proxy", "wharf-proxy-auth", "wharf-proxy-network", "wharf-registry-1", "wharf-registry-2"],
    RECIPE: ["recipe-proxy", "recipe-registry"],
}

# As the project of the registry tells to set nginx up: one nginx and one registry, each request's password by htpasswd,
# everything else as nginx has it by default. htpasswd's own cost of bcrypt is 5.
RECIPE_NGINX = f"""
daemon off;
pid /tmp/nginx.pid;
worker_processes auto;
error_log /dev/stderr warn;
events {{ worker_connections 1024; }}
http {{
    access_log /dev/stdout;
    client_body_temp_path /tmp/b; proxy_temp_path /tmp/p; fastcgi_temp_path /tmp/f; scgi_temp_path /tmp/s;
    uwsgi_temp_path /tmp/u;
    upstream docker-registry {{ server recipe-registry:5000; }}
    server {{
        listen {RECIPE} ssl;
        ssl_certificate /bench/server.crt;
        ssl_certificate_key /bench/server.key;
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_session_cache shared:SSL:10m;
        client_max_body_size 0;
        chunked_transfer_encoding on;
        location /v2/ {{
            auth_basic "Registry";
            auth_basic_user_file /bench/htpasswd;
            proxy_pass http://docker-registry;
            proxy_set_header Host $http_host;
            proxy_set_header X-Real-IP $remote_addr;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_read_timeout 900;
        }}
    }}
}}
"""
RECIPE_REGISTRY = """
version: 0.1
log: {level: info}
storage: {cache: {blobdescriptor: inmemory}, filesystem: {rootdirectory: /var/lib/registry}, delete: {enabled: true}}
http: {addr: ":5000"}
"""

# Starts what ours is compared with, on the same host. `open` is ours to the letter, but for the question of who asks.
START = """
set -e
mkdir -p /bench
cd /etc/wharf-registry/proxy/nginx
cp tls/server.crt tls/server.key nginx.conf /bench
grep '^ci:' /bench/htpasswd.made >/bench/htpasswd
sed -i -e '/auth_request .[.]/d' -e 's/listen 8443/listen 8445/' /bench/nginx.conf
chmod -R a+rX /bench
proxy=$(docker inspect --format '{{.Config.Image}}' wharf-proxy)
registry=$(docker inspect --format '{{.Config.Image}}' wharf-registry-1)
account=$(docker inspect --format '{{.Config.User}}' wharf-registry-1)
docker network create recipe
docker run --detach --name recipe-registry --network recipe --user "$account" -v /bench:/bench:ro \
  -v /var/lib/wharf-registry/data:/var/lib/registry --entrypoint registry "$registry" serve /bench/registry.yml
docker run --detach --name recipe-proxy --network recipe --tmpfs /tmp --publish 8444:8444 -v /bench:/bench:ro \
  --entrypoint nginx "$proxy" -c /bench/recipe.conf
docker run --detach --name open-proxy --read-only --tmpfs /tmp --publish 8445:8445 \
  -v /bench:/etc/wharf-proxy/nginx/tls:ro -v /bench:/bench:ro \
  -v /var/lib/wharf-registry/sockets:/run/wharf-registry:ro \
  -v /var/lib/wharf-registry/data:/var/lib/registry:ro -v /var/lib/wharf-registry/auth:/run/wharf-auth:ro \
  --user "$(docker inspect --format '{{.Config.User}}' wharf-proxy)" --group-add "${account#*:}" \
  --entrypoint nginx "$proxy" -c /bench/nginx.conf
"""
STOP = "docker rm --force --volumes recipe-proxy recipe-registry open-proxy; docker network rm recipe; rm -rf /bench"

# Clock ticks that the processes of containers have used, and what they hold in memory, in KiB.
COUNT = """
for container in "$@"; do
  for pid in $(docker top "$container" -o pid | tail -n +2); do
    cut -d ' ' -f 14-15 "/proc/$pid/stat" | sed 's/^/ticks /; s/ / + /2'
    sed -n 's/^\\(Rss\\(Anon\\|Shmem\\)\\):[[:space:]]*\\([0-9]*\\) kB/memory \\3/p' "/proc/$pid/status"
  done
done
"""

# A client in Python: latency of right passwords, and wrong ones at a rate. Reads what to do on its input.
CLIENT = HERE / "guesser.py"


def command(*arguments: str, stdin: str = "") -> str:
    done = subprocess.run(arguments, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"FAILED: {arguments[0]}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def on_host(script: str, *arguments: str, stdin: str | None = None) -> str:
    if stdin is not None:
        return command("docker", "exec", "--interactive", HOST, "sh", "-c", script, "-", *arguments, stdin=stdin)
    return command("docker", "exec", "--interactive", HOST, "sh", "-s", "--", *arguments, stdin=script)


def in_tools(script: str, *arguments: str) -> str:
    return command("docker", "exec", "--interactive", TOOLS, "sh", "-s", "--", *arguments, stdin=script)


@dataclasses.dataclass(frozen=True)
class Count:
    ticks: int
    memory: int


def count(containers: list[str]) -> Count:
    ticks = memory = 0
    for line in on_host(COUNT, *containers).splitlines():
        kind, _space, value = line.partition(" ")
        if kind == "ticks":
            ticks += sum(int(part) for part in value.split("+"))
        else:
            memory += int(value)
    return Count(ticks, memory)


@contextlib.contextmanager
def others(password: str) -> Iterator[None]:
    """What ours is compared with."""
    on_host("mkdir -p /bench; cat >/bench/recipe.conf", stdin=RECIPE_NGINX)
    on_host("cat >/bench/registry.yml", stdin=RECIPE_REGISTRY)
    on_host("cat >/bench/htpasswd.made", stdin=htpasswd([{"name": "ci", "password": password}], cost=5))
    try:
        on_host(START)
        time.sleep(2)
        yield
    finally:
        subprocess.run(["docker", "exec", HOST, "sh", "-c", STOP], capture_output=True, check=False)


def put_blob(mib: int) -> str:
    """The digest of a blob of random bytes, put by ci into BLOBS."""
    return in_tools(
        f"""
set -e
head -c {mib}M /dev/urandom >/bench/blob
digest=sha256:$(sha256sum /bench/blob | cut -c 1-64)
place=$(curl -sf --config /bench/login -X POST -D - -o /dev/null https://{NAME}/v2/{BLOBS}/blobs/uploads/ |
  tr -d '\\r' | sed -n 's/^[Ll]ocation: //p')
curl -sf --config /bench/login -X PUT -T /bench/blob -H 'Content-Type: application/octet-stream' \
  "https://{NAME}$place&digest=$digest"
rm /bench/blob
echo "$digest"
"""
    ).strip()


def rate(port: int, path: str, header: str) -> float:
    """Requests a second."""
    output = in_tools(
        f"wrk --threads=2 --connections=16 --duration={RATE_SECONDS}s {header} https://{NAME}:{port}{path}"
    )
    if "Non-2xx" in output or "Requests/sec" not in output:
        sys.exit(f"FAILED: wrk of port {port}:\n{output}")
    return float(output.rpartition("Requests/sec:")[2].split()[0])


def get(port: int, repository: str, digest: str) -> None:
    """Pull the blob as often as one round does, four at a time."""
    in_tools(
        f"""
set -e
for turn in $(seq {PULLS}); do
  curl -sf --http1.1 --config /bench/login -o /dev/null https://{NAME}:{port}/v2/{repository}/blobs/{digest} &
  [ $((turn % 4)) -ne 0 ] || wait
done
wait
"""
    )


def pull(port: int, digest: str) -> float:
    """Processor seconds of the server side for each GiB."""
    before = count(SERVERS[port])
    get(port, BLOBS, digest)
    ticks = count(SERVERS[port]).ticks - before.ticks
    return ticks / 100 / (PULLS * BLOB_MIB / 1024)


def speed(repository: str, digest: str) -> float:
    """MiB a second."""
    began = time.monotonic()
    get(OURS, repository, digest)
    return PULLS * BLOB_MIB / (time.monotonic() - began)


def compare_rates(header: str) -> Row:
    path = "/v2/bench/app/tags/list"
    ours, theirs = [], []
    for turn in range(1, 2 * ROUNDS + 1):
        pair = [(ours, OURS), (theirs, OPEN)]
        for rates, port in pair if turn % 2 else pair[::-1]:
            rates.append(rate(port, path, header))
        say(f"requests {turn}/{2 * ROUNDS}: {ours[-1]:.0f}/s with a password, {theirs[-1]:.0f}/s without")
    what = "requests a second, bcrypt cost 12, against none"
    return Row(what, ours, theirs, at_least=0.9, unit="/s")


def compare_pulls() -> Row:
    digest = put_blob(BLOB_MIB)
    used: dict[int, list[float]] = {OURS: [], RECIPE: []}
    for turn in range(1, 2 * ROUNDS + 1):
        for port in (OURS, RECIPE) if turn % 2 else (RECIPE, OURS):
            used[port].append(pull(port, digest))
        say(f"pulls {turn}/{2 * ROUNDS}: {used[OURS][-1]:.2f} s a GiB, the recipe {used[RECIPE][-1]:.2f} s")
    return Row("processor time a GiB pulled, the recipe", used[OURS], used[RECIPE], at_most=0.45)


def compare_cache() -> Row:
    """What the cache holds, against what the registry holds itself."""
    digest = put_blob(BLOB_MIB)
    # Two repositories, one of which is fetched from the other, once.
    get(OURS, f"{CACHED}/{BLOBS}", digest)
    ours, theirs = [], []
    for turn in range(1, 2 * ROUNDS + 1):
        pair = [(ours, f"{CACHED}/{BLOBS}"), (theirs, BLOBS)]
        for speeds, repository in pair if turn % 2 else pair[::-1]:
            speeds.append(speed(repository, digest))
        say(f"cache {turn}/{2 * ROUNDS}: {ours[-1]:.0f} MiB/s, the registry's own {theirs[-1]:.0f} MiB/s")
    return Row("pulls that the cache holds, a plain pull", ours, theirs, at_least=0.9, unit="MiB/s")


def compare_memory() -> Row:
    """While many pull and some push: the second half of the time against the first."""
    digest = put_blob(64)
    load = subprocess.Popen(
        ["docker", "exec", "--interactive", TOOLS, "sh", "-s"],
        stdin=subprocess.PIPE,
        text=True,
        stdout=subprocess.DEVNULL,
    )
    assert load.stdin is not None
    load.stdin.write(
        f"""
end=$(($(date +%s) + {LOAD_SECONDS}))
for client in $(seq {PULLERS}); do
  (while [ "$(date +%s)" -lt "$end" ]; do
    curl -sf --config /bench/login -o /dev/null https://{NAME}/v2/{BLOBS}/blobs/{digest} ||
      echo failed >>/bench/failed
  done) &
done
for client in $(seq {PUSHERS}); do
  (while [ "$(date +%s)" -lt "$end" ]; do
    head -c 16M /dev/urandom >/bench/push-$client
    digest=sha256:$(sha256sum /bench/push-$client | cut -c 1-64)
    place=$(curl -sf --config /bench/login -X POST -D - -o /dev/null https://{NAME}/v2/bench/pushed/blobs/uploads/ |
      tr -d '\\r' | sed -n 's/^[Ll]ocation: //p')
    curl -sf --config /bench/login -X PUT -T /bench/push-$client -H 'Content-Type: application/octet-stream' \
      "https://{NAME}$place&digest=$digest" || echo failed >>/bench/failed
  done) &
done
wait
"""
    )
    load.stdin.close()
    samples = []
    # What starts is no measure of what goes on.
    time.sleep(LOAD_SECONDS / 5)
    while load.poll() is None:
        samples.append(count(SERVERS[OURS]).memory / 1024)
        time.sleep(1)
    if in_tools("cat /bench/failed 2>/dev/null || true").strip():
        sys.exit("FAILED: some of the pulls or pushes failed")
    half = len(samples) // 2
    first, second = samples[:half], samples[half:]
    say(f"memory: {min(samples):.0f} to {max(samples):.0f} MiB, {len(samples)} looks")
    what = f"memory, {PULLERS} pull and {PUSHERS} push, later against before"
    return Row(what, [statistics.median(second)], [statistics.median(first)], at_most=1.1, unit="MiB")


def compare_latency(authorization: str) -> Row:
    """A right password that is remembered, while others are guessed from the same address, and for the same user."""
    ours, theirs = [], []
    for turn in range(1, ROUNDS + 1):
        for guesses in (0, GUESSES) if turn % 2 else (GUESSES, 0):
            options = {"host": NAME, "authorization": authorization, "seconds": LATENCY_SECONDS, "guesses": guesses}
            answer = json.loads(
                command(
                    "docker", "exec", "--interactive", TOOLS, "python3", "/bench/guesser.py", stdin=json.dumps(options)
                )
            )
            (ours if guesses else theirs).append(answer["p95"])
            if guesses:
                said = f"{answer['guesses']:.0f} guesses a second, answered by {answer['answers']}"
        in_ms = f"{1000 * ours[-1]:.1f} ms, without them {1000 * theirs[-1]:.1f} ms"
        say(f"latency {turn}/{ROUNDS}: {said}; p95 of the right password {in_ms}")
    return Row(f"p95 of a right password under {GUESSES} guesses a second", ours, theirs, at_most=2)


def main() -> None:
    password = yaml.safe_load((CACHE / "credentials.yml").read_text())["users"]["ci"]["password"]
    authorization = "Basic " + base64.b64encode(f"ci:{password}".encode()).decode()
    in_tools(f"umask 077; printf 'user = \"ci:%s\"\\n' '{password}' >/bench/login; rm -f /bench/failed")
    in_tools(f"umask 077; printf 'wrk.headers[\"Authorization\"] = \"%s\"\\n' '{authorization}' >/bench/login.lua")
    command("docker", "cp", str(HERE / "guesser.py"), f"{TOOLS}:/bench/guesser.py")
    in_tools(
        f"""
set -e
cd /bench && mkdir -p image && echo image >image/file && tar -cf image.tar -C image .
DOCKER_CONFIG=/root/.docker crane append --new_layer image.tar --new_tag {NAME}/bench/app:1.0.0 >/dev/null
"""
    )
    with others(password):
        rows = [
            compare_rates("--script=/bench/login.lua"),
            compare_pulls(),
            compare_cache(),
            compare_memory(),
            compare_latency(authorization),
        ]
    report(rows)
    sys.exit(0 if all(row.met for row in rows) else 1)


if __name__ == "__main__":
    main()

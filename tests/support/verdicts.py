"""What real clients make of files: containers that have one each, and the programs that ask them for many at once."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

from engine import command, run_container

if TYPE_CHECKING:
    from collections.abc import Iterable

# Runs where the client is: reads {name: base64 of a file}, and prints {name: what the client makes of it}.
_ASK = """
import base64, json, os, subprocess, sys, tempfile
client, home = sys.argv[1], tempfile.mkdtemp()
os.makedirs(home + "/.docker")
path = home + "/.docker/config.json"
env = dict(os.environ, HOME=home, XDG_RUNTIME_DIR=home, DOCKER_CONFIG=home + "/.docker")
def run(*command):
    done = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr
def docker():
    status, said, error = run("docker", "context", "ls")
    return "ignores" if "Error loading config file" in error else "takes" if status == 0 else "fails"
def podman():
    return "takes" if run(client, "login", "--get-login", "r.example.com")[1].strip() == "ci" else "refuse"
def crane():
    return "takes" if '"ci"' in run("crane", "auth", "get", "r.example.com")[1] else "refuse"
def dockerd():
    # One that does not know --validate is started, and ends for want of rights after it has read its file.
    said = run("timeout", "10", "dockerd", "--validate", "--config-file", path)[2]
    if "unknown flag" in said:
        said = run("timeout", "10", "dockerd", "--config-file", path)[2]
    return "refuses" if "unable to configure the Docker daemon with file" in said else "takes"
ask = dict(docker=docker, dockerd=dockerd, podman=podman, skopeo=podman, crane=crane)[client]
verdicts = dict()
for name, content in json.load(sys.stdin).items():
    with open(path, "wb") as file:
        file.write(base64.b64decode(content))
    verdicts[name] = ask()
print(json.dumps(verdicts))
"""

# Podman keeps images in a way that needs no mount, and one account.
_STORAGE = """
mkdir -p /etc/containers; : >/etc/subuid; : >/etc/subgid; rm -rf /var/lib/containers/*
cat >/etc/containers/storage.conf <<'END'
[storage]
driver = "vfs"
runroot = "/run/containers/storage"
graphroot = "/var/lib/containers/storage"
END
"""


class Bench:
    """Containers of the lab's images that only wait for commands."""

    def __init__(self, images: dict[str, str]) -> None:
        self._images = images
        self._containers: dict[str, str] = {}

    def container(self, image: str) -> str:
        if image not in self._containers:
            options = ("--init", "--cap-add=SYS_ADMIN", "--security-opt=seccomp=unconfined", "--tmpfs=/run")
            options += ("--security-opt=apparmor=unconfined", "--entrypoint=sleep")
            self._containers[image] = run_container(self._images[image], "infinity", options=options, network="none")
            self.run(image, "/bin/sh", "-euc", _STORAGE)
        return self._containers[image]

    def run(self, image: str, *arguments: str, stdin: str = "", check: bool = True) -> str:
        """What a command in the container of an image says on standard output."""
        return command("docker", "exec", "-i", self.container(image), *arguments, stdin=stdin, check=check).stdout

    def ask(self, image: str, client: str, files: Iterable[tuple[str, bytes]]) -> dict[str, str]:
        """What a client makes of each of these files, in the word of its table."""
        sent = json.dumps({name: base64.b64encode(raw).decode() for name, raw in files})
        return json.loads(self.run(image, "python3", "-c", _ASK, client, stdin=sent))

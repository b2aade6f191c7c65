"""Runs of registry_client on hosts of the lab: what they are given, and what has to stay where one fails."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from hosts import STATE, believed
from steps import says

if TYPE_CHECKING:
    from hosts import Machine
    from managed import Host

HOST = "r.example.com:5000"
INSECURE = {"host": HOST, "insecure": True}
MIRROR = "https://m.example.com"
DAEMON_JSON = "/etc/docker/daemon.json"
DROP_IN = "/etc/systemd/system/docker.service.d/flags.conf"
NOTHING = {"insecure": [], "networks": ["127.0.0.0/8"], "mirrors": []}
# Ten keys of others, in a layout of their own.
FOREIGN = """{
    "debug": true,   "labels": ["a=1",
                                "b=2"],
    "log-driver": "json-file",
    "log-opts": { "max-size": "10m" },
    "max-concurrent-downloads": 3,
    "registry-mirrors": [ "https://first.example.com" ],
    "insecure-registries": ["a.example.com:1", "10.0.0.0/8"],
    "shutdown-timeout": 15,
    "features": {"buildkit": true},
    "default-ulimits": {"nofile": {"Name": "nofile", "Hard": 64000, "Soft": 64000}},
    "max-concurrent-uploads": 5,
    "live-restore": false
}"""


def client(machine: Machine | Host, *registries: dict, **options: object) -> dict:
    of_run = {key: options.pop(key) for key in ("check", "failed", "secrets") if key in options}
    keys = [line for one in registries for line in one.get("client_key", "").splitlines() if "-----" not in line]
    of_run["secrets"] = (*of_run.get("secrets", ()), *keys)
    host = getattr(machine, "host", machine)
    return host.run_module("registry_client", {"registries": list(registries), **options}, **of_run)


def warned(result: dict) -> str:
    return json.dumps(result["warnings"])


def put(machine: Machine, path: str, text: str) -> None:
    machine.run(f"mkdir -p $(dirname {path}); cat > {path}", stdin=text)


def state(machine: Machine) -> tuple:
    """The files, what the engine believes, and the processes that are to live on: of one look."""
    files, said, engine, sleeper = machine.output("\necho '<>'\n".join(STATE)).split("<>")
    return files, believed(said), int(engine), int(sleeper)


def refused(machine: Machine, *registries: dict, subject: str = DAEMON_JSON, **options: object) -> str:
    """The message of a run that has to fail, and leaves everything as it was."""
    before = state(machine)
    message = says(client(machine, *registries, failed=True, **options), subject)
    assert state(machine) == before
    return message

"""What a container is to be, and what differs from it."""

from __future__ import annotations

import copy

import pytest
from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError
from ansible_collections.wharf.registry.plugins.module_utils._engine.container_spec import (
    ContainerSpec,
    nanoseconds,
    size,
)

OPTIONS = {
    "name": "c",
    "image": "i:1",
    "entrypoint": ["sh"],
    "command": ["-c", "true"],
    "user": "1:2",
    "env": {"A": "1"},
    "stop_signal": "SIGQUIT",
    "stop_timeout": "15",
    "healthcheck": {"test": ["CMD", "true"], "interval": "5s", "timeout": "500ms", "retries": 3, "start_period": "1m"},
    "labels": {"a": "b"},
    "groups": [7],
    "network_mode": "none",
    "published_ports": ["5000:8443", "192.0.2.1:80:8080", "[2001:db8::1]:80:8080"],
    "sysctls": {"net.ipv4.tcp_migrate_req": "1"},
    "read_only": True,
    "cap_drop": ["ALL"],
    "security_opts": ["no-new-privileges:true"],
    "tmpfs": ["/srv:rw,size=1m", "/run"],
    "mounts": [{"source": "/a", "target": "/b", "read_only": True}, {"source": "/c", "target": "/d"}],
    "cpu_shares": 512,
    "memory": "64m",
    "memory_swap": "64m",
    "pids_limit": 10,
    "ulimits": ["nofile:64:128", "nproc:5"],
    "restart_policy": "unless-stopped",
    "log": {"driver": "json-file", "options": {"max-size": "1m"}},
}


def found(options: dict | None = None) -> dict:
    """As an engine would tell it, with what it adds by itself."""
    options = OPTIONS if options is None else options
    parts = copy.deepcopy(ContainerSpec(options).parts)
    parts["Config"]["Env"] = [*parts["Config"].get("Env", []), "PATH=/bin"]
    parts["Config"]["Labels"] = {**parts["Config"].get("Labels", {}), "of.the.image": "x"}
    parts["HostConfig"]["RestartPolicy"] = {"Name": "unless-stopped", "MaximumRetryCount": 0}
    parts["HostConfig"]["Mounts"] = [
        {name: value for name, value in mount.items() if value is not False} for mount in parts["HostConfig"]["Mounts"]
    ][::-1]
    parts["HostConfig"]["MemorySwappiness"] = None
    parts["Config"]["Image"] = options["image"]
    return {"Image": "sha256:1", **parts}


def names(options: dict, container: dict | None = None, image: str = "sha256:1") -> list[str]:
    return [one.name for one in ContainerSpec(options).differences(container or found(), image)]


def test_what_the_engine_tells_of_it_is_no_difference() -> None:
    assert names(OPTIONS) == []
    assert names({**OPTIONS, "memory_swappiness": None}) == []
    # As ansible-core hands over none before 2.19.
    assert names({**OPTIONS, "memory_swappiness": ""}) == []
    # An engine before 25.0 forgets it.
    assert names({**OPTIONS, "healthcheck": {**OPTIONS["healthcheck"], "start_interval": "1s"}}) == []


@pytest.mark.parametrize(
    ("option", "value", "name"),
    [
        ("entrypoint", ["bash"], "Entrypoint"),
        ("command", ["-c"], "Cmd"),
        ("user", "1:3", "User"),
        ("env", {"A": "2"}, "Env"),
        ("stop_timeout", 16, "StopTimeout"),
        ("healthcheck", {**OPTIONS["healthcheck"], "retries": 4}, "Healthcheck"),
        ("labels", {"a": "c"}, "Labels"),
        ("groups", [8], "GroupAdd"),
        ("network_mode", "bridge", "NetworkMode"),
        ("published_ports", ["5001:8443"], "PortBindings"),
        ("published_ports", OPTIONS["published_ports"][:1], "PortBindings"),
        ("published_ports", OPTIONS["published_ports"][:2], "PortBindings"),
        ("tmpfs", OPTIONS["tmpfs"][:1], "Tmpfs"),
        ("sysctls", {"net.ipv4.tcp_migrate_req": "0"}, "Sysctls"),
        ("read_only", False, "ReadonlyRootfs"),
        ("cap_drop", [], "CapDrop"),
        ("tmpfs", ["/srv:rw,size=2m"], "Tmpfs"),
        ("mounts", [{"source": "/a", "target": "/b", "read_only": False}, OPTIONS["mounts"][1]], "Mounts"),
        ("mounts", OPTIONS["mounts"][:1], "Mounts"),
        ("ulimits", ["nofile:64:64", "nproc:5"], "Ulimits"),
        ("log", {"driver": "json-file", "options": {"max-size": "2m"}}, "LogConfig"),
        ("memory_swappiness", 10, "MemorySwappiness"),
    ],
)
def test_a_difference_that_takes_another_container(option: str, value: object, name: str) -> None:
    differing = ContainerSpec({**OPTIONS, option: value}).differences(found(), "sha256:1")
    assert [(one.name, one.live) for one in differing] == [(name, False)]


@pytest.mark.parametrize(
    ("option", "value", "name"),
    [
        ("memory", "65m", "Memory"),
        ("memory_swap", "65m", "MemorySwap"),
        ("pids_limit", 11, "PidsLimit"),
        ("cpu_shares", 100, "CpuShares"),
        ("restart_policy", "no", "RestartPolicy"),
    ],
)
def test_a_difference_that_the_engine_changes_while_it_runs(option: str, value: object, name: str) -> None:
    spec = ContainerSpec({**OPTIONS, option: value})
    assert [(one.name, one.live) for one in spec.differences(found(), "sha256:1")] == [(name, True)]
    assert set(spec.live()) == {"Memory", "MemorySwap", "PidsLimit", "CpuShares", "RestartPolicy"}


def test_another_image_is_another_container_and_can_be_passed_over() -> None:
    assert names(OPTIONS, image="sha256:2") == ["Image"]
    assert names({**OPTIONS, "image": "i:2"}) == ["Image"]
    assert names({**OPTIONS, "image": "i:2"}, image="") == []


def test_the_body_has_all_of_it() -> None:
    body = ContainerSpec(OPTIONS).body()
    assert body["Image"] == "i:1"
    assert set(body["ExposedPorts"]) == {"8443/tcp", "8080/tcp"}
    host = body["HostConfig"]
    assert host["PortBindings"] == {
        "8443/tcp": [{"HostIp": "0.0.0.0", "HostPort": "5000"}],  # noqa: S104
        "8080/tcp": [{"HostIp": "192.0.2.1", "HostPort": "80"}, {"HostIp": "2001:db8::1", "HostPort": "80"}],
    }
    assert host["Tmpfs"] == {"/srv": "rw,size=1m", "/run": ""}
    assert host["Memory"] == 64 << 20
    assert host["Ulimits"][1] == {"Name": "nproc", "Soft": 5, "Hard": 5}
    assert body["Healthcheck"]["StartPeriod"] == 60 * 10**9


@pytest.mark.parametrize(
    ("test", "command"),
    [(["CMD", "a", "b"], ["a", "b"]), (["CMD-SHELL", "a | b"], ["/bin/sh", "-c", "a | b"]), (["NONE"], None)],
)
def test_the_command_of_the_health_check(test: list[str], command: list[str] | None) -> None:
    options = {**OPTIONS, "healthcheck": {**OPTIONS["healthcheck"], "test": test}}
    assert ContainerSpec(options).health_command == command


def test_what_can_not_be_meant_is_named() -> None:
    for options, said in (
        ({"privileged": True}, "privileged"),
        ({"memory": "much"}, "much"),
        ({"published_ports": ["http"]}, "http"),
        ({"healthcheck": {**OPTIONS["healthcheck"], "interval": "5"}}, '"5"'),
    ):
        with pytest.raises(InputError, match=said):
            ContainerSpec({**OPTIONS, **options})


def test_sizes_and_times() -> None:
    assert [size(text) for text in ("0", "10", "1k", "2KB", "3m", "1g")] == [0, 10, 1024, 2048, 3 << 20, 1 << 30]
    assert [nanoseconds(text) for text in ("1ms", "1s", "2m", "1h")] == [10**6, 10**9, 12 * 10**10, 36 * 10**11]

"""How the containers are held."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from labtest import LabHost
    from testinfra.host import Host

ACCOUNTS = {
    "wharf-registry-1": "wharf-registry",
    "wharf-registry-2": "wharf-registry",
    "wharf-proxy": "wharf-proxy",
    "wharf-proxy-auth": "wharf-proxy",
    "wharf-proxy-network": "wharf-proxy",
}
CONTAINERS = list(ACCOUNTS)
SERVERS = [name for name in CONTAINERS if name != "wharf-proxy-network"]


def test_these_containers_and_no_others(lab: LabHost) -> None:
    assert sorted(lab.output("docker ps --all --format '{{.Names}}'").split()) == sorted(CONTAINERS)


@pytest.mark.parametrize("container", SERVERS)
def test_running_and_healthy(lab: LabHost, container: str) -> None:
    inspected = lab.inspect(container)
    assert inspected["Config"]["Healthcheck"]["Test"][0] in {"CMD", "CMD-SHELL"}
    assert inspected["State"]["Health"]["Status"] == "healthy"
    assert inspected["HostConfig"]["RestartPolicy"]["Name"] in {"always", "unless-stopped"}


@pytest.mark.parametrize("container", CONTAINERS)
def test_unprivileged(lab: LabHost, host: Host, container: str) -> None:
    inspected = lab.inspect(container)
    settings = inspected["HostConfig"]
    uid, _separator, gid = inspected["Config"]["User"].partition(":")
    account = host.user(ACCOUNTS[container])
    assert (int(uid), int(gid)) == (account.uid, account.gid)
    assert settings["CapDrop"] == ["ALL"]
    assert not settings["CapAdd"]
    assert settings["Privileged"] is False
    assert settings["ReadonlyRootfs"] is True
    assert any(option.startswith("no-new-privileges") for option in settings["SecurityOpt"])
    assert not [option for option in settings["SecurityOpt"] if "unconfined" in option]
    assert settings["PidMode"] == ""
    assert settings["IpcMode"] in {"private", "none"}
    assert not settings["Devices"]


@pytest.mark.parametrize("container", CONTAINERS)
def test_the_kernel_agrees(lab: LabHost, host: Host, container: str) -> None:
    """What the process really has, whatever the engine was told."""
    pid = lab.inspect(container)["State"]["Pid"]
    status = dict(line.split(":\t", 1) for line in lab.output(f"cat /proc/{pid}/status").splitlines() if ":\t" in line)
    uid = str(host.user(ACCOUNTS[container]).uid)
    assert status["Uid"].split() == [uid] * 4
    assert {status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"


@pytest.mark.parametrize("container", CONTAINERS)
def test_limits(lab: LabHost, container: str) -> None:
    settings = lab.inspect(container)["HostConfig"]
    assert settings["Memory"] > 0
    assert settings["PidsLimit"] > 0
    assert "nofile" in {limit["Name"] for limit in settings["Ulimits"]}


@pytest.mark.parametrize("container", CONTAINERS)
def test_mounts(lab: LabHost, container: str) -> None:
    """Configuration is read-only, and neither the engine's socket nor a private key that isn't needed is inside."""
    mounts = {mount["Destination"]: mount for mount in lab.inspect(container)["Mounts"]}
    sources = {mount["Source"] for mount in mounts.values()}
    assert not [source for source in sources if "docker.sock" in source]
    assert not [source for source in sources if source in {"/", "/etc", "/var", "/var/lib", "/etc/wharf-registry"}]
    assert not [source for source in sources if source.startswith("/etc/wharf-registry/certificate")]
    assert all(not mount["RW"] for mount in mounts.values() if mount["Source"].startswith("/etc/"))


def test_the_proxy_writes_to_no_mount_but_its_own(lab: LabHost) -> None:
    """It reads the registry's files, and where the password is checked it only connects."""
    written = [mount["Source"] for mount in lab.inspect("wharf-proxy")["Mounts"] if mount["RW"]]
    assert sorted(written) == ["/var/lib/wharf-registry/log", "/var/lib/wharf-registry/looked-at"]


def test_what_is_remembered_of_passwords_is_never_swapped(lab: LabHost) -> None:
    settings = lab.inspect("wharf-proxy")["HostConfig"]
    assert settings["MemorySwap"] == settings["Memory"]
    group = lab.output("docker inspect --format '{{.Id}}' wharf-proxy")
    swap = lab.output(
        f"cat /sys/fs/cgroup/memory/docker/{group}/memory.swappiness 2>/dev/null"
        f" || find /sys/fs/cgroup -path '*{group}*' -name memory.swap.max -exec cat {{}} +"
    )
    assert swap == "0"


@pytest.mark.parametrize("container", ["wharf-registry-1", "wharf-registry-2", "wharf-proxy-auth"])
def test_they_are_off_the_network(lab: LabHost, container: str) -> None:
    inspected = lab.inspect(container)
    assert inspected["HostConfig"]["NetworkMode"] == "none"
    assert not inspected["HostConfig"]["PortBindings"]
    assert not {port: bound for port, bound in inspected["NetworkSettings"]["Ports"].items() if bound}


def test_https_alone_is_published(lab: LabHost) -> None:
    """By a container that does nothing else, whose network nginx is in."""
    holder = lab.inspect("wharf-proxy-network")
    assert list(holder["NetworkSettings"]["Networks"]) == ["wharf-proxy"]
    running = lab.output("docker top wharf-proxy-network -o pid,args").splitlines()[1:]
    assert [line.split(maxsplit=1)[1] for line in running] == ["sleep infinity"]
    published = holder["NetworkSettings"]["Ports"].values()
    assert {binding["HostPort"] for bindings in published for binding in bindings or []} == {"443"}
    proxy = lab.inspect("wharf-proxy")
    assert proxy["HostConfig"]["NetworkMode"] == f"container:{holder['Id']}"
    assert not proxy["HostConfig"]["PortBindings"]

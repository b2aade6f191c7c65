"""Hosts of the lab with real systemd and real engines, booted once for all tests, where modules run as root."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shlex
import socket
import threading
from typing import TYPE_CHECKING

import yaml
from clients import Box
from engine import LABEL, command, wait_for
from managed import TREE, Host
from paths import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

IMAGES = ("bookworm-docker", "trixie-docker", "trixie-podman")
CONTAINERD_IMAGES = ("trixie-containerd", "sid-containerd")
ACCOUNT = "deployer"
READY = "systemctl is-system-running --wait; systemctl is-active docker podman.socket containerd || command -v podman"
# What a container of an image without anything needs to sleep.
SLEEPER = """
    docker image inspect sleeper > /dev/null 2>&1 ||
        tar -ch /bin/sleep $(ldd /bin/sleep | grep -o '/[^ ]*') 2> /dev/null | docker import - sleeper > /dev/null
    docker container inspect sleeper > /dev/null 2>&1 ||
        docker run --detach --stop-timeout 1 --name sleeper --restart always sleeper /bin/sleep infinity > /dev/null
"""
# chattr, which not every host has: the flag of the file system (FS_IOC_SETFLAGS, FS_IMMUTABLE_FL).
SET_IMMUTABLE = """
import fcntl, struct, sys
with open("/etc/docker/daemon.json") as file:
    flags = struct.unpack("l", fcntl.ioctl(file, 0x80086601, bytes(8)))[0]
    fcntl.ioctl(file, 0x40086602, struct.pack("l", flags | 0x10 if sys.argv[1] == "on" else flags & ~0x10))
"""
BELIEF = "docker info --format '{{json .RegistryConfig}}'"
ENGINE = "systemctl show --property=MainPID --value docker"
RUNNING = "docker inspect --format '{{.State.Pid}}' sleeper"
FILES = """
    find /etc/docker /etc/containers -printf '%p %y %m %u %g %l\\n' 2>&1 | sort
    find /etc/docker /etc/containers -type f -exec sha256sum {} + 2>&1 | sort
"""
STATE = (FILES, BELIEF, ENGINE, RUNNING)


def believed(said: str) -> dict:
    """What BELIEF says, without what it has beside registries."""
    config = json.loads(said)
    insecure = {name for name, index in config["IndexConfigs"].items() if not index["Secure"]}
    mirrors = [mirror.rstrip("/") for mirror in config["Mirrors"] or []]
    return {"insecure": sorted(insecure), "networks": sorted(config["InsecureRegistryCIDRs"]), "mirrors": mirrors}


@dataclasses.dataclass(frozen=True)
class Machine(Box):
    """An account of a host."""

    name: str = ""

    @property
    def home(self) -> str:
        return "/root" if self.user == "root" else f"/home/{self.user}"

    @property
    def host(self) -> Host:
        return dataclasses.replace(super().host, env={"HOME": self.home, "PYTHONPYCACHEPREFIX": f"/tmp/py-{self.user}"})  # noqa: S108

    def account(self, user: str) -> Machine:
        return dataclasses.replace(self, user=user)

    def belief(self) -> dict:
        """What the engine says of registries, by its own client."""
        return believed(self.output(BELIEF))

    def engine_pid(self) -> int:
        return int(self.output(ENGINE))

    def sleeper_pid(self) -> int:
        return int(self.output(RUNNING))

    def files(self) -> str:
        """All that lies where modules write, with what it holds, but for the times."""
        return self.output(FILES)

    def set_immutable(self, immutable: bool) -> None:
        self.run(f"python3 -c {shlex.quote(SET_IMMUTABLE)} {'on' if immutable else 'off'}")

    def clean_containerd(self) -> None:
        """Leave containerd as the package has installed it."""
        self.run(
            """
            systemctl stop k3s 2> /dev/null || true
            rm -rf /etc/containerd /etc/systemd/system/containerd.service.d
            rm -rf /etc/rancher /usr/local/bin/k3s /etc/systemd/system/k3s.service
            cp -r /root/containerd /etc/containerd
            systemctl daemon-reload
            # It may have been started more often by now than systemd likes.
            systemctl reset-failed containerd
            systemctl restart containerd
            """
        )

    def clean(self) -> None:
        """Leave the engine without a setting, by a reload where that is enough."""
        if self.run("test -f /etc/docker/daemon.json", check=False).returncode == 0:
            self.set_immutable(False)
        self.run(
            """
            rm -rf /etc/docker/* /etc/default/docker /etc/containers/certs.d /etc/containers/registries.conf.d/*wharf*
            if [ -e /etc/containers/policy.json ]; then
                [ -e /root/policy.json ] || cp /etc/containers/policy.json /root/policy.json
                cp /root/policy.json /etc/containers/policy.json
                rm -rf /etc/containers/registries.d /etc/containers/wharf-registry-policy.json
            fi
            if [ -e /etc/systemd/system/docker.service.d ]; then
                rm -rf /etc/systemd/system/docker.service.d
                systemctl daemon-reload
            fi
            [ -e /usr/sbin/dockerd ] || exit 0
            mkdir -p /etc/docker
            if [ -e /run/restart-needed ] || ! systemctl -q is-active docker; then
                rm -f /run/restart-needed
                systemctl reset-failed docker docker.socket
                systemctl restart docker.socket docker
            fi
            echo '{"insecure-registries": [], "registry-mirrors": []}' > /etc/docker/daemon.json
            systemctl kill --kill-who=main --signal=HUP docker
            for _attempt in $(seq 100); do
                docker info --format '{{json .RegistryConfig}}' | grep -Eq '"Secure":false|"Mirrors":\\["' || break
                sleep 0.05
            done
            rm /etc/docker/daemon.json
            """
        )


def start(images: dict[str, str], names: tuple[str, ...] = IMAGES) -> dict[str, Machine]:
    """Start hosts of these images, and wait for none."""
    tasks = yaml.safe_load((ROOT / "tests" / "lab" / "tasks" / "boot.yml").read_text())
    options = [option for option in tasks[-1]["vars"]["__lab_run"] if option.startswith("--") and "{{" not in option]
    more = [f"--label={LABEL}", "--add-host=registry.test:host-gateway", f"--volume={TREE}:/managed:ro"]
    found = {}
    for name in names:
        # The tree of this machine would be the host's own, made anew while it runs.
        done = command("docker", "run", *options, *more, f"--hostname={name}", images[name])
        found[name] = Machine(done.stdout.strip(), "root", name)
    return found


def wait(machines: dict[str, Machine]) -> None:
    for machine in machines.values():
        wait_for(
            f"{machine.name} is up",
            lambda machine=machine: machine.run(READY, check=False).returncode == 0,
            seconds=120,
        )
        if machine.name.endswith("-docker"):
            machine.run(SLEEPER)
        elif machine.name.endswith("-containerd"):
            machine.run("cp -r /etc/containerd /root/containerd")
        else:
            # One number is enough for Podman here, and more need programs that would have to be set-user-ID.
            machine.run(f"useradd --create-home --shell /bin/sh {ACCOUNT}; : > /etc/subuid; : > /etc/subgid")


@contextlib.contextmanager
def forwarded(machine: Machine, port: int) -> Iterator[str]:
    """The address by which a host reaches a peer on a port of this machine's loopback."""
    gateway = machine.output("getent ahostsv4 registry.test").split()[0]
    with socket.create_server((gateway, 0)) as server:
        threading.Thread(target=_accept, args=(server, port), daemon=True).start()
        yield f"registry.test:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)


def _accept(server: socket.socket, port: int) -> None:
    while True:
        try:
            near = server.accept()[0]
        except OSError:
            return
        far = socket.create_connection(("127.0.0.1", port))
        for source, target in ((near, far), (far, near)):
            threading.Thread(target=_pump, args=(source, target), daemon=True).start()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while part := source.recv(1 << 16):
            target.sendall(part)
        target.shutdown(socket.SHUT_WR)

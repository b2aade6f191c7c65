"""Accounts of a host with real rootless engines: Docker under the account's systemd, and Podman."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine import wait_for

if TYPE_CHECKING:
    from hosts import Machine

# Hosts of the lab have neither FUSE nor TUN: images lie in directories, and the network is that of the host.
UNIT = """\
[Service]
Type=notify
NotifyAccess=all
KillMode=mixed
ExecReload=/bin/kill -s HUP $MAINPID
Environment=PATH=/usr/share/docker.io/contrib:/usr/sbin:/usr/bin:/sbin:/bin
Environment=DOCKERD_ROOTLESS_ROOTLESSKIT_NET=host DOCKERD_ROOTLESS_ROOTLESSKIT_PORT_DRIVER=none
Environment=DOCKERD_ROOTLESS_ROOTLESSKIT_MTU=0
ExecStart=/usr/share/docker.io/contrib/dockerd-rootless.sh --iptables=false --ip6tables=false --bridge=none \\
    --storage-driver=vfs
"""
STORAGE = '[storage]\ndriver = "vfs"\n'


def make_account(machine: Machine, name: str, *, docker: bool) -> Machine:
    """An account that lingers, with Podman and, where asked for, a Docker Engine that runs."""
    machine.run(f"useradd --create-home --shell /bin/bash {name}; loginctl enable-linger {name}")
    uid = machine.output(f"id -u {name}")
    wait_for(
        f"the systemd of {name} is up",
        lambda: machine.run(f"test -S /run/user/{uid}/systemd/private", check=False).returncode == 0,
    )
    account = machine.account(name)
    account.run("mkdir -p ~/.config/containers ~/.config/systemd/user")
    account.run("cat > ~/.config/containers/storage.conf", stdin=STORAGE)
    if docker:
        account.run("cat > ~/.config/systemd/user/docker.service", stdin=UNIT)
        account.run(f"XDG_RUNTIME_DIR=/run/user/{uid} systemctl --user daemon-reload")
        account.run(f"XDG_RUNTIME_DIR=/run/user/{uid} systemctl --user enable --now docker")
    return account


def typed(account: Machine, script: str, *, check: bool = True) -> str:
    """What a command of the account says, with the runtime directory that a login would give it."""
    uid = account.output("id -u")
    place = f"/run/user/{uid}"
    done = account.run(f"export XDG_RUNTIME_DIR={place} DOCKER_HOST=unix://{place}/docker.sock; {script}", check=check)
    return (done.stdout + ("" if check else done.stderr)).strip()

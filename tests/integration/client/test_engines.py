"""registry_client where the engine is not the distribution's service: its file, directory and process are found.

A snap can't be had here: the program `snap` of these tests does what that of snapd does with Docker's snap, which binds
a directory of its data over /etc/docker and starts dockerd with a file and a pidfile of its own.
"""

from __future__ import annotations

import contextlib
import functools
import json
import secrets
import shlex
from typing import TYPE_CHECKING

import pytest
from engine import wait_for
from engine_trust import DAEMON_JSON, HOST, INSECURE, MIRROR, client, put
from hosts import ACCOUNT, believed, forwarded
from managed import encoded
from marks import repeated
from peers import docker_config, push_image
from steps import four_runs, says

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hosts import Machine
    from peers import Peers

# A directory for all that an engine keeps, which no other engine shares.
KEPT = "/srv/engine"
OWN = f"--data-root={KEPT}/data --exec-root=/run/engine --pidfile=/run/engine.pid --bridge=none --iptables=false"
SNAP = """#!/bin/sh
# Only the service of the engine.
[ "$1 $2" = "run docker.dockerd" ] || exit 64
export SNAP_DATA=/var/snap/docker/2915 SNAP_COMMON=/var/snap/docker/common
exec unshare --mount --propagation=slave sh -c '
    mount --bind "$SNAP_DATA/etc/docker" /etc/docker
    exec /usr/sbin/dockerd --group docker --exec-root="$SNAP_COMMON/run/docker" \\
        --data-root="$SNAP_COMMON/var-lib-docker" --pidfile="$SNAP_COMMON/run/docker.pid" \\
        --config-file="$SNAP_DATA/config/daemon.json"'
"""
SNAP_CONFIG = "/var/snap/docker/2915/config/daemon.json"
SNAP_CERTS = "/var/snap/docker/2915/etc/docker/certs.d"
# dockerd takes itself for rootless where RootlessKit says that it has started it. That program, and the numbers that it
# needs, are not on these hosts: a namespace of one number is enough to be told, and to read the account's files.
ROOTLESS = f"""
export HOME=/home/{ACCOUNT} XDG_RUNTIME_DIR=/run/user/$(id -u) ROOTLESSKIT_STATE_DIR=/run/user/$(id -u)/rk
export XDG_CONFIG_HOME=/home/{ACCOUNT}/conf PATH={KEPT}:/usr/sbin:/usr/bin:/sbin:/bin
exec unshare --user --map-root-user --mount --net sh -c '
    mount -t tmpfs tmpfs /run/docker
    exec dockerd --rootless --storage-driver=vfs --bridge=none --group=root --iptables=false --ip6tables=false \\
        --host=unix://$XDG_RUNTIME_DIR/docker.sock' > $XDG_RUNTIME_DIR/log 2>&1
"""
UNIT = "[Service]\nExecStart={command}\nKillMode=mixed\nExecStopPost=-/bin/rm -f /run/docker.sock\n"


@pytest.fixture(params=[pytest.param("bookworm-docker", marks=pytest.mark.long), "trixie-docker"])
def machine(request: pytest.FixtureRequest, machines: dict[str, Machine]) -> Iterator[Machine]:
    """A host on which the engine of the distribution is stopped."""
    machine = machines[request.param]
    machine.clean()
    machine.run(f"systemctl stop docker docker.socket; mkdir -p {KEPT} /etc/docker")
    yield machine
    machine.run(
        f"""
        set +e
        for unit in supervisor snap.docker.dockerd; do systemctl kill --signal=KILL $unit; systemctl stop $unit; done
        rm -rf /etc/systemd/system/supervisor.service /etc/systemd/system/snap.docker.dockerd.service
        rm -rf /usr/bin/snap /var/snap {KEPT} /run/engine* /run/docker.sock
        systemctl daemon-reload
        systemctl reset-failed
        systemctl start docker.socket docker
        """,
        check=False,
    )


def start(machine: Machine, unit: str, command: str, socket: str = "/run/docker.sock") -> None:
    """Have systemd run a command line, and wait until the engine that it starts answers."""
    put(machine, f"/etc/systemd/system/{unit}.service", UNIT.format(command=command))
    machine.run(f"systemctl daemon-reload; systemctl restart {unit}")
    answers = f"docker --host unix://{socket} info --format '{{{{.ServerVersion}}}}'"
    wait_for(f"{unit} has an engine", lambda: "." in machine.run(answers, check=False).stdout)


def supervised(machine: Machine, *flags: str) -> None:
    """A process that starts engines, as supervisors do: systemd knows that process, and no engine."""
    words = " ".join((OWN, *flags))
    put(machine, f"{KEPT}/supervise", f"while :; do /usr/sbin/dockerd {words}; sleep 1; done\n")
    start(machine, "supervisor", f"/bin/sh {KEPT}/supervise")


def snap(machine: Machine) -> None:
    put(machine, "/usr/bin/snap", SNAP)
    machine.run(
        """
        chmod 755 /usr/bin/snap
        mkdir -p /var/snap/docker/2915/config /var/snap/docker/2915/etc/docker /var/snap/docker/common/run
        ln -sfn 2915 /var/snap/docker/current
        echo '{"log-level": "error"}' > /var/snap/docker/2915/config/daemon.json
        """
    )
    start(machine, "snap.docker.dockerd", "/usr/bin/snap run docker.dockerd")


def pids(machine: Machine) -> list[str]:
    return machine.output("pgrep -x dockerd").split()


def text(machine: Machine, path: str) -> str:
    """What a file holds, nothing where there is none."""
    return machine.output(f"cat {path} 2> /dev/null || true")


def start_the_usual_one(machine: Machine) -> None:
    # systemd starts nothing that was started too often of late.
    machine.run("systemctl reset-failed docker docker.socket; systemctl start docker.socket docker")


def files_of_the_distribution(machine: Machine) -> str:
    return machine.output("find /etc/docker -mindepth 1 -not -name key.json")


@pytest.mark.parametrize("flag", [f"--config-file={KEPT}/engine.json", *repeated(f"--config-file {KEPT}/engine.json")])
def test_an_engine_of_a_supervisor(machine: Machine, flag: str) -> None:
    config = f"{KEPT}/engine.json"
    put(machine, config, '{"log-level":   "error"}\n')
    # Of the package's service, which is there and does not run, no flag counts.
    put(machine, "/etc/default/docker", f'DOCKER_OPTS="--insecure-registry={HOST}"\n')
    supervised(machine, flag)
    before = pids(machine)
    done = four_runs(functools.partial(client, machine, INSECURE, mirrors=[MIRROR]), lambda: text(machine, config))
    assert done["reloaded"] and done["changed_files"] == [config]
    assert machine.belief()["insecure"] == [HOST] and machine.belief()["mirrors"] == [MIRROR]
    assert not client(machine, INSECURE, daemon_config_path=config)["changed"]
    message = says(
        client(machine, {"host": "x.example.com", "insecure": True}, daemon_config_path=DAEMON_JSON, failed=True),
        config,
        "Correct daemon_config_path",
    )
    assert DAEMON_JSON in message
    assert client(machine, {"host": HOST}, mirrors=[MIRROR], state="absent", daemon_config_path=config)["reloaded"]
    assert machine.belief()["insecure"] == [] and pids(machine) == before
    assert files_of_the_distribution(machine) == ""


def test_what_an_engine_of_a_supervisor_refuses(machine: Machine) -> None:
    """Its files get back what they held, and it runs on: nothing starts another engine beside it."""
    put(machine, f"{KEPT}/engine.json", "{}")
    supervised(machine, f"--config-file={KEPT}/engine.json")
    put(machine, f"{KEPT}/engine.json", '{"no-such-key": 1}')
    before = pids(machine), machine.read(f"{KEPT}/engine.json")
    for options in ({}, {"apply": "restart"}):
        failed = client(machine, INSECURE, failed=True, **options)
        says(failed, "no-such-key")
        assert (pids(machine), machine.read(f"{KEPT}/engine.json")) == before


def test_docker_as_a_snap(machine: Machine, peers: Peers, tmp_path: Path) -> None:
    """Its certificates are read from a directory of the snap, which it alone sees as /etc/docker: proven by a pull."""
    snap(machine)
    docker_config(tmp_path / "config.json", peers["basic"], "ci", peers.users["ci"])
    image = push_image(peers["basic"], f"private/{secrets.token_hex(4)}", tmp_path, tmp_path)
    with forwarded(machine, peers.ports["basic"]) as address:
        login = {"auths": {address: {"auth": encoded(f"ci:{peers.users['ci']}")}}}
        machine.write("/root/.docker/config.json", json.dumps(login))
        pull = f"docker pull --quiet {shlex.quote(image.replace(peers['basic'], address))}"
        assert "certificate" in machine.run(pull, check=False).stderr
        done = client(machine, {"host": address, "ca": peers.ca.read_text()})
        assert done["changed_files"] == [f"{SNAP_CERTS}/{address}/ca.crt"]
        machine.run(pull)
    before = pids(machine)
    four_runs(functools.partial(client, machine, INSECURE), lambda: text(machine, SNAP_CONFIG))
    assert json.loads(machine.read(SNAP_CONFIG)) == {"log-level": "error", "insecure-registries": [HOST]}
    assert machine.belief()["insecure"] == [HOST] and pids(machine) == before
    for path in (SNAP_CONFIG, SNAP_CONFIG.replace("2915", "current")):
        assert not client(machine, INSECURE, daemon_config_path=path)["changed"]
    assert files_of_the_distribution(machine) == ""


def test_a_snap_that_is_stopped(machine: Machine) -> None:
    snap(machine)
    machine.run("systemctl stop snap.docker.dockerd; mv /lib/systemd/system/docker.service /run/away")
    try:
        done = client(machine, {**INSECURE, "ca": None})
    finally:
        machine.run("mv /run/away /lib/systemd/system/docker.service")
    assert done["changed"] and not done["engine"]["docker"]["running"]
    assert json.loads(machine.read(SNAP_CONFIG))["insecure-registries"] == [HOST]
    machine.run("systemctl start snap.docker.dockerd")
    wait_for("the engine has read it", lambda: HOST in machine.run("docker info", check=False).stdout)


def test_two_engines(machine: Machine) -> None:
    """Without a word, the one that `docker` talks to; by its file, the other one."""
    start_the_usual_one(machine)
    second = f"{KEPT}/second.json"
    put(machine, second, "{}")
    start(
        machine,
        "supervisor",
        f"/usr/sbin/dockerd {OWN} --host=unix:///run/engine.sock --config-file={second}",
        "/run/engine.sock",
    )
    assert len(pids(machine)) == 2, machine.output("ps -ef --forest")
    info = "docker --host unix:///run/engine.sock info --format '{{json .RegistryConfig}}'"
    assert client(machine, INSECURE)["changed_files"] == [DAEMON_JSON]
    assert (machine.belief()["insecure"], believed(machine.output(info))["insecure"]) == ([HOST], [])
    other = {"host": "other.example.com", "insecure": True}
    four_runs(functools.partial(client, machine, other, daemon_config_path=second), lambda: text(machine, second))
    assert believed(machine.output(info))["insecure"] == ["other.example.com"]
    assert machine.belief()["insecure"] == [HOST]
    done = client(machine, INSECURE, daemon_config_path=f"{KEPT}/third.json", failed=True)
    assert second not in done["msg"] and f"reads {DAEMON_JSON}" in done["msg"]


def test_a_file_of_an_image(machine: Machine) -> None:
    """What a chroot will hold is written while the engine of this host runs, and tells it nothing."""
    start_the_usual_one(machine)
    machine.run("mkdir -p /srv/image/etc/docker")
    config = "/srv/image/etc/docker/daemon.json"
    with contextlib.ExitStack() as stack:
        stack.callback(machine.run, "rm -rf /srv/image")
        run = functools.partial(client, machine, INSECURE, daemon_config_path=config, apply="never")
        done = four_runs(run, lambda: text(machine, config))
        assert not done["restart_needed"] and "warnings" not in done
        assert machine.belief()["insecure"] == [] and files_of_the_distribution(machine) == ""
        failed = client(machine, INSECURE, daemon_config_path=config.replace("image", "i"), failed=True)
        says(failed, DAEMON_JSON, "set apply to never")


def test_a_rootless_engine(machine: Machine) -> None:
    machine.run(
        f"""
        id {ACCOUNT} > /dev/null 2>&1 || useradd --create-home --shell /bin/sh {ACCOUNT}
        ln -s /bin/true {KEPT}/rootlesskit-docker-proxy
        mkdir -p /run/docker
        install -d -o {ACCOUNT} /run/user/$(id -u {ACCOUNT}) /run/user/$(id -u {ACCOUNT})/rk /home/{ACCOUNT}/conf
        """
    )
    account = machine.account(ACCOUNT)
    config = f"/home/{ACCOUNT}/conf/docker/daemon.json"
    put(machine, f"{KEPT}/rootless", ROOTLESS)
    socket = machine.output(f"echo /run/user/$(id -u {ACCOUNT})/docker.sock").strip()
    start(
        machine,
        "supervisor",
        f"/usr/bin/setpriv --reuid={ACCOUNT} --regid={ACCOUNT} --clear-groups /bin/sh {KEPT}/rootless",
        socket,
    )
    before = pids(machine)
    four_runs(functools.partial(client, account, INSECURE, engines=["docker"]), lambda: text(machine, config))
    info = f"docker --host unix://{socket} info --format '{{{{json .RegistryConfig}}}}'"
    assert believed(machine.output(info))["insecure"] == [HOST] and pids(machine) == before
    # Root's module has nothing to do with it.
    assert client(machine, {"host": "x.example.com", "insecure": True}, engines=["docker"])["changed_files"] == [
        DAEMON_JSON
    ]
    assert pids(machine) == before

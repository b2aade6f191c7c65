"""The units of the roles on hosts with real systemd: they do their work in their sandboxes, and those hold."""

from __future__ import annotations

import functools
import json
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import page_program
import pytest
import trees
import yaml
from engine import command, wait_for
from front import ACCOUNT, ROLES
from marks import repeated

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hosts import Machine

DATA = "/var/lib/wharf-registry"
VARIABLES = {
    "ansible_managed": "By the tests.",
    "registry_hostname": "registry.test",
    "backup_repository": "/srv/vault",
}
# What they are for: the role, the template of its unit, the unit, and how exposed it may be, of 100.
UNITS = {
    "maintenance": ("maintenance", "service.j2", "wharf-registry-maintenance", 20),
    "bucket": ("maintenance", "service.j2", "wharf-registry-maintenance", 25),
    "backup": ("backup", "wharf-registry-backup.service.j2", "wharf-registry-backup", 25),
    "bucket-backup": ("backup", "wharf-registry-backup.service.j2", "wharf-registry-backup", 25),
    "network": ("reverse_proxy", "network.service.j2", "wharf-registry-proxy", 35),
    "page": ("reverse_proxy", "page.service.j2", "wharf-registry-page", 20),
    "bucket-page": ("reverse_proxy", "page.service.j2", "wharf-registry-page", 25),
}
# What else the role is told.
MORE = {what: {"registry_storage": "s3"} for what in ("bucket", "bucket-backup", "bucket-page")}
IN_BUCKETS = ("bucket-backup", "bucket-page")
# Where the probes may write.
PLACES = {
    "maintenance": f"{DATA}/sockets",
    "bucket": f"{DATA}/sockets",
    "backup": "/var/lib/wharf-registry-backup",
    "bucket-backup": "/var/lib/wharf-registry-backup",
    "network": "/srv",
    "page": "/var/lib/wharf-registry-page",
    "bucket-page": "/var/lib/wharf-registry-page",
}
# What none of them has to do.
FORBIDDEN = {
    "write-etc": "touch /etc/written",
    "write-program": "touch /usr/local/lib/written",
    "read-home": "cat /root/secret",
    "device": "mknod /tmp/device b 7 0",
    "namespace": "unshare --user true",
    "module": 'python3 -c "import ctypes; c = ctypes.CDLL(None, use_errno=True); '
    'raise SystemExit(c.syscall(175, 0, 0, 0) and ctypes.get_errno() == 1)"',
    "owner": "chroot / true",
    "packets": "python3 -c 'import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW)'",
    "set-user-id": "chmod 4755 {place}/probe",
}


@functools.cache
def rendered(what: str) -> str:
    """A unit as the role writes it; several tests need the same one."""
    role, template, _unit, _bound = UNITS[what]
    play = [
        {
            "hosts": "localhost",
            "connection": "local",
            "gather_facts": False,
            "vars_files": [f"{ROLES}/{role}/defaults/main.yml", f"{ROLES}/{role}/vars/main.yml"],
            "tasks": [
                {
                    # A task that runs a module, to write it, takes longer.
                    "ansible.builtin.debug": {
                        "msg": f"{{{{ lookup('ansible.builtin.template', '{ROLES}/{role}/templates/{template}') }}}}"
                    }
                }
            ],
        }
    ]
    playbook = ("env", "ANSIBLE_STDOUT_CALLBACK=ansible.posix.json", Path(sys.executable).with_name("ansible-playbook"))
    with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
        yaml.safe_dump(play, file)
        file.flush()
        done = command(
            *map(str, playbook),
            "--inventory=localhost,",
            f"--extra-vars={json.dumps({**VARIABLES, **MORE.get(what, {})})}",
            file.name,
        )
    return json.loads(done.stdout)["plays"][0]["tasks"][-1]["hosts"]["localhost"]["msg"]


def render(what: str, tmp_path: Path) -> Path:
    target = tmp_path / f"{UNITS[what][2]}.service"
    target.write_text(rendered(what))
    return target


def put(machine: Machine, source: Path, target: str) -> None:
    machine.run(f"rm -rf {target}; mkdir -p $(dirname {target})")
    command("docker", "cp", str(source), f"{machine.container}:{target}")


def install(machine: Machine, what: str, tmp_path: Path) -> str:
    """A unit, and a storage that belongs to the account of the registry."""
    unit = UNITS[what][2]
    put(machine, render(what, tmp_path), f"/etc/systemd/system/{unit}.service")
    machine.run(f"rm -rf {DATA} /etc/systemd/system/{unit}.service.d; mkdir -p {DATA}/sockets {DATA}/looked-at")
    machine.run(f"mkdir -p {DATA}/page/data {PLACES['page']}")
    put(machine, trees.Scene.at(tmp_path).store.top, f"{DATA}/data")
    machine.run(f"chown -R {ACCOUNT}:{ACCOUNT} {DATA}/*; chmod 0750 {DATA}/*; chown -R 0:0 /etc/systemd/system")
    machine.run("echo secret > /root/secret; chmod 0600 /root/secret; systemctl daemon-reload")
    return unit


def test_the_page_is_kept_up_to_date_in_a_sandbox(machine: Machine, tmp_path: Path) -> None:
    """It reads what belongs to another account, and the group of its directory can read what it writes."""
    unit = install(machine, "page", tmp_path)
    put(machine, page_program.install(tmp_path / "page"), "/usr/local/lib/wharf-registry/page")
    settings = {
        "storage": f"{DATA}/data",
        "s3": "",
        "host": "registry",
        "others": [],
        "log": f"{DATA}/log/requests.log",
        "data": f"{DATA}/page/data",
        "catalog": f"{PLACES['page']}/catalog.db",
        "registry": "registry.test",
        "policies": [{"index": "all", "pull": [".*"], "delete": [], "catalog": True}],
        "retention": [],
        "keep_digests": [],
        "running": "/etc/wharf-registry/running.json",
        "gate": {"keys": [], "policy": {}, "waivers": [], "cache": "/var/cache/wharf-registry/trivy"},
        "signs": ["/run/wharf-registry-maintenance/report.json"],
        "fleet": {},
    }
    (tmp_path / "page.json").write_text(json.dumps(settings))
    put(machine, tmp_path / "page.json", "/etc/wharf-registry/page.json")
    machine.run(
        f"chown 0:{ACCOUNT} {DATA}/page/data; chmod 2750 {DATA}/page/data; chmod 0600 /etc/wharf-registry/page.json"
    )
    machine.run(f"systemctl start {unit}.service")
    index = f"{DATA}/page/data/policies/all/index.json"
    wait_for("an index", lambda: '"complete":true' in machine.run(f"cat {index}", check=False).stdout)
    assert machine.output(f"stat -c '%u %g %a' {index}").split() == ["0", str(ACCOUNT), "640"]
    base = json.loads(machine.output(f"cat {index}"))["base"]
    assert json.loads(machine.output(f"cat {DATA}/page/data/policies/all/{base}"))["rows"]
    machine.run(f"systemctl stop {unit}.service")
    said = machine.output(f"journalctl --unit={unit}.service --output=cat --no-pager --lines=40")
    assert "wharf-registry: page" not in said, said


def start(machine: Machine, unit: str) -> str:
    """What the unit says, once it has done its work."""
    done = machine.run(f"systemctl start {unit}.service", check=False)
    said = machine.output(f"journalctl --unit={unit}.service --output=cat --no-pager --lines=40")
    assert done.returncode == 0, said
    return said


# The units run on Debian 13 in molecule, too.
@pytest.fixture(params=["bookworm-docker", pytest.param("trixie-docker", marks=pytest.mark.long)])
def machine(request: pytest.FixtureRequest, machines: dict[str, Machine]) -> Machine:
    return machines[request.param]


@pytest.fixture
def networks(machine: Machine) -> Iterator[str]:
    """A container that holds a network, another one in it, and what the unit is told by the role."""
    unit, rules = UNITS["network"][2], "/etc/wharf-registry/proxy/network"
    put(machine, ROLES / "reverse_proxy/files/proxy-network.sh", "/usr/local/lib/wharf-registry/proxy-network")
    lines = [
        "*filter",
        "-A INPUT -m comment --comment 0123456789abcdef",
        "-A INPUT -p tcp --syn -m connlimit --connlimit-above 7 -j REJECT --reject-with tcp-reset",
        "COMMIT",
    ]
    for tool in ("iptables", "ip6tables"):
        machine.run(f"mkdir -p {rules}; printf '%s\\n' {shlex.join(lines)} > {rules}/{tool}.rules")
    machine.run(
        """
        docker run --detach --name wharf-proxy-network sleeper /bin/sleep infinity
        docker run --detach --name front --network container:wharf-proxy-network \\
            --label registry.wharf.part=front sleeper /bin/sleep infinity
        """
    )
    yield unit
    machine.run(f"systemctl stop {unit}; docker rm --force front wharf-proxy-network")


def test_the_network_of_the_proxy_is_watched_in_a_sandbox(machine: Machine, tmp_path: Path, networks: str) -> None:
    """Where it is started anew, connections are counted in it, and nginx is started in it, too."""
    assert install(machine, "network", tmp_path) == networks
    find = "nsenter --net=$(docker inspect --format '{{.NetworkSettings.SandboxKey}}' wharf-proxy-network)"

    def limited() -> bool:
        said = [machine.run(f"{find} {tool} -S INPUT", check=False).stdout for tool in ("iptables", "ip6tables")]
        return all("--connlimit-above 7 " in each for each in said)

    def began() -> str:
        return machine.output("docker inspect --format '{{.State.StartedAt}}' front").strip()

    def said() -> str:
        return machine.output(f"journalctl --unit={networks} --output=cat --no-pager --lines=40")

    machine.run(f"systemctl start {networks}")
    wait_for("a first look", lambda: "Started" in said())
    wait_for("an answer", lambda: limited() or "not counted" in said())
    assert "not counted" not in said(), said()
    before = began()
    machine.run("docker restart --time 0 wharf-proxy-network")
    wait_for("what is in the network is started anew", lambda: began() != before)
    assert limited(), said()
    assert "not counted" not in said(), said()


def test_the_collector_works_in_its_sandbox(machine: Machine, tmp_path: Path) -> None:
    """It asks the engine, holds the registry, and removes what belongs to another account."""
    unit = install(machine, "maintenance", tmp_path)
    put(machine, trees.COLLECTOR, "/usr/local/lib/wharf-registry/collector")
    settings = {
        "storage": f"{DATA}/data",
        "hold_socket": f"{DATA}/sockets/hold.sock",
        "hold_group": ACCOUNT,
        "looked_at": f"{DATA}/looked-at",
        "report": "/run/wharf-registry-maintenance/report.json",
        "grace_seconds": 0,
        "attempts": 1,
        "quiet_command": ["docker", "exec", "sleeper", "/bin/sleep", "0"],
    }
    (tmp_path / "maintenance.json").write_text(json.dumps(settings))
    put(machine, tmp_path / "maintenance.json", "/etc/wharf-registry/maintenance.json")
    assert "2 manifests" in start(machine, unit)
    report = json.loads(machine.output("cat /run/wharf-registry-maintenance/report.json"))
    assert report["removed"]["manifests"] == 2 and report["problems"] == []
    assert machine.run(f"test -e {DATA}/data/.collected", check=False).returncode == 1


def test_a_backup_works_in_its_sandbox(machine: Machine, tmp_path: Path) -> None:
    """restic reads what belongs to another account, by a mount that leads to nothing else."""
    unit = install(machine, "backup", tmp_path)
    if machine.run("command -v restic", check=False).returncode != 0:
        machine.run("apt-get update -q && apt-get install -qy --no-install-recommends restic")
    library = "/usr/local/lib/wharf-registry-backup"
    put(machine, ROLES / "backup/files/wharf_backup", f"{library}/wharf_backup")
    put(machine, trees.COLLECTOR / "wharf_storage", f"{library}/wharf_storage")
    (tmp_path / "command").write_text(
        f"#!/usr/bin/python3\nimport sys\nsys.dont_write_bytecode = True\nsys.path.insert(0, {library!r})\n"
        'from wharf_backup.main import main\nsys.exit(main(sys.argv[1:], "/etc/wharf-registry-backup/config.json"))\n'
    )
    put(machine, tmp_path / "command", "/usr/local/sbin/wharf-registry-backup")
    config = {
        "hostname": "registry.test",
        "repository": "/srv/vault",
        "state": "/var/lib/wharf-registry-backup",
        "data": f"{DATA}/data",
        "settings": ["/etc/wharf-registry"],
        "port": 443,
        "addresses": [],
        "ca": "",
        "sockets": f"{DATA}/sockets",
        "keep": {"last": 3},
        "check_days": 7,
        "check_percent": 5,
        "lock_seconds": 5,
        "compression": "auto",
        "s3_region": "",
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    place = "/etc/wharf-registry-backup"
    machine.run(f"rm -rf {place} /srv/vault /var/lib/wharf-registry-backup; mkdir -p /etc/wharf-registry")
    put(machine, tmp_path / "config.json", f"{place}/config.json")
    machine.run(
        f"""
        chmod 0755 /usr/local/sbin/wharf-registry-backup; mkdir -m 0700 -p /var/lib/wharf-registry-backup
        echo /srv/vault > {place}/repository; echo password > {place}/password
        wharf-registry-backup --json init | grep -o '"id": "[0-9a-f]*' | cut -c 8- > {place}/repository.id
        # What restic must not follow.
        mkdir -p /srv/other; echo precious > /srv/other/data
        ln -s /srv/other {DATA}/data/docker/registry/v2/blobs/sha256/evil
        """
    )
    said = start(machine, unit)
    assert "Snapshot    " in said and "Holds       2 repositories, 2 tags" in said
    assert "restic could follow symbolic links" not in said
    assert "it is not saved" not in said
    assert json.loads(machine.output("wharf-registry-backup --json status"))["outcome"] == "ok"


# Of each unit, one of the two tests that follow is always run.
@pytest.mark.parametrize("what", ["maintenance", "page", *repeated("backup", *IN_BUCKETS, "network")])
def test_what_the_sandbox_forbids(machine: Machine, tmp_path: Path, what: str) -> None:
    """Each is tried in the place of the program. Outside of the sandbox it is possible, or the test proves nothing."""
    unit, place = install(machine, what, tmp_path), PLACES[what]
    machine.run(f"mkdir -p {place} /srv/vault; touch {place}/probe")
    lines = [f"({tried.format(place=place)}) >/dev/null 2>&1 && echo {name}" for name, tried in FORBIDDEN.items()]
    (tmp_path / "probe").write_text("\n".join([*lines, "echo done", ""]))
    put(machine, tmp_path / "probe", "/usr/local/sbin/probe")
    # A module is no file here, so that this one fails alike: it may for a reason that is not the right one.
    possible = set(machine.output("sh /usr/local/sbin/probe").split())
    assert {"write-etc", "read-home", "device", "owner", "packets", "set-user-id", "done"} <= possible
    machine.run(f"rm -f /etc/written /usr/local/lib/written /tmp/device; chmod 0600 {place}/probe")
    drop_in = f"/etc/systemd/system/{unit}.service.d"
    machine.run(
        f"""
        mkdir -p {drop_in}
        printf '%s\\n' '[Service]' Type=oneshot Restart=no ExecStart= 'ExecStart=/bin/sh /usr/local/sbin/probe' \\
            > {drop_in}/probe.conf
        systemctl daemon-reload
        """
    )
    cursor = machine.output("journalctl --lines=0 --show-cursor --quiet | sed -n 's/^-- cursor: //p'").strip()
    machine.run(f"systemctl start {unit}.service")
    said = machine.output(f"journalctl --unit={unit}.service --after-cursor='{cursor}' --output=cat --no-pager")
    machine.run(f"rm -r {drop_in}; systemctl daemon-reload")
    found = {line for line in said.splitlines() if line in {*FORBIDDEN, "done"}}
    assert found == {"done"}, said


@pytest.mark.parametrize("what", [*repeated("maintenance", "page", *IN_BUCKETS), "backup", "network"])
def test_how_exposed_it_is(machine: Machine, tmp_path: Path, what: str) -> None:
    unit = install(machine, what, tmp_path)
    bound = UNITS[what][3]
    done: subprocess.CompletedProcess = machine.run(
        f"systemd-analyze security --no-pager --threshold={bound} {unit}.service", check=False
    )
    print(done.stdout.splitlines()[-1])
    assert done.returncode == 0, done.stdout

"""registry_client on hosts with real systemd: Docker Engine 20.10 and 26.1, and Podman 5."""

from __future__ import annotations

import functools
import json
import secrets
import shlex
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from engine import command, wait_for
from engine_trust import DAEMON_JSON, FOREIGN, HOST, MIRROR, NOTHING, client, put, state
from hosts import forwarded
from managed import encoded
from peers import docker_config, push_image
from steps import four_runs, says

if TYPE_CHECKING:
    from pathlib import Path

    from hosts import Machine
    from managed import Host
    from peers import Peers


# --- present, absent --------------------------------------------------------------------------------------------------


def test_four_runs_of_each_state(docker: Machine, full: dict) -> None:
    put(docker, DAEMON_JSON, FOREIGN)
    docker.run("systemctl reload docker; chmod 640 /etc/docker/daemon.json; chown 1:2 /etc/docker/daemon.json")
    wait_for("the engine has read its file", lambda: docker.belief()["mirrors"] == ["https://first.example.com"])
    before = state(docker)
    done = four_runs(functools.partial(client, docker, full, mirrors=[MIRROR]), docker.files)
    assert done["reloaded"] and not done["restart_needed"]
    after = state(docker)
    assert after[1] == {
        "insecure": ["a.example.com:1", HOST],
        "networks": ["10.0.0.0/8", "127.0.0.0/8"],
        "mirrors": ["https://first.example.com", MIRROR],
    }
    report = done["engine"]["docker"]
    assert report["insecure_registries"] == sorted([*after[1]["insecure"], *after[1]["networks"]])
    assert (report["mirrors"], report["running"], report["containers_running"]) == (after[1]["mirrors"], True, 1)
    assert after[2:] == before[2:], "the engine or a container was restarted"
    # All characters of others are where they were.
    text = docker.read(DAEMON_JSON)
    changed = FOREIGN.replace('[ "https://first.example.com" ]', f'["https://first.example.com", "{MIRROR}"]')
    assert text == changed.replace('"10.0.0.0/8"]', f'"10.0.0.0/8", "{HOST}"]')
    assert docker.output(f"stat -c '%a %u %g' {DAEMON_JSON}") == "640 1 2"
    folder = f"/etc/docker/certs.d/{HOST}"
    assert docker.output(f"cd {folder}; stat -c '%n %a %U' *").split("\n") == [
        "ca.crt 644 root",
        "client.cert 644 root",
        "client.key 600 root",
    ]
    four_runs(functools.partial(client, docker, {"host": HOST}, mirrors=[MIRROR], state="absent"), docker.files)
    assert state(docker)[1:] == before[1:]
    assert docker.read(DAEMON_JSON) == FOREIGN.replace(
        '[ "https://first.example.com" ]', '["https://first.example.com"]'
    )
    assert docker.output("ls -A /etc/docker/certs.d") == ""


def test_absent_on_a_bare_host(docker: Machine, podman: Machine) -> None:
    for machine in (docker, podman):
        look = "find /etc /run /var/lib/containers -xdev -newer /tmp/mark | grep -v /run/systemd || true"
        machine.run("sleep 1; touch /tmp/mark")
        for check in (True, False):
            done = client(machine, {"host": HOST}, mirrors=[MIRROR], state="absent", check=check)
            assert (done["changed"], done["changed_files"], done["reloaded"]) == (False, [], False)
        assert "etc" not in machine.output(look) and "wharf" not in machine.output(look)


def test_names(docker: Machine) -> None:
    names = ["[::1]:5000", "Registry.Example.COM:5000", "10.0.0.1", "r.example.com", "localhost:1"]
    registries = [{"host": name, "insecure": True} for name in names]
    assert client(docker, *registries)["changed"]
    assert docker.belief()["insecure"] == sorted(names)
    assert not client(docker, *registries)["changed"]
    # In another case it is another one.
    assert client(docker, {"host": "registry.example.com:5000"}, *registries[:1])["changed"] is False
    assert client(docker, *({"host": name} for name in names))["changed"]
    assert docker.belief() == NOTHING


# --- secrets ----------------------------------------------------------------------------------------------------------


def test_no_secret_is_told(trixie: Machine, full: dict) -> None:
    password = f"geheim@{secrets.token_hex(8)}"
    put(trixie, DAEMON_JSON, json.dumps({"proxies": {"http-proxy": f"http://u:{password}@proxy:1"}}))
    hidden = {"secrets": (password, password.partition("@")[2])}
    watch = """
        rm -f /tmp/stop
        while [ ! -e /tmp/stop ]; do cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2> /dev/null; done | tr '\\0' '\\n' |
            sort -u > /tmp/seen
    """
    with ThreadPoolExecutor(1) as pool:
        watching = pool.submit(trixie.run, watch)
        client(trixie, full, **hidden)
        client(trixie, {**full, "ca": "", "client_key": full["client_key"].replace("M", "A", 3)}, failed=True, **hidden)
        client(trixie, {**full, "ca": full["client_key"]}, failed=True, **hidden)
        trixie.run(f'sed -i \'s/"proxies"/"no-such-key": 1, "proxies"/\' {DAEMON_JSON}')
        client(trixie, {"host": "x", "insecure": True}, failed=True, **hidden)
        trixie.run("touch /tmp/stop")
        watching.result()
    seen = trixie.read("/tmp/seen")  # noqa: S108
    # It saw what it was to see.
    assert "registry_client" in seen
    for line in [password, *full["client_key"].splitlines()[1:-1]]:
        assert line not in seen
    assert trixie.output("find /tmp /run /dev/shm -xdev -type f -size -64k -exec grep -l geheim@ {} + || true") == ""


# --- a pull through it ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", [pytest.param("bookworm-docker", marks=pytest.mark.long), "trixie-docker", "trixie-podman"]
)
def test_a_pull_through_the_ca(machines: dict[str, Machine], peers: Peers, tmp_path: Path, name: str) -> None:
    machine = machines[name]
    machine.clean()
    docker_config(tmp_path / "config.json", peers["basic"], "ci", peers.users["ci"])
    image = push_image(peers["basic"], f"private/{secrets.token_hex(4)}", tmp_path, tmp_path)
    with forwarded(machine, peers.ports["basic"]) as address:
        reference = image.replace(peers["basic"], address)
        login = {"auths": {address: {"auth": encoded(f"ci:{peers.users['ci']}")}}}
        machine.write("/root/.docker/config.json", json.dumps(login))
        pull = f"{name.partition('-')[2]} pull --quiet {shlex.quote(reference)}"
        refused_ = machine.run(pull, check=False)
        assert refused_.returncode != 0 and "certificate" in refused_.stderr
        assert client(machine, {"host": address, "ca": peers.ca.read_text()})["changed"]
        machine.run(pull)
        assert client(machine, {"host": address}, state="absent")["changed"]
        assert machine.run(pull, check=False).returncode != 0


# --- Pythons ----------------------------------------------------------------------------------------------------------


PURE = """
import sys
from ansible_collections.wharf.registry.plugins.module_utils._engine.daemon_json import DaemonConfig, same_registry
text = sys.stdin.read()
there = DaemonConfig(text.encode(), "x").with_entries("insecure-registries", ["r"], [], same_registry)
there.check(["-H", "fd://"])
print(there.with_entries("insecure-registries", [], ["r"], same_registry).text, end="")
"""


def test_every_python(any_host: Host, tmp_path: Path, full: dict) -> None:
    """This machine's own engine is asked, and told nothing."""
    secure = {**full, "insecure": False}
    folder = tmp_path / "certs.d"
    options = {"engines": ["docker"], "certs_dir": str(folder), "daemon_config_path": str(tmp_path / "daemon.json")}

    def look() -> list:
        return sorted((str(path), path.is_file() and path.read_text()) for path in folder.rglob("*"))

    four_runs(functools.partial(client, any_host, secure, **options), look)
    assert "no private key" in client(any_host, {**secure, "client_key": "x"}, failed=True, **options)["msg"]
    says(client(any_host, full, failed=True, **options), str(tmp_path / "daemon.json"))
    assert client(any_host, {"host": HOST}, state="absent", **options)["changed"] and not look()[1:]
    done = command("env", f"PYTHONPATH={any_host.tree}", any_host.python, "-c", PURE, stdin=FOREIGN)
    assert json.loads(done.stdout) == json.loads(FOREIGN)

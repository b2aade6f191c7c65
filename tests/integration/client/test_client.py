"""registry_client on hosts with real systemd: Docker Engine 20.10 and 26.1, and Podman 5."""

from __future__ import annotations

import functools
import hashlib
import json
import secrets
import shlex
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from certificates import Authority
from engine import command, wait_for
from hosts import STATE, believed, forwarded
from managed import collect, encoded
from peers import docker_config, push_image
from steps import four_runs, says

if TYPE_CHECKING:
    from pathlib import Path

    from hosts import Machine
    from managed import Host
    from peers import Peers

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


@pytest.fixture(params=["bookworm-docker", "trixie-docker"])
def docker(request: pytest.FixtureRequest, machines: dict[str, Machine]) -> Machine:
    """A host whose engine has no setting, and whose container and engine run on whatever is done to it."""
    machine = machines[request.param]
    machine.clean()
    return machine


@pytest.fixture
def bookworm(machines: dict[str, Machine]) -> Machine:
    """For what any engine does in the same way, one of the two."""
    machines["bookworm-docker"].clean()
    return machines["bookworm-docker"]


@pytest.fixture
def trixie(machines: dict[str, Machine]) -> Machine:
    machines["trixie-docker"].clean()
    return machines["trixie-docker"]


@pytest.fixture
def podman(machines: dict[str, Machine]) -> Machine:
    machines["trixie-podman"].clean()
    return machines["trixie-podman"]


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"), "a-ca")


@pytest.fixture
def full(authority: Authority) -> dict:
    """All that can be said of a registry."""
    pair = authority.issue("client", ("client.test",))
    return {
        **INSECURE,
        "ca": authority.certificate.read_text(),
        "client_cert": pair.certificate.read_text(),
        "client_key": pair.key.read_text(),
    }


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


# --- what the engine says ---------------------------------------------------------------------------------------------


def test_a_foreign_key_that_the_engine_does_not_know(docker: Machine) -> None:
    client(docker, {"host": "before.example.com", "insecure": True})
    put(docker, DAEMON_JSON, '{"insecure-registries": ["before.example.com"], "no-such-key": 1}')
    for options in ({}, {"apply": "restart"}):
        message = refused(docker, INSECURE, subject="ngine" if "bookworm" in docker.name else DAEMON_JSON, **options)
        assert "no-such-key" in message
    assert docker.belief()["insecure"] == ["before.example.com"]
    # A CA is none of its business.
    assert client(docker, {"host": HOST, "ca": ""})["changed"] is False


def test_an_engine_that_is_down_stays_down(docker: Machine, full: dict) -> None:
    docker.run("systemctl stop docker")
    # The socket is there, and would start it.
    assert docker.output("systemctl is-active docker.socket") == "active"
    for check, changed in ((True, True), (False, True), (True, False), (False, False)):
        done = client(docker, full, check=check)
        assert (done["changed"], done["reloaded"], done["restart_needed"]) == (changed, False, False)
        assert done["engine"]["docker"] == {
            "installed": True,
            "running": False,
            "version": "",
            "insecure_registries": [],
            "mirrors": [],
            "live_restore": False,
            "containers_running": 0,
        }
    assert docker.output("systemctl is-active docker || true") == "inactive"
    docker.run("systemctl start docker")
    assert docker.belief()["insecure"] == [HOST]


def test_an_engine_that_does_not_answer(trixie: Machine) -> None:
    trixie.run("kill -STOP $(cat /run/docker.pid)")
    try:
        done = client(trixie, INSECURE, timeout=1)
    finally:
        trixie.run("kill -CONT $(cat /run/docker.pid)")
    assert done["changed"] and done["restart_needed"] and not done["reloaded"]
    assert "does not answer" in warned(done)
    assert client(trixie, INSECURE)["reloaded"]
    assert trixie.belief()["insecure"] == [HOST]


def test_a_restart_only_where_a_reload_does_not_do(trixie: Machine) -> None:
    before = trixie.engine_pid()
    client(trixie, INSECURE, apply="restart")
    assert trixie.engine_pid() == before
    client(trixie, {"host": HOST}, apply="restart")
    # An engine under another name, to which no signal may be sent.
    trixie.run(
        f"""
        mkdir -p $(dirname {DROP_IN})
        ln -sf /usr/sbin/dockerd /usr/local/sbin/another-engine
        printf '[Service]\\nExecStart=\\nExecStart=/usr/local/sbin/another-engine -H fd://\\n' > {DROP_IN}
        systemctl daemon-reload; systemctl restart docker; touch /run/restart-needed
        """
    )
    before = trixie.engine_pid(), trixie.sleeper_pid()
    done = client(trixie, INSECURE)
    assert done["restart_needed"] and "1 containers" in warned(done)
    assert (trixie.engine_pid(), trixie.sleeper_pid()) == before
    done = client(trixie, INSECURE, apply="restart")
    assert done["changed"] and not done["restart_needed"]
    assert "stopped 1 containers" in warned(done)
    after = trixie.engine_pid()
    assert after != before[0] and trixie.belief()["insecure"] == [HOST]
    assert not client(trixie, INSECURE, apply="restart")["changed"]
    assert trixie.engine_pid() == after
    # One that does not start with what was written comes back without it.
    with_condition = f'ExecStartPre=/bin/sh -c "! grep -q other.example.com {DAEMON_JSON}"'
    trixie.run(f"cat >> {DROP_IN}; systemctl daemon-reload", stdin=with_condition + "\n")
    files, belief = trixie.files(), trixie.belief()
    failed = client(trixie, {"host": "other.example.com", "insecure": True}, apply="restart", failed=True)
    assert "did not restart" in failed["msg"] and "previous files were restored" in failed["msg"]
    assert (trixie.files(), trixie.belief()) == (files, belief)


@pytest.mark.parametrize("where", ["drop-in", "defaults", "running"])
def test_flags(docker: Machine, where: str) -> None:
    flag = "--insecure-registry=flag.example.com"
    if where == "defaults":
        put(docker, "/etc/default/docker", f'DOCKER_OPTS="--debug {flag}"\n')
    else:
        put(docker, DROP_IN, f"[Service]\nExecStart=\nExecStart=/usr/sbin/dockerd -H fd:// {flag}\n")
    if where == "running":
        docker.run("systemctl daemon-reload; systemctl restart docker; touch /run/restart-needed")
    for options in ({}, {"apply": "restart"}):
        message = refused(docker, INSECURE, subject="--insecure-registry", **options)
        assert DAEMON_JSON in message and "drop-in" in message
    # The other list has no flag, and what is given back leaves that of the flag alone.
    assert client(docker, mirrors=[MIRROR])["changed"]
    assert docker.belief()["insecure"] == (["flag.example.com"] if where == "running" else [])
    assert client(docker, mirrors=[MIRROR], state="absent")["changed"]
    if where == "running":
        done = client(docker, {"host": "flag.example.com"})
        assert not done["changed"] and "stays insecure" in warned(done)


def test_what_a_later_step_takes_back(docker: Machine, full: dict) -> None:
    """Of a list that is a flag, the engine is told nothing: it would refuse to forget the other one, too."""
    flags = "--registry-mirror=https://flag.example.com"
    put(docker, DROP_IN, f"[Service]\nExecStart=\nExecStart=/usr/sbin/dockerd -H fd:// {flags}\n")
    put(docker, DAEMON_JSON, '{"debug":   true}')
    docker.run("systemctl daemon-reload; systemctl restart docker; touch /run/restart-needed")
    before = state(docker)
    # 127.0.0.1:1 has no listener.
    registries = [{**full, "host": "127.0.0.1:1"}]
    args = {"registries": registries, "check": {"access": "none"}, "timeout": 5}
    failed = docker.host.run_module("registry_onboard", args, failed=True)
    assert (failed["step"], failed["rolled_back"], failed["unrestored_files"]) == ("check", True, [])
    assert "127.0.0.1:1" in failed["trust"]["engine"]["docker"]["insecure_registries"]
    assert state(docker) == before
    # The file of a login is broken: check mode says so as well.
    put(docker, "/root/broken/config.json", "{")
    login = {"username": "u", "password": "p", "verify": False, "config_path": "/root/broken/config.json"}
    for check in (True, False):
        failed = docker.host.run_module("registry_onboard", args | {"logins": [login]}, check=check, failed=True)
        assert (failed["step"], failed["changed"], failed["rolled_back"]) == ("login", False, not check)
        assert "is not valid JSON" in failed["msg"] and ("was taken back" in failed["msg"]) is not check
        assert state(docker) == before


def test_runtimes_of_the_file_and_of_a_flag(bookworm: Machine) -> None:
    put(bookworm, DROP_IN, "[Service]\nExecStart=\nExecStart=/usr/sbin/dockerd -H fd:// --add-runtime b=/bin/true\n")
    put(bookworm, DAEMON_JSON, '{"runtimes": {"a": {"path": "/bin/true"}}}')
    bookworm.run("systemctl daemon-reload; systemctl restart docker; touch /run/restart-needed")
    assert client(bookworm, INSECURE)["reloaded"]
    bookworm.run("systemctl restart docker")
    assert bookworm.belief()["insecure"] == [HOST]


# --- files that are none ----------------------------------------------------------------------------------------------


def test_files_that_are_left_alone(bookworm: Machine, full: dict) -> None:
    for make in (
        "printf '{\"debug\": true,}' > daemon.json",
        "printf '{\"a\": 1' > daemon.json",
        "printf '[]' > daemon.json",
        "printf '{\"insecure-registries\": {}}' > daemon.json",
        "printf '{\"debug\": 1}' > daemon.json",
        "printf '\\377' > daemon.json",
        "rm daemon.json; mkdir -p daemon.json/x",
        "rm -r daemon.json; mkfifo daemon.json",
        "rm daemon.json; ln -s daemon.json daemon.json",
    ):
        bookworm.run(f"cd /etc/docker; {make}")
        refused(bookworm, full)
    bookworm.run("rm /etc/docker/daemon.json; printf '{}' > /etc/docker/daemon.json")
    bookworm.set_immutable(True)
    message = refused(bookworm, full)
    assert "lsattr" in message
    bookworm.set_immutable(False)
    bookworm.run(": > /etc/docker/daemon.json")
    # One without a word says nothing that could be lost.
    assert client(bookworm, full)["changed"] and bookworm.belief()["insecure"] == [HOST]


def test_a_read_only_directory(bookworm: Machine, full: dict) -> None:
    bookworm.run("mount --bind /etc/docker /etc/docker; mount -o remount,bind,ro /etc/docker")
    try:
        assert "read-only" in refused(bookworm, full, subject="/etc/docker")
    finally:
        bookworm.run("umount /etc/docker")


def test_links(trixie: Machine, authority: Authority) -> None:
    ca = {"host": HOST, "ca": authority.certificate.read_text()}
    folder = f"/etc/docker/certs.d/{HOST}"
    trixie.run(f"mkdir -p {folder}; ln -s /etc/ssl/certs/ca-certificates.crt {folder}/ca.crt")
    bundle = trixie.output("sha256sum /etc/ssl/certs/ca-certificates.crt")
    for state_ in ("present", "absent"):
        assert "symbolic link" in refused(trixie, ca, subject=folder, state=state_)
    assert trixie.output("sha256sum /etc/ssl/certs/ca-certificates.crt") == bundle
    # One directory for two engines.
    trixie.run("rm -r /etc/docker/certs.d; mkdir -p /etc/containers/certs.d; ln -s ../containers/certs.d /etc/docker/")
    four_runs(functools.partial(client, trixie, ca, engines=["docker", "podman"]), trixie.files)
    assert trixie.output("ls /etc/containers/certs.d") == HOST


# --- many at once, and at any moment ----------------------------------------------------------------------------------


def test_fifty_at_once_lose_nothing(trixie: Machine) -> None:
    put(trixie, DAEMON_JSON, FOREIGN)
    names = [f"r{number}.example.com" for number in range(50)]

    def trusted(name: str) -> dict:
        run = trixie.host.start("registry_client", {"registries": [{"host": name, "insecure": True}]})
        return collect(run, {}, timeout=300)

    with ThreadPoolExecutor(len(names)) as pool:
        results = list(pool.map(trusted, names))
    assert all(result["changed"] for result in results)
    document = json.loads(trixie.read(DAEMON_JSON))
    assert document["insecure-registries"][:2] == ["a.example.com:1", "10.0.0.0/8"]
    assert sorted(document["insecure-registries"][2:]) == sorted(names)
    assert set(names) <= set(trixie.belief()["insecure"])
    assert document | {"insecure-registries": []} == json.loads(FOREIGN) | {"insecure-registries": []}


def test_a_killed_run_leaves_an_old_file_or_a_new_one(trixie: Machine, full: dict) -> None:
    put(trixie, DAEMON_JSON, FOREIGN)
    trixie.run("systemctl reload docker")
    present = {"registries": [full], "mirrors": [MIRROR]}
    absent = {"registries": [{"host": HOST}], "mirrors": [MIRROR], "state": "absent"}
    client(trixie, full, mirrors=[MIRROR])
    new = trixie.read(DAEMON_JSON)
    client(trixie, {"host": HOST}, mirrors=[MIRROR], state="absent")
    old = trixie.read(DAEMON_JSON)
    put(trixie, "/tmp/present", json.dumps({"ANSIBLE_MODULE_ARGS": present}))  # noqa: S108
    put(trixie, "/tmp/absent", json.dumps({"ANSIBLE_MODULE_ARGS": absent}))  # noqa: S108
    sums = {hashlib.sha256(text.encode()).hexdigest() for text in (old, new, FOREIGN)}
    delays = " ".join(f"0.{number}" for number in (15, 20, 24, 28, 32, 36, 40, 50, 65))
    seen = trixie.output(
        f"""
        for delay in {delays}; do
            for state in present absent; do
                timeout -s KILL $delay python3 /managed/launch.py registry_client < /tmp/$state > /dev/null 2>&1 || true
                sha256sum < {DAEMON_JSON}
            done
        done
        """
    )
    found = {line.split()[0] for line in seen.splitlines()}
    assert found <= sums, "a file that is neither the old nor the new one"
    client(trixie, full, mirrors=[MIRROR])
    assert trixie.read(DAEMON_JSON) == new
    client(trixie, {"host": HOST}, mirrors=[MIRROR], state="absent")
    assert trixie.belief()["insecure"] == ["a.example.com:1"]
    assert trixie.output("find /etc/docker /tmp /dev/shm -path '/tmp/py-*' -prune -o -name '*wharf*' -print") == ""


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


# --- Podman -----------------------------------------------------------------------------------------------------------


def podmans(machine: Machine) -> dict:
    """What Podman says of registries."""
    found = json.loads(machine.output("podman info --format '{{json .Registries}}' 2> /dev/null"))
    return {
        name: [one["Insecure"], *((mirror["Location"], mirror["Insecure"]) for mirror in one["Mirrors"] or [])]
        for name, one in found.items()
        if name != "search"
    }


@pytest.mark.parametrize("user", ["root", "deployer"])
def test_podman(podman: Machine, user: str, full: dict) -> None:
    account = podman.account(user)
    home = f"{account.home}/.config" if user != "root" else "/etc"
    files = f"find {home}/containers -type f -printf '%p %m %u\\n' -exec sha256sum {{}} ';'"
    look = functools.partial(account.output, files)
    account.run(f"mkdir -p {home}/containers/registries.conf.d")
    mirrors = [MIRROR, "http://[fd00::1]:80"]
    six = {"host": "[::1]:5000", "insecure": True}
    four_runs(functools.partial(client, account, full, six, mirrors=mirrors), look)
    if user == "root":
        # Of an ordinary account, Podman says nothing here: the host has no newuidmap, which it asks for at first.
        assert podmans(account) == {
            HOST: [True],
            "[::1]:5000": [True],
            "docker.io": [False, ("m.example.com", False), ("[fd00::1]:80", True)],
        }
    assert account.stat(f"{home}/containers/certs.d/{HOST}/client.key") == (user, "600")
    four_runs(functools.partial(client, account, {"host": HOST}, six, mirrors=mirrors, state="absent"), look)
    if user == "root":
        assert podmans(account) == {}


def test_podman_in_its_own_words(podman: Machine, full: dict) -> None:
    neighbour = "/etc/containers/registries.conf.d/00-wharf-neighbour.conf"
    put(podman, neighbour, '[[registry]]\nlocation = "docker.io"\n')
    assert neighbour in warned(client(podman, mirrors=[MIRROR]))
    put(podman, neighbour, "[[registry]\n")
    before = podman.files()
    message = says(client(podman, full, failed=True), "Podman", neighbour, "previous files were restored")
    assert "cgroup" not in message
    assert podman.files() == before


def test_podman_keeps_what_an_administrator_has_set(podman: Machine) -> None:
    """An entry of ours that would have no effect, or would undo an administrator's, names the file of the latter."""
    folder = "/etc/containers/registries.conf.d"
    entry, mirror = f'[[registry]]\nlocation = "{HOST}"\n', '[[registry.mirror]]\nlocation = "m.example.com"\n'
    for name, text, words in (
        ("00-wharf-admin.conf", entry + "blocked = true\n", "blocks"),
        ("00-wharf-admin.conf", entry + mirror, "m.example.com"),
        ("00-wharf-admin.conf", '[[registry]]\nprefix = "*.example.com"\nblocked = true\n', "*.example.com"),
        ("zz-wharf-admin.conf", entry, "no effect"),
    ):
        put(podman, f"{folder}/{name}", text)
        before, believes = podman.files(), podmans(podman)
        for check in (True, False):
            says(client(podman, INSECURE, check=check, failed=True), f"{folder}/{name}", HOST, words)
        assert (podman.files(), podmans(podman)) == (before, believes)
        podman.run(f"rm {folder}/{name}")
    put(podman, f"{folder}/00-wharf-admin.conf", entry)
    four_runs(functools.partial(client, podman, INSECURE), podman.files)
    assert podmans(podman) == {HOST: [True]}


# --- a pull through it ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["bookworm-docker", "trixie-docker", "trixie-podman"])
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

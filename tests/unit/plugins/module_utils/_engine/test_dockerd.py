"""How dockerd is started: read from units, drop-ins and environment files as they lie on the disk."""

from __future__ import annotations

import os

import pytest
from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError
from ansible_collections.wharf.registry.plugins.module_utils._engine import dockerd_instance, systemd_units
from ansible_collections.wharf.registry.plugins.module_utils._engine.dockerd import Daemon
from ansible_collections.wharf.registry.plugins.module_utils._engine.dockerd_flags import flag_values, without_flags
from ansible_collections.wharf.registry.plugins.module_utils._engine.dockerd_instance import DockerdInstance
from ansible_collections.wharf.registry.plugins.module_utils._engine.effective_config import EffectiveConfig
from ansible_collections.wharf.registry.plugins.module_utils._engine.engine_log import message_of
from ansible_collections.wharf.registry.plugins.module_utils._engine.running_processes import Process

DEBIAN = """[Unit]
Description=Docker Application Container Engine
# ExecStart=/usr/sbin/dockerd --debug

[Service]
Type=notify
EnvironmentFile=-{defaults}
ExecStart=/usr/sbin/dockerd -H fd:// --containerd=/run/containerd/containerd.sock $DOCKER_OPTS
ExecReload=/bin/kill -s HUP $MAINPID
"""
FIXED = ["-H", "fd://", "--containerd=/run/containerd/containerd.sock"]


@pytest.fixture
def host(tmp_path, monkeypatch):
    """A root of a file system, with no engine that runs; returns what writes into it."""
    monkeypatch.setattr(systemd_units, "UNITS", tuple(str(tmp_path / name) for name in ("etc", "run", "lib")))
    monkeypatch.setattr(dockerd_instance, "_USER_UNITS", systemd_units.UNITS)
    monkeypatch.setattr(dockerd_instance, "_DEFAULTS", str(tmp_path / "default"))
    monkeypatch.setattr(dockerd_instance, "named", lambda _name: [])

    def write(path, text):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text.format(defaults=tmp_path / "default") if "{defaults}" in text else text)

    return write


def arguments():
    return DockerdInstance().unit_arguments()


def drop_in(line):
    return f"[Service]\n{line}\n"


def test_a_unit_as_debian_has_it(host):
    assert arguments() == []
    host("lib/docker.service", DEBIAN)
    assert arguments() == FIXED


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('DOCKER_OPTS="--debug --dns 1.1.1.1"', ["--debug", "--dns", "1.1.1.1"]),
        ("DOCKER_OPTS=--debug", ["--debug"]),
        ("  DOCKER_OPTS='--label \"a b\"'", ["--label", "a b"]),
        ('# DOCKER_OPTS="--debug"', []),
        ("; DOCKER_OPTS=--debug", []),
        ("export DOCKER_OPTS=--debug", ["--debug"]),
        ("OTHER=--debug\nDOCKER_OPTS=-D\nDOCKER_OPTS=", []),
        ('DOCKER_OPTS="--debug', ["--debug"]),
    ],
)
def test_the_environment_file(host, line, words):
    host("lib/docker.service", DEBIAN)
    host("default", line + "\n")
    found = arguments()
    assert found[:3] == FIXED
    assert [word.strip('"') for word in found[3:]] == words


def test_drop_ins(host):
    host("lib/docker.service", DEBIAN)
    host("lib/docker.service.d/10-a.conf", drop_in("ExecStart=\nExecStart=/usr/bin/dockerd --first"))
    assert arguments() == ["--first"]
    # The later one in the alphabet counts, and of one name that of the administrator.
    host("etc/docker.service.d/20-b.conf", drop_in("ExecStart=\nExecStart=/usr/bin/dockerd --second \\\n  --more"))
    assert arguments() == ["--second", "--more"]
    host("run/docker.service.d/30-c.conf", drop_in("ExecStart=\nExecStart=/usr/bin/dockerd --run"))
    assert arguments() == ["--run"]
    host("etc/docker.service.d/30-c.conf", "")
    assert arguments() == ["--second", "--more"]
    host("etc/docker.service.d/no.txt", drop_in("ExecStart=\nExecStart=/usr/bin/dockerd --no"))
    assert arguments() == ["--second", "--more"]


def test_a_unit_of_the_administrator_hides_the_package(host):
    host("lib/docker.service", DEBIAN)
    host("etc/docker.service", drop_in("ExecStart=/opt/dockerd --mine"))
    assert arguments() == ["--mine"]


def test_variables(host):
    host(
        "lib/docker.service",
        drop_in(
            'Environment="A=--one --two" B=3\nEnvironment=C=--c\n'
            'ExecStart=/usr/bin/dockerd $A ${A} --b=${B} --x=$C "quo ted" $MISSING'
        ),
    )
    assert arguments() == ["--one", "--two", "--one --two", "--b=3", "--x=--c", "quo ted"]
    host("lib/docker.service.d/e.conf", drop_in("Environment=\nEnvironment=B=4"))
    assert "--b=4" in arguments() and "--one" not in arguments()


def test_an_init_script(host):
    host("default", 'DOCKER_OPTS="--debug --dns 8.8.8.8" # for now\n')
    assert arguments() == ["--debug", "--dns", "8.8.8.8"]


def test_where_the_configuration_lies(host, monkeypatch):
    host("lib/docker.service", drop_in("ExecStart=/usr/bin/dockerd --config-file /srv/d.json"))
    assert DockerdInstance().config_path == "/srv/d.json"
    # What the process was started with decides, and its unit does not.
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    for words, path in (([], "/etc/docker/daemon.json"), (["--config-file=/x.json"], "/x.json")):
        engine = Running(["dockerd", "-H", "fd://", *words])
        monkeypatch.setattr(dockerd_instance, "named", lambda _name, engine=engine: [engine])
        assert DockerdInstance().config_path == path


@pytest.mark.parametrize(
    "program", ["/usr/bin/dockerd --config-file=/srv/d.json", "-/opt/docker/dockerd --config-file /srv/d.json"]
)
def test_a_unit_of_another_name(host, program):
    host("lib/aaa.service", drop_in("ExecStart=/usr/bin/other --config-file=/no.json"))
    host("etc/container-manager.service", drop_in(f"ExecStart={program}"))
    instance = DockerdInstance()
    assert instance.installed and instance.config_path == "/srv/d.json"
    # The usual name is preferred to any other.
    host("lib/docker.service", DEBIAN)
    assert DockerdInstance().config_path == "/etc/docker/daemon.json"


def test_a_snap_that_is_stopped(host, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    host("etc/snap.docker.nvidia.service", drop_in("ExecStart=/usr/bin/snap run docker.nvidia-container-toolkit"))
    assert DockerdInstance().config_path == "/etc/docker/daemon.json"
    host("etc/snap.docker.dockerd.service", drop_in("ExecStart=/usr/bin/snap run docker.dockerd"))
    instance = DockerdInstance()
    assert instance.config_path == "/var/snap/docker/current/config/daemon.json"
    assert instance.certs_dir == "/var/snap/docker/current/etc/docker/certs.d"


class Running:
    """A process as DockerdInstance sees it."""

    sees_our_files = True
    program = ""
    unit = ""

    def __init__(self, arguments, pid=4, sockets=(), environment=None):
        self.arguments, self.pid, self._sockets = arguments, pid, sockets
        self.environment = environment or {}
        self.account = 0
        self.parent = Process(0)

    name = "supervisord"

    def listens(self, path):
        return path in self._sockets

    @staticmethod
    def host_path(path):
        return path


def several(monkeypatch, *engines):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(dockerd_instance, "named", lambda _name: engines)


def test_of_several_engines(host, monkeypatch):
    """The one that reads the file that is given, or else the one that `docker` talks to."""
    usual = Running(["dockerd"], 5, [dockerd_instance.SOCKET])
    other = Running(["dockerd", "--config-file=/o.json"], 6, ["/run/other.sock"])
    third = Running(["dockerd", "--config-file=/t.json"], 7)
    several(monkeypatch, usual, other, third)
    assert (DockerdInstance().pid, DockerdInstance("/t.json").pid, DockerdInstance("/o.json").pid) == (5, 7, 6)
    # None of them reads it: the refusal comes where the file would be written.
    assert DockerdInstance("/no.json").pid == 5
    several(monkeypatch, other, third)
    for path in (None, "/no.json"):
        with pytest.raises(InputError, match=r"2 Docker Engines .* process 6 reads /o.json, process 7 reads /t.json"):
            DockerdInstance(path)
    # An image that is being made is nothing to them.
    instance = DockerdInstance("/image/etc/docker/daemon.json", may_be_unread=True)
    assert (instance.pid, Daemon(instance, 1).effective_config(), instance.certs_dir) == (
        None,
        None,
        "/image/etc/docker/certs.d",
    )


def test_processes_that_pass(host, monkeypatch):
    """Another module checks a file, and the engine has just forked what will be another program."""
    engine = Running(["dockerd"], 5, [dockerd_instance.SOCKET])
    forked = Running(["dockerd"], 6, [dockerd_instance.SOCKET])
    forked.parent = engine
    checks = Running(["dockerd", "--validate", "--config-file", "/proc/9/fd/3"], 7)
    several(monkeypatch, forked, checks, engine)
    assert DockerdInstance().pid == 5
    several(monkeypatch, checks)
    assert DockerdInstance().pid is None


def test_processes_of_other_accounts(host, monkeypatch):
    """Rootless engines are their accounts' own."""
    rootless = Running(["dockerd"], 5, environment={"XDG_CONFIG_HOME": "/srv/a/conf"})
    rootless.account = 1000
    several(monkeypatch, rootless)
    assert DockerdInstance().pid is None
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    instance = DockerdInstance()
    assert (instance.pid, instance.config_path) == (5, "/srv/a/conf/docker/daemon.json")
    assert instance.certs_dir == "/srv/a/conf/docker/certs.d"


def test_flags_of_a_service_that_does_not_start_the_engine_do_not_count(host, monkeypatch):
    host("lib/docker.service", drop_in("ExecStart=/usr/bin/dockerd --insecure-registry=x"))
    assert DockerdInstance().arguments() == ["--insecure-registry=x"]
    several(monkeypatch, Running(["dockerd", "--debug"]))
    assert DockerdInstance().arguments() == ["--debug"]


@pytest.mark.parametrize(
    ("words", "socket"),
    [
        ([], None),
        (["-H", "fd://"], None),
        (["-H", "unix:///run/a.sock"], "/run/a.sock"),
        (["--host=tcp://0.0.0.0:2376", "--host=unix:///run/b.sock"], "/run/b.sock"),
        (["-H", "tcp://0.0.0.0:2376", "-H", "unix:///run/c.sock"], "/run/c.sock"),
        (["-H", "unix://"], None),
    ],
)
def test_where_it_listens(host, words, socket):
    instance = DockerdInstance()
    instance.running_arguments = words
    assert instance.socket == (socket or instance.default_socket)


def test_flags():
    words = ["--a=1", "--a", "2", "--ab=3", "-H", "x", "--last"]
    assert sorted(flag_values(words, "--a")) == ["1", "2"]
    assert without_flags(words, ("--a", "-H")) == ["--ab=3", "--last"]
    assert flag_values(words, "--last") == []


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('time="x" level=error msg="say \\"no\\": http://u:p@proxy/"', 'say "no": http://…@proxy/'),
        ("plain words ", "plain words"),
    ],
)
def test_words_of_the_engine(line, said):
    assert message_of(line) == said


@pytest.mark.parametrize("info", [{}, {"RegistryConfig": None}, {"RegistryConfig": {"IndexConfigs": None}}])
def test_an_engine_that_says_little(info):
    effective = EffectiveConfig(info)
    assert (effective.insecure, effective.mirrors, effective.version) == ([], [], "")

"""registry_client and Docker: reloads, restarts and flags of the engine, and files that are left alone."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import pytest
from engine_trust import DAEMON_JSON, DROP_IN, HOST, INSECURE, MIRROR, client, put, refused, state, warned
from marks import repeated
from steps import four_runs

if TYPE_CHECKING:
    from certificates import Authority
    from hosts import Machine


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


def test_mirrors_that_docker_can_not_ask(trixie: Machine) -> None:
    """Those of other registries and those below a path are named, and the one that it can ask is asked."""
    mirrors = {"docker.io": [MIRROR, f"{MIRROR}/hub"], "quay.example": MIRROR}
    done = client(trixie, upstream_mirrors=mirrors)
    assert "Docker asks no mirror for docker.io below a path and quay.example" in warned(done)
    assert trixie.belief()["mirrors"] == [MIRROR]
    assert not client(trixie, upstream_mirrors=mirrors)["changed"]
    assert client(trixie, upstream_mirrors=mirrors, state="absent")["changed"]
    assert trixie.belief()["mirrors"] == []


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


@pytest.mark.parametrize("where", ["drop-in", *repeated("defaults"), "running"])
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

"""registry_onboard and the engines of accounts: rootless Docker and Podman, proven by their own pulls."""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING

import hosts
import pytest
from engine_trust import put, warned
from rootless import make_account, typed

if TYPE_CHECKING:
    from hosts import Machine
    from peers import Peers

MIRROR = "https://mirror.example.com"


@pytest.fixture(scope="module")
def rootless(images: dict[str, str]) -> Machine:
    """A host with `both`, which runs Docker and has Podman, and `plain`, which has Podman alone."""
    booted = hosts.start(images, ("trixie-rootless",))
    hosts.wait(booted)
    machine = booted["trixie-rootless"]
    make_account(machine, "both", docker=True)
    make_account(machine, "plain", docker=False)
    return machine


@pytest.fixture
def machine(rootless: Machine) -> Machine:
    rootless.run(
        """
        rm -rf /etc/docker/certs.d /etc/containers/certs.d /etc/containers/registries.conf.d/*wharf* /root/.docker
        for home in /home/both /home/plain; do
            cd $home
            rm -rf .docker .config/docker .config/containers/certs.d .config/containers/registries.conf*
        done
        """
    )
    return rootless


def onboard(machine: Machine, peers: Peers, image: str, *accounts: dict, **options: object) -> dict:
    of_run = {key: options.pop(key) for key in ("check", "failed") if key in options}
    password = peers.users["ci"]
    args = {
        "registries": [{"host": peers.outside, "ca": peers.ca.read_text()}],
        "mirrors": [MIRROR],
        "logins": [{"username": "ci", "password": password, "user": account["user"]} for account in accounts],
        "accounts": list(accounts),
        "check": {"username": "ci", "password": password, "access": "push", "image": image},
        **options,
    }
    return machine.host.run_module("registry_onboard", args, secrets=(password,), **of_run)


def files(machine: Machine) -> str:
    """All files that the homes hold of clients and engines. Directories may stay."""
    return machine.output(
        """
        for home in /home/both /home/plain; do
            cd $home
            find .config .docker ! -type d ! -name '*.lock' -printf '%p %M %u %l\\n' 2> /dev/null | sort
            find .config .docker -type f -exec sha256sum {} + 2> /dev/null | sort
        done
        """
    )


def test_each_engine_of_each_account(machine: Machine, peers: Peers, room: str) -> None:
    account = machine.account("both")
    before = files(machine)
    engine = typed(account, "systemctl --user show --property=MainPID --value docker")
    run = functools.partial(onboard, machine, peers, f"{room}/probe:1", {"user": "both"}, {"user": "plain"})
    foretold = run(check=True)
    assert foretold["changed"]
    assert files(machine) == before
    done = run()
    assert done["changed"]
    found = {one["user"]: one["trust"]["engine"] for one in done["accounts"]}
    assert {user: sorted(engines) for user, engines in found.items()} == {
        "both": ["docker", "podman"],
        "plain": ["podman"],
    }
    assert found["both"]["docker"]["mirrors"] == [MIRROR]
    assert [[one["engine"] for one in account["checks"]] for account in done["accounts"]] == [
        ["docker", "podman"],
        ["podman"],
    ]
    after = files(machine)
    for check in (True, False):
        assert not run(check=check)["changed"]
        assert files(machine) == after
    # The same engine as before: it was told, and not restarted.
    assert typed(account, "systemctl --user show --property=MainPID --value docker") == engine
    assert run(state="absent", check=True)["changed"]
    assert files(machine) == after
    assert run(state="absent")["changed"]
    assert not run(state="absent")["changed"]
    # As of root's Docker: a list that is emptied stays, since a reload without it would leave the engine as it is.
    assert json.loads(account.output("cat ~/.config/docker/daemon.json"))["registry-mirrors"] == []
    machine.run("rm -rf /home/*/.config/docker /home/*/.docker")
    assert files(machine) == before


def test_an_account_pulls_with_what_it_was_given(machine: Machine, peers: Peers, image: str, room: str) -> None:
    onboard(machine, peers, f"{room}/probe:1", {"user": "both"})
    reference = f"{peers.outside}/{image}"
    for client in ("docker", "podman"):
        typed(machine.account("both"), f"{client} pull --quiet {reference}; {client} rmi {reference}")


def test_what_its_engines_run(machine: Machine, peers: Peers, room: str) -> None:
    """Of each account, in its own engines, and of none that is not asked for."""
    onboard(machine, peers, f"{room}/probe:1", {"user": "both"})
    both = machine.account("both")
    sleep = typed(both, "mkdir -p root/bin && cp /bin/sleep root/bin/ && cd root && ldd /bin/sleep | grep -o '/[^ ]*'")
    for file in sleep.split():
        typed(both, f"cp --parents --dereference {file} root/")
    name = f"{peers.outside}/{room}/web:1"
    typed(both, f"tar -C root -c . | podman import --quiet - {name} && podman push --quiet {name}")
    try:
        # Rootless containers of the lab have no network.
        typed(both, f"podman run --detach --network none --name web {name} /bin/sleep infinity")
        (found,) = machine.host.run_module("_running_images", {"accounts": ["both", "plain", "gone"]})["containers"]
        assert (found["account"], found["engine"], found["container"]) == ("both", "podman", "web")
        assert found["image"] == name and found["digests"][0].startswith(f"{peers.outside}/{room}/web@sha256:")
        assert machine.host.run_module("_running_images", {})["containers"] == []
    finally:
        typed(both, "podman rm --force --time 1 web", check=False)


def test_what_fails_for_one_account_is_taken_back_for_all(machine: Machine, peers: Peers, room: str) -> None:
    """The second account has a file that Podman does not read."""
    put(machine.account("plain"), "~/.config/containers/registries.conf", "[[registry]\n")
    before = files(machine)
    done = onboard(machine, peers, f"{room}/probe:1", {"user": "both"}, {"user": "plain"}, failed=True)
    assert done["step"] == "accounts"
    assert done["rolled_back"], done
    assert "Account plain: " in done["msg"]
    assert files(machine) == before


def test_a_home_that_its_owner_redirects(machine: Machine, peers: Peers, room: str) -> None:
    """Root writes nothing there: what the account may not write stays as it is."""
    account = machine.account("plain")
    machine.run("rm -rf /root/target; mkdir -m 0755 /root/target")
    account.run("mkdir -p ~/.config; ln -s /root/target ~/.config/containers/certs.d")
    done = onboard(machine, peers, f"{room}/probe:1", {"user": "plain"}, failed=True)
    assert done["step"] == "accounts"
    assert machine.output("ls /root/target") == ""
    account.run("rm ~/.config/containers/certs.d")


def test_a_registries_conf_of_its_own(machine: Machine, peers: Peers, room: str) -> None:
    """Podman then reads no file of the host."""
    account = machine.account("plain")
    account.run("echo 'unqualified-search-registries = []' > ~/.config/containers/registries.conf")
    onboard(machine, peers, f"{room}/probe:1", {"user": "plain"})
    said = json.loads(typed(account, "podman info --format '{{json .Registries}}' 2> /dev/null"))
    assert [mirror["Location"] for mirror in said["docker.io"]["Mirrors"]] == [MIRROR.partition("://")[2]]


@pytest.mark.parametrize(
    ("account", "words"),
    [
        ({"user": "nobody-here"}, "no account 'nobody-here'"),
        ({"user": "plain", "engines": ["docker"]}, "Account plain: no engine of its own"),
    ],
)
def test_accounts_that_can_not_be_told(machine: Machine, peers: Peers, room: str, account: dict, words: str) -> None:
    before = files(machine)
    done = onboard(machine, peers, f"{room}/probe:1", account, logins=[], failed=True)
    assert words in done["msg"]
    assert files(machine) == before


def test_an_account_that_is_gone_needs_nothing(machine: Machine, peers: Peers, room: str) -> None:
    done = onboard(machine, peers, f"{room}/probe:1", {"user": "gone"}, logins=[], state="absent")
    assert not done["accounts"][0]["changed"]


def test_an_engine_that_ends_with_its_session(machine: Machine, peers: Peers, room: str) -> None:
    machine.run("mv /var/lib/systemd/linger/both /root/both")
    try:
        done = onboard(machine, peers, f"{room}/probe:1", {"user": "both"})
    finally:
        machine.run("mv /root/both /var/lib/systemd/linger/both")
    assert "Account both does not linger" in warned(done)


def test_an_account_gets_no_password_of_another_one(machine: Machine, peers: Peers, room: str) -> None:
    """Its engine may be one that its owner has put there."""
    login = [{"username": "ci", "password": peers.users["ci"], "user": "plain"}]
    done = onboard(machine, peers, f"{room}/probe:1", {"user": "both"}, logins=login)
    assert done["accounts"][0]["checks"] == []
    assert f"Account both: Not proven: it has no login to {peers.outside}" in warned(done)


def test_a_login_in_a_file_of_its_own(machine: Machine, peers: Peers, room: str) -> None:
    path = f"{machine.account('plain').home}/.config/containers/auth.json"
    login = [{"username": "ci", "password": peers.users["ci"], "user": "plain", "config_path": path}]
    done = onboard(machine, peers, f"{room}/probe:1", {"user": "plain"}, logins=login)
    assert [one["verified"] for one in done["accounts"][0]["checks"]] == [True]
    machine.run(f"rm {path}")


def test_a_host_whose_own_engines_do_not_run(machine: Machine, peers: Peers, room: str) -> None:
    """As Docker's documentation sets rootless mode up: root's engine is there, and off."""
    machine.run("systemctl stop docker.socket docker; mv /usr/bin/podman /root/podman")
    try:
        done = onboard(machine, peers, f"{room}/probe:1", {"user": "both"})
    finally:
        machine.run("mv /root/podman /usr/bin/podman; systemctl start docker.socket docker")
    assert done["complete"]
    assert [one["engine"] for one in done["accounts"][0]["checks"]] == ["docker"]
    assert "it has no engine that pulls" in warned(done)


def test_what_can_not_be_taken_back_does_not_keep_the_rest(machine: Machine, peers: Peers, room: str) -> None:
    """One account ends the process that is to restore its files: the host is taken back all the same."""
    put(machine.account("plain"), "~/.config/containers/registries.conf", "[[registry]\n")
    account = machine.account("both")
    # Whatever restores files of this account, and not what writes them first, is ended.
    account.run(
        "nohup sh -c 'until [ -e ~/.config/docker/certs.d ]; do sleep 0.01; done; "
        "while :; do pkill -9 -u both python3; sleep 0.01; done' >/dev/null 2>&1 & echo $! > ~/killer"
    )
    try:
        done = onboard(machine, peers, f"{room}/probe:1", {"user": "both"}, {"user": "plain"}, failed=True)
    finally:
        machine.run("kill $(cat ~both/killer); rm ~both/killer", check=False)
    assert done["rolled_back"]
    assert machine.run("test -e /etc/docker/certs.d/*/ca.crt", check=False).returncode != 0

"""registry_login and real Podman: each understands what the other wrote."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from peers import docker_config, push_image
from runs import run_login

if TYPE_CHECKING:
    from pathlib import Path

    from clients import Box
    from peers import Peers

STORED = {"username": None, "password": None}
ROOTS_DEFAULT = "/run/containers/0/auth.json"


@pytest.fixture
def account(root_box: Box, peers: Peers) -> Box:
    """Root, whose Podman trusts the CA as Podman does it."""
    place = f"/etc/containers/certs.d/{peers['basic']}"
    root_box.run(f"mkdir -p {place} && cp /ca.crt {place}/ca.crt && chmod -R a+rX /etc/containers")
    return root_box


def podman_login(box: Box, peers: Peers, target: str, **options: object) -> None:
    box.run(f"podman login --username ci --password-stdin {target}", stdin=peers.users["ci"], **options)


def test_the_module_takes_what_podman_wrote(account: Box, peers: Peers) -> None:
    podman_login(account, peers, peers["basic"])
    before = account.read(ROOTS_DEFAULT)
    for options in (STORED, {}):
        for check in (True, False):
            found = run_login(account.host, peers, ROOTS_DEFAULT, ca_path=None, check=check, **options)
            assert (found["changed"], found["verified"], found["username"]) == (False, True, "ci")
    assert account.read(ROOTS_DEFAULT) == before
    assert run_login(account.host, peers, ROOTS_DEFAULT, **STORED, state="absent")["changed"]
    assert "not logged in" in account.run(f"podman login --get-login {peers['basic']}", check=False).stderr


def test_podman_takes_what_the_module_wrote(account: Box, peers: Peers, tmp_path: Path) -> None:
    path = "/root/.config/containers/auth.json"
    docker_config(tmp_path / "config.json", peers["basic"], "ci", peers.users["ci"])
    image = push_image(peers["basic"], "private/podman", tmp_path, tmp_path)
    env = {"REGISTRY_AUTH_FILE": path}
    assert account.run(f"podman pull --quiet {image}", env=env, check=False).returncode != 0
    done = run_login(account.host, peers, path)
    assert (done["changed"], done["stored_in"]) == (True, "file")
    assert account.stat(path) == ("root", "600")
    assert account.output(f"podman login --get-login {peers['basic']}", env=env) == "ci"
    account.run(f"podman pull --quiet {image}", env=env)
    account.run(f"podman rmi {image}")
    # Also where Podman finds the file by itself.
    assert account.output(f"podman login --get-login {peers['basic']}") == "ci"
    account.run(f"podman logout {peers['basic']}", env=env)
    assert json.loads(account.read(path)).get("auths", {}) == {}


def test_logins_of_namespaces_are_other_logins(account: Box, peers: Peers) -> None:
    podman_login(account, peers, f"{peers['basic']}/team")
    done = run_login(account.host, peers, ROOTS_DEFAULT)
    assert done["changed"]
    keys = [peers["basic"], f"{peers['basic']}/team"]
    assert sorted(json.loads(account.read(ROOTS_DEFAULT))["auths"]) == keys
    run_login(account.host, peers, ROOTS_DEFAULT, **STORED, state="absent")
    assert sorted(json.loads(account.read(ROOTS_DEFAULT))["auths"]) == keys[1:]


def test_an_ordinary_account(account: Box, user_box: Box, peers: Peers) -> None:
    """Podman reads its file without the user namespace that pulling would need, which this container can't give."""
    place = f"/etc/containers/certs.d/{peers['basic']}"
    account.run(f"mkdir -p {place} && cp /ca.crt {place}/ca.crt && chmod -R a+rX /etc/containers")
    path = f"{user_box.home}/.config/containers/auth.json"
    assert run_login(user_box.host, peers, path)["changed"]
    env = {"REGISTRY_AUTH_FILE": path}
    assert user_box.output(f"podman login --get-login {peers['basic']}", env=env) == "ci"
    podman_login(user_box, peers, peers["basic"], env=env)
    assert not run_login(user_box.host, peers, path)["changed"]

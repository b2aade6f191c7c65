"""registry_onboard: its proof is of what was stored, where the clients of the account find it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from steps import entry, says

if TYPE_CHECKING:
    from clients import Box
    from peers import Peers

WRONG = "a-wrong-password"


def onboard(box: Box, peers: Peers, *, stored: str, proven: str, failed: bool = False, **login: object) -> dict:
    """Log the account `ci` in with one password, and prove the login with a variable that may hold another one."""
    args = {
        "registries": [{"host": peers["basic"], "ca": peers.ca.read_text()}],
        "engines": ["podman"],
        "logins": [{"username": "ci", "password": stored, "verify": False, **login}],
        "check": {"access": "none", "username": "ci", "password": proven},
        "timeout": 10,
    }
    return box.host.run_module("registry_onboard", args, failed=failed, secrets=(WRONG, peers.users["ci"]))


@pytest.mark.parametrize("user", ["root", "deployer"])
@pytest.mark.parametrize("path", ["~/.docker/config.json", "~/.config/containers/auth.json"])
def test_what_is_stored_is_proven(root_box: Box, user_box: Box, peers: Peers, user: str, path: str) -> None:
    right, login = peers.users["ci"], {"user": user, "config_path": path}
    failing = onboard(root_box, peers, stored=WRONG, proven=right, failed=True, **login)
    assert (failing["step"], failing["rolled_back"], failing["check"]["mistake"]) == ("check", True, "wrong_password")
    assert root_box.run(f"test -e {path}", check=False).returncode == 1
    done = onboard(root_box, peers, stored=right, proven=WRONG, **login)
    assert done["changed"] and done["check"]["verified"]
    assert not onboard(root_box, peers, stored=right, proven=WRONG, **login)["changed"]


def test_what_docker_does_not_read_is_no_login(root_box: Box, peers: Peers) -> None:
    root_box.run("command -v docker")
    bad = {"auths": {"o.example.com": {"auth": "cut off"}, peers["basic"]: entry("ci", peers.users["ci"])}}
    root_box.write("/root/.docker/config.json", json.dumps(bad))
    warned = root_box.run(f"docker context ls; docker logout {peers['basic']}").stderr
    assert "Error loading config file" in warned
    root_box.write("/root/.docker/config.json", json.dumps(bad))
    right = peers.users["ci"]
    failing = onboard(root_box, peers, stored=right, proven=right, failed=True)
    assert failing["step"] == "login"
    says(failing, "/root/.docker/config.json", "o.example.com", "docker ignores the whole file", "log in to it again")
    assert json.loads(root_box.read("/root/.docker/config.json")) == bad

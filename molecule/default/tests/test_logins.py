"""What the client role leaves in the configuration of Docker's client, for root and for an ordinary account."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from labtest import LabHost, Registry
    from testinfra.host import Host

HOMES = {"root": "/root", "builder": "/home/builder"}
USERS = {"root": "ci", "builder": "runtime"}


def configuration(lab: LabHost, account: str) -> dict:
    """Read as the account itself, which alone has to be able to."""
    return json.loads(lab.output(f"cat {HOMES[account]}/.docker/config.json", user=account))


@pytest.mark.parametrize("account", HOMES)
def test_it_is_the_accounts_own(host: Host, account: str) -> None:
    directory = host.file(f"{HOMES[account]}/.docker")
    assert (oct(directory.mode), directory.user, directory.group) == (oct(0o700), account, account)
    file = host.file(f"{HOMES[account]}/.docker/config.json")
    assert (oct(file.mode), file.user, file.group) == (oct(0o600), account, account)


@pytest.mark.parametrize("account", HOMES)
def test_nothing_else_lies_beside_it(lab: LabHost, account: str) -> None:
    assert lab.output(f"ls --almost-all {HOMES[account]}/.docker") == "config.json"


@pytest.mark.parametrize(("account", "user"), USERS.items())
def test_it_holds_the_users_login(lab: LabHost, registry: Registry, account: str, user: str) -> None:
    stored = configuration(lab, account)["auths"][registry.hostname]["auth"]
    name, _separator, password = base64.b64decode(stored).decode().partition(":")
    assert name == user
    # Compared first, so that a failure shows no password.
    same = password == registry.password(user)
    assert same


def test_an_account_has_its_own_logins_alone(lab: LabHost, registry: Registry) -> None:
    assert list(configuration(lab, "builder")) == ["auths"]
    assert list(configuration(lab, "builder")["auths"]) == [registry.hostname]


def test_what_others_wrote_is_kept(lab: LabHost, registry: Registry) -> None:
    """What molecule's prepare step left there before the first run."""
    found = configuration(lab, "root")
    assert list(found["auths"]) == ["other.lab.test", registry.hostname]
    assert base64.b64decode(found["auths"]["other.lab.test"]["auth"]).decode() == "somebody:elsewhere"
    assert found["credHelpers"] == {"cloud.lab.test": "ecr-login"}
    assert found["detachKeys"] == "ctrl-e,e"

"""registry_login and real credential helpers: pass, with a GPG key and without a terminal, and that of ECR."""

from __future__ import annotations

import functools
import itertools
import json
import secrets
from typing import TYPE_CHECKING

import pytest
from managed import encoded
from runs import run_login
from steps import entry, four_runs, says

if TYPE_CHECKING:
    from collections.abc import Callable

    from clients import Box
    from peers import Peers

STORED = {"username": None, "password": None}
PASSPHRASE = "a-passphrase-of-the-key"
KEY = "deployer@clients.test"


def config(box: Box) -> str:
    return f"{box.home}/.docker/config.json"


def make_key(box: Box, passphrase: str) -> None:
    box.run(
        "gpg --batch --quiet --pinentry-mode loopback --passphrase-fd 0 "
        f"--quick-generate-key {KEY} future-default default never",
        stdin=passphrase,
    )


@pytest.fixture
def account(user_box: Box) -> Box:
    """An account whose password store is made and open."""
    make_key(user_box, "")
    user_box.run(f"pass init {KEY}")
    return user_box


@pytest.fixture
def login(peers: Peers, user_box: Box) -> Callable[..., dict]:
    return functools.partial(run_login, user_box.host, peers, config(user_box))


def kept(box: Box) -> dict[str, str]:
    """What the helper keeps: server to user."""
    return json.loads(box.run("docker-credential-pass list").stdout)


def secret(box: Box, server: str) -> str:
    return json.loads(box.run("docker-credential-pass get", stdin=server).stdout)["Secret"]


def document(box: Box) -> dict:
    return json.loads(box.read(config(box)))


def look(box: Box) -> tuple[str, str]:
    """The file and the store, to compare."""
    script = f"cat {config(box)} 2>/dev/null || true; echo; docker-credential-pass list"
    return box.run(script).stdout, box.run("find .password-store -type f -exec sha256sum {} + | sort").stdout


def test_four_runs(login: Callable[..., dict], account: Box, peers: Peers) -> None:
    done = four_runs(functools.partial(login, credential_helper="pass"), lambda: look(account))
    assert (done["stored_in"], done["username"], done["verified"]) == ("helper:pass", "ci", True)
    assert kept(account) == {peers["basic"]: "ci"}
    assert secret(account, peers["basic"]) == peers.users["ci"]
    assert document(account) == {"auths": {peers["basic"]: {}}, "credHelpers": {peers["basic"]: "pass"}}
    # The file decides from now on, and what it leads to is verified.
    for options in (STORED, {}):
        again = login(**options)
        assert (again["changed"], again["verified"], again["stored_in"]) == (False, True, "helper:pass")


def test_a_secret_moves_out_of_the_file(login: Callable[..., dict], account: Box, peers: Peers) -> None:
    login()
    assert document(account)["auths"] == {peers["basic"]: entry("ci", peers.users["ci"])}
    run = functools.partial(login, **STORED, credential_helper="pass", secrets=(peers.users["ci"],))
    done = four_runs(run, lambda: look(account))
    assert done["stored_in"] == "helper:pass"
    text = account.read(config(account))
    assert peers.users["ci"] not in text and encoded(f"ci:{peers.users['ci']}") not in text
    assert secret(account, peers["basic"]) == peers.users["ci"]
    # And back.
    run = functools.partial(login, **STORED, credential_helper="", secrets=(peers.users["ci"],))
    done = four_runs(run, lambda: look(account))
    assert done["stored_in"] == "file"
    assert document(account)["auths"] == {peers["basic"]: entry("ci", peers.users["ci"])}
    assert kept(account) == {}


def test_the_helper_that_the_file_names(login: Callable[..., dict], account: Box, peers: Peers) -> None:
    account.write(config(account), '{"credsStore": "pass"}')
    done = four_runs(login, lambda: look(account))
    assert done["stored_in"] == "helper:pass"
    assert document(account) == {"credsStore": "pass", "auths": {peers["basic"]: {}}}
    done = four_runs(functools.partial(login, credential_helper=""), lambda: look(account))
    assert done["stored_in"] == "file"
    assert document(account)["credHelpers"] == {peers["basic"]: ""}
    assert kept(account) == {}


def test_logout(login: Callable[..., dict], account: Box, peers: Peers) -> None:
    login(credential_helper="pass")
    login(peer="basic_again", credential_helper="pass")
    done = four_runs(functools.partial(login, **STORED, state="absent"), lambda: look(account))
    assert done["stored_in"] == ""
    assert kept(account) == {peers["basic_again"]: "ci"}
    assert document(account)["auths"] == {peers["basic_again"]: {}}
    assert login(**STORED, state="absent", credential_helper="pass")["changed"]
    assert document(account)["credHelpers"] == {peers["basic_again"]: "pass"}
    assert not login(**STORED, state="absent", credential_helper="pass")["changed"]


def test_a_wrong_password(login: Callable[..., dict], account: Box, peers: Peers) -> None:
    login(credential_helper="pass")
    before = look(account)
    says(login(password=secrets.token_urlsafe(), failed=True), peers["basic"], "401")
    assert look(account) == before
    former = peers.users["ci"]
    peers.set_password("ci", secrets.token_urlsafe())
    says(login(**STORED, failed=True, secrets=(former,)), peers["basic"], "401")
    assert look(account) == before
    four_runs(login, lambda: look(account))
    assert secret(account, peers["basic"]) == peers.users["ci"]


def test_an_identity_token_in_a_helper(login: Callable[..., dict], account: Box, peers: Peers) -> None:
    token = peers.tokens.issue_refresh("ci")
    account.write(config(account), '{"credsStore": "pass"}')
    stored = {"ServerURL": peers["bearer"], "Username": "<token>", "Secret": token}
    account.run("docker-credential-pass store", stdin=json.dumps(stored))
    found = login(peer="bearer", **STORED, secrets=(token,))
    assert (found["verified"], found["stored_in"]) == (True, "helper:pass")
    peers.tokens.refresh.clear()
    says(login(peer="bearer", **STORED, failed=True, secrets=(token,)), peers["bearer"], "401")


def test_real_docker_and_a_helper(login: Callable[..., dict], account: Box, peers: Peers) -> None:
    """The docker command of the container asks the registry by itself, since no engine runs there."""
    account.write(config(account), '{"credsStore": "pass"}')
    account.run(f"docker login --username ci --password-stdin {peers['basic']}", stdin=peers.users["ci"])
    before = look(account)
    assert kept(account) == {peers["basic"]: "ci"}
    for options in (STORED, {}):
        for check in (True, False):
            found = login(**options, check=check)
            assert (found["changed"], found["verified"], found["stored_in"]) == (False, True, "helper:pass")
    assert look(account) == before
    login(**STORED, state="absent")
    assert kept(account) == {}
    login()
    account.run(f"docker logout {peers['basic']}")
    assert kept(account) == {}
    assert login(check=True)["changed"]


def test_docker_finds_what_the_module_stored(login: Callable[..., dict], account: Box, peers: Peers) -> None:
    """Asked to log in without a name, docker says whether it has one. What it does next would need an engine."""

    def found() -> bool:
        said = account.run(f"docker login {peers['basic']}", check=False)
        return "Authenticating with existing credentials" in said.stdout + said.stderr

    account.write(config(account), '{"credsStore": "pass"}')
    assert not found()
    for helper in ("pass", ""):
        login(credential_helper=helper)
        # The empty name in credHelpers is how Docker is told that the file comes before credsStore.
        assert (peers["basic"] in kept(account)) is (helper == "pass")
        assert found()


def test_a_locked_store(login: Callable[..., dict], user_box: Box, peers: Peers) -> None:
    """The key has a passphrase, and no user is there to type it."""
    make_key(user_box, PASSPHRASE)
    user_box.run(f"pass init {KEY}")
    # To encrypt takes no passphrase; the secret is there and can't be read.
    stored = {"ServerURL": peers["basic"], "Username": "ci", "Secret": peers.users["ci"]}
    user_box.run("gpgconf --kill gpg-agent")
    user_box.run("docker-credential-pass store", stdin=json.dumps(stored))
    user_box.write(
        config(user_box), json.dumps({"credHelpers": {peers["basic"]: "pass"}, "auths": {peers["basic"]: {}}})
    )
    before = look(user_box)
    for options in (STORED, {"credential_helper": "pass"}):
        failing = login(**options, timeout=5, failed=True, secrets=(PASSPHRASE, peers.users["ci"]))
        says(failing, "docker-credential-pass", "unlock")
        assert look(user_box) == before


def test_a_store_that_takes_what_it_can_not_give_back(login: Callable[..., dict], user_box: Box, peers: Peers) -> None:
    """A locked store encrypts without a passphrase: the login must not end there, nor leave the file."""
    make_key(user_box, PASSPHRASE)
    user_box.run(f"pass init {KEY}; gpgconf --kill gpg-agent")
    login()
    before = look(user_box)
    failing = login(credential_helper="pass", timeout=5, failed=True, secrets=(PASSPHRASE,))
    says(failing, "docker-credential-pass", "unlock")
    assert look(user_box) == before
    assert kept(user_box) == {}


@pytest.mark.long
def test_logout_from_a_locked_store(login: Callable[..., dict], user_box: Box, peers: Peers) -> None:
    """To forget takes no passphrase."""
    make_key(user_box, PASSPHRASE)
    user_box.run(f"pass init {KEY}; gpgconf --kill gpg-agent")
    stored = {"ServerURL": peers["basic"], "Username": "ci", "Secret": peers.users["ci"]}
    user_box.run("docker-credential-pass store", stdin=json.dumps(stored))
    user_box.write(config(user_box), json.dumps({"credsStore": "pass", "auths": {peers["basic"]: {}}}))
    results = [login(**STORED, state="absent", timeout=5, check=check) for check in (True, False, True, False)]
    assert [result["changed"] for result in results] == [True, True, False, False]
    assert kept(user_box) == {}
    assert document(user_box)["auths"] == {}


def test_logout_where_the_helper_has_gone(login: Callable[..., dict], user_box: Box, peers: Peers) -> None:
    address = peers["basic"]
    left = {"auths": {address: {}}, "credHelpers": {address: "gone", "other.example.com": "gone"}}
    user_box.write(config(user_box), json.dumps(left))
    found = login(**STORED, state="absent", credential_helper="gone")
    assert found["changed"] and "docker-credential-gone" in json.dumps(found["warnings"])
    assert document(user_box) == {"auths": {}, "credHelpers": {"other.example.com": "gone"}}
    assert not login(**STORED, state="absent", credential_helper="gone")["changed"]


@pytest.mark.parametrize("in_file", [False, True])
def test_a_store_that_was_not_made(login: Callable[..., dict], user_box: Box, peers: Peers, in_file: bool) -> None:
    if in_file:
        login()
    before = user_box.run(f"cat {config(user_box)} || echo none", check=False).stdout
    # Check mode can't know: asked for a secret or for a list, the helper of a store that is not there says it has none.
    failing = login(credential_helper="pass", failed=True)
    says(failing, "docker-credential-pass", "store", "not initialized")
    assert user_box.run(f"cat {config(user_box)} || echo none", check=False).stdout == before


def test_a_helper_that_is_missing(login: Callable[..., dict], user_box: Box, peers: Peers) -> None:
    login()
    before = user_box.read(config(user_box))
    for check in (True, False):
        says(login(credential_helper="absent-one", failed=True, check=check), "docker-credential-absent-one", "install")
    assert user_box.read(config(user_box)) == before


@pytest.mark.parametrize("name", ["../pass", "pass get", "-x", "/bin/sh"])
def test_what_is_no_helper(login: Callable[..., dict], user_box: Box, name: str) -> None:
    assert repr(name) in login(credential_helper=name, failed=True)["msg"]
    assert user_box.run(f"test -e {config(user_box)}", check=False).returncode == 1


def test_the_helper_of_ecr(login: Callable[..., dict], user_box: Box, peers: Peers) -> None:
    """It gets its secrets from AWS, which is not there, and stores none."""
    run = functools.partial(login, credential_helper="ecr-login", **STORED, verify=False)
    done = four_runs(run, lambda: user_box.run(f"cat {config(user_box)} || echo none").stdout)
    # A warning is a structure to some versions of ansible-core, and a text to others.
    assert "docker-credential-ecr-login" in json.dumps(done["warnings"])
    assert done["verified"] is False
    assert document(user_box)["credHelpers"] == {peers["basic"]: "ecr-login"}
    assert not document(user_box).get("auths", {}).get(peers["basic"])
    logout = functools.partial(login, **STORED, state="absent", credential_helper="ecr-login")
    four_runs(logout, lambda: user_box.read(config(user_box)))
    assert not document(user_box).get("credHelpers")


HOWS = [*itertools.product(["ecr-login", "aws-of-ours"], ["credsStore", "credHelpers", "option"])]


@pytest.mark.parametrize("how", HOWS, ids="-".join)
def test_what_the_helper_of_ecr_does_not_store_is_no_login(
    login: Callable[..., dict], root_box: Box, user_box: Box, peers: Peers, how: tuple[str, str]
) -> None:
    """Also under a name that is not listed anywhere: a helper is known by its answer."""
    name, setting = how
    root_box.run(f"ln -sf /usr/bin/docker-credential-ecr-login /usr/local/bin/docker-credential-{name}")
    content = {"credsStore": {"credsStore": name}, "credHelpers": {"credHelpers": {peers["basic"]: name}}}.get(
        setting, {}
    )
    user_box.write(config(user_box), json.dumps(content))
    option = {"credential_helper": name} if setting == "option" else {}
    says(login(**option, failed=True), f"docker-credential-{name}", peers["basic"], "credential_helper")
    assert document(user_box) == content
    # What the message tells to do.
    done = login(credential_helper="")
    assert (done["stored_in"], done["verified"]) == ("file", True)
    # No engine is here to log in by; that docker has a login to show it is what is wanted.
    said = user_box.run(f"docker login {peers['basic']} </dev/null", check=False).stdout
    assert "Authenticating with existing credentials" in said
    if "credsStore" in content:
        # Podman can't read what docker needs, as the warning says, and is satisfied by a file of its own.
        assert "Podman, skopeo and buildah" in json.dumps(done["warnings"])
        asks = f"podman login --get-login {peers['basic']}"
        assert "docker-credential-" in user_box.run(asks, check=False).stderr
        own = run_login(user_box.host, peers, f"{user_box.home}/.config/containers/auth.json")
        assert own["changed"] and user_box.output(asks) == "ci"
    else:
        assert not done.get("warnings")
        assert user_box.output(f"podman login --get-login {peers['basic']}") == "ci"

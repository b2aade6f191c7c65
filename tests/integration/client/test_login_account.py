"""registry_login with `user`: root has the account do it, so that nothing in the account's home leads root astray."""

from __future__ import annotations

import functools
import json
import shlex
from typing import TYPE_CHECKING

import pytest
from managed import collect
from runs import run_login
from steps import entry, four_runs, says

if TYPE_CHECKING:
    from collections.abc import Callable

    from clients import Box
    from peers import Peers

STORED = {"username": None, "password": None}
LOGGED_OUT = {**STORED, "state": "absent"}


@pytest.fixture
def login(root_box: Box, user_box: Box, peers: Peers) -> Callable[..., dict]:
    """Root logs the ordinary account in."""
    return functools.partial(run_login, root_box.host, peers, None, user=user_box.user)


def path(box: Box) -> str:
    return f"{box.home}/.docker/config.json"


def test_as_the_account_itself(login: Callable[..., dict], root_box: Box, user_box: Box, peers: Peers) -> None:
    done = four_runs(login, lambda: user_box.output("cat .docker/config.json 2> /dev/null || true"))
    assert done["config_path"] == path(user_box)
    assert (done["username"], done["stored_in"], done["verified"]) == ("ci", "file", True)
    assert user_box.stat(path(user_box)) == (user_box.user, "600")
    assert user_box.stat(f"{user_box.home}/.docker") == (user_box.user, "700")
    assert root_box.output("ls -A /root") == ""
    assert not run_login(user_box.host, peers, None)["changed"]
    assert login(**LOGGED_OUT)["changed"]
    assert not login(**LOGGED_OUT)["changed"]


def test_the_same_as_become_user(login: Callable[..., dict], user_box: Box, peers: Peers) -> None:
    one = login()
    login(**LOGGED_OUT)
    user_box.run("rm -r .docker")
    other = run_login(user_box.host, peers, None)
    for result in (one, other):
        result.pop("invocation")
    assert one == other


def test_paths_are_those_of_the_account(login: Callable[..., dict], user_box: Box) -> None:
    done = login(config_path="~/elsewhere/config.json")
    assert done["config_path"] == f"{user_box.home}/elsewhere/config.json"
    assert user_box.stat(done["config_path"]) == (user_box.user, "600")
    # Root's own settings are not the account's.
    done = login(env={"DOCKER_CONFIG": "/root/.docker-of-root", "XDG_RUNTIME_DIR": "/run/user/0"})
    assert done["config_path"] == path(user_box)


def test_root_itself(root_box: Box, peers: Peers) -> None:
    done = run_login(root_box.host, peers, None, user="root", env={"DOCKER_CONFIG": "/nowhere", "HOME": "/nowhere"})
    assert done["changed"]
    assert done["config_path"] == "/root/.docker/config.json"
    assert root_box.stat("/root/.docker/config.json") == ("root", "600")


def test_an_account_that_only_runs_services(root_box: Box, login: Callable[..., dict]) -> None:
    """Without a shell, and with a home that it may not write to: said as such, and possible with another path."""
    root_box.run("id runner 2> /dev/null || useradd --system --shell /usr/sbin/nologin --home-dir /opt/none runner")
    root_box.run("install -d -o runner -m 0700 /var/lib/runner")
    failing = login(user="runner", failed=True)
    says(failing, "/opt/none/.docker/config.json", "permission")
    assert login(user="runner", config_path="/var/lib/runner/config.json")["changed"]
    assert root_box.stat("/var/lib/runner/config.json") == ("runner", "600")


def test_who_may_not_become_it(user_box: Box, peers: Peers) -> None:
    failing = run_login(user_box.host, peers, None, user="root", failed=True)
    says(failing, "'root'", "become: true")
    failing = run_login(user_box.host, peers, None, user="nobody-of-this-name", failed=True)
    says(failing, "'nobody-of-this-name'", "no account")


def test_what_the_registry_refuses(login: Callable[..., dict], user_box: Box, peers: Peers) -> None:
    says(login(password="wrong-4711", failed=True), peers["basic"], "401")
    says(login(peer="other_name", failed=True), peers["other_name"], "another name")
    assert user_box.output("ls -A") == ""


def test_a_file_that_is_broken(login: Callable[..., dict], user_box: Box) -> None:
    user_box.write(path(user_box), '{"auths": ')
    says(login(failed=True), path(user_box), "not valid JSON")
    assert user_box.read(path(user_box)) == '{"auths": '


def test_a_link_to_a_file_of_root(login: Callable[..., dict], root_box: Box, user_box: Box) -> None:
    """Root's file is neither read for the account nor written for it, nor given to it."""
    precious = json.dumps({"auths": {"of-root.example.com": entry("root", "of-root-4711")}})
    root_box.write("/root/precious.json", precious)
    # One that the account might read, too.
    root_box.run("umask 022; mkdir -p /opt/of-root; cat > /opt/of-root/config.json", stdin=precious)
    for target, word in (("/root/precious.json", "permission"), ("/opt/of-root/config.json", "permission")):
        user_box.run(f"mkdir -p .docker; ln -sfn {shlex.quote(target)} .docker/config.json")
        for options in ({}, {**LOGGED_OUT, "peer": "of-root.example.com"}):
            if options and target.startswith("/root"):
                continue
            failing = login(**options, failed=True, secrets=("of-root-4711",))
            says(failing, path(user_box), word)
        assert root_box.read(target) == precious
        assert root_box.stat(target)[0] == "root"
    assert root_box.stat("/opt/of-root/config.json") == ("root", "644")
    assert root_box.output("ls -A /opt/of-root") == "config.json"


def test_a_link_as_the_directory(login: Callable[..., dict], root_box: Box, user_box: Box) -> None:
    """Root made directories and files where such a link led, and gave them to the account's."""
    root_box.run("rm -rf /opt/of-root; mkdir /opt/of-root")
    for target in ("/opt/of-root", "/opt/of-root/new", "/root", "/etc"):
        user_box.run(f"rm -rf .docker; ln -s {target} .docker")
        says(login(failed=True), path(user_box), "permission")
    assert root_box.output("ls -A /opt/of-root") == ""
    assert not root_box.output("find /etc /root -maxdepth 1 -name '*config.json*'")


def test_planted_names(login: Callable[..., dict], root_box: Box, user_box: Box, peers: Peers) -> None:
    root_box.write("/root/precious", "kept\n")
    user_box.run("mkdir .docker")
    for name in (".config.json.wharf-new", ".config.json.wharf-lock"):
        user_box.run(f"ln -s /root/precious .docker/{name}")
    assert login()["changed"]
    assert peers["basic"] in json.loads(user_box.read(path(user_box)))["auths"]
    assert root_box.read("/root/precious") == "kept\n"
    assert root_box.stat("/root/precious") == ("root", "600")


def test_a_pipe_that_nobody_writes_to(login: Callable[..., dict], user_box: Box) -> None:
    user_box.run("mkdir .docker; mkfifo .docker/config.json")
    says(login(failed=True), path(user_box), "regular file")


def test_a_home_that_is_swapped_all_the_time(
    login: Callable[..., dict], root_box: Box, user_box: Box, peers: Peers
) -> None:
    """The account changes its directory for a link to root's while logins go on: root loses nothing."""
    root_box.run("rm -rf /opt/of-root; mkdir /opt/of-root; echo kept > /opt/of-root/config.json")
    user_box.run("mkdir -p real; rm -rf .docker")
    user_box.run(
        "setsid sh -c 'for n in $(seq 3000); do ln -sfn real .docker; ln -sfn /opt/of-root .docker; done' "
        "> /dev/null 2>&1 & echo"
    )
    args = {
        "registry": peers["basic"],
        "username": "ci",
        "password": peers.users["ci"],
        "ca_path": "/ca.crt",
        "user": user_box.user,
        "verify": False,
    }
    outcomes = set()
    for _n in range(8):
        process = root_box.host.start("registry_login", args)
        try:
            outcomes.add(collect(process, args).get("changed"))
        except AssertionError as error:
            # A login that fails is as it should be; collect has looked for secrets and tracebacks before that.
            assert "permission" in str(error).lower() or "'failed': True" in str(error)
            outcomes.add("refused")
    root_box.run(f"pkill -u {user_box.user} -x sh || true")
    print(f"outcomes: {outcomes}")
    assert root_box.read("/opt/of-root/config.json") == "kept\n"
    assert root_box.output("ls -A /opt/of-root") == "config.json"
    assert root_box.stat("/opt/of-root/config.json")[0] == "root"


def test_pass_of_the_account(login: Callable[..., dict], root_box: Box, user_box: Box, peers: Peers) -> None:
    """The helper runs as the account, with the account's key and store, and root's are not asked."""
    user_box.run(
        "gpg --batch --quiet --pinentry-mode loopback --passphrase '' "
        "--quick-generate-key deployer@clients.test future-default default never; pass init deployer@clients.test"
    )
    done = login(credential_helper="pass")
    assert (done["changed"], done["stored_in"]) == (True, "helper:pass")
    assert not login(credential_helper="pass")["changed"]
    kept = json.loads(user_box.run("docker-credential-pass list").stdout)
    assert kept == {peers["basic"]: "ci"}
    assert root_box.output("ls -A") == ""
    assert not user_box.output(f"find {user_box.home} ! -user {user_box.user}")
    says(login(credential_helper="nowhere", failed=True), "docker-credential-nowhere", "not installed")


def test_the_right_of_root_is_gone(root_box: Box, user_box: Box, peers: Peers) -> None:
    """A helper looks: the account's groups, no capability, nothing open of root's, nothing of root's environment."""
    root_box.run(
        """
        cat > /usr/local/bin/docker-credential-looks
        chmod 0755 /usr/local/bin/docker-credential-looks
        """,
        stdin=(
            "#!/bin/sh\n"
            "{ id; grep -E '^Cap(Prm|Eff)' /proc/self/status; ls -l /proc/self/fd /proc/$PPID/fd 2>&1; env; } "
            ">> $HOME/looked\n"
            "cat > /dev/null\n"
            'echo "credentials not found in native keychain"; exit 1\n'
        ),
    )
    try:
        failing = run_login(
            root_box.host, peers, None, user=user_box.user, credential_helper="looks", env={"OF_ROOT": "of-root-4711"},
            failed=True,
        )  # fmt: skip
        says(failing, "docker-credential-looks")
        looked = user_box.read("looked")
        assert user_box.stat("looked")[0] == user_box.user
        assert root_box.output("ls -A") == ""
        assert f"({user_box.user})" in looked
        assert "(root)" not in looked
        assert "CapPrm:\t0000000000000000" in looked
        assert "CapEff:\t0000000000000000" in looked
        assert "of-root-4711" not in looked
        assert "/managed" not in looked
    finally:
        root_box.run("rm -f /usr/local/bin/docker-credential-looks")

"""What root has an account do: the child is that account and nothing more, and however it ends, one answer comes."""

from __future__ import annotations

import os
import pwd
import signal
import time
from pathlib import Path

import pytest
from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError, RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._common.run_as import Account, MissingAccountError
from inprocess import run_module

NOBODY = pwd.getpwnam("nobody")
needs_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root can become another; tests/integration has root always"
)


def test_an_account_that_is_not_there():
    for name in ("no-such-account", "", "nul\0"):
        with pytest.raises(MissingAccountError) as caught:
            Account(name)
        assert "has no account" in str(caught.value)


def test_only_root_can(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(InputError) as caught:
        Account("nobody")
    assert "become: true" in str(caught.value)


@needs_root
def test_it_is_that_account_for_good(monkeypatch):
    for name in ("DOCKER_CONFIG", "XDG_RUNTIME_DIR", "SECRET"):
        monkeypatch.setenv(name, "/root/of-root")
    monkeypatch.setenv("https_proxy", "http://proxy.example.com")
    with Path("/etc/shadow").open("rb") as of_root:

        def look():
            try:
                os.setuid(0)
                again = True
            except PermissionError:
                again = False
            return {
                "ids": [*os.getresuid(), *os.getresgid()],
                "groups": os.getgroups(),
                "again": again,
                "environment": dict(os.environ),
                "handles": [int(path.name) for path in Path("/proc/self/fd").iterdir()],
                "of_root": of_root.fileno(),
                "directory": str(Path.cwd()),
            }

        seen = Account("nobody").do(look)
    assert seen["ids"] == [NOBODY.pw_uid] * 3 + [NOBODY.pw_gid] * 3
    assert seen["groups"] == [NOBODY.pw_gid]
    assert not seen["again"]
    assert {key: value for key, value in seen["environment"].items() if key not in ("LANG", "LC_ALL", "TZ")} == {
        "HOME": NOBODY.pw_dir,
        "USER": "nobody",
        "LOGNAME": "nobody",
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "https_proxy": "http://proxy.example.com",
    }
    # Its own three, the pipe, and the one that lists them.
    assert len(seen["handles"]) <= 5
    assert seen["of_root"] not in seen["handles"]
    assert seen["directory"] in (NOBODY.pw_dir, "/")
    assert os.geteuid() == 0


@needs_root
def test_however_it_ends():
    account = Account("nobody")

    def refuse():
        raise InputError("It is not to be", "Do something else")

    with pytest.raises(RegistryError) as caught:
        account.do(refuse)
    assert str(caught.value) == "It is not to be. Do something else."

    with pytest.raises(RegistryError) as caught:
        account.do(lambda: 1 // 0)
    assert "ZeroDivisionError" in str(caught.value)
    with pytest.raises(RegistryError) as caught:
        account.do(lambda: {1, 2})
    assert "TypeError" in str(caught.value)
    with pytest.raises(RegistryError) as caught:
        account.do(lambda: os.kill(os.getpid(), signal.SIGKILL))
    assert "signal 9" in str(caught.value)
    with pytest.raises(RegistryError) as caught:
        account.do(lambda: os._exit(3))
    assert "status 3" in str(caught.value)

    began = time.monotonic()
    with pytest.raises(RegistryError) as caught:
        account.do(lambda: time.sleep(60), seconds=0.2)
    assert "did not end" in str(caught.value)
    assert time.monotonic() - began < 10
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


@needs_root
def test_a_long_answer():
    assert Account("nobody").do(lambda: "ä" * 3_000_000) == "ä" * 3_000_000


def test_the_module_without_the_account():
    options = {"registry": "r.example.com", "username": "ci", "password": "geheim-4711", "user": "no-such-account"}
    failed = run_module("registry_login", options)
    assert failed["failed"]
    assert failed["msg"] == "This host has no account 'no-such-account'. Make it first, or correct `user`."
    foretold = run_module("registry_login", options, check=True)
    assert foretold["changed"]
    assert foretold["stored_in"] == ""
    gone = run_module("registry_login", {"registry": "r.example.com", "user": "no-such-account", "state": "absent"})
    assert not gone["changed"]

"""A registry of one label without a port is refused by all that takes a registry, before any server is asked.

Engines read its images as those of Docker Hub, and send it the password: tests/verdicts/names.txt.
"""

from __future__ import annotations

import json
import socket

import pytest
from ansible_collections.wharf.registry.plugins.module_utils._modules.onboard import Onboarding
from inprocess import run_module

NAMES = ["h3-docker", "https://h3-docker/", "Hub", "registry", "my-registry/team"]
USER = {"username": "ci", "password": "geheim"}
IMAGE = {"repository": "a/b", "tag": "1"}
LOGIN = {"registry": "NAME", **USER}
MODULES = {
    "registry_login": LOGIN,
    "registry_info": LOGIN,
    "registry_tag": {**LOGIN, **IMAGE, "source": "2"},
    "registry_tag absent": {**LOGIN, **IMAGE, "state": "absent"},
    "registry_push": {**LOGIN, **IMAGE, "image": "app"},
    "registry_retention": {**LOGIN, "rules": [{"repositories": ["*"], "keep_newest": 1}]},
    "registry_check none": LOGIN,
    "registry_check push": {**LOGIN, "access": "push"},
    "registry_check pull": {**LOGIN, "access": "pull", "image": "a/b:1"},
    "registry_client": {"registries": [{"host": "NAME"}]},
    "registry_onboard": {"registries": [{"host": "NAME"}]},
    "registry_onboard login": {"registries": [{"host": "r.example.com"}], "logins": [LOGIN]},
    "registry_onboard check": {"registries": [{"host": "r.example.com"}], "check": {**LOGIN, "access": "push"}},
}


@pytest.fixture(autouse=True)
def nobody_is_asked(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))

    connect_to = socket.socket.connect

    def connect(*arguments, **_options):
        # The engine of this machine may be looked for.
        if isinstance(arguments[0], socket.socket) and arguments[0].family == socket.AF_UNIX:
            return connect_to(*arguments)
        raise AssertionError(f"somebody was asked: {arguments}")

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket, "getaddrinfo", connect)
    yield
    assert not list(tmp_path.iterdir())


def named(options, name):
    return json.loads(json.dumps(options).replace("NAME", name))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("case", MODULES)
def test_refused(case, name, tmp_path):
    options = named(MODULES[case], name)
    if "registries" in options:
        options |= {"certs_dir": str(tmp_path / "certs"), "daemon_config_path": str(tmp_path / "daemon.json")}
    for check in (True, False):
        result = run_module(case.partition(" ")[0], options, check=check)
        host = name.removeprefix("https://").partition("/")[0].lower()
        assert result["failed"], result
        assert f"they read {host}/app as docker.io/{host}/app, and send the password to Docker Hub" in result["msg"]
        assert f"give the port, as in {host}:443." in result["msg"]
        assert "geheim" not in json.dumps(result["msg"])


def test_with_its_port_it_is_asked():
    with pytest.raises(AssertionError, match=r"\('h3-docker', 443"):
        run_module("registry_info", named(LOGIN, "h3-docker:443"))


@pytest.mark.parametrize("given", ["geheim\n", "geheim\r\n", "ge\0heim"])
@pytest.mark.parametrize("step", ["logins", "check"])
def test_a_password_that_no_client_sends_is_named_before_the_first_step(step, given, tmp_path):
    """Trust is the first one, and would be taken back only afterwards."""
    login = {"registry": None, "username": "ci", "password": given, "user": None}
    params = {
        "registries": [{"host": "r.example.com", "plain_http": False, "insecure": False}],
        "logins": [login] if step == "logins" else [],
        "check": login if step == "check" else None,
        "accounts": [],
        "policies": [],
        "state": "present",
        "certs_dir": str(tmp_path / "certs"),
        "timeout": 5,
    }
    onboarding = Onboarding(params, False)
    with pytest.raises(Exception, match=r"password (ends with a line feed|holds a NUL)") as error:
        onboarding.run()
    assert type(error.value).__name__ == "InputError"
    assert onboarding.result["trust"] == {} and onboarding.result["rolled_back"] is False


@pytest.mark.parametrize("module", ["registry_login", "registry_onboard"])
def test_what_an_earlier_version_stored_for_it_is_removed(module, tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"auths": {"h3-docker": {"auth": "Y2k6Z2VoZWlt"}, "r.example.com": {"auth": "YTpi"}}}))
    login = {"registry": "h3-docker", "config_path": str(path)}
    options = {**login, "state": "absent"}
    if module == "registry_onboard":
        trust = {"certs_dir": str(tmp_path / "certs"), "daemon_config_path": str(tmp_path / "daemon.json")}
        engines = {"engines": ["docker"], "apply": "never"}
        options = {"state": "absent", "registries": [{"host": "h3-docker"}], "logins": [login], **trust, **engines}
    result = run_module(module, options)
    assert result["changed"] and list(json.loads(path.read_text())["auths"]) == ["r.example.com"]
    path.unlink()

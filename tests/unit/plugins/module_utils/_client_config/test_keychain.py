"""Logins of a part of a registry: kept apart in Podman's file, found for what they hold, and refused in Docker's."""

from __future__ import annotations

import base64
import json

import inputs
import pytest
from ansible_collections.wharf.registry.plugins.module_utils._client_config.keychain import find_credential
from ansible_collections.wharf.registry.plugins.module_utils._common.reference import RegistryName, parse_namespace
from ansible_collections.wharf.registry.plugins.module_utils._distribution.describe import common_path
from inprocess import run_module

HOST = "r.example.com"
USER = {"username": "ci", "password": "geheim-4711"}


def run(path, registry, *, check=False, **options):
    options = {"registry": registry, "config_path": str(path), **options}
    if options.get("state") != "absent":
        options = {"verify": False, **USER, **options}
    result = run_module("registry_login", options, check=check)
    assert "Traceback" not in json.dumps(result)
    return result


def users(path):
    auths = json.loads(path.read_text())["auths"]
    return {key: base64.b64decode(entry["auth"]).decode().partition(":")[0] for key, entry in auths.items()}


@pytest.fixture
def podmans(tmp_path):
    return tmp_path / "auth.json"


@pytest.mark.parametrize("namespace", ["team", "team/app", "a/b/c.d_e-f", "team/"])
def test_a_login_of_a_namespace_beside_that_of_the_registry(podmans, namespace):
    key = f"{HOST}/{namespace}".rstrip("/")
    run(podmans, HOST, username="whole")
    results = [
        run(podmans, f"{HOST}/{namespace}", check=check, username="part") for check in (True, False, True, False)
    ]
    assert [result["changed"] for result in results] == [True, True, False, False]
    assert {result["registry"] for result in results} == {key}
    assert users(podmans) == {HOST: "whole", key: "part"}
    # Neither changes the other one.
    assert run(podmans, HOST, username="new")["changed"]
    assert users(podmans) == {HOST: "new", key: "part"}
    assert run(podmans, f"{HOST}/{namespace}", state="absent")["changed"]
    assert users(podmans) == {HOST: "new"}
    assert not run(podmans, f"{HOST}/{namespace}", state="absent")["changed"]


@pytest.mark.parametrize("registry", [f"https://{HOST}/team", f"{HOST}/v2/", f"{HOST}/v1", f"{HOST}/"])
def test_paths_that_are_no_namespace(podmans, registry):
    assert run(podmans, registry)["registry"] == HOST
    assert list(users(podmans)) == [HOST]


@pytest.mark.parametrize("name", ["config.json", None, "my-auth.json"])
@pytest.mark.parametrize("registry", [f"{HOST}/team", f"{HOST}:5000/team/app", "docker.io/library"])
def test_dockers_file_has_no_namespaces(tmp_path, monkeypatch, name, registry):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("DOCKER_CONFIG", raising=False)
    options = {"registry": registry, "verify": False, **USER} | ({"config_path": str(tmp_path / name)} if name else {})
    result = run_module("registry_login", options, check=False)
    assert result["failed"] and "docker has one login for all of" in result["msg"] and "auth.json" in result["msg"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("registry", [f"{HOST}/Team", f"{HOST}/a//b", f"{HOST}/team?x", f"{HOST}/team:1", f"{HOST}/.."])
def test_what_is_no_namespace(podmans, registry):
    result = run(podmans, registry)
    assert result["failed"] and "is no namespace" in result["msg"] and not podmans.exists()


def test_helpers_are_for_the_whole_of_a_registry(podmans):
    result = run(podmans, f"{HOST}/team", credential_helper="pass")
    assert result["failed"] and f"a helper for all of {HOST} only" in result["msg"]
    podmans.write_text(json.dumps({"credHelpers": {HOST: "nope", "o.example.com": "nope"}}))
    before = podmans.read_bytes()
    result = run(podmans, f"{HOST}/team")
    assert result["failed"] and f"looks for no login of {HOST}/team" in result["msg"]
    assert podmans.read_bytes() == before
    assert run(podmans, "p.example.com/team")["changed"]


@pytest.mark.parametrize(("keys", "repository", "found"), inputs.NAMESPACES)
def test_the_narrowest_login_is_found(podmans, keys, repository, found):
    podmans.write_bytes(inputs.namespaced(keys))
    credential = find_credential(RegistryName(HOST), str(podmans), repository=repository)
    assert (credential.username if credential else "") == found


def test_docker_finds_no_namespace(tmp_path):
    path = tmp_path / "config.json"
    path.write_bytes(inputs.namespaced([HOST, f"{HOST}/team"]))
    assert find_credential(RegistryName(HOST), str(path), repository="team/app").username == HOST


@pytest.mark.parametrize(
    ("patterns", "path"),
    [
        ([], ""),
        (["*"], ""),
        (["team/app"], "team/app"),
        (["team/*"], "team"),
        (["team/app*"], "team"),
        (["te*/app"], ""),
        (["team/app", "team/web"], "team"),
        (["team/app", "team/app/deep"], "team/app"),
        (["team/a/x", "team/a/[yz]", "team/a/?"], "team/a"),
        (["team/app", "teams/app"], ""),
        (["team/app", "*"], ""),
    ],
)
def test_what_names_and_globs_have_in_common(patterns, path):
    assert common_path(patterns) == path


@pytest.mark.parametrize(
    ("text", "key"), [("docker.io/library", "docker.io/library"), ("[::1]:5000/a", "[::1]:5000/a")]
)
def test_names(text, key):
    assert parse_namespace(text).podman_key == key

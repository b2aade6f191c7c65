"""registry_login on credential files: what it writes, and what it never loses. The registry is not asked here."""

from __future__ import annotations

import base64
import json
import os

import pytest
from credential_files import AUTH, HOST, USER, login, logout, mode, read, run, write
from inprocess import run_module

HUB_KEY = "https://index.docker.io/v1/"


def test_four_runs_of_a_login_and_of_a_logout(path):
    results = [login(path, check=True)]
    assert not path.parent.exists()
    results.append(login(path))
    before = path.read_bytes(), path.stat().st_ino
    results += [login(path, check=True), login(path)]
    assert [result["changed"] for result in results] == [True, True, False, False]
    assert results[0] == results[1] and results[2] == results[3]
    assert (path.read_bytes(), path.stat().st_ino) == before
    assert read(path) == {"auths": {HOST: {"auth": AUTH}}}
    assert (mode(path), mode(path.parent)) == (0o600, 0o700)
    assert results[1]["diff"]["before"]["secret"] == ""
    assert results[1]["diff"]["after"] == {
        "auths": [HOST],
        "credHelpers": None,
        "mode": "0600",
        "secret": "file",
        "username": "ci",
    }
    returned = {name: results[3][name] for name in ("registry", "username", "config_path", "stored_in", "verified")}
    assert returned == {
        "registry": HOST,
        "username": "ci",
        "config_path": str(path),
        "stored_in": "file",
        "verified": False,
    }

    results = [logout(path, check=True), logout(path), logout(path, check=True), logout(path)]
    assert [result["changed"] for result in results] == [True, True, False, False]
    assert results[0] == results[1] and results[2] == results[3]
    assert read(path) == {"auths": {}}
    assert results[3]["stored_in"] == results[3]["username"] == ""
    assert list(path.parent.iterdir()) == [path]


def test_logout_where_there_never_was_anything(path):
    assert logout(path)["changed"] is False
    assert not path.parent.exists()


def test_another_password_shows_in_the_diff_only_as_another_one(path):
    login(path)
    result = login(path, password="other-geheim")
    assert result["changed"]
    assert result["diff"]["after"]["secret"] == "file (another one)"
    assert base64.b64decode(read(path)["auths"][HOST]["auth"]) == b"ci:other-geheim"


def test_foreign_things_stay_as_they_are(path):
    text = """{
  "psFormat": "table {{.ID}}",
  "auths": {
    "z.example.com": {"auth": "eDp5", "email": "x@example.com"},
    "r.example.com": {"email": "ci@example.com", "auth": "b2xkOm9sZA=="},
    "r.example.com/team": {"auth": "dGVhbTp0ZWFt"}
  },
  "number": 1.10e+400,
  "HttpHeaders": {"é": "\\ud800"},
  "more": {"a": []},
  "detachKeys": "ctrl-e"
}
"""
    write(path, text)
    assert login(path)["changed"]
    written = path.read_text(encoding="utf-8")
    document = read(path)
    assert list(document) == ["psFormat", "auths", "number", "HttpHeaders", "more", "detachKeys"]
    assert list(document["auths"]) == ["z.example.com", "r.example.com", "r.example.com/team"]
    assert document["auths"]["z.example.com"] == {"auth": "eDp5", "email": "x@example.com"}
    assert document["auths"]["r.example.com"] == {"auth": AUTH, "email": "ci@example.com"}
    assert '"number": 1.10e+400' in written and '"é"' in written and '"\\ud800"' in written
    assert '\n  "auths"' in written and written.endswith("}\n")


@pytest.mark.parametrize(
    ("keys", "registry", "key", "name"),
    [
        (["https://r.example.com/v1/"], HOST, HOST, "config.json"),
        (["a", "http://r.example.com", "b", "r.example.com/v2/", HOST], HOST, HOST, "config.json"),
        (["docker.io", "index.docker.io"], "docker.io", HUB_KEY, "config.json"),
        (["https://registry-1.docker.io/v2/", HUB_KEY], "https://index.docker.io/v1/", HUB_KEY, "config.json"),
        ([HUB_KEY, "b"], "docker.io", "docker.io", "auth.json"),
    ],
)
def test_spellings_become_one_where_the_first_was(tmp_path, keys, registry, key, name):
    path = write(tmp_path / name, {"auths": {key: {"auth": "eDp5"} for key in keys}})
    assert login(path, registry)["changed"]
    others = {"a", "b"}
    expected = list(dict.fromkeys(one if one in others else key for one in keys))
    assert list(read(path)["auths"]) == expected
    assert read(path)["auths"][key] == {"auth": AUTH}
    assert login(path, registry)["changed"] is False
    assert logout(path, registry)["changed"]
    assert set(read(path)["auths"]) == set(keys) & others


def test_tokens_that_docker_keeps_beside_the_hub_are_kept(path):
    tokens = {HUB_KEY + "access-token": {"auth": "eDp5"}, HUB_KEY + "refresh-token": {"auth": "eDp6"}}
    write(path, {"auths": {**tokens, HUB_KEY: {"auth": "eDp5"}}})
    assert logout(path, "docker.io")["changed"]
    assert read(path)["auths"] == tokens


@pytest.mark.parametrize("state", [login, logout])
@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "is not valid JSON"),
        ("[]", "does not hold a JSON object"),
        ("5", "does not hold a JSON object"),
        ("null", "does not hold a JSON object"),
        ('{"a": NaN}', "NaN"),
        ('{"auths": {}, "auths": {}}', "twice"),
        ('{"auths": []}', "auths is not an object"),
        ('{"auths": 5}', "auths is not an object"),
        ('{"auths": {"other.example.com": 5}}', 'auths["other.example.com"] is not an object'),
        ('{"auths": {"other.example.com": {"auth": 5}}}', 'auth of auths["other.example.com"] is not a string'),
        ('{"auths": {"r.example.com": {"identitytoken": []}}}', "identitytoken of"),
        ('{"credHelpers": []}', "credHelpers is not an object"),
        ('{"credHelpers": {"x": 1}}', 'credHelpers["x"] is not a string'),
        ('{"credsStore": {}}', "credsStore is not a string"),
        ('{"a":' + "[" * 100000 + "]" * 100000 + "}", "nested too deeply"),
        ("\ufeff{}", "begins with a byte order mark (BOM)"),
        # Docker reads names in any case.
        ('{"Auths": {}}', "in its usual case"),
        ('{"auths": {}, "AUTHS": {}}', "in its usual case"),
        ('{"credsstore": "x"}', "in its usual case"),
        ('{"auth\u017f": {}}', "in its usual case"),
        ('{"credhelpers": {}}', "in its usual case"),
        ('{"auths": {"other.example.com": {"Auth": "eDp5"}}}', 'of a key in auths["other.example.com"] is not in its'),
        ('{"auths": {"r.example.com": {"identityToken": "x"}}}', "in its usual case"),
    ],
)
def test_a_file_that_is_something_else_is_left_alone(path, state, content, says):
    write(path, content, 0o640)
    result = state(path)
    assert result["failed"] and says in result["msg"] and str(path) in result["msg"]
    assert (path.read_text(encoding="utf-8"), mode(path), list(path.parent.iterdir())) == (content, 0o640, [path])


def test_deep_nesting_that_can_be_read_but_not_written_is_left_alone(path):
    for depth in (500, 900, 990, 1000, 2000):
        content = '{"a":' + "[" * depth + "]" * depth + "}"
        write(path, content)
        result = login(path)
        if result.get("failed"):
            assert path.read_text(encoding="utf-8") == content
            assert "nested too deeply" in result["msg"]
        else:
            assert read(path)["a"] == json.loads(content)["a"]
        assert list(path.parent.iterdir()) == [path]


def test_an_entry_that_can_not_be_read_is_replaced_and_others_are_kept(path):
    write(path, {"auths": {HOST: {"auth": "!!!"}, "other.example.com": {"auth": ""}, "null.example.com": None}})
    assert login(path)["changed"]
    assert read(path)["auths"] == {
        HOST: {"auth": AUTH},
        "other.example.com": {"auth": ""},
        "null.example.com": None,
    }


def test_podman_does_not_mind_an_entry_that_can_not_be_read(tmp_path):
    path = write(tmp_path / "auth.json", {"auths": {"other.example.com": {"auth": "%%%", "email": 5}}, "psFormat": 5})
    assert login(path)["changed"]
    assert read(path)["auths"] == {"other.example.com": {"auth": "%%%", "email": 5}, HOST: {"auth": AUTH}}
    write(path, {"auths": {"other.example.com": {"auth": 5}}})
    result = login(path)
    assert result["failed"] and "podman refuses the whole file" in result["msg"]


@pytest.mark.parametrize("text", ["", "\n", " \r\n\t "])
@pytest.mark.parametrize("name", ["config.json", "auth.json"])
def test_a_file_without_a_word_is_one_without_settings(tmp_path, name, text):
    path = write(tmp_path / name, text)
    assert logout(path)["changed"] is False and path.read_bytes() == text.encode()
    assert [login(path, check=True)["changed"], login(path)["changed"], login(path)["changed"]] == [True, True, False]
    assert read(path) == {"auths": {HOST: {"auth": AUTH}}}


def test_nulls_are_nothing(path):
    write(path, {"auths": None, "credHelpers": None, "credsStore": None})
    assert login(path)["changed"]
    assert read(path) == {"auths": {HOST: {"auth": AUTH}}, "credHelpers": None, "credsStore": None}


def test_the_place_that_docker_reads(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("DOCKER_CONFIG", raising=False)
    assert run("present", "~/.docker/config.json", HOST, False, {**USER, "verify": False})["changed"]
    result = run_module("registry_login", {"registry": HOST, "verify": False, **USER})
    assert (result["changed"], result["config_path"]) == (False, str(tmp_path / "home" / ".docker" / "config.json"))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "other"))
    result = run_module("registry_login", {"registry": HOST, "verify": False, **USER})
    assert (result["changed"], result["config_path"]) == (True, str(tmp_path / "other" / "config.json"))


def test_without_credentials_there_must_be_some(path):
    result = login(path, username=None, password=None)
    assert result["failed"] and "no credentials are stored" in result["msg"]
    login(path)
    result = login(path, username=None, password=None)
    assert (result["changed"], result["username"]) == (False, "ci")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"username": "a:b"}, "colon"),
        ({"password": ""}, "password is empty"),
        ({"password": "geheim\n"}, "password ends with a line feed, which no client sends"),
        ({"password": "a\nb\r"}, "password ends with a carriage return"),
        ({"password": "a\0b"}, "password holds a NUL character"),
        ({"username": " ci"}, "white space around it"),
        ({"registry": "h3-docker"}, "send the password to Docker Hub"),
        ({"registry": "https://h3-docker/"}, "give the port, as in h3-docker:443"),
        ({"registry": "a b"}, "no host name"),
        ({"credential_helper": "../../bin/sh"}, "is no name"),
        ({"timeout": 0}, "timeout is 0"),
        ({"timeout": 10**12}, "timeout is 1000000000000"),
        ({"password": None}, "required together"),
    ],
)
def test_options_that_can_not_be_meant(path, options, says):
    result = login(path, **options)
    assert result["failed"] and says in result["msg"]
    assert not path.parent.exists()


def test_an_identity_token_is_understood_and_kept_where_it_lies(path):
    entry = {"auth": base64.b64encode(b"ci:").decode(), "identitytoken": "dG9rZW4"}
    write(path, {"auths": {HOST: entry}})
    result = login(path, username=None, password=None)
    assert (result["changed"], result["username"], result["stored_in"]) == (False, "ci", "file")
    assert read(path)["auths"][HOST] == entry


def test_line_ends_in_a_login_are_passed_over(path):
    entry = {"auth": f"{AUTH[:8]}\r\n{AUTH[8:]}\n"}
    write(path, {"auths": {HOST: entry}})
    result = login(path, username=None, password=None)
    assert (result["changed"], result["username"]) == (False, "ci")
    assert login(path)["changed"] is False
    assert read(path)["auths"][HOST] == entry


@pytest.mark.parametrize("field", ["username", "password", "identitytoken", "auth"])
def test_a_login_that_is_no_text_is_none(path, field):
    # Python's JSON writes half of a surrogate pair as an escape, and reads it so.
    write(path, {"auths": {HOST: {"username": "ci", "password": "geheim", field: "\ud800"}}})
    result = login(path, username=None, password=None)
    assert result["failed"] and "no credentials are stored" in result["msg"]
    assert login(path)["changed"]
    assert read(path) == {"auths": {HOST: {"auth": AUTH}}}


@pytest.mark.parametrize("state", [login, logout])
def test_a_path_that_is_none(tmp_path, state):
    result = state(f"{tmp_path}/a\0b")
    assert result["failed"] and "NUL character" in result["msg"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("state", [login, logout])
def test_a_file_that_is_too_long_is_not_read(path, state):
    write(path, "{}")
    os.truncate(path, 8 << 30)
    result = state(path)
    assert result["failed"] and "more than 16777216 bytes" in result["msg"]
    assert path.stat().st_size == 8 << 30

"""registry_login with credential helpers that misbehave: real programs on the PATH. The registry is not asked here."""

from __future__ import annotations

import base64
import json
import resource
import sys
import time

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible_collections.wharf.registry.plugins.module_utils._client_config import keychain
from credential_files import HOST, USER
from inprocess import run_module

STORED = '{"ServerURL": "x", "Username": "ci", "Secret": "stored-4711"}'
NOTHING = 'echo "credentials not found in native keychain"; exit 1'

# Keeps logins in a file. What is put in for the misbehaviour may look at action, server, logins, and end it.
KEEPER = """#!{python} -IS
import json, pathlib, sys
path = pathlib.Path({path!r})
logins = json.loads(path.read_text())
action, said = sys.argv[1], sys.stdin.read()
server = json.loads(said)["ServerURL"] if action == "store" else said
def fail(words):
    print(words)
    raise SystemExit(1)
{misbehaviour}
if action == "get":
    if server not in logins:
        fail("credentials not found in native keychain")
    print(json.dumps(dict(zip(("ServerURL", "Username", "Secret"), [server, *logins[server]]))))
elif action == "list":
    print(json.dumps({{server: login[0] for server, login in logins.items()}}))
elif action == "store":
    logins[server] = [json.loads(said)["Username"], json.loads(said)["Secret"]]
else:
    logins.pop(server, None)
path.write_text(json.dumps(logins))
"""


class Place:
    """A credential file, and the helpers that are installed."""

    def __init__(self, folder, warnings):
        self.folder = folder
        self._warnings = warnings
        self.config = folder / "config.json"
        (folder / "bin").mkdir()

    def install(self, name, script):
        program = self.folder / "bin" / f"docker-credential-{name}"
        program.write_text(script if script.startswith("#!") else f"#!/bin/sh\n{script}\n", encoding="utf-8")
        program.chmod(0o755)

    def install_keeper(self, name, *, store=None, misbehaviour=""):
        path = self._store(store or name)
        self.install(name, KEEPER.format(python=sys.executable, path=str(path), misbehaviour=misbehaviour))
        if not path.exists():
            path.write_text("{}", encoding="utf-8")

    def keeps(self, store, login=None):
        """What a store keeps of the registry, after it was given a login where there is one."""
        if login is not None:
            self._store(store).write_text(json.dumps({HOST: login}), encoding="utf-8")
        return json.loads(self._store(store).read_text(encoding="utf-8")).get(HOST)

    def write(self, **content):
        self.config.write_text(json.dumps(content), encoding="utf-8")
        self.config.chmod(0o600)

    def run(self, *, check=False, **options):
        self._warnings.clear()
        options = {"registry": HOST, "config_path": str(self.config), "timeout": 10, **options}
        if options.get("state") != "absent":
            options.setdefault("verify", False)
        result = run_module("registry_login", options, check=check)
        result["warnings"] = list(self._warnings)
        assert "4711" not in json.dumps(result)
        return result

    def _store(self, name):
        return self.folder / f"{name}.json"


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    warnings = []
    # Where a module's warnings go depends on what of Ansible was imported before.
    monkeypatch.setattr(AnsibleModule, "warn", lambda _module, warning, **_options: warnings.append(warning))
    return Place(tmp_path, warnings)


def warned(result):
    return " ".join(result["warnings"])


# --- where a login lies -----------------------------------------------------------------------------------------------


def test_two_names_of_one_store_keep_the_login(place):
    place.install_keeper("one", store="both")
    place.install_keeper("two", store="both")
    place.keeps("both", ["ci", "stored-4711"])
    place.write(auths={HOST: {}}, credsStore="one")
    result = place.run(credential_helper="two")
    assert (result["changed"], result["stored_in"]) == (True, "helper:two")
    assert place.keeps("both") == ["ci", "stored-4711"]
    assert place.run(credential_helper="two")["changed"] is False


@pytest.mark.parametrize("target", ["same", "other"])
def test_a_login_that_can_not_be_read_back_leaves_the_former_one(place, target):
    locks = 'if action == "get" and logins.get("locked"): fail("gpg: decryption failed")\n'
    locks += 'if action == "store": logins["locked"] = ["", ""]'
    place.install_keeper("same", misbehaviour=locks)
    place.install_keeper("other", misbehaviour=locks)
    place.keeps("same", ["ci", "former-4711"])
    place.keeps("other", ["ci", "former-4711"])
    place.write(auths={HOST: {}}, credsStore="same")
    before = place.config.read_bytes()
    result = place.run(credential_helper=target, **USER)
    assert result["failed"] and "decryption failed" in result["msg"]
    assert place.keeps(target) == ["ci", "former-4711"]
    assert place.config.read_bytes() == before


def test_a_helper_that_does_not_forget_is_warned_of(place):
    place.install_keeper("old", misbehaviour='if action == "erase": fail("the store is locked")')
    place.install_keeper("new")
    place.keeps("old", ["ci", "stored-4711"])
    place.write(auths={HOST: {}}, credsStore="old")
    result = place.run(credential_helper="new")
    assert (result["changed"], result["stored_in"]) == (True, "helper:new")
    assert "docker-credential-old could not erase" in warned(result) and "stays there" in warned(result)
    assert place.keeps("new") == ["ci", "stored-4711"]
    assert place.run(credential_helper="new")["changed"] is False


def test_a_logout_empties_also_the_helper_behind(place):
    for name in ("front", "behind"):
        place.install_keeper(name)
        place.keeps(name, ["ci", "stored-4711"])
    place.write(auths={HOST: {}}, credsStore="behind", credHelpers={HOST: "front"})
    results = [place.run(state="absent", credential_helper="front") for _each in range(2)]
    assert [result["changed"] for result in results] == [True, False]
    assert place.keeps("front") is place.keeps("behind") is None


def test_a_logout_from_a_helper_that_is_locked(place):
    place.install_keeper("locked", misbehaviour='if action == "get": fail("gpg: decryption failed")')
    place.keeps("locked", ["ci", "stored-4711"])
    place.write(credsStore="locked")
    results = [place.run(state="absent") for _each in range(2)]
    assert [result["changed"] for result in results] == [True, False]
    assert place.keeps("locked") is None


def test_a_helper_that_refuses_to_store_is_left_alone(place):
    place.install_keeper("cloud", misbehaviour='if action == "store": fail("not implemented")')
    place.keeps("cloud", ["cloud", "stored-4711"])
    place.write(credHelpers={HOST: "cloud"})
    for _each in range(2):
        result = place.run(**USER)
        assert (result["changed"], result["username"]) == (False, "cloud")
        assert result["diff"]["before"] == result["diff"]["after"]
        assert "manage its secrets by itself" in warned(result)
    assert place.keeps("cloud") == ["cloud", "stored-4711"]


# What helpers say that store nothing; the last one says that it did.
REFUSALS = {
    "of AWS": 'fail("not implemented")',
    "a sentence": 'fail("This helper does not support storing credentials")',
    "an unknown action": 'fail("Unknown credential action `store`")',
    "a usage": 'fail("Usage: docker-credential-cloud get")',
    "read-only": 'fail("the vault is read-only")',
    "nothing": "raise SystemExit(0)",
}


@pytest.mark.parametrize("words", REFUSALS)
@pytest.mark.parametrize("setting", [{"credsStore": "cloud"}, {"credHelpers": {HOST: "cloud"}}, {}])
def test_a_login_that_a_helper_does_not_store_fails(place, words, setting):
    """Where the helper has a login of its own, that one counts; where it has none, the account is not logged in."""
    place.install_keeper("cloud", misbehaviour=f'if action == "store": {REFUSALS[words]}')
    place.write(auths={}, **setting)
    before = place.config.read_bytes()
    options = {} if setting else {"credential_helper": "cloud"}
    result = place.run(**USER, **options)
    assert result["failed"] and "docker-credential-cloud" in result["msg"] and "credential_helper" in result["msg"]
    assert place.config.read_bytes() == before and not result.get("changed")
    place.keeps("cloud", ["cloud", "stored-4711"])
    results = [place.run(**USER, **options) for _each in range(2)]
    assert [result["username"] for result in results] == ["cloud", "cloud"]
    assert [result["changed"] for result in results] == [not setting, False]
    assert place.keeps("cloud") == ["cloud", "stored-4711"]
    # Without a user it is no matter who stores what.
    assert place.run(**options)["username"] == "cloud"


def test_a_helper_whose_secret_is_another_one_each_time(place):
    place.install("cloud", """[ "$1" = get ] || exit 0; echo '{"Username": "<x>", "Secret": "'$$-4711'"}'""")
    place.write(credsStore="cloud")
    result = place.run(**USER)
    assert (result["changed"], result["username"]) == (False, "<x>")
    assert "were not stored" in warned(result)


def test_a_helper_that_refuses_to_erase_is_left_alone(place):
    place.install_keeper("cloud", misbehaviour='if action == "erase": fail("not implemented")')
    place.keeps("cloud", ["cloud", "stored-4711"])
    place.write(auths={}, credHelpers={HOST: "cloud"})
    result = place.run(state="absent")
    assert result["changed"] is False and "left alone" in warned(result)
    result = place.run(state="absent", credential_helper="cloud")
    assert result["changed"] is True and json.loads(place.config.read_text())["credHelpers"] == {}


def test_a_helper_that_is_not_asked_moves_the_login_elsewhere(place):
    """A helper that refuses to forget does not keep the login from its new place."""
    place.install_keeper("cloud", misbehaviour='if action == "erase": fail("unsupported")')
    place.install_keeper("new")
    place.keeps("cloud", ["cloud", "stored-4711"])
    place.write(auths={}, credHelpers={HOST: "cloud"})
    result = place.run(credential_helper="new", **USER)
    assert (result["changed"], result["stored_in"]) == (True, "helper:new")
    assert place.keeps("new") == ["ci", "geheim-4711"]


@pytest.mark.parametrize("setting", [{"credsStore": "ecr-login"}, {"credHelpers": {HOST: "ecr-login"}}, {}])
def test_a_cloud_helper_without_a_login_is_a_failure(place, setting):
    place.install("ecr-login", NOTHING)
    place.write(**setting)
    before = place.config.read_bytes()
    options = {} if setting else {"credential_helper": "ecr-login"}
    for check in (True, False):
        # Whatever is verified: a password that is dropped is never right.
        for verify in (True, False):
            result = place.run(**USER, **options, verify=verify, check=check)
            assert result["failed"] and "has none for r.example.com" in result["msg"], result
            assert "an empty string" in result["msg"]
        result = place.run(**options, verify=True, check=check)
        assert result["failed"] and "set verify to false" in result["msg"]
    assert place.config.read_bytes() == before
    assert place.run(**options)["changed"] is not bool(setting)


@pytest.mark.parametrize("name", ["config.json", "auth.json"])
def test_an_empty_name_stays_only_where_docker_needs_it(place, monkeypatch, name):
    place.config = place.folder / name
    monkeypatch.setattr(keychain, "find", lambda program: program == "skopeo")
    auth = {"auth": base64.b64encode(b"ci:geheim-4711").decode()}
    # It was needed, and is not any more: Podman could not read it.
    for helper in ("", None):
        place.write(auths={HOST: auth}, credHelpers={HOST: helper, "o.example.com": ""})
        results = [place.run(**USER, check=True), place.run(**USER), place.run(**USER)]
        assert [result["changed"] for result in results] == [True, True, False]
        assert json.loads(place.config.read_text())["credHelpers"] == {"o.example.com": ""}
        assert results[1]["warnings"] == []
    place.write(auths={}, credHelpers={HOST: ""})
    assert [place.run(state="absent")["changed"] for _each in range(2)] == [True, False]
    if name == "config.json":
        place.install_keeper("store")
        place.write(auths={}, credsStore="store")
        for changed in (True, False):
            result = place.run(credential_helper="", **USER)
            assert result["changed"] is changed and "skopeo" in warned(result) and "auth.json" in warned(result)
        assert json.loads(place.config.read_text())["credHelpers"] == {HOST: ""}
        monkeypatch.setattr(keychain, "find", lambda _program: None)
        assert place.run(credential_helper="", **USER)["warnings"] == []


def test_a_password_that_is_left_behind_a_cloud_helper_is_warned_of(place):
    place.install("ecr-login", NOTHING)
    place.write(auths={HOST: {"auth": base64.b64encode(b"ci:old-4711").decode()}})
    assert "has a password in" in warned(place.run(credential_helper="ecr-login"))


# --- helpers that do not end, or say too much -------------------------------------------------------------------------


def test_a_child_that_keeps_the_pipes_open_is_not_waited_for(place):
    place.install("forks", f"sleep 40 &\necho '{STORED}'")
    place.write(credsStore="forks")
    began = time.monotonic()
    result = place.run(timeout=30)
    assert (result["changed"], result["username"]) == (True, "ci")
    assert time.monotonic() - began < 20


def test_a_helper_that_hangs_is_given_up_though_its_daemon_stays(place):
    place.install("hangs", "setsid sleep 40 &\nsleep 60")
    place.write(credsStore="hangs")
    began = time.monotonic()
    result = place.run(timeout=1)
    assert result["failed"] and "did not answer within 1 seconds" in result["msg"]
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("where", ["", ">&2"])
def test_a_helper_that_never_ends_its_answer_is_given_up(place, where):
    place.install("floods", f"exec yes {'a' * 100} {where}")
    place.write(credsStore="floods")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = place.run(timeout=2)
    assert result["failed"] and "more than 4194304 bytes" in result["msg"]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 40000  # KiB


@pytest.mark.parametrize("secret", [r"\ud800", r"a\udfffb"])
def test_a_secret_that_is_no_text(place, secret):
    place.install("odd", f"""printf '%s' '{{"Username": "ci", "Secret": "{secret}"}}'""")
    place.write(credsStore="odd")
    for options in ({}, {"credential_helper": ""}):
        result = place.run(**options)
        assert result["failed"] and "not answer with a credential" in result["msg"]


# --- secrets in what helpers say --------------------------------------------------------------------------------------

# Repeat what they were given: as it came, only the secret in its quotes, and as other encoders write it.
REPEATS = {
    "all": "cat; exit 1",
    "secret": """sed 's/.*"Secret": *//'; exit 1""",
    "unescaped": f"""{sys.executable} -ISc 'import json, sys; print(json.load(sys.stdin)["Secret"])'; exit 1""",
    "as UTF-8": f"""{sys.executable} -ISc 'import json, sys
print(json.dumps(json.load(sys.stdin)["Secret"], ensure_ascii=False))'; exit 1""",
}


@pytest.mark.parametrize("how", REPEATS)
@pytest.mark.parametrize("password", ["geheim-4711", 'geh"eim-4711', "geh\\eim-4711", "gehéim-4711"])
def test_a_password_that_a_helper_repeats_is_not_shown(place, password, how):
    place.install("repeats", f'if [ "$1" = get ]; then {NOTHING}; fi\necho "can not store:"\n{REPEATS[how]}')
    place.write(credsStore="repeats")
    result = place.run(username="ci", password=password)
    assert result["failed"] and "could not store; it said: can not store:" in result["msg"]
    assert "eim" not in result["msg"] and "geh" not in result["msg"]


@pytest.mark.parametrize("answer", [STORED, STORED.replace(": ", ":"), STORED[:-3], STORED.replace("red", r"r\"ed")])
def test_a_secret_of_a_helper_that_fails_is_not_shown(place, answer):
    place.install("fails", f"printf '%s' '{answer}'; exit 3")
    place.write(credsStore="fails")
    result = place.run()
    assert result["failed"] and "could not get" in result["msg"]
    assert "stor" not in result["msg"].replace("store is made", "")
    result = place.run(credential_helper="", **USER)
    assert result["changed"] and "could not get" in warned(result)
    assert "stored" not in warned(result)

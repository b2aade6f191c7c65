"""registry_login on credential files: what it writes, and what it never loses. The registry is not asked here."""

from __future__ import annotations

import base64
import errno
import fcntl
import json
import os
import stat
import tempfile
from pathlib import Path

import pytest
from ansible_collections.wharf.registry.plugins.module_utils._client_config import config_schema
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from inprocess import run_module

HOST = "r.example.com"
USER = {"username": "ci", "password": "geheim-4711"}
AUTH = base64.b64encode(b"ci:geheim-4711").decode()
HUB_KEY = "https://index.docker.io/v1/"


def login(path, registry=HOST, *, check=False, **options):
    return run("present", path, registry, check, {**USER, "verify": False, **options})


def logout(path, registry=HOST, *, check=False, **options):
    return run("absent", path, registry, check, options)


def run(state, path, registry, check, options):
    options = {"state": state, "config_path": str(path), "registry": registry, **options}
    given = {name: value for name, value in options.items() if value is not None}
    result = run_module("registry_login", given, check=check)
    for secret in ("geheim", AUTH, "dG9rZW4"):
        assert secret not in json.dumps(result).replace("VALUE_SPECIFIED_IN_NO_LOG_PARAMETER", "")
    assert "Traceback" not in json.dumps(result)
    return result


@pytest.fixture
def path(tmp_path):
    return tmp_path / "docker" / "config.json"


def write(path, content, mode=0o600):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    path.chmod(mode)
    return path


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


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


@pytest.mark.parametrize(("before", "after"), [(0o644, 0o600), (0o660, 0o600), (0o400, 0o400), (0o600, 0o600)])
def test_the_mode_is_never_looser_than_0600(path, before, after):
    write(path, {"auths": {HOST: {"auth": AUTH}}}, before)
    results = [login(path, check=True), login(path), login(path)]
    assert [result["changed"] for result in results] == [before != after, before != after, False]
    assert mode(path) == after


def test_logout_does_not_tidy_up_what_it_does_not_write(path):
    write(path, {"auths": {"other.example.com": {"auth": "eDp5"}}}, 0o644)
    assert logout(path)["changed"] is False
    assert mode(path) == 0o644


def test_a_symbolic_link_stays_one(path, tmp_path):
    target = write(tmp_path / "elsewhere" / "file", {"a": 1})
    path.parent.mkdir()
    path.symlink_to("../elsewhere/file")
    assert login(path)["changed"]
    assert path.is_symlink() and read(target) == {"a": 1, "auths": {HOST: {"auth": AUTH}}}


def test_a_symbolic_link_that_leads_nowhere_yet(path, tmp_path):
    path.parent.mkdir()
    path.symlink_to(tmp_path / "made" / "file")
    assert login(path)["changed"]
    assert path.is_symlink() and read(path)["auths"][HOST] == {"auth": AUTH}


@pytest.mark.parametrize("make", ["directory", "fifo", "loop", "device", "beside a file"])
def test_what_is_no_file(path, make):
    path.parent.mkdir()
    if make == "directory":
        path.mkdir()
    elif make == "fifo":
        os.mkfifo(path)
    elif make == "loop":
        path.symlink_to(path)
    elif make == "device":
        path.symlink_to("/dev/null")
    else:
        path = write(path, "{}") / "config.json"
    for state in (login, logout):
        result = state(path)
        assert result["failed"] and str(path) in result["msg"]


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


# --- as root, in a directory of another user --------------------------------------------------------------------------


@pytest.fixture
def handed(monkeypatch):
    """What root gives away: (inode, user, group). Nothing is really given, so that any account may try."""
    handed = []

    def chown(what, user, group, **_options):
        handed.append((os.fstat(what).st_ino, user, group))

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "chown", chown)
    return handed


def owner(path):
    return path.stat().st_uid, path.stat().st_gid


def test_root_makes_a_directory_for_its_owner(path, handed):
    assert login(path)["changed"]
    assert handed == [(made.stat().st_ino, *owner(path.parent.parent)) for made in (path.parent, path)]


def test_root_is_not_led_elsewhere_by_the_owner(path, handed, monkeypatch, tmp_path):
    victim = tmp_path / "victim"
    victim.mkdir()
    make = os.mkdir

    def race(name, *arguments, **options):
        make(name, *arguments, **options)
        path.parent.rmdir()
        path.parent.symlink_to(victim)

    monkeypatch.setattr(os, "mkdir", race)
    result = login(path)
    assert result["failed"] and str(path) in result["msg"]
    assert handed == [] and list(victim.iterdir()) == []


@pytest.mark.parametrize("error", [errno.EBADF, errno.EINVAL, errno.ENOLCK, errno.EOPNOTSUPP])
def test_where_directories_can_not_be_locked_a_file_is(path, handed, monkeypatch, error):
    flock = fcntl.flock

    def on_nfs(handle, operation):
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(error, os.strerror(error))
        return flock(handle, operation)

    monkeypatch.setattr(fcntl, "flock", on_nfs)
    path.parent.mkdir()
    assert login(path)["changed"]
    lock = path.parent / ".config.json.wharf-lock"
    assert (lock.stat().st_ino, *owner(path.parent)) in handed
    assert mode(lock) == 0o600
    handed.clear()
    assert login(path, password="other-geheim")["changed"]
    assert lock.stat().st_ino not in [inode for inode, *_owner in handed]
    assert base64.b64decode(read(path)["auths"][HOST]["auth"]) == b"ci:other-geheim"


# --- any file at all --------------------------------------------------------------------------------------------------

number = st.from_regex(r"-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,4})?", fullmatch=True)
scalar = st.one_of(st.sampled_from(["null", "true", "false", "{}", "[]"]), number, st.text(max_size=12).map(json.dumps))


def as_object(pairs):
    return "{" + ", ".join(f"{json.dumps(key)}: {value}" for key, value in pairs.items()) + "}"


value = st.recursive(
    scalar,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda items: "[" + ",".join(items) + "]"),
        st.dictionaries(st.text(max_size=8), inner, max_size=4).map(as_object),
    ),
    max_leaves=12,
)
words = st.text(max_size=12).map(json.dumps)
logins = st.sampled_from([AUTH, "eDp5", "", "YWJjOg=="]).map(json.dumps)
entry = st.one_of(
    st.just("null"),
    st.dictionaries(st.sampled_from(["identitytoken", "email", "x"]), words, max_size=3).map(as_object),
    logins.map(lambda auth: as_object({"auth": auth})),
)
hosts = st.one_of(
    st.sampled_from([HOST, f"https://{HOST}/v1/", f"{HOST}/team", "other.example.com"]), st.text(max_size=8)
)
# Hypothesis takes words from the source, and Docker reads its own in any case, and wants their types.
unknown = st.text(max_size=10).filter(
    lambda key: key.casefold() not in {name.casefold() for name in config_schema._DOCKER}
)
document = st.tuples(
    st.dictionaries(unknown, value, max_size=5),
    st.fixed_dictionaries(
        {},
        optional={
            "auths": st.dictionaries(hosts, entry, max_size=5).map(as_object),
            "credHelpers": st.dictionaries(st.text(max_size=6), words, max_size=2).map(as_object),
        },
    ),
).map(lambda parts: as_object({**parts[0], **parts[1]}))
anything = st.dictionaries(st.sampled_from(["auths", "credHelpers", "credsStore", "x"]), value, max_size=4).map(
    as_object
)


def lexical(text):
    """The document with its numbers as they are written."""
    return json.loads(text, parse_int=lambda number: ("number", number), parse_float=lambda number: ("number", number))


def well_typed(parsed):
    """Whether Docker could read it; written apart from the module."""
    auths, helpers, store = (parsed.get(name) for name in ("auths", "credHelpers", "credsStore"))
    fields = ("auth", "username", "password", "identitytoken", "registrytoken")
    return (
        (auths is None or isinstance(auths, dict))
        and (helpers is None or isinstance(helpers, dict))
        and (store is None or isinstance(store, str))
        and all(isinstance(name, (str, type(None))) for name in (helpers or {}).values())
        and all(
            one is None
            or (isinstance(one, dict) and all(isinstance(one.get(field), (str, type(None))) for field in fields))
            for one in (auths or {}).values()
        )
    )


def without_host(parsed):
    ours = {HOST, f"https://{HOST}/v1/"}
    rest = {key: part for key, part in parsed.items() if key != "auths"}
    auths = {key: part for key, part in (parsed.get("auths") or {}).items() if key not in ours}
    return list(rest.items()), list(auths.items())


@settings(max_examples=300, deadline=None)
@given(text=st.one_of(document, anything))
@example(text='{"auths": {"r.example.com": {}}, "x": 1e999}')
@example(text='{"a": "\\ud83d", "b": "\\ud83d\\ude00", "": ""}')
def test_any_json_object_keeps_everything_else(text):
    parsed = lexical(text)
    # Where a helper is named, the secret does not lie in the file; other tests look there.
    assume(not well_typed(parsed) or not (parsed.get("credsStore") or HOST in (parsed.get("credHelpers") or {})))
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder, "config.json"), text)
        result = login(path)
        if not well_typed(parsed):
            assert result["failed"] and path.read_text(encoding="utf-8") == text
            return
        after = lexical(path.read_text(encoding="utf-8"))
        assert without_host(after) == without_host(parsed)
        assert after["auths"][HOST]["auth"] == AUTH
        assert login(path)["changed"] is False
        assert logout(path)["changed"] is True
        gone = lexical(path.read_text(encoding="utf-8"))
        assert without_host(gone) == without_host(parsed)
        assert HOST not in gone["auths"]
        assert list(Path(folder).iterdir()) == [path]


broken = st.tuples(document, st.integers(0, 200), st.binary(max_size=3)).map(
    lambda parts: parts[0].encode()[: parts[1]] + parts[2] + parts[0].encode()[parts[1] + 1 :]
)


def is_json_object(raw):
    def once(pairs):
        if len(dict(pairs)) != len(pairs):
            raise ValueError
        return dict(pairs)

    def refuse(text):
        raise ValueError

    try:
        text = raw.decode("utf-8")
        return isinstance(json.loads(text, object_pairs_hook=once, parse_constant=refuse, parse_int=str), dict)
    except (ValueError, RecursionError):
        return False


@settings(max_examples=300, deadline=None)
@given(raw=st.one_of(st.binary(max_size=200), broken, value.map(str.encode)))
@example(raw=b"\0")
@example(raw=b"\xff\xfe{\x00}\x00")
@example(raw=b'{"auths": {"r.example.com": {"auth": "Y2k6Z2VoZWltLTQ3MTE="}}')
def test_any_other_bytes_stay_as_they_are(raw):
    # A file without a word in it is one without settings.
    assume(raw.strip(b" \t\r\n") and not is_json_object(raw))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "config.json")
        path.write_bytes(raw)
        path.chmod(0o640)
        for state in (login, logout):
            result = state(path)
            assert result["failed"] and str(path) in result["msg"]
            assert path.read_bytes() == raw and mode(path) == 0o640
            assert list(Path(folder).iterdir()) == [path]

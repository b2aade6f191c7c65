"""registry_login on any credential file at all, well formed or not: everything else in it is kept."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from ansible_collections.wharf.registry.plugins.module_utils._client_config import config_schema
from credential_files import AUTH, HOST, login, logout, mode, write
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from examples import examples

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


@settings(max_examples=examples(300), deadline=None)
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


@settings(max_examples=examples(300), deadline=None)
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

"""TOML is read as Python's own reader does, and edited so that nothing else of the file changes."""

from __future__ import annotations

import datetime
import tomllib

import pytest
from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError
from ansible_collections.wharf.registry.plugins.module_utils._common.managed_lines import MARK
from ansible_collections.wharf.registry.plugins.module_utils._common.toml_edit import (
    managed_paths,
    with_value,
    without_values,
)
from ansible_collections.wharf.registry.plugins.module_utils._common.toml_text import Scalar, TomlText
from hypothesis import example, given, settings
from hypothesis import strategies as st

from examples import examples

CONTAINERD = b"""\
# What the owner says stays.
version = 2

imports = ["/etc/containerd/conf.d/*.toml"]

[plugins]
  [plugins."io.containerd.grpc.v1.cri"]
    sandbox_image = "registry.k8s.io/pause:3.8" # pinned
    [plugins."io.containerd.grpc.v1.cri".cni]
      bin_dir = '/usr/lib/cni'
    [plugins."io.containerd.grpc.v1.cri".registry]
      config_path = ""

[timeouts]
  "io.containerd.timeout.shim.load" = "5s"
"""
CONFIG_PATH = ("plugins", "io.containerd.grpc.v1.cri", "registry", "config_path")


def read(text):
    return TomlText(text.encode(), "config.toml")


def plain(value):
    """What both readers say in one form."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, str) and not isinstance(value, Scalar):
        return value
    if isinstance(value, bool):
        return value
    if isinstance(value, (Scalar, int, float, datetime.date, datetime.time, datetime.datetime)):
        return 0
    raise AssertionError(value)


def same_as_python(text):
    try:
        expected = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, ValueError):
        with pytest.raises(InputError):
            read(text)
        return
    assert plain(read(text).content) == plain(expected)


KEYS = st.sampled_from(["a", "b", "config_path", '"a"', "'b'", '"x.y"', '"io.containerd.grpc.v1.cri"', '"\\u0061"'])
PATHS = st.lists(KEYS, min_size=1, max_size=3).map(".".join)
SCALARS = st.sampled_from(
    [
        *(
            '""',
            '"x"',
            "'x # y'",
            '"\\u00e9 \\" \\\\"',
            '"""a\n"b" \\\n  c"""',
            "'''\nl1\nl2'''",
            '""""a"""""',
            "''''''",
        ),
        *("1", "-0", "1_000", "0x1F", "1.5", "1e5", "inf", "nan", "true", "false"),
        *("1979-05-27T07:32:00Z", "1979-05-27 07:32:00.5", "07:32:00", "1979-05-27"),
    ]
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: "[" + ", ".join(items) + "]"),
        st.lists(inner, max_size=3).map(lambda items: "[ # c\n" + "".join(f"  {item},\n" for item in items) + "]"),
        st.lists(st.tuples(PATHS, inner), max_size=2).map(
            lambda pairs: "{" + ", ".join(f"{key} = {item}" for key, item in pairs) + "}"
        ),
    ),
    max_leaves=4,
)
LINES = st.one_of(
    PATHS.map("[{}]".format),
    PATHS.map("[[ {} ]]".format),
    st.tuples(PATHS, VALUES).map(" = ".join),
    st.tuples(PATHS, VALUES).map(lambda pair: f"  {pair[0]}={pair[1]} # c"),
    st.sampled_from(["", "# comment", "\t"]),
)
DOCUMENTS = st.builds(
    lambda lines, last: "\n".join(lines) + last,
    st.lists(LINES, max_size=8),
    st.sampled_from(["\n", "", "\n\n"]),
).flatmap(lambda text: st.sampled_from([text, text.replace("\n", "\r\n")]))


@settings(max_examples=examples(600), deadline=None)
@given(DOCUMENTS)
@example("a.b = 1\n[a]\n")
@example("[a.b]\n[a]\nb.c = 1\n")
@example("[a]\nb.c = 1\n[a.b]\n")
@example("[a]\nb.c = 1\n[a.b.d]\n")
@example("a = {b = 1}\n[a.c]\n")
@example("a = []\n[[a]]\n")
@example("[[a]]\n[a.b]\n[[a]]\n[a.b]\n")
@example("[[a]]\n[a]\n")
@example("[a]\n[[a.b]]\n[a.b.c]\nd = 1")
@example("a.b.c = 1\na.d = 2\n")
@example("a.b.c = 1\na = 2\n")
@example("a = {b.c = 1, b.d = 2}\n")
@example("a = {b = 1,}\n")
@example("a = {b = 1\n}\n")
@example("a = 1 b = 2\n")
@example("[a] b = 1\n")
@example("a = 01\n")
@example("a = +0x1\n")
@example("a = 1__0\n")
@example("a = 1.\n")
@example("a = [1,,2]\n")
@example("a = [,]\n")
@example("a = \n")
@example("= 1\n")
@example("a\n")
@example('a = "\x01"\n')
@example("a = 1 # \x01\n")
@example('a = "\\ud800"\n')
@example('"""a""" = 1\n')
@example("a = '''x\r'''\n")
@example("\ra = 1\n")
@example("a = [1]]\n")
@example("[a\n]\n")
@example("[ a . 'b' ]\n")
@example("a = tru\n")
@example("a = truely\n")
@example("[a.b.c]\n[a]\n[a.b]\n")
@example("[a]\n[b]\n[a]\n")
@example("[a.a.a]\n[a]\na.b = 1\n")
def test_it_reads_what_python_reads(text):
    same_as_python(text)


@settings(max_examples=examples(400), deadline=None)
@given(DOCUMENTS, st.data())
def test_it_refuses_what_python_refuses(text, data):
    """A character that is lost or doubled, or a foreign one."""
    if text:
        at = data.draw(st.integers(0, len(text) - 1))
        new = data.draw(
            st.sampled_from(["", text[at] * 2, "[", "]", '"', "'", "=", "\n", "#", "{", "}", ",", "\x00", "\r"])
        )
        same_as_python(text[:at] + new + text[at + 1 :])


@settings(max_examples=examples(600), deadline=None)
@given(
    DOCUMENTS,
    st.lists(
        st.tuples(
            st.lists(st.sampled_from(["a", "b", "config_path", "x.y", "é\x7f"]), min_size=1, max_size=4).map(tuple),
            st.sampled_from(["", "/etc/containerd/certs.d", True, ["a", "b"], [["k", "c"]]]),
        ),
        min_size=1,
        max_size=3,
    ),
)
def test_a_value_comes_and_goes_without_a_trace(text, values):
    try:
        document = read(text)
    except InputError:
        return
    edited, done = document, {}
    for path, value in values:
        try:
            edited = with_value(edited, path, value)
        except InputError:
            continue
        done[path] = value
        assert edited.get(path) == value
        # Nothing else has changed, as Python reads it.
        if MARK not in text and tomllib.loads(edited.text):
            assert with_value(edited, path, value).text == edited.text
    gone = without_values(edited, lambda _path: True)
    assert gone.text == text
    assert managed_paths(gone) == []


def test_a_value_is_set_where_the_owner_has_it():
    edited = with_value(read(CONTAINERD.decode()), CONFIG_PATH, "/etc/containerd/certs.d")
    line = f'      config_path = "/etc/containerd/certs.d" {MARK}, before: config_path = ""\n'
    assert edited.text == CONTAINERD.decode().replace('      config_path = ""\n', line)
    assert managed_paths(edited) == [CONFIG_PATH]
    again = with_value(edited, CONFIG_PATH, "/srv/certs.d")
    assert again.text == edited.text.replace("/etc/containerd/certs.d", "/srv/certs.d")
    assert without_values(again, lambda path: path == CONFIG_PATH).text == CONTAINERD.decode()


def test_others_of_ours_stay():
    one, other = ("host", "https://one.test", "ca"), ("host", "https://other.test", "ca")
    edited = with_value(with_value(read(""), one, "1"), other, "2")
    assert without_values(edited, lambda path: path[:2] == other[:2]).content == {
        "host": {"https://one.test": {"ca": "1"}}
    }


@pytest.mark.parametrize(
    "text",
    [
        "a = [\n  1,\n]\n",
        'a = """\n"""\n',
        "a.b = 1\n",
        "[a]\n",
        "[[a]]\n",
    ],
)
def test_what_can_not_be_edited_is_named(text):
    with pytest.raises(InputError) as failed:
        with_value(read(text), ("a",), "x")
    assert "config.toml has a in a form that can't be edited line by line" in failed.value.message
    assert 'Write there by hand: a = "x"' in failed.value.cure


def test_an_error_names_the_line_and_shows_nothing():
    with pytest.raises(InputError) as failed:
        read('a = 1\npassword = "secret\n')
    assert failed.value.message.startswith("config.toml is not valid TOML (line 2")
    assert "secret" not in failed.value.message + failed.value.cure


def test_depth_is_bounded():
    for text in ("a = " + "[" * 5000, "a = " + "{a = " * 5000):
        with pytest.raises(InputError):
            read(text)

"""The part of YAML that is read: as PyYAML reads it, edited so that no other line changes, and else refused."""

from __future__ import annotations

import contextlib

import pytest
import yaml
from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError
from ansible_collections.wharf.registry.plugins.module_utils._common.managed_lines import MARK
from ansible_collections.wharf.registry.plugins.module_utils._common.yaml_text import (
    Other,
    YamlText,
    managed_paths,
    with_value,
    without_values,
)
from hypothesis import example, given, settings
from hypothesis import strategies as st

from examples import examples

K3S = """\
# Of the platform team.
mirrors:
  docker.io:
    endpoint:
      - "https://near.example.com" # first
    rewrite:
      "^rancher/(.*)": "copies/$1"
configs:
  near.example.com:
    auth:
      username: ci
      password: 'a''b: #c'
"""


def read(text):
    return YamlText(text.encode(), "registries.yaml")


def plain(value):
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, str) and not isinstance(value, Other):
        return value
    return value if value is None or isinstance(value, bool) else 0


def as_pyyaml(text):
    """What PyYAML makes of it, with what is no text, truth or nothing as 0."""
    found = yaml.load(text, yaml.BaseLoader)  # noqa: S506 # to know that a key is text
    return found, yaml.safe_load(text)


KEYS = st.sampled_from(
    ["mirrors", "configs", "a", "b.c:5000", "docker.io", "[::1]:5000", "*", "x y", "#", "é", "k: v", "-"]
)
SCALARS = st.sampled_from(
    [
        "x",
        "a b",
        "a: b",
        "a #b",
        "'",
        '"',
        "",
        "true",
        True,
        False,
        None,
        1,
        1.5,
        "1",
        "yes",
        "no",
        "~",
        "https://r:1/x",
        "10.0.0.1:5000",
        "1e5",
        "0x1f",
        "12:30",
        "1_000",
        "2026-11-30",
        0x1F,
        1e30,
        "- a",
        "[x]",
        "é",
        "\\",
    ]
)
TREES = st.recursive(
    st.one_of(SCALARS, st.lists(SCALARS, min_size=1, max_size=3)),
    lambda inner: st.dictionaries(KEYS, inner, min_size=1, max_size=3),
    max_leaves=8,
)
DOCUMENTS = st.dictionaries(KEYS, TREES, max_size=3)


def written(tree, data):
    text = (
        yaml.safe_dump(tree, sort_keys=False, allow_unicode=True, width=1000, indent=data.draw(st.sampled_from([2, 4])))
        if tree
        else ""
    )
    lines = []
    for line in text.splitlines():
        if data.draw(st.booleans()) and data.draw(st.booleans()):
            lines.append(data.draw(st.sampled_from(["", "# c", "    # deeper"])))
        lines.append(line)
    return "\n".join(lines) + data.draw(st.sampled_from(["", "\n", "\n\n# end\n"]))


@settings(max_examples=examples(500), deadline=None)
@given(DOCUMENTS, st.data())
def test_it_reads_what_pyyaml_reads(tree, data):
    text = written(tree, data)
    with contextlib.suppress(InputError):
        assert plain(read(text).content) == plain(yaml.safe_load(text) or {})


@settings(max_examples=examples(700), deadline=None)
@given(st.one_of(DOCUMENTS, st.just(yaml.safe_load(K3S))), st.data())
def test_what_it_reads_it_reads_rightly(tree, data):
    """With characters that are lost, doubled or foreign: where it does not refuse the file, PyYAML says the same."""
    text = written(tree, data)
    for _change in range(data.draw(st.integers(1, 3))):
        if text:
            at = data.draw(st.integers(0, len(text) - 1))
            new = data.draw(
                st.sampled_from(
                    [
                        "",
                        text[at] * 2,
                        " ",
                        "\n",
                        "-",
                        ":",
                        "#",
                        "'",
                        '"',
                        "[",
                        "]",
                        "{",
                        "&",
                        "*",
                        "!",
                        "|",
                        "%",
                        "\t",
                        ",",
                        "?",
                        "~",
                        ".",
                        "0",
                        "_",
                        "e",
                    ]
                )
            )
            text = text[:at] + new + text[at + 1 :]
    try:
        document = read(text)
    except InputError:
        return
    assert plain(document.content) == plain(yaml.safe_load(text) or {}), text


@pytest.mark.parametrize(
    "text",
    [
        "a: &x 1\n",
        "a: *x\n",
        "a: !!str 1\n",
        "a: |\n  b\n",
        "a: >\n  b\n",
        "a: {b: 1}\n",
        "a: [{b: 1}]\n",
        "a: [[1]]\n",
        "a: [b,\n  c]\n",
        "- a\n",
        "a:\n  - b: 1\n",
        "a: 1\na: 2\n",
        "a: b\n  c\n",
        'a: "b\n  c"\n',
        "a:\tb\n",
        "a: 1\n---\nb: 2\n",
        "%YAML 1.2\n---\na: 1\n",
        "? a\n: b\n",
        "a\n",
        "<<: 1\n",
        "a:\n    b: 1\n  c: 2\n",
        " a: 1\nb: 2\n",
        "a: b: c\n",
        "a: null\n- b\n",
        "a: ~\n  - b\n",
        "a: null\n  b: 1\n",
        "\ufeffa: 1\n",
    ],
)
def test_what_is_not_understood_is_refused(text):
    with pytest.raises(InputError) as failed:
        read(text)
    assert "registries.yaml" in failed.value.message


PATHS = st.lists(KEYS, min_size=1, max_size=3).map(tuple)
VALUES = st.sampled_from(["", "text", "a: #b", True, ["https://r.example.com"], ["a", "b"]])


@settings(max_examples=examples(700), deadline=None)
@given(DOCUMENTS, st.lists(st.tuples(PATHS, VALUES), min_size=1, max_size=4), st.data())
@example({}, [(("a",), "x")], st.data())
def test_a_value_comes_and_goes_without_a_trace(tree, values, data):
    text = written(tree, data) if hasattr(data, "draw") else ""
    try:
        document = read(text)
    except InputError:
        return
    edited = document
    for path, value in values:
        try:
            after = with_value(edited, path, value)
        except InputError:
            continue
        found = after.get(path)
        assert found == value or set(value) <= set(found)
        assert with_value(after, path, value).text == after.text
        assert plain(yaml.safe_load(after.text)) == plain(after.content)
        edited = after
    gone = without_values(edited, lambda _path: True)
    assert gone.text == text
    assert managed_paths(gone) == []


def test_a_list_on_lines_of_its_own_gets_more():
    edited = with_value(read(K3S), ("mirrors", "docker.io", "endpoint"), ["https://far.example.com"])
    line = f'      - "https://far.example.com" {MARK}\n'
    assert edited.text == K3S.replace("# first\n", f"# first\n{line}")
    assert without_values(edited, lambda _path: True).text == K3S


def test_others_of_ours_stay():
    one, other = ("configs", "one", "tls", "ca_file"), ("configs", "other", "tls", "ca_file")
    edited = with_value(with_value(read(K3S), one, "1"), other, "2")
    left = without_values(edited, lambda path: path[:2] == other[:2])
    assert left.get(one) == "1" and left.get(other[:2]) is None and left.get(("configs", "near.example.com", "auth"))

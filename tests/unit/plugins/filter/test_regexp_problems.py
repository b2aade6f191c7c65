"""The filter regexp_problems. test_foreign_layers.py asks a registry about the same."""

from __future__ import annotations

import pytest

GOOD = [
    r"^https://mcr\.microsoft\.com/",
    r"^https?://[a-z0-9.-]+\.example\.com(:[0-9]{1,5})?/(a|b)+/\d*?$",
    r"(?i)^HTTPS://a/",
    r"[(?=]+x\+\+",
    r"^https://(?P<name>a)\\1/",
    r"a{1000}",
    r"[^]*+]{2,}",
    r"\x41\.\(\?<!",
]
# Python understands them, and a registry would not start.
NOT_IN_GO = {
    r"^(?!https://evil/)": "lookaround",
    r"(?<=a)b": "lookaround",
    r"(a)\1": "a reference to a group",
    r"(?P<n>a)(?P=n)": "a reference to a group",
    r"(a)?(?(1)b|c)": "a condition",
    r"a(?#why)": "a comment",
    r"(?x)a": "a flag",
    r"a\Z": "an escape",
    r"a{1001}": "repeats more than 1000 times",
    r"a{1,2000}": "repeats more than 1000 times",
}
NOT_AT_ALL = {
    "": "an empty one matches everything",
    "a(": "no regular expression",
    "*a": "no regular expression",
    "[z-a]": "no regular expression",
    "^https://a/\n": "white space",
    "^https://a b/": "white space",
    5: "give a text",
    None: "give a text",
}


@pytest.fixture
def problems(plugin):
    return plugin("filter", "regexp_problems").FilterModule().filters()["regexp_problems"]


def test_what_go_and_python_understand(problems):
    assert problems(GOOD, "v") == [] and problems([], "v") == []


@pytest.mark.parametrize(("pattern", "says"), [*NOT_IN_GO.items(), *NOT_AT_ALL.items()])
def test_what_is_refused(problems, pattern, says):
    (problem,) = problems([*GOOD, pattern], "v")
    assert problem.startswith(f"v has {pattern!r}: ") and says in problem and problem.endswith(".")


@pytest.mark.parametrize("value", ["^https://a/", None, {"a": 1}, 5, True])
def test_what_is_no_list(problems, value):
    assert problems(value, "v") == ["v is no list: give a list of regular expressions."]

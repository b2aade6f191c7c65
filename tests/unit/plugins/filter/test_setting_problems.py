"""What becomes part of a configuration is what it is meant to be. test_settings.py asks nginx about the same."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from paths import ROOT


def rows():
    lines = (ROOT / "tests" / "verdicts" / "settings.txt").read_text(encoding="utf-8").splitlines()
    found = [[part.strip() for part in line.split(" | ")] for line in lines if not line.startswith("#")]
    assert len(found) > 60 and {row[2] for row in found} == {"taken", "refused"}
    return found


@pytest.fixture
def problems(plugin):
    return plugin("filter", "setting_problems").setting_problems


@pytest.mark.parametrize(("kind", "value", "ours"), [row[:3] for row in rows()])
def test_as_the_table_says(problems, kind, value, ours):
    value = value.encode().decode("unicode_escape")
    found = problems([{"name": "some_variable", "kind": kind, "value": [value]}])
    assert (not found) is (ours == "taken"), found
    assert all(one.startswith("some_variable has ") and one.endswith(".") for one in found)


# Of each kind, what would be something else in a template, a unit or a command.
META = [
    *("{{ 7 * 7 }}", "{% raw %}", "a;", "a; b", "a}", "{a", "$host", "${host}", "#a", "a b", '"a"', "'a'", "a\\b"),
    *("a\nb", "a\n", "\na", "a\rb", "a\tb", "a\0b", "../a", "a,b", "a|b", "`id`", "$(id)", "%h", "a\u2028b", "ä"),
]
KINDS = ["hostname", "host", "name", "address", "network", "resolver", "path", "integer", "port", "size", "memory"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", META)
def test_metacharacters_pass_nowhere(problems, kind, value):
    for text in (value, f"/{value}" if kind == "path" else f"10{value}"):
        (found,) = problems([{"name": "some_variable", "kind": kind, "value": text}])
        assert found.startswith("some_variable is ")
        assert "\n" not in found and "\r" not in found and "\0" not in found


@pytest.mark.parametrize("kind", [*KINDS, "line"])
def test_a_line_feed_at_the_end_passes_nowhere(problems, kind):
    good = {"path": "/srv", "integer": "1", "port": "1", "size": "1", "memory": "10m", "network": "192.0.2.0/24"}
    value = good.get(kind, "192.0.2.1")
    assert problems([{"name": "v", "kind": kind, "value": value}]) == []
    assert problems([{"name": "v", "kind": kind, "value": f"{value}\n"}]) != []


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        (
            {"kind": "network", "value": ["192.0.2.1/24"]},
            [
                'v has "192.0.2.1/24", an address in a network, which nginx takes for all of 192.0.2.0/24',
                " with a warning.",
                " Write 192.0.2.0/24 for the network, or 192.0.2.1 for the address alone.",
            ],
        ),
        (
            {"kind": "size", "value": "20GB"},
            [
                'v is "20GB", which is no size to nginx.',
                " Give a number of bytes, or one with k, m or g, such as 20g; 0 for no limit.",
            ],
        ),
        ({"kind": "integer", "least": 1, "most": 5, "value": 9}, ['v is "9". Give a whole number from 1 to 5.']),
        ({"kind": "port", "value": 70000}, ['v is "70000". Give a whole number from 1 to 65535.']),
        (
            {"kind": "hostname", "port": 443, "value": "h3-docker"},
            [
                "v is 'h3-docker', which engines do not take for a host: ",
                "they read h3-docker/app as docker.io/h3-docker/app, and send the password to Docker Hub.",
                " Use a name with a dot, or set registry_port to another port than 443.",
            ],
        ),
        (
            {"kind": "name", "value": ["*.example.com", "a_b.example.com"]},
            [
                "v has 'a_b.example.com', a host name with an underscore, which engines refuse.",
                " Use a name with hyphens in its place.",
            ],
        ),
    ],
)
def test_the_value_and_the_cure_are_named(problems, setting, says):
    assert problems([{"name": "v", **setting}]) == ["".join(says)]


def test_what_is_optional_may_be_empty(problems):
    settings = [{"name": "v", "kind": "path", "value": value} for value in ("", None)]
    assert len(problems(settings)) == 2
    assert problems([{**setting, "optional": True} for setting in settings]) == []
    assert problems([{"name": "v", "kind": "network", "value": []}]) == []


def test_a_kind_that_is_none(problems):
    with pytest.raises(AnsibleFilterError, match="knows no kind 'word'"):
        problems([{"name": "v", "kind": "word", "value": "x"}])

"""Podman's files: TOML that says what was meant, whatever the names are."""

from __future__ import annotations

import tomllib

import pytest
from ansible_collections.wharf.registry.plugins.module_utils import _podman
from ansible_collections.wharf.registry.plugins.module_utils._engine import EngineError
from ansible_collections.wharf.registry.plugins.module_utils._podman import (
    Podman,
    insecure_text,
    mirrors_of,
    mirrors_text,
)
from hypothesis import given
from hypothesis import strategies as st

HOSTS = ["r.example.com", "R.Example.COM:5000", "[::1]:5000", "[2001:db8::1]", "10.0.0.1:80", "localhost"]
urls = st.tuples(st.sampled_from(["http", "https"]), st.sampled_from(HOSTS)).map("://".join)


@pytest.mark.parametrize("host", HOSTS)
def test_insecure(host):
    assert tomllib.loads(insecure_text(host)) == {"registry": [{"location": host, "insecure": True}]}


def test_each_registry_has_a_file_of_its_own():
    paths = {Podman(1).insecure_path(host) for host in HOSTS}
    assert len(paths) == len(HOSTS)
    for path in paths:
        assert path.endswith(".conf") and not set("[]: ") & set(path)


@given(mirrors=st.lists(urls, unique=True, max_size=5))
def test_mirrors_there_and_back(mirrors):
    text = mirrors_text(mirrors)
    assert mirrors_of(text) == mirrors
    (hub,) = tomllib.loads(text)["registry"]
    assert hub["location"] == "docker.io" and "insecure" not in hub
    assert [(mirror["location"], mirror["insecure"]) for mirror in hub.get("mirror", [])] == [
        (url.partition("://")[2], url.startswith("http:")) for url in mirrors
    ]


def test_neighbours(tmp_path):
    podman = Podman(1)
    podman.folder = str(tmp_path / "registries.conf.d")
    (tmp_path / "registries.conf.d").mkdir()
    for name, text in {
        "registries.conf.d/a.conf": '[[registry]]\nprefix = "docker.io"\n',
        "registries.conf.d/b.conf": '[[registry]]\nlocation = "quay.io"\n# "docker.io"\n',
        "registries.conf.d/c.txt": '[[registry]]\nlocation = "docker.io"\n',
        "registries.conf.d/wharf-mirrors.conf": mirrors_text([]),
        "registries.conf": "[[registry]]\n  location='docker.io'\n",
    }.items():
        (tmp_path / name).write_text(text)
    found = [path.removeprefix(str(tmp_path) + "/") for path in podman.neighbours_with_mirrors()]
    assert found == ["registries.conf", "registries.conf.d/a.conf"]


@pytest.mark.parametrize(
    ("answer", "refused"),
    [
        ((0, "{}", ""), False),
        ((127, "", "timed out"), False),
        ((125, "", 'Error: command required for rootless mode: exec: "newuidmap": not found'), False),
        ((125, "", 'level=warning\nError: getting registries: loading drop-in "/x.conf": toml: line 2'), True),
    ],
)
def test_only_what_podman_says_of_registries_counts(monkeypatch, answer, refused):
    monkeypatch.setattr(_podman, "run", lambda *_arguments: answer)
    podman = Podman(1)
    podman.program = "podman"
    if refused:
        with pytest.raises(EngineError, match=r"line 2") as told:
            podman.check()
        assert "warning" not in str(told.value)
    else:
        podman.check()

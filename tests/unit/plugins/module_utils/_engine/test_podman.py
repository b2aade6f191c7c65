"""Podman's files: TOML that says what was meant, whatever the names are."""

from __future__ import annotations

import tomllib

import inputs
import pytest
from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError
from ansible_collections.wharf.registry.plugins.module_utils._engine import podman as podman_module
from ansible_collections.wharf.registry.plugins.module_utils._engine import registries_conf
from ansible_collections.wharf.registry.plugins.module_utils._engine.docker_api import EngineError
from ansible_collections.wharf.registry.plugins.module_utils._engine.podman import (
    Podman,
    insecure_text,
    mirrors_of,
    mirrors_text,
)
from hypothesis import given
from hypothesis import strategies as st

HOSTS = ["r.example.com", "R.Example.COM:5000", "[::1]:5000", "[2001:db8::1]", "10.0.0.1:80", "localhost"]
PATHS = ["", "/mirror", "/mirror/quay.io"]
urls = st.tuples(st.sampled_from(["http://", "https://"]), st.sampled_from(HOSTS), st.sampled_from(PATHS)).map("".join)


@pytest.mark.parametrize("host", HOSTS)
def test_insecure(host):
    assert tomllib.loads(insecure_text(host)) == {"registry": [{"location": host, "insecure": True}]}


def test_each_registry_has_a_file_of_its_own():
    paths = {Podman(1).insecure_path(host) for host in HOSTS}
    assert len(paths) == len(HOSTS)
    for path in paths:
        assert path.endswith(".conf") and not set("[]: ") & set(path)


@given(upstream=st.sampled_from(["docker.io", *HOSTS]), mirrors=st.lists(urls, unique=True, max_size=5))
def test_mirrors_there_and_back(upstream, mirrors):
    text = mirrors_text(upstream, mirrors)
    assert mirrors_of(text) == mirrors
    (hub,) = tomllib.loads(text)["registry"]
    assert hub["location"] == upstream and "insecure" not in hub
    assert [(mirror["location"], mirror["insecure"]) for mirror in hub.get("mirror", [])] == [
        (url.partition("://")[2], url.startswith("http:")) for url in mirrors
    ]


@pytest.fixture
def podman(tmp_path, monkeypatch):
    """Podman with the files of a test, in place of those of this machine."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    podman = Podman(1)
    podman.system = str(tmp_path / "etc")
    podman.folder = str(tmp_path / "etc" / "registries.conf.d")
    return podman


def put(folder, files):
    """Files under the names of tests/verdicts/registries_conf.yml."""
    own = folder / "home" / ".config" / "containers"
    places = {"main": folder / "etc" / "registries.conf", "home": own / "registries.conf"}
    for name, raw in files.items():
        in_home = name.startswith("home.d/")
        below = (own if in_home else folder / "etc") / "registries.conf.d" / name.removeprefix("home.d/")
        path = places.get(name, below)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(raw)


def judged(check, *arguments):
    """(what is refused, what is warned of)"""
    try:
        return "", " ".join(check(*arguments))
    except InputError as error:
        assert error.cure
        return error.message, ""


@pytest.mark.parametrize("case", inputs.cases("registries_conf.yml"), ids=lambda case: case["name"])
def test_what_files_of_others_say_of_a_registry(podman, tmp_path, case):
    put(tmp_path, case["files"])
    refused, warned = judged(podman.check_insecure, "r.example.com")
    assert bool(refused) is ("module" in case) and case.get("module", "") in refused
    assert bool(warned) is ("warns" in case) and case.get("warns", "") in warned


def test_a_registry_that_others_make_insecure_or_block(podman, tmp_path):
    put(tmp_path, {"a.conf": b'[[registry]]\nlocation = "r.example.com"\ninsecure = true\n'})
    (warned,) = podman.check_secure("r.example.com")
    assert "a.conf makes r.example.com insecure" in warned
    put(tmp_path, {"b.conf": b'[[registry]]\nprefix = "*.example.com"\nblocked = true\n'})
    assert "a.conf" in podman.check_secure("r.example.com")[0]
    (warned,) = podman.check_secure("other.example.com:5000")
    assert "b.conf blocks other.example.com:5000" in warned
    assert podman.check_secure("example.com") == []


@pytest.mark.parametrize(
    ("files", "refuses", "warns"),
    [
        ({}, "", ""),
        ({"a.conf": '[[registry]]\nlocation = "quay.io"\n# "docker.io"\n', "c.txt": "docker.io"}, "", ""),
        ({"a.conf": '[[registry]]\nprefix = "docker.io"\nlocation = "docker.io"\n'}, "", "a.conf has an entry for"),
        ({"main": "[[registry]]\n  location='docker.io'\n"}, "", "registries.conf has an entry for"),
        ({"xa.conf": '[[registry]]\nlocation = "docker.io"\n'}, "xa.conf has an entry for docker.io", ""),
        ({"a.conf": '[[registry]]\nlocation = "docker.io"\nblocked = true\n'}, "a.conf blocks docker.io", ""),
        ({"main": '[registries.block]\nregistries = ["docker.io"]\n'}, "registries.conf blocks docker.io", ""),
        (
            {"a.conf": '[[registry]]\nlocation = "docker.io"\n[[registry.mirror]]\nlocation = "m.other"\n'},
            "a.conf has mirrors for docker.io (m.other)",
            "",
        ),
        ({"a.conf": '[[registry]]\nprefix = "docker.io/library"\nlocation = "m.other"\n'}, "", "docker.io/library"),
        ({"wharf-mirrors.conf": mirrors_text("docker.io", ["https://m"])}, "", ""),
    ],
)
def test_what_files_of_others_say_of_the_hub(podman, tmp_path, files, refuses, warns):
    put(tmp_path, {name: text.encode() for name, text in files.items()})
    refused, warned = judged(podman.check_mirrors)
    assert bool(refused) is bool(refuses) and refuses in refused
    assert bool(warned) is bool(warns) and warns in warned


def test_files_of_the_system_beside_those_of_an_account(podman, tmp_path):
    """An account that is not root has its own file after those of the system."""
    podman.folder = str(tmp_path / "home" / ".config" / "containers" / "registries.conf.d")
    put(tmp_path, {"z.conf": b'[[registry]]\nlocation = "r.example.com"\nblocked = true\n'})
    assert "z.conf blocks r.example.com" in judged(podman.check_insecure, "r.example.com")[0]
    put(tmp_path, {"home": b""})
    assert judged(podman.check_insecure, "r.example.com") == ("", "")
    put(tmp_path, {"home.d/z.conf": b'[[registry]]\nlocation = "r.example.com"\n'})
    assert "would have no effect" in judged(podman.check_insecure, "r.example.com")[0]


def test_files_that_an_old_python_can_not_read(podman, tmp_path, monkeypatch):
    monkeypatch.setattr(registries_conf, "tomllib", None)
    put(tmp_path, {"a.conf": b'[[registry]]\nlocation = "r.example.com"\n', "b.conf": b'# "r.example.com"\n'})
    refused, warned = judged(podman.check_insecure, "r.example.com")
    assert not refused and "a.conf names r.example.com" in warned and "b.conf" not in warned
    assert judged(podman.check_insecure, "o.example.com") == ("", "")


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
    monkeypatch.setattr(podman_module, "run", lambda *_arguments: answer)
    podman = Podman(1)
    podman.program = "podman"
    if refused:
        with pytest.raises(EngineError, match=r"line 2") as told:
            podman.check()
        assert "warning" not in str(told.value)
    else:
        podman.check()

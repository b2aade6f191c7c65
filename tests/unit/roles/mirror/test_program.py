"""The program of the role mirror, installed as on a host: it needs neither Ansible nor anything else than Python."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import programs
import pytest
from ansible_collections.wharf.registry.plugins.lookup._library_files import library_files
from ansible_collections.wharf.registry.plugins.plugin_utils._roles.mirror import (
    mirror_lines,
    mirror_problems,
    mirror_settings,
)
from misbehaving import Misbehaving, reply
from odd_registry import OddRegistry

SOURCE = Path(__file__).parents[4] / "roles" / "mirror" / "files" / "mirror"


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """What the role places on a host."""
    return programs.install(SOURCE, tmp_path_factory.mktemp("host") / "mirror")


@pytest.fixture
def upstream():
    with Misbehaving() as server:
        registry = OddRegistry(server)
        registry.image("team/app", "1.0")
        registry.server = server
        yield registry


@pytest.fixture
def place(tmp_path, program, upstream):
    return Place(tmp_path, program, upstream.address)


class Place:
    """Settings, state and a layout that the program writes to."""

    def __init__(self, directory: Path, program: Path, address: str) -> None:
        self.program = program
        self.state, self.settings, self.layout = (
            directory / name for name in ("state.json", "settings.json", "layout")
        )
        self.mirror = {
            "name": "hub",
            "source": {"registry": address, "plain_http": True, "username": "ci", "password": "geheim"},
            "destination": {"layout": str(self.layout)},
            "images": [{"repository": "team/app"}],
        }
        self.write()

    def write(self, *mirrors):
        text = json.dumps(mirror_settings(mirrors or [self.mirror], {}, str(self.state)))
        self.settings.write_text(text)

    def run(self, what="run"):
        # -I: nothing of this machine but Python's own library, and no directory but that of the program.
        command = [sys.executable, "-I", "-S", "-B", str(self.program), what, str(self.settings)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env={})
        assert "geheim" not in done.stdout + done.stderr + (self.state.read_text() if self.state.exists() else "")
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def told(self, name="hub"):
        return json.loads(self.state.read_text())["mirrors"][name]


def test_four_runs(place) -> None:
    looked = place.run("look")
    assert looked.returncode == 0 and "hub: 1 of 1: team/app:1.0 would be copied" in looked.stdout
    assert not place.state.exists() and not place.layout.exists()
    done = place.run()
    assert done.returncode == 0 and "team/app:1.0 was copied to team/app" in done.stdout
    told = place.told()
    assert told["changed"] and told["images"] == 1 and told["failed"] == 0 and told["copied_bytes"] > 0
    assert told["began"] <= told["ended"] == told["succeeded"] and told["stale_since"] == told["problem"] == ""
    assert "is unchanged" in place.run("look").stdout
    assert place.run().returncode == 0
    assert not place.told()["changed"]


def test_a_source_that_fails_leaves_what_is_there(place, upstream) -> None:
    place.run()
    before = place.told()
    upstream.server.answer("/v2/team/app/tags/list", reply(503))
    for _run in range(2):
        done = place.run()
        assert done.returncode == 1 and "wharf-registry: mirror hub: " in done.stderr
        told = place.told()
        assert "503" in told["problem"] and told["succeeded"] == told["stale_since"] == before["succeeded"]
    assert f"stale since {before['succeeded']}" in done.stdout
    assert (place.layout / "index.json").exists()
    (line,) = mirror_lines({"hub": told})
    assert f"stale since {before['succeeded']}" in line
    upstream.server.answer("/v2/team/app/tags/list", upstream)
    assert place.run().returncode == 0
    assert place.told()["stale_since"] == ""


def test_the_other_mirrors_run(place) -> None:
    other = {**place.mirror, "name": "gone", "images": [{"repository": "team/gone"}]}
    place.write(other, place.mirror)
    done = place.run()
    assert done.returncode == 1 and "mirror gone" in done.stderr and "team/gone" in done.stderr
    assert place.told("gone")["stale_since"] and not place.told()["problem"]


@pytest.mark.parametrize(
    "damage", ["", "{", "[]", '{"mirrors": []}', '{"mirrors": {"hub": 1}}', '{"mirrors": {"hub": {"x": 1}}}']
)
def test_a_damaged_state_is_written_anew(place, damage) -> None:
    place.state.write_text(damage)
    assert place.run().returncode == 0
    assert place.told()["succeeded"] and "x" not in place.told()


@pytest.mark.parametrize("settings", ["", "[]", "{}", '{"state": "/proc/none/state", "mirrors": [{"name": "a"}]}'])
def test_damaged_settings(place, settings) -> None:
    place.settings.write_text(settings)
    done = place.run()
    assert done.returncode == 1 and "can't be used" in done.stderr


@pytest.mark.parametrize("arguments", [[], ["run"], ["stop", "x"], ["run", "x", "y"]])
def test_usage(program, arguments) -> None:
    done = subprocess.run([sys.executable, program, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and done.stderr == "usage: mirror run|look SETTINGS\n"


GOOD = {"name": "hub", "source": {"registry": "docker.io"}, "images": [{"repository": "library/nginx"}]}
HERE = {"registry": "registry.test", "username": "ci", "password": "geheim"}


def test_good_rules_have_no_problem() -> None:
    assert mirror_problems([GOOD, {**GOOD, "name": "again", "max_wait": 5, "prune": True}], HERE) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": None}, "Entry 1 of mirror_sync has no name"),
        ({"name": "Hub"}, "has no name"),
        ({"name": "a b"}, "has no name"),
        ({"source": None}, "source is missing"),
        ({"source": {}}, "source names neither registry nor layout"),
        ({"source": {"registry": "a.test", "layout": "/b"}}, "source names both registry and layout"),
        ({"source": {"registry": "a.test", "username": "ci"}}, "only one of username and password"),
        ({"source": "docker.io"}, "source is not a mapping"),
        ({"images": None}, "images is missing"),
        ({"images": []}, "images is empty"),
        ({"images": {"repository": "a"}}, "images is not a list"),
        ({"images": ["nginx"]}, "images[1] is not a mapping"),
        ({"images": [{}]}, "images[1].repository is missing"),
        ({"images": [{"repository": "a", "tag": "b"}]}, "no option images[1].tag"),
        ({"images": [{"repository": "a", "tags": {"globs": [1.1]}}]}, "images[1].tags.globs[1] is not a text"),
        ({"images": [{"repository": "a", "tags": {"newest": True}}]}, "images[1].tags.newest is not a number"),
        ({"images": [{"repository": "a", "tags": {"versions": ["x y"]}}]}, "images[1]: "),
        ({"max_wait": -1}, "max_wait is -1"),
        ({"prune": "maybe"}, "prune is not true or false"),
        ({"speed": 1}, "there is no option speed"),
    ],
)
def test_wrong_rules(change, said) -> None:
    mirror = {name: value for name, value in {**GOOD, **change}.items() if value is not None}
    (problem,) = mirror_problems([mirror], HERE)
    assert said in problem and "geheim" not in problem


def test_names_are_given_once() -> None:
    assert "two entries of the name hub" in mirror_problems([GOOD, GOOD], HERE)[0]
    assert "not a list" in mirror_problems("hub", HERE)[0]


def test_only_what_is_imported_is_installed() -> None:
    placed = [one["path"] for one in library_files(SOURCE, "/p")]
    assert "/p/ansible_collections/wharf/registry/plugins/module_utils/_transfer/copy.py" in placed
    assert not [path for path in placed if "_diagnosis" in path or path.endswith("_modules/base.py")]

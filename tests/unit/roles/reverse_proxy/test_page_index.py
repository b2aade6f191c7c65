"""The program that keeps the data of the page up to date: by events it comes to the same as by a look at everything."""

from __future__ import annotations

import json
import random
import shutil
import sys
import types

import pytest
import trees
from paths import ROOT

sys.path.insert(0, str(ROOT / "roles" / "reverse_proxy" / "files" / "page_index"))

import keeper as keeper_module
from ansible_collections.wharf.registry.plugins.module_utils._common.log_tail import Tail
from events import Events
from keeper import Keeper

OCI = "application/vnd.oci.image.manifest.v1+json"
POLICIES = [
    {"index": "all", "pull": ["(?:.*)"], "delete": [".*"], "catalog": True},
    {"index": "some", "pull": ["(?:team/a|team/b/.*)"], "delete": [], "catalog": False},
]


def settings(top, state, **more):
    return types.SimpleNamespace(
        **{
            "storage": str(top),
            "log": str(state / "requests.log"),
            "data": str(state / "data"),
            "catalog": str(state / "catalog.db"),
            "registry": "registry.test",
            "policies": POLICIES,
            "retention": [{"repositories": ["*"], "tags": ["*"], "keep_newest": 2}],
            "keep_digests": [],
            "running": str(state / "running.json"),
            "gate": {"keys": [], "policy": {}, "waivers": [], "cache": ""},
            "signs": [],
            "fleet": {},
            **more,
        }
    )


class World:
    """A storage, what is done to it by clients, and the log of that."""

    def __init__(self, path, seed):
        self.store = trees.Store(path / "storage")
        self.random = random.Random(seed)  # noqa: S311 - the same in each run
        self.log = path / "requests.log"
        self.names = ["team/a", "team/b/c", "team/b", "other", "other/x.json"]

    def entry(self, repository, reference, call="tag", **more):
        told = {"method": "PUT", "status": 201, "user": "ci", "page": "", "time": 1764500000.5, **more}
        with self.log.open("a") as file:
            file.write(json.dumps({"call": call, "repository": repository, "reference": reference, **told}) + "\n")

    def image(self, repository, tag):
        layers = [self.store.layer(repository, f"layer {self.random.randrange(6)}".encode()) for _one in range(2)]
        config = {
            "architecture": "amd64",
            "os": "linux",
            "created": f"2026-10-{self.random.randrange(10, 30)}T01:02:03Z",
        }
        document = {
            "schemaVersion": 2,
            "mediaType": OCI,
            "config": {
                **self.store.layer(repository, json.dumps(config).encode()),
                "mediaType": "application/vnd.oci.image.config.v1+json",
            },
            "layers": layers,
        }
        digest = self.store.manifest(repository, document, tag)
        self.entry(repository, tag or digest, "tag" if tag else "write", digest=digest)
        return digest

    def index(self, repository, tag):
        children = [
            {"digest": self.image(repository, None), "mediaType": OCI, "platform": {"os": "linux", "architecture": one}}
            for one in ("amd64", "arm64")
        ]
        document = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": children}
        digest = self.store.manifest(repository, document, tag)
        self.entry(repository, tag, digest=digest)

    def remove(self, repository, tag):
        place = self.store.root / "repositories" / repository / "_manifests" / "tags" / tag
        if place.exists():
            shutil.rmtree(place)
            self.entry(repository, tag, "delete", method="DELETE", status=202)

    def remove_all(self, repository):
        place = self.store.root / "repositories" / repository
        for part in ("_manifests", "_layers"):
            shutil.rmtree(place / part, ignore_errors=True)
        self.entry(repository, "1", "delete", method="DELETE", status=202)

    def step(self):
        repository, tag = self.random.choice(self.names), str(self.random.randrange(5))
        action = self.random.choices((self.image, self.index, self.remove, self.remove_all), (6, 2, 3, 1))[0]
        action(*((repository,) if action == self.remove_all else (repository, tag)))


def documents(data):
    """All that browsers can get, without the times of writing; of an index, the rows as a page makes them."""
    found = {}
    for path in sorted(path for path in data.rglob("*.json") if path.is_file()):
        document = json.loads(path.read_text())
        document.pop("made", None)
        name = str(path.relative_to(data))
        if path.name == "index.json":
            base = json.loads((path.parent / document.pop("base")).read_text())
            rows = {row[0]: row for row in base["rows"]}
            for change in document.pop("changes"):
                if isinstance(change, dict):
                    rows.pop(change["gone"], None)
                else:
                    rows[change[0]] = change
            document["rows"] = {name: json.dumps([*row[1:5], *row[8:]]) for name, row in rows.items()}
            document["storage"] = None
        if not path.name.startswith("index-"):
            found[name] = without_people(document)
    return found


def without_people(document):
    """A look at everything does not know who has pushed, and when: files have the times of the test."""
    if isinstance(document, dict):
        return {
            name: without_people(value)
            for name, value in document.items()
            if name not in {"pushed", "pushed_by", "pulled"}
        }
    return sorted(map(without_people, document), key=json.dumps) if isinstance(document, list) else document


@pytest.mark.parametrize("seed", range(8))
def test_events_lead_to_what_a_look_at_everything_finds(tmp_path, seed, monkeypatch):
    monkeypatch.setattr(keeper_module, "_BETWEEN_INDEXES", 0)
    world = World(tmp_path, seed)
    (tmp_path / "requests.log").touch()
    (tmp_path / "data").mkdir()
    program = Keeper(settings(world.store.top, tmp_path))
    program.look_at_all()
    for _round in range(12):
        for _step in range(world.random.randrange(1, 4)):
            world.step()
        program.turn()
        if world.random.random() < 0.2:
            # Killed, and started again.
            program.close()
            program = Keeper(settings(world.store.top, tmp_path))
            program.turn()
    program._times["indexes"] = 0
    program.turn()
    program.close()
    other = tmp_path / "other"
    (other / "data").mkdir(parents=True)
    fresh = Keeper(settings(world.store.top, other))
    fresh.look_at_all()
    fresh.close()
    assert documents(tmp_path / "data") == documents(other / "data")
    found = documents(other / "data")
    rows, all_rows = (found[f"policies/{one}/index.json"]["rows"] for one in ("some", "all"))
    assert set(rows) <= {"team/a", "team/b/c"}
    # Whether another repository holds the same is for those who see all of them.
    for name, row in rows.items():
        _tags, _untagged, own, shared, *_more = json.loads(row)
        assert shared == 0 and own == sum(json.loads(all_rows[name])[2:4])


def test_a_repository_that_ends_the_program_is_passed_over(tmp_path, monkeypatch, capfd):
    world = World(tmp_path, 1)
    (tmp_path / "requests.log").touch()
    (tmp_path / "data").mkdir()
    for name in ("a", "b", "c"):
        world.image(name, "1")
    shown = Keeper._show

    def show(self, name, number):
        if name == "b":
            raise SystemExit
        shown(self, name, number)

    monkeypatch.setattr(Keeper, "_show", show)
    for _death in range(2):
        program = Keeper(settings(world.store.top, tmp_path))
        with pytest.raises(SystemExit):
            program.look_at_all()
        # As the end of a process does it.
        program._catalog._base.close()
    program = Keeper(settings(world.store.top, tmp_path))
    program.look_at_all()
    program.close()
    assert {"a", "c"} == {path.parent.name for path in (tmp_path / "data" / "repositories").rglob("_.json")}
    assert "'b' has ended this program 2 times" in capfd.readouterr().err


# --- the log ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [b"", b"x", b"[1]", b'"n"', b"\xff\xfe", b"{" * 100000, b'{"n": 1', b"1" * 200000, b'{"repository": "../x"}'],
)
def test_what_is_no_line_of_ours_is_passed_over(tmp_path, line):
    path = tmp_path / "requests.log"
    path.touch()
    log, events = Tail(str(path), None), Events()
    events.add_from(log)
    with path.open("ab") as file:
        file.write(line + b"\n")
        file.write(b'{"repository": "team/a", "reference": "1", "call": "tag", "method": "PUT", "status": 201}\n')
    events.add_from(log)
    assert list(events.changed) == ["team/a"]


@pytest.mark.parametrize(
    "told",
    [
        {"reference": "a/b"},
        {"reference": None},
        {"repository": ["x"]},
        {"repository": "UPPER"},
        {"repository": "x/../y"},
        {"status": "201"},
        {"method": "GET"},
        {"call": "upload"},
    ],
)
def test_what_is_no_push_changes_nothing(told):
    events = Events()
    right = {"repository": "team/a", "reference": "1", "call": "tag", "method": "PUT", "status": 201}
    events.add({**right, **told})
    assert not events.changed
    events.add(right)
    assert events.changed

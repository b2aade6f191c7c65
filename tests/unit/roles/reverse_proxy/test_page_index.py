"""The program that keeps the data of the page up to date: by events it comes to the same as by a look at everything."""

from __future__ import annotations

import json

import page_world
import pytest
from ansible_collections.wharf.registry.plugins.module_utils._common.log_tail import Tail
from page_world import World, documents, settings

Keeper, Events = page_world.keeper.Keeper, page_world.events.Events


@pytest.mark.parametrize("seed", range(8))
def test_events_lead_to_what_a_look_at_everything_finds(tmp_path, seed, monkeypatch):
    monkeypatch.setattr(page_world.keeper, "_BETWEEN_INDEXES", 0)
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

"""The page with images in a bucket: it shows the same as with a disk, also what came in through other hosts."""

from __future__ import annotations

import json
import random
import time

import memory_s3
import page_world
import pytest
from memory_s3 import MemoryS3, error_document
from misbehaving import reply
from page_world import World, documents, places, shared_events
from trees import V2

Keeper, Events, ALL = page_world.keeper.Keeper, page_world.events.Events, page_world.events.ALL
ROOT = "registry"
AWAY = reply(403, error_document("AccessDenied", "no"))


@pytest.fixture
def storage(server):
    storage = MemoryS3(server)
    storage.times = {}
    return storage


@pytest.fixture
def world(tmp_path, request):
    return World(tmp_path, getattr(request, "param", 1))


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch):
    monkeypatch.setattr(page_world.keeper, "_BETWEEN_INDEXES", 0)
    monkeypatch.setattr(page_world.keeper, "_AWAY_SECONDS", 0)
    # On a busy machine, what took its time rests, and a pull is told with the next change.
    monkeypatch.setattr(page_world.keeper, "_SHARE", 0)
    monkeypatch.setattr(places, "_SILENCE", 0)
    for name in ("_BETWEEN_RECORDS", "_BETWEEN_PULLS", "_BETWEEN_READS"):
        monkeypatch.setattr(shared_events, name, -1)


@pytest.fixture
def hosts(tmp_path, server, storage, world):
    """hosts(name, others) makes the Host of a name. The log of `here` is that of the world."""
    made = []

    def host(name, *others, **more):
        made.append(Host(tmp_path / name, server, name, others))
        if name == "here":
            made[-1].log = world.log
        made[-1].start(**more)
        return made[-1]

    yield host
    for one in made:
        one.keeper.close()


class Host:
    """A host with the program of its page."""

    def __init__(self, place, server, name, others):
        self.place, self.name, self.others = place, name, list(others)
        (place / "data").mkdir(parents=True)
        self.log = place / "requests.log"
        access = {**memory_s3.options(server), "root_directory": ROOT}
        (place / "s3.json").write_text(json.dumps(access))

    def start(self, **more):
        given = {"s3": str(self.place / "s3.json"), "host": self.name, "others": self.others, "log": str(self.log)}
        self.log.touch()
        self.keeper = Keeper(page_world.settings("", self.place, **{**given, **more}))

    def again(self):
        """Killed, and started again."""
        self.keeper.close()
        self.start()

    def turn(self):
        self.keeper._times["pulls"] = 0
        self.keeper._resting.clear()
        self.keeper.turn()

    @property
    def documents(self):
        return documents(self.place / "data")

    def people(self, repository):
        """{tag: (who has pushed it, when it was pulled)}."""
        path = self.place / "data" / "repositories" / repository / "_.json"
        found = json.loads(path.read_text())["tags"] if path.exists() else []
        return {tag["name"]: (tag["pushed_by"], tag["pulled"]) for tag in found}


def put(world, storage):
    """Has in the bucket what is on the disk of the world."""
    top = world.store.top
    files = {f"{ROOT}/{path.relative_to(top)}": path for path in world.store.root.rglob("*") if path.is_file()}
    for key in [key for key in storage.objects if f"/{V2}/" in f"/{key}" and key not in files]:
        del storage.objects[key]
    for key, path in files.items():
        content = path.read_bytes()
        if storage.objects.get(key, (None,))[0] != content:
            storage.write(key, content)


def step(world, storage, times=1):
    for _step in range(times):
        world.step()
    put(world, storage)


def push(world, storage, tag):
    world.image("team/a", tag)
    put(world, storage)


def on_disk(world, tmp_path):
    """The documents of a program that looks at the same on a disk."""
    state = tmp_path / "on-disk"
    (state / "data").mkdir(parents=True)
    (state / "requests.log").touch()
    program = Keeper(page_world.settings(world.store.top, state))
    program.look_at_all()
    program.close()
    return documents(state / "data")


@pytest.mark.parametrize("faults", [(), ("other_etags",)], ids=["etags are MD5", "etags are not"])
@pytest.mark.parametrize("world", range(4), indirect=True)
def test_it_shows_what_a_disk_has(world, storage, hosts, tmp_path, faults):
    storage.faults |= set(faults)
    storage.page = 9
    step(world, storage, 3)
    host = hosts("here")
    host.keeper.look_at_all()
    for _round in range(8):
        step(world, storage, world.random.randrange(1, 4))
        host.turn()
        if world.random.random() < 0.2:
            host.again()
    host.turn()
    assert host.documents == on_disk(world, tmp_path)


@pytest.mark.parametrize("world", range(6), indirect=True)
def test_what_comes_during_a_look_is_newer_than_the_list(world, storage, hosts, tmp_path, monkeypatch):
    monkeypatch.setattr(places.BucketPlace, "look_seconds", -1)
    # Lists of few and of many names, so that more and less was listed before it is looked at.
    storage.page = (7, 1000)[world.random.randrange(2)]
    step(world, storage, 12)
    host = hosts("here")
    looks = 0
    while looks < 3 or host.keeper._look is not None:
        if host.keeper._look is None:
            looks, host.keeper._times["look"] = looks + 1, None
        if world.random.random() < 0.6:
            step(world, storage)
        host.turn()
    host.turn()
    assert host.documents == on_disk(world, tmp_path)


@pytest.mark.parametrize("world", range(4), indirect=True)
def test_hosts_tell_each_other(world, storage, hosts):
    step(world, storage, 2)
    here, there = hosts("here", "there"), hosts("there", "here")
    for host in (here, there):
        host.keeper.look_at_all()
    for _round in range(8):
        step(world, storage, world.random.randrange(1, 4))
        repository, tag = world.random.choice(world.names), str(world.random.randrange(5))
        world.entry(repository, tag, "read", method="GET", status=200)
        here.turn()
        if world.random.random() < 0.3:
            there.again()
        # No look at all tells it.
        there.keeper._times["look"] = there.keeper._times["look"] or time.monotonic()
        there.turn()
    push(world, storage, "last")
    world.entry("team/a", "last", "read", method="GET", status=200)
    for host in (here, there, there):
        host.turn()
    assert there.documents == here.documents
    told = {name: here.people(name) for name in world.names}
    assert {name: there.people(name) for name in world.names} == told
    assert told["team/a"]["last"] == ("ci", 1764500000)


def test_a_host_tells_that_a_collection_has_run(world, storage, hosts, tmp_path):
    report = tmp_path / "report.json"
    step(world, storage, 6)
    here, there = hosts("here", "there", signs=[str(report)]), hosts("there", "here")
    for host in (here, there, here, there):
        host.keeper.look_at_all()
    before = there.documents
    # It removes what no request tells of.
    for key in [key for key in storage.objects if "/_manifests/" in key]:
        del storage.objects[key]
    here.turn()
    there.turn()
    assert there.documents == before
    report.write_text("{}")
    for host in (here, here, there, there):
        host.turn()
    assert there.documents != before
    assert there.documents["policies/all/index.json"]["rows"] == {}


def test_a_bucket_that_does_not_answer_changes_nothing(world, storage, hosts, tmp_path, capfd):
    step(world, storage, 6)
    host = hosts("here", "there")
    host.keeper.look_at_all()
    before = host.documents
    storage.instead[:] = [(method, "", AWAY) for method in ("GET", "HEAD", "PUT", "POST")]
    step(world, storage, 6)
    for _turn in range(3):
        host.turn()
    assert host.documents == before
    said = capfd.readouterr().err
    assert said.count("the images can't be read, and the page shows what they were") == 1
    assert said.count("what other hosts of the registry have changed is not known") == 1
    assert memory_s3.SECRET_KEY not in said
    storage.instead.clear()
    host.keeper.look_at_all()
    assert host.documents == on_disk(world, tmp_path)
    assert "can be read again" in capfd.readouterr().err


def test_one_object_that_can_not_be_read_keeps_no_other_from_being_shown(world, storage, hosts, tmp_path, capfd):
    host = hosts("here")
    host.keeper.look_at_all()
    digest = world.image("team/a", "1")
    world.image("other", "1")
    put(world, storage)
    storage.instead.append(("GET", f"blobs/sha256/.*{digest[7:]}/data", AWAY))
    host.turn()
    shown = host.documents
    assert "repositories/other/_.json" in shown
    assert "repositories/team/a/_.json" not in shown
    assert "'team/a' can't be read, and is tried again in 15 seconds" in capfd.readouterr().err
    storage.instead.clear()
    host.turn()
    assert host.documents == on_disk(world, tmp_path)
    # Who has pushed it was not forgotten.
    assert host.people("team/a") == {"1": ("ci", None)}


def test_a_signature_that_can_not_be_read_is_not_taken_for_none(world, storage, hosts):
    """What was worked out of a manifest is noted for good, and must not be what a storage has failed at."""
    host = hosts("here")
    digest = world.image("team/a", "1")
    world.image("team/a", f"{digest.replace(':', '-')}.sig")
    put(world, storage)
    host.keeper.look_at_all()
    noted = {one for one in notes(host) if "signatures" in one}
    assert len(noted) == 1
    other = world.image("team/a", "2")
    world.image("team/a", f"{other.replace(':', '-')}.sig")
    put(world, storage)
    # It is read once for its facts, and again for its signatures.
    asked = []

    def fail(request):
        asked.append(request.target)
        if sum(one.endswith(f"{other[7:]}/data") for one in asked) == 2:
            storage.instead.append(("GET", "/blobs/", AWAY))

    storage.hook = fail
    host.turn()
    storage.hook = None
    assert storage.instead
    assert {one for one in notes(host) if "signatures" in one} == noted
    storage.instead.clear()
    host.turn()
    assert len({one for one in notes(host) if "signatures" in one}) == 2


def notes(host):
    return [name for (name,) in host.keeper._catalog._base.execute("SELECT name FROM note")]


# --- records ----------------------------------------------------------------------------------------------------------


def records_of(storage):
    return sorted(key for key in storage.objects if shared_events.DIRECTORY in key)


def test_records_go_after_their_time_and_those_of_former_hosts_too(world, storage, hosts, monkeypatch):
    here = hosts("here", "there")
    here.keeper.look_at_all()
    push(world, storage, "0")
    here.turn()
    (first,) = records_of(storage)
    abandoned = f"{ROOT}/{shared_events.DIRECTORY}/{'0' * 16}/{'0' * 20}.json"
    storage.write(abandoned, b"{}")
    began = shared_events.now()
    monkeypatch.setattr(shared_events, "now", lambda: began + shared_events._KEPT + 5)
    here.again()
    push(world, storage, "1")
    here.turn()
    # What a former run has written is as old as this run.
    assert len(records_of(storage)) == 3
    monkeypatch.setattr(shared_events, "now", lambda: began + 2 * shared_events._KEPT + 9)
    storage.times[abandoned] -= shared_events._ABANDONED + 10
    push(world, storage, "2")
    here.turn()
    assert first not in records_of(storage)
    assert abandoned in records_of(storage)
    here.again()
    here.turn()
    assert abandoned not in records_of(storage)


def test_numbers_go_on_where_the_clock_was_set_back(world, storage, hosts, monkeypatch):
    here, there = hosts("here", "there"), hosts("there", "here")
    for host in (here, there):
        host.keeper.look_at_all()
    for ahead in (3600, 0, -3600):
        real = time.time_ns()
        monkeypatch.setattr(shared_events.time, "time_ns", lambda real=real, ahead=ahead: real + ahead * 10**9)
        push(world, storage, f"at{ahead}")
        here.turn()
        here.again()
        there.turn()
        assert there.documents == here.documents
    assert len(records_of(storage)) == 3
    assert records_of(storage) == sorted(records_of(storage), key=storage.times.get)
    # Also where all of them were removed meanwhile.
    for key in records_of(storage):
        del storage.objects[key]
    here.again()
    push(world, storage, "last")
    here.turn()
    there.turn()
    assert there.documents == here.documents
    assert there.people("team/a")["last"] == ("ci", None)


def test_a_host_that_was_away_for_long_looks_at_all(world, storage, hosts, monkeypatch):
    here, there = hosts("here", "there"), hosts("there", "here")
    for host in (here, there):
        host.keeper.look_at_all()
    step(world, storage, 3)
    here.turn()
    for key in records_of(storage):
        del storage.objects[key]
    there.turn()
    assert there.documents != here.documents
    began = shared_events.now()
    monkeypatch.setattr(shared_events, "now", lambda: began + shared_events._MISSED + 5)
    for _turn in range(2):
        there.turn()
    assert there.documents == here.documents


def test_without_the_right_to_write_records_the_rest_goes_on(world, storage, hosts, tmp_path, capfd):
    storage.instead.append(("PUT", shared_events.DIRECTORY, AWAY))
    here = hosts("here", "there")
    for _turn in range(3):
        step(world, storage)
        here.turn()
    here.keeper.look_at_all()
    assert here.documents == on_disk(world, tmp_path)
    assert capfd.readouterr().err.count("what other hosts of the registry have changed is not known") == 1


@pytest.mark.parametrize("seed", range(20))
def test_records_tell_all_events(seed, monkeypatch):
    monkeypatch.setattr(shared_events, "_MOST", 3)
    chance = random.Random(seed)  # noqa: S311 - the same in each run
    events = Events()
    for number in range(chance.randrange(9)):
        changed = {f"t{one}": f"user {one}" for one in range(chance.randrange(1, 8))}
        events.add_changed(f"team/{number}", ALL if chance.random() < 0.3 else changed)
    for number in range(chance.randrange(9)):
        events.add_pulled(f"team/{number}", "1.0", 1 + chance.randrange(10**9))
    look = chance.random() < 0.5
    told = [json.dumps(one) for one in shared_events.records(events, look=look)]
    again = Events()
    looks = [shared_events.add_record(one, again) for one in told]
    assert (again.changed, again.pulled, any(looks)) == (events.changed, events.pulled, look)
    assert bool(told) == bool(look or events.changed or events.pulled)
    assert all(len(one) < 400 for one in told)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff",
        b"[" * 100_000,
        b'{"changed": 1, "pulled": []}',
        b'{"changed": {"../x": null, "UPPER": {"1": "u"}}, "pulled": []}',
        b'{"changed": {"a": {"x/y": "u", "\\n": "u"}}, "pulled": []}',
        b'{"changed": {}, "pulled": [1, [], ["a", "1"], ["a", "1", "x"], ["a", [], 5], [{}, "1", 5]]}',
        b'{"changed": {}, "pulled": [["a", "1", -5], ["a", "1", 1e300]], "look": "true"}',
    ],
)
def test_what_is_no_record_tells_nothing(content):
    events = Events()
    assert shared_events.add_record(content, events) is False
    assert (dict(events.changed), events.pulled) == ({}, {})

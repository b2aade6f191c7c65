"""The collector at a bucket in memory: what goes, what stays, and that any doubt ends it before it removes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import types
import urllib.parse

import memory_s3
import programs
import pytest
from memory_s3 import MemoryS3, error_document
from misbehaving import reply
from trees import COLLECTOR, BucketStore, hashed

SECONDS = 60
HOURS = 3600
LOCK = "wharf-collection-lock/"
DELETES = r"\?delete="
# Runs the program that is its first argument, and says what memory that took at most, in KiB. The kernel's own count of
# a process begins with that of the one before.
MEASURED = """
import re, runpy, sys
sys.argv.pop(0)
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
finally:
    print(re.search("VmHWM:.*?([0-9]+)", open("/proc/self/status").read())[1])
"""


@pytest.fixture(scope="session")
def program(tmp_path_factory):
    """The collector with what it imports, as the role installs it."""
    return programs.install(COLLECTOR, tmp_path_factory.mktemp("program"))


@pytest.fixture
def storage(server):
    storage = MemoryS3(server)
    storage.times = {}
    return storage


@pytest.fixture
def store(storage):
    return BucketStore(storage)


@pytest.fixture
def hosts(program, server, storage, tmp_path):
    """Makes the Collector of another host, by its name."""

    def host(name, root=""):
        (tmp_path / name).mkdir()
        return Collector(program, server, tmp_path / name, root)

    return host


@pytest.fixture
def collect(hosts):
    """collect(**settings) runs one, and collect.start(…) only starts it."""
    return hosts("here")


class Collector:
    """What the unit of a host would start."""

    def __init__(self, program, server, place, root):
        self.program, self.place = program, place
        (self.place / "looked-at").mkdir()
        access = {**memory_s3.options(server), "root_directory": root}
        (self.place / "s3.json").write_text(json.dumps(access))

    def start(self, action="collect", interpreter=(sys.executable, "-B"), **settings):
        given = {
            "storage": "",
            "s3": str(self.place / "s3.json"),
            "hold_socket": f"{self.place}/hold.sock",
            "lock": f"{self.place}/lock",
            "report": f"{self.place}/report.json",
            "looked_at": f"{self.place}/looked-at",
            "grace_seconds": 0,
            "attempts": 1,
            "pause_seconds": 0,
            "drain_seconds": 1,
            "lock_seconds": 20,
            "quiet_command": ["true"],
            **settings,
        }
        (self.place / "settings.json").write_text(json.dumps(given))
        return subprocess.Popen(
            [*interpreter, self.program, action, f"{self.place}/settings.json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # Nothing but what is installed.
            env={"PATH": os.environ["PATH"]},
        )

    def finish(self, process):
        """(status, what was said)."""
        said = process.communicate(timeout=SECONDS)[0]
        assert memory_s3.SECRET_KEY not in said
        assert "Traceback" not in said, said
        return process.returncode, said

    def __call__(self, action="collect", **settings):
        return self.finish(self.start(action, **settings))

    @property
    def report(self):
        return json.loads((self.place / "report.json").read_text())


def images_of(store):
    """Two repositories, each with an image that a tag leads to and one that none does. All of it is a day old."""
    made = {}
    for repository in ("app", "team/other"):
        for tag in ("1.0", None):
            made[repository, tag] = store.image(repository, f"{repository} {tag}", tag)
    age(store.storage, 24 * HOURS)
    return made


def age(storage, seconds):
    """As if all had been written earlier."""
    storage.times = {key: written - seconds for key, written in storage.times.items()}


def of_registry(storage):
    return {key for key in storage.objects if LOCK not in key}


def wanted_keys(root=""):
    """The keys of a bucket with nothing but what tags lead to."""

    found = set()
    store = BucketStore(types.SimpleNamespace(write=lambda key, _content: found.add(key)), root)
    for repository in ("app", "team/other"):
        store.image(repository, f"{repository} 1.0", "1.0")
    return found


@pytest.mark.parametrize(("root", "fault"), [("", ""), ("of/all", "other_etags"), ("of", "order_of_files")])
def test_what_no_tag_leads_to_goes_and_all_else_stays(hosts, storage, root, fault):
    storage.faults, storage.page = {fault}, 3
    images_of(BucketStore(storage, root))
    before = set(storage.objects)
    collector = hosts("one", root)
    status, said = collector("look")
    assert status == 0, said
    assert said.startswith("To free "), said
    assert set(storage.objects) == before
    status, said = collector()
    assert status == 0, said
    assert of_registry(storage) == wanted_keys(root)
    assert collector.report["removed"] == {"tags": 0, "manifests": 2, "layers": 4, "blobs": 6, "repositories": 0}
    assert collector.report["bucket"]["objects"] == len(of_registry(storage))
    assert re.search(r"^Bucket images at http://\S+: \d+ objects, ", said, re.MULTILINE)
    # With ETags that tell the content, no link is read.
    links = {target for method, target in storage.requests if method == "GET" and target.endswith("/link")}
    assert bool(links) == (fault == "other_etags")
    # A second one has nothing to do.
    assert collector()[0] == 0
    assert collector.report["freed"] == 0


def test_indexes_referrers_and_other_digests_stay(store, storage, collect):
    child = store.image("app", "child")
    index = store.manifest("app", {"manifests": [{"digest": child}]}, "multi")
    config = store.layer("app", b"{}")
    signature = store.manifest("app", {"config": config, "subject": {"digest": index}})
    other = store.image("app", "by another digest", "sha512", "sha512")
    gone = store.manifest("app", {"config": config, "layers": [store.layer("app", b"gone")]}, "moved")
    store.manifest("app", {"config": config}, "moved")
    age(storage, 24 * HOURS)
    status, said = collect()
    assert status == 0, said
    for digest in (child, index, signature, other):
        assert store.key(store.data(digest)) in storage.objects
    assert not [key for key in storage.objects if gone.split(":")[1] in key]
    assert store.key(store.data(hashed(b"gone"))) not in storage.objects
    assert collect.report["removed"]["manifests"] == 1


@pytest.mark.parametrize(
    ("pattern", "status"),
    [
        # The second page.
        ("continuation-token.*repositories", 403),
        ("continuation-token.*blobs", 403),
        ("list-type=2.*repositories", 500),
        ("/data$", 403),
    ],
)
def test_a_request_that_fails_removes_nothing(store, storage, collect, pattern, status):
    images_of(store)
    storage.page = 5
    before = of_registry(storage)
    storage.instead = [("GET", pattern, reply(status, error_document("Fails", "It fails")))]
    code, said = collect()
    assert code == 1
    assert f"answers {status} Fails" in said
    assert of_registry(storage) == before
    storage.instead = []
    assert collect()[0] == 0
    assert of_registry(storage) == wanted_keys()


@pytest.mark.parametrize("body", ["<html>", "<ListBucketResult><Contents><Key>a</Key></Contents></ListBucketResult>"])
def test_a_list_that_can_not_be_read_removes_nothing(store, storage, collect, body):
    images_of(store)
    before = of_registry(storage)
    storage.instead = [("GET", "list-type=2.*docker", reply(200, body))]
    assert collect()[0] == 1
    assert of_registry(storage) == before


def test_what_passes_is_tried_again(store, storage, collect):
    """Each request but those for the lock fails once."""
    images_of(store)
    failed = set()

    def fails_once(request):
        kind = request.method, request.target.partition("continuation-token")[0]
        fails = LOCK not in request.target and kind not in failed
        failed.add(kind)
        later = reply(503, error_document("SlowDown", "Later"), Retry_After="0")
        storage.instead = [(request.method, ".", later)] if fails else []

    storage.hook = fails_once
    status, said = collect()
    assert status == 0, said
    assert of_registry(storage) == wanted_keys()
    assert len(failed) > 10


def test_links_that_stay_keep_all_blobs(store, storage, collect):
    """Some keys of an answer with the status 200 were not deleted."""
    made = images_of(store)
    storage.keeps = "/_layers/"
    blobs = {key for key in storage.objects if "/blobs/" in key}
    status, said = collect()
    assert status == 1
    assert "has not deleted 4 of 6 objects, such as docker/registry/v2/repositories/" in said
    assert "AccessDenied No" in said
    assert blobs <= set(storage.objects)
    assert made
    storage.keeps = "/blobs/"
    assert collect()[0] == 1
    assert blobs <= set(storage.objects)
    storage.keeps = ""
    assert collect()[0] == 0
    assert of_registry(storage) == wanted_keys()


def lists_of(storage, part="repositories"):
    """What was listed of the registry, by the ends of the prefixes."""
    lists = [target for method, target in storage.requests if method == "GET" and "list-type=2" in target]
    prefixes = [urllib.parse.parse_qs(target.partition("?")[2])["prefix"][0] for target in lists]
    return [prefix.partition(f"/{part}/")[2] for prefix in prefixes if f"/{part}/" in prefix]


def tag(store, repository, name, digest):
    """Has a tag point to a manifest."""
    store.write(f"repositories/{repository}/_manifests/tags/{name}/current/link", digest)
    store.write(f"repositories/{repository}/_manifests/tags/{name}/index/{digest.replace(':', '/')}/link", digest)


def record(collector, *begun, ended=()):
    """What a proxy writes down."""
    for name, lines in (("begun", begun), ("written", ended)):
        with (collector.place / "looked-at" / name).open("a") as stream:
            stream.writelines(f"{line}\n" for line in lines)


def at_request(storage, number, action, pattern="prefix=docker"):
    """Calls action() before the request of that number, of those with the pattern, is answered."""
    seen = []

    def hook(request):
        if re.search(pattern, request.target):
            seen.append(request.target)
            if len(seen) == number:
                action()

    storage.hook = hook


# The first look has two lists, of blobs and of all repositories.
AFTER_THE_FIRST_LOOK = {"number": 1, "pattern": r"^/images$"}


def test_a_tag_that_comes_meanwhile_keeps_its_image(store, storage, collect):
    """Of the repositories, that one alone is listed again, and read as far as it has changed."""
    made = images_of(store)
    digest = made["app", None]

    def push():
        tag(store, "app", "late", digest)
        record(collect, "app", ended=["app 201"])

    # To tell the time, after the first look.
    at_request(storage, action=push, **AFTER_THE_FIRST_LOOK)
    status, said = collect()
    assert status == 0, said
    assert store.key(store.data(digest)) in storage.objects
    assert collect.report["removed"]["manifests"] == 1
    assert (collect.report["warnings"], collect.report["refused"]) == ([], 0)
    # It may have come to the list before the removal, or to the one in the hold, or to both.
    again = lists_of(storage)
    assert again[0] == "" and set(again[1:]) == {"app/_"}
    assert lists_of(storage, "blobs") == [""]
    read = [target for method, target in storage.requests if method == "GET" and target.endswith("/data")]
    assert len(read) == len(set(read))


@pytest.mark.parametrize(
    "line", ["", "app 201 x", "app", "APP 201", "../app 201", "app/_layers 201", " 201", "app \u00e9"], ids=repr
)
def test_a_record_that_says_nothing_of_use_has_all_listed(store, storage, collect, line):
    """As that of a proxy with the configuration of a former version."""
    made = images_of(store)
    digest = made["app", None]

    def push():
        tag(store, "app", "late", digest)
        record(collect, ended=[line])

    at_request(storage, action=push, **AFTER_THE_FIRST_LOOK)
    status, said = collect()
    assert status == 0, said
    assert store.key(store.data(digest)) in storage.objects
    assert collect.report["removed"]["manifests"] == 1
    assert lists_of(storage) == ["", ""]
    assert "WARNING: all repositories were listed while writes were held, since this host has no whole record" in said


@pytest.mark.parametrize("lost", ["gone", "link", "directory"])
def test_a_record_that_is_lost_has_all_listed(store, storage, collect, lost):
    """As when a host is started again, whose /run is empty then."""
    made = images_of(store)
    digest = made["app", None]
    place = collect.place / "looked-at"

    def push():
        tag(store, "app", "late", digest)
        if lost == "directory":
            (place / "begun").mkdir()
        else:
            (place / "record").rename(collect.place / "other")
        if lost == "link":
            (place / "record").symlink_to("../other")

    at_request(storage, action=push, **AFTER_THE_FIRST_LOOK)
    status, said = collect()
    assert status == 0, said
    assert store.key(store.data(digest)) in storage.objects
    assert "has no whole record of what was written to" in said


# A LocalHost that is asked before and after a restart.
RESTARTED = """
import sys, types
sys.path.insert(0, sys.argv[1])
import holds
host = holds.LocalHost(types.SimpleNamespace(looked_at=sys.argv[2]))
since = host.begin_record()
told = host.written_to(since)
assert told == {"named": [], "unsure": [], "since": since}, told
holds._boot = lambda: "another"
assert host.written_to(since) is None
"""


def test_a_record_of_another_run_of_the_host_is_none(program, tmp_path):
    """Its file may be on a disk: what was written last may not be there after a power failure."""
    subprocess.run([sys.executable, "-B", "-c", RESTARTED, program, tmp_path], check=True, timeout=SECONDS)


def test_a_record_that_has_become_shorter_has_all_listed(store, storage, collect):
    made = images_of(store)
    digest = made["app", None]

    def lose():
        tag(store, "team/other", "late", made["team/other", None])
        (collect.place / "looked-at/begun").write_text("app\n")

    def push():
        record(collect, "app", "app", "app")
        # With the list of what was written to until then, the record has been read.
        at_request(storage, 1, lose, "app%2F_")

    at_request(storage, 1, push, "prefix=docker.*blobs")
    status, said = collect()
    assert status == 0, said
    assert store.key(store.data(made["team/other", None])) in storage.objects
    assert store.key(store.data(digest)) not in storage.objects
    assert "has no whole record of what was written to" in said


def test_what_was_written_before_the_first_look_is_not_listed_again(store, storage, collect):
    images_of(store)
    record(collect, "app", "team/other", ended=["app 201", "team/other 500", ""])
    status, said = collect()
    assert status == 0, said
    assert collect.report["warnings"] == []
    assert lists_of(storage) == [""]
    assert of_registry(storage) == wanted_keys()


def test_lists_in_the_hold_are_those_of_what_was_pushed(store, storage, collect):
    """However many repositories there are, with garbage and without."""
    counts = []
    for repositories in (3, 60):
        for number in range(repositories):
            for image in ("1.0", None):
                store.image(f"of-{repositories}/app-{number}", f"{repositories} {number} {image}", image)
        age(storage, 24 * HOURS)
        storage.requests.clear()
        held = collect.place / "hold"
        lists = []

        def hook(request, held=held, lists=lists):
            if held.exists() and request.method == "GET" and LOCK[:-1] not in request.target:
                lists.append(request.target)

        storage.hook = hook
        # While it is held, what has come through shortly before is in the record.
        push = f"[ ! -e {held} ] || echo of-{repositories}/app-1 >>{collect.place}/looked-at/begun"
        status, said = collect(quiet_command=["sh", "-c", push])
        assert status == 0, said
        assert collect.report["removed"]["manifests"] == repositories
        counts.append(lists)
    assert len(counts[0]) == len(counts[1]) == 1, counts
    assert "app-1%2F_" in counts[0][0]


def test_what_the_proxy_did_not_wait_for_is_listed_in_each_hold(store, storage, collect):
    """The registry may go on after an answer that came too late."""
    made = images_of(store)
    digest = made["app", None]
    at_request(storage, 1, lambda: record(collect, "app", ended=["app 504"]), "prefix=docker.*blobs")
    hold = collect.place / "hold"
    # It ends between the last list before the hold and the one in it, and no record says so.
    late = store.key("repositories/app/_manifests/tags/late/current/link")
    done = []

    def finish(request):
        hook(request)
        if hold.exists() and "app%2F_" in request.target and not done:
            done.append(request.target)
            tag(store, "app", "late", digest)

    hook, storage.hook = storage.hook, finish
    status, said = collect()
    assert status == 0, said
    assert done and late in storage.objects
    assert store.key(store.data(digest)) in storage.objects
    assert collect.report["removed"]["manifests"] == 1


def test_a_new_repository_that_takes_a_blob_keeps_it(store, storage, collect):
    """A mount, or an upload of what is there already, has a link and no new blob."""
    images_of(store)
    layer = hashed(b"layer of app None")

    def mount():
        store.write(store.link_of("new/deep", layer), layer)
        store.manifest("new/deep", {"layers": [{"digest": layer}]}, "1.0")
        record(collect, "new/deep", ended=["new/deep 201"])

    at_request(storage, action=mount, **AFTER_THE_FIRST_LOOK)
    status, said = collect()
    assert status == 0, said
    assert store.key(store.data(layer)) in storage.objects
    assert store.key(store.link_of("app", layer)) not in storage.objects
    assert store.key(store.link_of("new/deep", layer)) in storage.objects
    # Blobs are listed once, before there was the manifest.
    assert collect.report["bucket"]["objects"] == len(of_registry(storage)) - 1
    assert {one["name"] for one in collect.report["repositories"]} == {"app", "team/other", "new/deep"}


def test_what_becomes_odd_meanwhile_keeps_its_repository(store, storage, collect):
    made = images_of(store)

    def push():
        store.write("repositories/app/_manifests/tags/1.0/current/link", "sha256:none")
        record(collect, "app")

    at_request(storage, action=push, **AFTER_THE_FIRST_LOOK)
    status, said = collect()
    assert status == 1
    assert said.count("PROBLEM: app: ") == 1
    assert store.key(store.data(made["app", None])) in storage.objects
    assert store.key(store.data(made["team/other", None])) not in storage.objects


def test_without_a_moment_without_writes_all_is_listed(store, storage, collect):
    """What was under way when the record began is in none."""
    images_of(store)
    # Quiet only from the fourth question on: the first look has asked for less than that.
    count = collect.place / "asked"
    busy = f"echo >>{count}; [ $(wc -l <{count}) -gt 2 ] || exit 22"
    status, said = collect(quiet_command=["sh", "-c", busy], drain_seconds=0)
    assert status == 0, said
    assert lists_of(storage) == ["", ""]
    assert "since no moment without writes was found before the first look" in said
    assert of_registry(storage) == wanted_keys()


# --- the lock ---------------------------------------------------------------------------------------------------------


def test_a_lock_that_is_lost_ends_the_removal(store, storage, collect):
    images_of(store)
    deletions = []

    def hook(request):
        if re.search(DELETES, request.target):
            deletions.append(request.target)
            # Another one takes the lock after the first of two requests.
            last = max(key for key in storage.objects if LOCK in key)
            storage.write(f"{LOCK}{int(last[len(LOCK) :]) + 1:016d}", b'{"host": "other"}')

    storage.hook = hook
    status, said = collect()
    assert status == 1
    assert "another collection or a backup has taken the lock, and nothing more is removed" in said
    assert len(deletions) == 1
    assert {key for key in storage.objects if "/blobs/" in key} > {key for key in wanted_keys() if "/blobs/" in key}
    # The lock of the other one stands.
    assert b"other" in storage.objects[max(key for key in storage.objects if LOCK in key)][0]


def test_two_hosts_collect_one_after_the_other(hosts, storage, store):
    images_of(store)
    collectors = [hosts(name) for name in ("one", "two")]
    running = [one.start(grace_seconds=2) for one in collectors]
    results = [one.finish(process) for one, process in zip(collectors, running, strict=True)]
    assert [status for status, _said in results] == [0, 0], results
    assert of_registry(storage) == wanted_keys()
    assert sorted(one.report["removed"]["manifests"] for one in collectors) == [0, 2]
    # What it leaves in the bucket is one empty object.
    assert [len(storage.objects[key][0]) for key in storage.objects if LOCK in key] == [0]


def test_who_waits_for_long_says_for_whom(hosts, storage, store):
    images_of(store)
    first, second = hosts("one"), hosts("two")
    process = first.start(grace_seconds=30)
    wait_for(lambda: [key for key in storage.objects if LOCK in key])
    try:
        status, said = second(lock_seconds=1)
        assert status == 1
        assert "another collection or a backup, on " in said and "has held the lock in the bucket for 1 seconds" in said
    finally:
        process.terminate()
    status, said = first.finish(process)
    assert "told to stop" in said
    # Told to stop, it lets the lock go.
    assert second(lock_seconds=1)[0] == 0


def test_the_lock_of_a_killed_one_is_free_after_its_time(hosts, storage, store):
    images_of(store)
    first, second = hosts("one"), hosts("two")
    process = first.start(grace_seconds=30, lease_seconds=4)
    wait_for(lambda: [key for key in storage.objects if LOCK in key])
    process.send_signal(signal.SIGKILL)
    process.communicate()
    held = max(key for key in storage.objects if LOCK in key)
    status, said = second(lease_seconds=4)
    assert status == 0, said
    assert max(key for key in storage.objects if LOCK in key) > held
    assert of_registry(storage) == wanted_keys()


def test_a_lock_is_renewed(store, storage, collect):
    images_of(store)
    status, said = collect(grace_seconds=4, lease_seconds=3)
    assert status == 0, said
    assert of_registry(storage) == wanted_keys()


def test_where_conditions_mean_nothing_it_is_said(store, storage, collect):
    images_of(store)
    storage.faults = {"no_conditional"}
    status, said = collect()
    assert status == 0, said
    assert "WARNING: the storage does not keep to If-None-Match" in said
    assert of_registry(storage) == wanted_keys()


# --- times ------------------------------------------------------------------------------------------------------------


def test_ages_are_by_the_clock_of_the_storage(store, storage, collect):
    """By that of this host, a layer that was just pushed would be ten minutes old."""
    images_of(store)
    storage.ahead = -600
    layer = store.layer("app", b"a part of a push")["digest"]
    settings = {"push_seconds": 300, "upload_idle_seconds": 300, "lease_seconds": 30}
    status, said = collect(**settings)
    assert status == 0, said
    assert store.key(store.data(layer)) in storage.objects
    age(storage, 301)
    assert collect(**settings)[0] == 0
    assert of_registry(storage) == wanted_keys()


@pytest.mark.parametrize("ahead", [-600, 600])
def test_what_a_client_has_just_asked_for_stays(store, storage, collect, ahead):
    made = images_of(store)
    storage.ahead = ahead
    age(storage, -ahead)
    layer = hashed(b"layer of app None")
    look = f"touch {collect.place}/looked-at/{layer}"
    status, said = collect(quiet_command=["sh", "-c", look], grace_seconds=1)
    assert status == 0, said
    assert store.key(store.data(layer)) in storage.objects
    assert store.key(store.link_of("app", layer)) in storage.objects
    assert store.key(store.data(made["app", None])) not in storage.objects


def test_a_push_that_is_on_its_way_keeps_its_repository(store, storage, collect):
    """The parts of an upload are in no list, so that it may look idle for as long as it takes."""
    made = images_of(store)
    store.write("repositories/app/_uploads/1b4e/startedat", "2026-12-01T00:00:00Z")
    age(storage, HOURS)
    # It was pushed an hour ago as well.
    for key in storage.times:
        if "app/" in key or "/blobs/" in key:
            storage.times[key] = storage.times["docker/registry/v2/repositories/app/_uploads/1b4e/startedat"]
    assert collect()[0] == 0
    assert store.key(store.data(made["app", None])) in storage.objects
    assert store.key(store.data(made["team/other", None])) not in storage.objects
    age(storage, 6 * HOURS)
    assert collect()[0] == 0
    assert store.key(store.data(made["app", None])) not in storage.objects


# --- what is odd ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("repositories/app/_manifests/tags/1.0/current/link", "sha256:none"),
        ("repositories/app/_manifests/tags/-odd/current/link", hashed(b"")),
        ("repositories/app/_layers/sha256/none/link", hashed(b"")),
        ("repositories/app/_manifests/other/sha256/link", ""),
    ],
)
def test_what_is_odd_keeps_its_repository(store, storage, collect, path, content):
    made = images_of(store)
    store.write(path, content)
    status, said = collect()
    assert status == 1
    assert "PROBLEM: app: " in said
    assert store.key(store.data(made["app", None])) in storage.objects
    assert store.key(store.data(made["team/other", None])) not in storage.objects


def test_a_tagged_manifest_that_is_missing_keeps_its_repository(store, storage, collect):
    made = images_of(store)
    del storage.objects[store.key(store.data(made["app", "1.0"]))]
    status, said = collect()
    assert status == 1
    assert "is missing; nothing of this repository is removed" in said
    assert store.key(store.data(made["app", None])) in storage.objects


def test_directories_that_others_mark_are_no_problem(store, storage, collect):
    images_of(store)
    store.storage.write("docker/registry/v2/repositories/app/", b"")
    store.storage.write("docker/registry/v2/blobs/sha256/", b"")
    status, said = collect()
    assert status == 0 and "WARNING" not in said, said


def test_blobs_without_repositories_are_not_garbage(store, storage, collect):
    """As where a copy to the bucket is under way."""
    store.blob(b"{}")
    age(storage, HOURS)
    status, said = collect()
    assert status == 1
    assert "there are blobs, and no repositories" in said
    assert len(of_registry(storage)) == 1


def test_the_last_repository_goes_with_all_of_it(store, storage, collect):
    store.image("app", "gone")
    age(storage, 24 * HOURS)
    # Each request that deletes takes the whole time.
    storage.slow, storage.delay = DELETES, 0.3
    status, said = collect(removal_seconds=0.1)
    assert status == 0, said
    assert of_registry(storage) == set()
    assert collect.report["removed"] == {"tags": 0, "manifests": 1, "layers": 2, "blobs": 3, "repositories": 1}


def test_hosts_that_can_not_be_held_keep_all(store, storage, collect):
    images_of(store)
    before = of_registry(storage)
    # Nothing listens there.
    nowhere = {"second": {"address": "127.0.0.1", "port": 1}}
    for action in ("collect", "look"):
        status, said = collect(action, peers=nowhere, hostname="localhost")
        assert status == 1
        assert "second does not answer" in said
        assert "take it out of the group registry" in said
        assert "Traceback" not in said
    assert of_registry(storage) == before


def test_settings_that_are_wrong_are_told_without_what_is_in_them(collect):
    (collect.place / "s3.json").write_text(f'{{"secret_key": "{memory_s3.SECRET_KEY}"')
    status, said = collect()
    assert status == 1
    assert "s3.json can't be read" in said
    (collect.place / "s3.json").write_text(json.dumps({"endpoint": "here", "secret_key": memory_s3.SECRET_KEY}))
    assert collect()[0] == 1


def wait_for(reached):
    end = time.monotonic() + SECONDS
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.long
def test_a_large_bucket_takes_little_memory(store, storage, collect):
    """What one key more takes, from the difference of two buckets."""
    layers = [store.blob(f"{number}".encode()) for number in range(500)]
    peaks, keys, held = [], [], []
    for repositories in (20, 400):
        for repository in range(repositories):
            for digest in layers[repository % 10 :: 10]:
                store.write(store.link_of(f"team-{repository % 7}/app-{repository}", digest), digest)
            store.image(f"team-{repository % 7}/app-{repository}", f"{repository}", "1.0")
        age(storage, 24 * HOURS)
        keys.append(len(storage.objects))
        storage.requests.clear()
        status, said = collect.finish(collect.start(interpreter=[sys.executable, "-B", "-c", MEASURED]))
        assert status == 0, said
        peaks.append(int(said.split()[-1]) << 10)
        held.append(collect.report["held_seconds"])
    lists = [
        target
        for method, target in storage.requests
        if method == "GET" and "list-type" in target and "docker" in target
    ]
    reads = [target for method, target in storage.requests if method == "GET" and "list-type" not in target]
    print(keys, peaks, round((peaks[1] - peaks[0]) / (keys[1] - keys[0])), "bytes a key")
    print(held, "seconds held,", len(lists), "lists,", len(reads), "reads,", len(storage.requests), "requests")
    # Each key is listed twice at most, and each manifest read once.
    assert len(lists) < 2 * keys[1] / 1000 + 20
    assert len(reads) < 900
    assert keys[1] > 20000
    assert (peaks[1] - peaks[0]) / (keys[1] - keys[0]) < 1000

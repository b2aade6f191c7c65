"""The probe against a storage in memory: a right one passes, and each fault is named by the check that is for it."""

from __future__ import annotations

import json
import time

import pytest
from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError
from ansible_collections.wharf.registry.plugins.module_utils._storage import probe_access
from ansible_collections.wharf.registry.plugins.module_utils._storage.storage_probe import CHECKS, Probe
from memory_s3 import SECRET_KEY, error_document
from misbehaving import raw, reply

NAMES = [check.name for check in CHECKS]


@pytest.fixture
def probe(access):
    """The result of a probe that repeats little; options are those of the access, and of the Probe."""

    def run(*, reads_only=False, prefix="wharf-probe", repetitions=10, **options):
        result = Probe(access(**options), prefix, repetitions, reads_only=reads_only, attempts=1).run()
        assert SECRET_KEY not in json.dumps(result)
        return result

    return run


def by_status(result, status):
    return {check["name"]: check for check in result["checks"] if check["status"] == status}


def test_a_storage_that_is_right_is_suitable(probe, storage):
    storage.objects["other/object"] = b"content", "etag"
    result = probe()
    assert (result["verdict"], result["left"]) == ("suitable", [])
    assert [check["name"] for check in result["checks"]] == NAMES
    assert set(by_status(result, "passed")) == set(NAMES)
    assert result["sentence"].endswith("is suitable for a registry.")
    assert result["latency"]["seconds_per_image"] >= 0
    assert storage.objects == {"other/object": (b"content", "etag")}
    assert storage.uploads == {}


def test_nothing_else_is_touched(probe, storage):
    storage.objects["wharf-probe/other"] = b"content", "etag"
    prefix = probe()["prefix"]
    assert list(storage.objects) == ["wharf-probe/other"]
    written = [target for method, target in storage.requests if method in ("PUT", "DELETE") and "?" not in target]
    assert written
    assert all(target.startswith(f"/images/{prefix}") for target in written)


@pytest.mark.parametrize(
    ("fault", "checks", "says"),
    [
        ("lists_late", ["list_after_write"], "of 10 times a list lacked an object"),
        ("reads_late", ["read_after_write"], "a new object could not be read at once"),
        ("stale_reads", ["overwrite"], "of 10 times an object that was overwritten had its former content"),
        ("reads_deleted", ["delete"], "of 10 times an object that was deleted could still be read"),
        ("lists_deleted", ["delete"], "was still listed"),
        ("no_delete_many", ["delete_many"], "501 NotImplemented"),
        ("deletes_some", ["delete_many"], "are there"),
        ("no_ranges", ["ranges"], "sends the whole object"),
        ("copy_lost", ["copy"], "A copy is said to be made, and is not there"),
        ("copy_succeeds", ["failed_copy"], "answered with 200 and success"),
        ("copy_error_200", ["failed_copy"], "answered with 200 in place of 404"),
        ("drops_alike", ["tags"], "its list lacks 1.0"),
        ("ignores_start_after", ["start_after"], "as what comes after"),
        ("pages_drop", ["pages"], "lacks"),
        ("pages_repeat", ["pages"], "twice"),
        ("pages_end", ["pages"], "lacks"),
        ("pages_lead_nowhere", ["pages"], "says that there is more, and not where"),
        ("uploads_hidden", ["parts_resume"], "is not listed (ListMultipartUploads)"),
        ("parts_incomplete", ["parts_resume"], "lacks part 1 (ListParts)"),
        ("loses_parts", ["parts_resume", "parts_order", "parts_copy"], "parts are lost"),
        ("order_of_arrival", ["parts_order"], "has other bytes"),
        ("completes_all", ["parts_missing"], "completed with success"),
        ("abort_does_nothing", ["parts_abort"], "is still listed"),
        ("part_copy_whole", ["parts_copy"], "parts"),
        ("part_copy_succeeds", ["parts_failed_copy"], "answered with 200 and success"),
    ],
)
def test_a_fault_makes_it_unsuitable_and_is_named(probe, storage, fault, checks, says):
    storage.faults.add(fault)
    result = probe()
    failed = by_status(result, "failed")
    assert result["verdict"] == "unsuitable"
    assert set(checks) <= set(failed)
    # The first is the one that the sentence is about.
    first = next(iter(failed.values()))
    assert first["name"] == checks[0]
    assert says in first["seen"]
    assert all(first["seen"].rstrip(".") in result["sentence"] and first[part] for part in ("seen", "breaks", "cure"))
    # What can't be read at once disturbs others, too.
    assert len(failed) <= len(checks) + 1 or fault == "reads_late"


@pytest.mark.parametrize(
    ("fault", "check", "says"),
    [
        ("no_conditional", "conditional", "has replaced an object"),
        ("drops_object_below", "object_and_directory", "is lost without an error"),
        ("keeps_directories", "empty_directories", "a directory without an object was listed"),
        ("order_of_files", "order", "in place of a-b"),
    ],
)
def test_what_a_registry_can_live_with_is_a_warning(probe, storage, fault, check, says):
    storage.faults.add(fault)
    result = probe()
    assert result["verdict"] == "suitable"
    assert set(by_status(result, "warning")) == {check}
    assert says in by_status(result, "warning")[check]["seen"]
    assert "with a warning" in result["sentence"]


def test_a_storage_that_refuses_names_below_an_object_is_suitable(probe, storage):
    storage.faults.add("refuses_below")
    result = probe()
    assert set(by_status(result, "passed")) == set(NAMES)


def test_two_winners_of_a_race_are_seen(probe, storage):
    """A storage that looks, and then writes."""
    storage.gap = 0.05
    seen = by_status(probe(), "warning")["conditional"]
    assert "were told that they won" in seen["seen"]
    assert "Needed only with several registry hosts" in seen["breaks"]


def test_a_public_bucket_is_a_warning(probe, storage):
    storage.public = True
    result = probe()
    assert result["verdict"] == "suitable"
    assert "without a login" in by_status(result, "warning")["privacy"]["seen"]


def test_a_slow_storage_is_a_warning(probe, storage, monkeypatch):
    monkeypatch.setattr(probe_access, "SLOW", 20)
    storage.slow, storage.delay = "latency|list-type", 0.025
    result = probe(repetitions=1)
    seen = by_status(result, "warning")["latency"]
    assert "A small image takes about 63 of them in a row" in seen["seen"]
    assert result["latency"]["seconds_per_image"] > 1.5
    assert result["verdict"] == "suitable"


@pytest.mark.parametrize("ahead", [-120, 120])
def test_a_clock_that_is_minutes_off_is_a_warning(probe, storage, ahead):
    storage.ahead = ahead
    result = probe(repetitions=1)
    seen = by_status(result, "warning")["clock"]["seen"]
    assert ("behind" if ahead > 0 else "ahead of") in seen
    assert result["verdict"] == "suitable"


@pytest.mark.parametrize("ahead", [-3600, 3600])
def test_a_clock_that_is_refused_is_said_by_both_checks(probe, storage, ahead):
    storage.ahead = ahead
    result = probe()
    assert result["verdict"] == "unknown"
    assert [(check["name"], check["status"]) for check in result["checks"]] == [
        ("access", "failed"),
        ("clock", "failed"),
    ]
    assert "RequestTimeTooSkewed" in result["sentence"]
    assert storage.objects == {}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"secret_key": "wrong"}, "SignatureDoesNotMatch"),
        ({"access_key": "wrong"}, "InvalidAccessKeyId"),
        ({"bucket": "absent"}, "NoSuchBucket"),
        ({"endpoint": "http://127.0.0.1:1"}, "refused the connection"),
    ],
)
def test_without_access_nothing_is_known(probe, storage, options, says):
    result = probe(**options)
    assert result["verdict"] == "unknown"
    assert says in result["sentence"]
    assert [check["name"] for check in result["checks"]] == ["access", "clock"]


@pytest.mark.parametrize(
    ("asked", "answer", "seen"),
    [
        (("PUT", r"partNumber="), raw(b""), ("parts_resume", "closed the connection without an answer")),
        (
            ("GET", r"list-type=.*list%2F"),
            reply(502, "<html>Bad gateway</html>"),
            ("list_after_write", "502 with a page of HTML"),
        ),
        (("GET", r"list-type=.*list%2F"), reply(200, "<html>Welcome</html>"), ("list_after_write", "answers html")),
        (
            ("POST", r"uploads="),
            reply(501, error_document("NotImplemented", "no parts")),
            ("parts_resume", "501 NotImplemented (no parts)"),
        ),
    ],
)
def test_answers_that_are_none(probe, storage, asked, answer, seen):
    storage.instead = [(*asked, answer)]
    result = probe(repetitions=2)
    check, says = seen
    assert result["verdict"] == "unsuitable"
    assert says in by_status(result, "failed")[check]["seen"]
    assert storage.objects == {}


# --- what stays -------------------------------------------------------------------------------------------------------


def test_what_can_not_be_removed_is_said(probe, storage):
    storage.faults.add("abort_does_nothing")
    result = probe()
    assert any("the upload of" in left and "is still there" in left for left in result["left"])
    assert "could not remove all" in result["sentence"]


def test_objects_that_can_not_be_removed_are_said(probe, storage):
    refused = reply(403, error_document("AccessDenied", "no"))
    storage.instead = [("DELETE", ".", refused), ("POST", "delete=", refused)]
    result = probe(repetitions=2)
    assert result["verdict"] == "unsuitable"
    assert 20 < len(result["left"]) < 23
    assert "AccessDenied" in result["left"][0]


def test_without_a_request_for_many_all_is_removed(probe, storage):
    storage.faults.add("no_delete_many")
    assert probe()["left"] == []
    assert storage.objects == {}


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, ZeroDivisionError])
def test_an_interrupt_leaves_nothing(access, storage, kind):
    probe = Probe(access(), repetitions=2, attempts=1)

    def interrupt(room):
        room.begin("begun")
        room.put("written", b"x")
        raise kind

    probe._checks = (*probe._checks[:4], probe._checks[4]._replace(run=interrupt))
    with pytest.raises(kind):
        probe.run()
    assert storage.objects == {}
    assert storage.uploads == {}
    assert len(probe.result["checks"]) == 4


def test_a_storage_that_goes_away_is_not_waited_for(probe, server, storage):
    """Each of the checks and of the removals would wait as long as the first."""

    def hang(request, connection):
        storage.instead = [(method, ".", hang) for method in ("GET", "HEAD", "PUT", "POST", "DELETE")]
        time.sleep(1.2)

    storage.instead = [("GET", "read/1$", hang)]
    began = time.monotonic()
    result = probe(timeout=1)
    assert time.monotonic() - began < 8
    assert result["verdict"] == "unsuitable"
    assert "did not answer within 1 seconds" in result["sentence"]
    assert any(result["prefix"] in left for left in result["left"])


def test_a_storage_that_goes_away_in_a_check_that_only_warns_is_not_suitable(probe, storage):
    gone = [(method, ".", raw(b"")) for method in ("GET", "HEAD", "PUT", "POST", "DELETE")]

    def end(request, connection):
        storage.instead = gone

    storage.instead = [("PUT", "conditional", end)]
    result = probe(repetitions=2)
    assert (result["verdict"], result["checks"][-1]["name"]) == ("unsuitable", "conditional")


# --- without writing --------------------------------------------------------------------------------------------------


def test_where_nothing_may_be_written_nothing_is(probe, storage):
    result = probe(reads_only=True)
    assert result["verdict"] == "unknown"
    assert [check["name"] for check in result["checks"]] == ["access", "clock", "latency"]
    assert {method for method, _target in storage.requests} <= {"GET", "HEAD"}
    assert set(result["latency"]) == {"head", "list", "seconds_per_image"}


@pytest.mark.parametrize("prefix", ["", "/", "a//b", "a b", "../a\n", "a" * 201])
def test_a_prefix_that_can_t_be_meant(probe, prefix):
    with pytest.raises(InputError, match="prefix is"):
        probe(prefix=prefix)


def test_the_prefix_is_that_of_the_user(probe, storage):
    assert probe(prefix="/probes/2026/", repetitions=1)["prefix"].startswith("probes/2026/")


def test_each_check_says_what_would_break():
    assert len(set(NAMES)) == len(NAMES)
    assert all(check.breaks for check in CHECKS)
    assert all(check.cure for check in CHECKS[1:])

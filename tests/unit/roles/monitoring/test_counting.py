"""What the program counts from the log, by its own answers."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from metrics import PUSH, line, samples


def test_a_pull_is_counted_in_all_of_its_series(metrics):
    metrics.write(line())
    metrics.wait("wharf_pulls_total", 1, repository="apps/api")
    found = metrics.samples()
    for name, labels, value in [
        ("wharf_requests_total", {"action": "pull", "status": "200", "user_class": "push"}, 1),
        ("wharf_received_bytes_total", {"action": "pull"}, 100),
        ("wharf_sent_bytes_total", {"action": "pull"}, 1000),
        ("wharf_request_duration_seconds_bucket", {"action": "pull", "le": "0.005"}, 1),
        ("wharf_request_duration_seconds_count", {"action": "pull"}, 1),
        ("wharf_request_duration_seconds_sum", {"action": "pull"}, 0.004),
        ("wharf_repository_sent_bytes_total", {"repository": "apps/api"}, 1000),
        ("wharf_served_total", {"served": "registry"}, 1),
        ("wharf_password_checks_total", {"result": "hit"}, 1),
        ("wharf_log_lines_total", {"result": "counted"}, 1),
        ("wharf_logins_refused_total", {}, 0),
    ]:
        assert found[(name, *labels.items())] == value, name


def test_what_is_no_pull_or_push_of_an_image_is_none(metrics):
    metrics.write(
        line(page="page"),
        line(method="HEAD", call="look"),
        line(call="blob", reference="sha256:00"),
        line(reference=""),
        line(status=404),
        line(status=206),
        line(**PUSH, repository="apps/web"),
        line(**{**PUSH, "status": 403}, repository="apps/web"),
        line(**{**PUSH, "call": "upload"}, repository="apps/web"),
    )
    metrics.wait("wharf_log_lines_total", 9, result="counted")
    assert metrics.value("wharf_pulls_total", repository="apps/api") is None
    assert metrics.value("wharf_pushes_total", repository="apps/web") == 1


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "push"),
        ({"user": "runtime"}, "pull"),
        ({"user": "team"}, "rules"),
        ({"user": "admin"}, "admin"),
        ({"user": "gone"}, "other"),
        ({"user": "", "login": "none"}, "anonymous"),
        ({"user": "", "login": "none", "status": 401}, "none"),
        ({"user": "", "login": "refused", "status": 401}, "none"),
    ],
)
def test_the_class_of_a_user(classes, changes, expected):
    assert classes(**changes) == expected


@pytest.fixture
def classes(traffic):
    def of(**changes):
        counted = traffic(200, {"ci": "push", "runtime": "pull", "team": "rules", "admin": "admin"})
        counted.add(line(**changes).encode())
        return next(values[2] for values, _amount in counted.requests.kept())

    return of


@pytest.fixture
def traffic(program, monkeypatch):
    """The class that counts, as it was installed."""
    monkeypatch.syspath_prepend(str(program))
    from wharf_metrics.traffic import Traffic

    return Traffic


def test_refused_and_throttled_logins_are_told_apart(metrics):
    refused = {"user": "", "login": "refused", "call": "base", "action": "base", "repository": ""}
    metrics.write(
        *[line(**refused, status=401)] * 3,
        line(**refused, status=429),
        line(**{**refused, "login": "none"}, status=401),
    )
    metrics.wait("wharf_log_lines_total", 5, result="counted")
    assert metrics.value("wharf_logins_refused_total") == 3
    assert metrics.value("wharf_throttled_total") == 1


def test_more_repositories_than_labels_are_counted_as_other(traffic):
    counted = traffic(2, {})
    for name in ("a", "b", "c", "a", "d", "other"):
        counted.add(line(repository=name).encode())
    assert dict(map(_pair, counted.pulls.kept())) == {"a": 2, "b": 1, "other": 3}
    assert counted.unlabelled.kept() == [[[], 3]]
    # It keeps its label over a restart, also where another one would come first then.
    again = traffic(2, {})
    again.restore(json.loads(json.dumps(counted.kept())))
    for name in ("d", "a", "b"):
        again.add(line(repository=name).encode())
    assert dict(map(_pair, again.pulls.kept())) == {"a": 3, "b": 2, "other": 4}


def _pair(kept):
    values, amount = kept
    return values[0], amount


HOSTILE = [
    b"\n",
    b"not JSON\n",
    b"[]\n",
    b"null\n",
    b"{}\n",
    b"[" * 100_000 + b"\n",
    b"\xff\xfe\x00\n",
    line(status="200").encode(),
    line(status=True).encode(),
    line(status=-1).encode(),
    line(status=10**6).encode(),
    line(seconds=1e400).encode(),
    line(seconds=-1).encode(),
    line(seconds=None).encode(),
    line(bytes_out=1.5).encode(),
    line(bytes_in=10**40).encode(),
    line(bytes_in=float("nan")).encode(),
    line(user=["ci"]).encode(),
    line(repository=None).encode(),
    line(action={}).encode(),
    b'{"status":' + b"9" * 5000 + b"}\n",
    b"x" * (3 << 20) + b"\n",
]


def test_lines_that_are_none_are_counted_and_passed_over(metrics):
    for one in HOSTILE:
        metrics.write(one, line())
    metrics.wait("wharf_log_lines_total", len(HOSTILE), result="counted")
    assert metrics.value("wharf_log_lines_total", result="malformed") == len(HOSTILE)
    assert metrics.value("wharf_pulls_total", repository="apps/api") == len(HOSTILE)
    assert metrics.said() == ""


NAMES = ["A", "a" * 10_000, "a//b", "../x", 'a"} 1\nx{y="', "a\\b", "\ud800", "<script>", "a b", "ä", "a/", "-a", "a\n"]


def test_names_that_no_registry_takes_have_no_label(metrics):
    metrics.write(*(line(repository=name) for name in NAMES), *(line(action=name) for name in NAMES[:1]))
    metrics.wait("wharf_pulls_total", len(NAMES), repository="other")
    text = metrics.text()
    assert {key[1][1] for key in samples(text) if key[0] == "wharf_pulls_total"} == {"other", "apps/api"}
    assert max(map(len, text.splitlines())) < 400
    assert metrics.value("wharf_requests_total", action="other", status="200", user_class="push") == 1


def test_actions_without_end_do_not_become_series(traffic):
    counted = traffic(200, {})
    for number in range(1000):
        # nginx has few; a log that others write to may have any.
        counted.add(line(action="".join(chr(97 + int(digit)) for digit in str(number)) + "x").encode())
    assert len(counted.requests.kept()) == 65


@pytest.mark.parametrize("times", [15, pytest.param(111, marks=pytest.mark.long)])
def test_many_lines_need_no_more_memory_than_a_few(metrics, times):
    """With 300 repositories, of which 200 have labels, and a rotation."""

    def resident():
        return int(next(row for row in Path(f"/proc/{metrics.process.pid}/status").open() if "VmRSS" in row).split()[1])

    rows = "".join(line(repository=f"apps/{number}") for number in range(300))
    metrics.write(rows * 30)
    metrics.wait("wharf_log_lines_total", 9000, result="counted")
    before, began = resident(), time.monotonic()
    many, done = rows * times, 9000
    for number in range(30):
        metrics.write(many)
        done += 300 * times
        if number == 15:
            metrics.rotate()
    while metrics.value("wharf_log_lines_total", result="counted") < done:
        assert time.monotonic() - began < 120
        time.sleep(0.2)
    assert done == 9000 + 30 * 300 * times
    assert metrics.value("wharf_pulls_total", repository="apps/7") == done / 300
    assert metrics.value("wharf_pulls_total", repository="other") == done / 3
    grown = resident() - before
    print(f"{done} lines in {time.monotonic() - began:.1f} s, {before} kB before, {grown} kB more")
    assert grown < 8 << 10, f"{grown} kB more than {before} kB"


def test_what_is_not_the_end_of_a_line_waits(metrics):
    text = line().encode()
    metrics.write(text[:50])
    time.sleep(0.6)
    assert metrics.value("wharf_log_lines_total", result="counted") == 0
    metrics.write(text[50:], text[:-1])
    metrics.wait("wharf_log_lines_total", 1, result="counted")
    assert metrics.value("wharf_log_unread_bytes") == len(text) - 1
    assert metrics.value("wharf_log_lines_total", result="malformed") == 0

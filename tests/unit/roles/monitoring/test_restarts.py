"""Each line once: over rotations, restarts and kills."""

from __future__ import annotations

import json
import random
import threading
import time
from pathlib import Path

from ansible_collections.wharf.registry.plugins.module_utils._common.log_tail import Tail
from metrics import Metrics, line, running


def test_a_rotation_loses_nothing_and_late_lines_count(metrics):
    metrics.write(line())
    metrics.rotate()
    metrics.write(line(), line())
    metrics.wait("wharf_log_lines_total", 3, result="counted")
    # A worker that has not opened the new one yet.
    with Path(f"{metrics.log}.1").open("a") as stream:
        stream.write(line())
    metrics.wait("wharf_log_lines_total", 4, result="counted")
    assert metrics.value("wharf_log_gaps_total") == 0


def test_two_rotations_between_two_looks(metrics):
    for _turn in range(5):
        metrics.write(line())
        metrics.rotate()
        metrics.write(line())
        metrics.rotate()
        metrics.write(line())
        time.sleep(0.6)
    # What was current, what came between, and what is current: the program has them open before they go.
    metrics.wait("wharf_log_lines_total", 15, result="counted")


def test_a_stop_keeps_all_and_counts_what_came_meanwhile(metrics):
    metrics.write(line())
    metrics.wait("wharf_log_lines_total", 1, result="counted")
    assert metrics.stop() == 0
    metrics.write(line())
    metrics.rotate()
    metrics.write(line())
    metrics.start()
    # At the first answer: a counter never goes back.
    assert metrics.value("wharf_log_lines_total", result="counted") == 3
    assert metrics.value("wharf_log_gaps_total") == 0
    assert metrics.said() == ""


def test_a_renamed_file_that_was_done_is_not_counted_again(metrics):
    metrics.write(line())
    metrics.rotate()
    metrics.write(line())
    metrics.wait("wharf_log_lines_total", 2, result="counted")
    for _turn in range(2):
        metrics.stop()
        metrics.start()
        assert metrics.value("wharf_log_lines_total", result="counted") == 2
    # Known no more once nothing has come for a while.
    state = json.loads(metrics.state.read_text())
    state["positions"] = state["positions"][-1:]
    metrics.stop()
    metrics.state.write_text(json.dumps(state))
    metrics.start()
    assert metrics.value("wharf_log_lines_total", result="counted") == 2


def test_a_log_that_was_rotated_twice_is_a_gap_and_what_is_there_counts(metrics):
    metrics.write(line())
    metrics.wait("wharf_log_lines_total", 1, result="counted")
    metrics.stop()
    metrics.write(line())
    metrics.rotate()
    metrics.write(line(seconds=1))
    metrics.rotate()
    # The new file may have the inode of the first one.
    metrics.write(line(seconds=2), line(seconds=3))
    metrics.start()
    assert metrics.value("wharf_log_lines_total", result="counted") == 4
    assert metrics.value("wharf_log_gaps_total") == 1


def test_another_file_with_the_inode_of_a_known_one_is_read_from_its_beginning(metrics):
    metrics.write(line())
    metrics.wait("wharf_log_lines_total", 1, result="counted")
    metrics.stop()
    # As after two rotations, on a file system that gives the inode away at once.
    metrics.log.write_text(line(seconds=2) * 3)
    metrics.start()
    assert metrics.value("wharf_log_lines_total", result="counted") == 4
    assert metrics.value("wharf_log_gaps_total") == 1


def test_a_log_that_is_cut_is_read_from_its_beginning(metrics):
    metrics.write(line() * 5)
    metrics.wait("wharf_log_lines_total", 5, result="counted")
    metrics.log.write_text(line())
    metrics.wait("wharf_log_lines_total", 6, result="counted")
    assert metrics.value("wharf_log_gaps_total") == 1


def test_a_log_that_grows_faster_than_it_is_read_ends_each_look(tmp_path):
    """Otherwise nothing would be served, and nothing kept, as long as it grows."""
    log = tmp_path / "requests.log"
    log.write_text("one\n")
    tail = Tail(str(log), [])
    for look in range(3):
        for turn, lines in enumerate(tail.chunks()):
            assert turn < 2, "it does not end"
            assert lines[0] == (b"one" if look == turn == 0 else b"more")
            with log.open("a") as stream:
                stream.write("more\n" * 10)
    # With a rotation in between, what was there is read: the rest of the renamed file, and the new one later.
    assert list(tail.chunks()) == [[b"more"] * 10]
    log.rename(f"{log}.1")
    log.write_text("new\n")
    assert list(tail.chunks()) == [[b"new"]]
    tail.close()


def test_kills_lose_nothing_count_nothing_twice_and_never_go_back(metrics):
    """Lines come and the log rotates, while the program is killed at any moment, and somebody reads."""
    written, renamed, over, last = 0, 0, threading.Event(), 0
    # nginx rotates much more seldom than the program is restarted, and not before it has counted the file before.
    may_rotate = threading.Event()
    chosen = random.Random(7)  # noqa: S311 - the same each time

    def write():
        nonlocal written, renamed
        while not over.is_set():
            time.sleep(0.01)
            # However slow the machine is, it is not to be far behind in the end.
            if written - last > 20_000:
                continue
            number = chosen.randint(1, 300)
            metrics.write(line() * number)
            written += number
            if may_rotate.is_set() and chosen.random() < 0.05:
                metrics.rotate()
                renamed = written
                may_rotate.clear()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _kill in range(8):
            time.sleep(chosen.random())
            now = metrics.value("wharf_log_lines_total", result="counted")
            assert now >= last
            metrics.kill()
            metrics.start()
            last = metrics.value("wharf_log_lines_total", result="counted")
            assert last >= now
            if last >= renamed:
                may_rotate.set()
    finally:
        over.set()
        writer.join()
    metrics.wait("wharf_log_lines_total", written, result="counted")
    assert metrics.value("wharf_pulls_total", repository="apps/api") == written
    assert metrics.value("wharf_sent_bytes_total", action="pull") == 1000 * written


def test_a_damaged_state_is_put_aside_and_counting_begins_at_the_end_of_the_log(metrics):
    metrics.write(line() * 3)
    metrics.wait("wharf_log_lines_total", 3, result="counted")
    metrics.stop()
    whole = json.loads(metrics.state.read_text())
    positions = [{**whole["positions"][0], "offset": "much"}]
    for number, damaged in enumerate(
        [
            '{"format"',
            "",
            json.dumps({**whole, "format": 2}),
            json.dumps({**whole, "positions": positions}),
            json.dumps({**whole, "traffic": {}}),
            json.dumps({**whole, "traffic": {**whole["traffic"], "families": {"wharf_pulls_total": [[[1], 2]]}}}),
            json.dumps({**whole, "sources": {"collection": [["wharf_new", [], 1]]}}),
        ],
        1,
    ):
        metrics.state.write_text(damaged)
        metrics.start()
        assert metrics.value("wharf_log_lines_total", result="counted") == 0
        metrics.write(line())
        metrics.wait("wharf_log_lines_total", 1, result="counted")
        assert metrics.stop() == 0
        assert metrics.state.with_name("state.json.damaged").read_text() == damaged
        assert metrics.said().count("is damaged") == number
        assert len(metrics.said().splitlines()) == number


def test_the_first_start_begins_at_the_end_and_a_log_that_comes_later_is_read_whole(tmp_path, program, python):
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "requests.log").write_text(line() * 3)
    with running(tmp_path / "one", program, python=python) as metrics:
        metrics.write(line())
        metrics.wait("wharf_log_lines_total", 1, result="counted")
    (tmp_path / "two").mkdir()
    with running(tmp_path / "two", program, python=python) as metrics:
        assert metrics.value("wharf_log_readable") == 0
        metrics.write(line())
        metrics.wait("wharf_log_lines_total", 1, result="counted")
        assert metrics.value("wharf_log_readable") == 1


def test_a_second_program_with_the_same_state_does_not_start(metrics, program, python, tmp_path):
    other = Metrics(metrics.directory, program, python, socket=str(tmp_path / "other.sock"))
    other.errors = tmp_path / "other"
    other.socket = tmp_path / "other.sock"
    try:
        other.start()
    except AssertionError as error:
        assert "another one of this program" in str(error)
    assert other.process.wait() == 1


def test_a_state_that_cannot_be_written_stops_neither_counting_nor_serving(tmp_path, program, python):
    (tmp_path / "requests.log").touch()
    with running(tmp_path, program, python=python, textfile=str(tmp_path / "none" / "wharf.prom")) as metrics:
        metrics.write(line())
        metrics.wait("wharf_log_lines_total", 1, result="counted")
        metrics.state.with_name("state.json.new").mkdir()
        metrics.write(line())
        metrics.wait("wharf_log_lines_total", 2, result="counted")
        end = time.monotonic() + 30
        while "can't be written" not in metrics.said():
            assert time.monotonic() < end
            time.sleep(0.1)
        metrics.write(line())
        metrics.wait("wharf_log_lines_total", 3, result="counted")

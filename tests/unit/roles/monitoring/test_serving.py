"""Those who ask: slow, many, and others than Prometheus."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import stat
import threading
import time
from pathlib import Path

from http_client import SocketConnection
from metrics import line, running


def ask(metrics, method, path):
    with contextlib.closing(SocketConnection(metrics.socket)) as connection:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read()


def test_other_paths_and_methods_get_nothing(metrics):
    assert ask(metrics, "GET", "/")[0] == 404
    assert ask(metrics, "GET", "/metrics/../state.json")[0] == 404
    assert ask(metrics, "POST", "/metrics")[0] == 501
    assert ask(metrics, "HEAD", "/metrics") == (200, b"")
    assert ask(metrics, "GET", "/metrics?x=y")[0] == 200


def test_nobody_but_the_group_may_connect(metrics):
    assert stat.S_IMODE(metrics.socket.stat().st_mode) == 0o660
    assert stat.S_IMODE(metrics.state.stat().st_mode) == 0o600


def test_a_socket_that_a_killed_program_has_left_is_replaced_and_one_that_stops_takes_it_away(metrics):
    metrics.kill()
    assert metrics.socket.exists()
    metrics.start()
    assert metrics.stop() == 0
    assert not metrics.socket.exists()


def test_slow_clients_and_many_of_them_stop_neither_counting_nor_the_others_for_long(metrics):
    """Some send nothing, some half a request, and some never read the answer."""
    held = []
    try:
        for number in range(60):
            client = socket.socket(socket.AF_UNIX)
            client.settimeout(5)
            client.connect(str(metrics.socket))
            with contextlib.suppress(OSError):
                client.sendall((b"", b"GET /metr", b"GET /metrics HTTP/1.1\r\n\r\n" * 50)[number % 3])
            held.append(client)
        metrics.write(line() * 1000)
        # Counting goes on. Those who would be too many are sent away, and come back.
        end = time.monotonic() + 30
        while True:
            with contextlib.suppress(OSError, http.client.HTTPException):
                if metrics.value("wharf_log_lines_total", result="counted") == 1000:
                    break
            assert time.monotonic() < end
            time.sleep(0.1)
        threads = len(list(Path(f"/proc/{metrics.process.pid}/task").iterdir()))
        assert threads < 40
    finally:
        for client in held:
            client.close()
    assert metrics.said() == ""


def test_a_hundred_scrapes_at_once_cost_little(tmp_path, program, python):
    """With as many series as there may be."""
    (tmp_path / "requests.log").touch()
    with running(tmp_path, program, python=python) as metrics:
        metrics.write(*(line(repository=f"apps/{number}") for number in range(300)))
        metrics.wait("wharf_log_lines_total", 300, result="counted")
        done = []

        def scrape():
            for _again in range(25):
                with contextlib.suppress(OSError, http.client.HTTPException):
                    done.append(len(metrics.text()))

        began, before = time.monotonic(), _processor_seconds(metrics)
        threads = [threading.Thread(target=scrape) for _client in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        spent = _processor_seconds(metrics) - before
        assert len(done) > 150
        print(f"{len(done)} scrapes of {max(done)} bytes in {time.monotonic() - began:.2f} s, {spent:.2f} s of CPU")
        assert spent / len(done) < 0.01


def _processor_seconds(metrics):
    fields = Path(f"/proc/{metrics.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

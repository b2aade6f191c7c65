"""Metrics at /metrics: who may read them, and that they count what clients did, by the log of a real nginx."""

from __future__ import annotations

import functools
import os
import time
from typing import TYPE_CHECKING

import managed
import pytest
from engine import command, wait_for
from front import ACCOUNT, REPLICAS
from http_client import ACCEPT
from metrics import Metrics, install, samples

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from front import Front

USERS = [
    {"name": "admin", "access": "admin"},
    {"name": "ci", "access": "push"},
    {"name": "runtime", "access": "pull"},
    {"name": "team", "rules": [{"repositories": ["team/*"], "actions": ["pull"]}]},
    # Reads metrics, and nothing else.
    {"name": "prometheus"},
    # Has the same rights in the registry.
    {"name": "nothing"},
]
CLASSES = {"admin": "admin", "ci": "push", "runtime": "pull", "team": "rules", "prometheus": "rules"}
READERS = {"reverse_proxy_metrics_users": ["prometheus"], "reverse_proxy_anonymous_pull": ["public/*"]}


@pytest.fixture(scope="module")
def proxy(fronts: Callable[..., Front]) -> Front:
    return fronts(USERS, **READERS)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory):
    return install(tmp_path_factory.mktemp("program") / "metrics")


@pytest.fixture
def metrics(proxy: Front, program, tmp_path) -> Iterator[Metrics]:
    """The program, which follows the log of the proxy from now on."""
    metrics = Metrics(
        tmp_path,
        program,
        next(iter(managed.pythons().values())),
        log=str(proxy.directory / "log" / "requests.log"),
        socket=str(proxy.directory / "metrics" / "metrics.sock"),
        storage=str(proxy.directory / "storage"),
        replicas={str(number): str(proxy.socket(number)) for number in REPLICAS},
        users=CLASSES,
    )
    metrics.owner = ACCOUNT
    settle(proxy)
    metrics.start()
    try:
        yield metrics
    finally:
        if metrics.process.poll() is None:
            metrics.stop()


def settle(proxy: Front) -> None:
    """Wait until the log has all that was asked for until now: each worker of nginx writes within a second."""
    log = proxy.directory / "log" / "requests.log"
    sizes = []

    def quiet() -> bool:
        sizes.append((time.monotonic(), log.stat().st_size if log.exists() else 0))
        since = min(when for when, size in sizes if size == sizes[-1][1])
        return sizes[-1][0] - since > 1.5

    wait_for("no more lines of the log", quiet)


def scraped(proxy: Front, user: str | None = "prometheus") -> dict:
    answer = proxy.client(user).ask("GET", "/metrics")
    assert answer.status == 200, answer.body
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert answer.headers["Cache-Control"] == "no-store"
    return samples(answer.body.decode())


def test_a_user_of_the_list_reads_them_and_nothing_else(proxy, metrics):
    assert ("wharf_log_readable",) in scraped(proxy)
    reader = proxy.client("prometheus")
    assert reader.ask("GET", "/metrics?format=x").status == 200
    assert reader.ask("HEAD", "/metrics").status == 200
    assert reader.ask("GET", "/v2/_catalog").status == 403
    assert reader.ask("GET", "/v2/public/app/tags/list").status in (200, 404)
    assert reader.ask("GET", "/v2/team/app/tags/list").status == 403
    for path in ("/metrics/", "/metrics/x", "/metrics%2f", "//metrics", "/v2/../metrics", "/_internal/metrics"):
        assert reader.ask("GET", path).status in (400, 403, 404), path
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
        assert reader.ask(method, "/metrics").status in (403, 404, 405), method


def test_others_get_none(proxy, metrics):
    for user in ("admin", "ci", "runtime", "team", "nothing"):
        answer = proxy.client(user).ask("GET", "/metrics")
        assert (answer.status, answer.code) == (403, "DENIED"), user
        assert b"wharf_" not in answer.body, user


def test_without_a_login_or_with_a_wrong_password_there_are_none(proxy, metrics):
    answer = proxy.client().ask("GET", "/metrics")
    assert (answer.status, answer.code) == (401, "UNAUTHORIZED")
    assert proxy.client("prometheus", "wrong").ask("GET", "/metrics").status == 401


@pytest.fixture
def changed(proxy):
    """Changes the options of the proxy, which has its own again in the end."""
    yield functools.partial(proxy.change, USERS)
    proxy.change(USERS, **READERS)


def test_networks_need_no_login_and_others_find_nothing(proxy, metrics, changed):
    changed(reverse_proxy_metrics_networks=[proxy.seen_as()])
    assert ("wharf_log_readable",) in scraped(proxy, None)
    # Whatever else it says.
    assert proxy.client("ci", "wrong").ask("GET", "/metrics").status == 200
    assert proxy.client().ask("POST", "/metrics").status == 404
    changed(reverse_proxy_metrics_networks=["192.0.2.0/24"])
    for user in (None, "admin", "prometheus"):
        assert proxy.client(user).ask("GET", "/metrics").status == 404
    # The address counts, and not what a client says of it.
    assert proxy.client().ask("GET", "/metrics", **{"X-Forwarded-For": "192.0.2.1"}).status == 404


@pytest.mark.long
def test_networks_beside_users_and_other_networks(proxy, metrics, changed):
    seen = proxy.seen_as()
    # Both: by address, or by name.
    changed(reverse_proxy_metrics_networks=["192.0.2.0/24"], **READERS)
    assert ("wharf_log_readable",) in scraped(proxy)
    changed(reverse_proxy_metrics_networks=[seen], reverse_proxy_allowed_networks=["192.0.2.0/24"])
    assert proxy.client("ci").ask("GET", "/v2/").status == 403
    assert ("wharf_log_readable",) in scraped(proxy, None)
    # Off, which is the default.
    changed()
    for user in (None, "admin", "prometheus"):
        assert proxy.client(user).ask("GET", "/metrics").status == 404


def test_without_the_program_clients_are_told_to_come_back(proxy, metrics):
    metrics.stop()
    answer = proxy.client("prometheus").ask("GET", "/metrics")
    assert (answer.status, answer.code) == (503, "UNAVAILABLE")
    assert proxy.client("ci").ask("GET", "/v2/").status == 200


def test_it_counts_what_clients_did(proxy, metrics):
    ci, runtime = proxy.client("ci"), proxy.client("runtime")
    layers = os.urandom(5000)
    for tag in ("1", "2"):
        ci.put_image("team/app", tag, layers)
    ci.put_image("public/app", "1", layers)
    digest = runtime.ask("GET", "/v2/team/app/manifests/1", Accept=ACCEPT).headers["Docker-Content-Digest"]
    for client in (runtime, proxy.client("team"), proxy.client("admin")):
        assert client.ask("GET", f"/v2/team/app/manifests/{digest}", Accept=ACCEPT).status == 200
    for _again in range(3):
        assert proxy.client().ask("GET", "/v2/public/app/manifests/1", Accept=ACCEPT).status == 200
    # No pulls.
    runtime.ask("HEAD", "/v2/team/app/manifests/1", Accept=ACCEPT)
    runtime.ask("GET", "/v2/team/app/tags/list")
    runtime.ask("GET", "/v2/team/app/manifests/none", Accept=ACCEPT)
    runtime.ask("GET", "/v2/team/app/manifests/1", Accept=ACCEPT, **{"Sec-Fetch-Site": "same-origin"})
    # Refused.
    runtime.ask("DELETE", f"/v2/team/app/manifests/{digest}")
    proxy.client("team").ask("GET", "/v2/secret/app/manifests/1", Accept=ACCEPT)
    proxy.client().ask("GET", "/v2/team/app/manifests/1", Accept=ACCEPT)
    proxy.client("runtime", "wrong").ask("GET", "/v2/")
    metrics.wait("wharf_logins_refused_total", 1)
    found = scraped(proxy)

    def value(name: str, **labels: str) -> float | None:
        return found.get((name, *labels.items()))

    assert value("wharf_pushes_total", repository="team/app") == 2
    assert value("wharf_pushes_total", repository="public/app") == 1
    assert value("wharf_pulls_total", repository="team/app") == 4
    assert value("wharf_pulls_total", repository="public/app") == 3
    assert value("wharf_pulls_total", repository="secret/app") is None
    assert value("wharf_requests_total", action="pull", status="200", user_class="anonymous") == 3
    assert value("wharf_requests_total", action="pull", status="200", user_class="rules") == 1
    assert value("wharf_requests_total", action="pull", status="403", user_class="rules") == 1
    assert value("wharf_requests_total", action="delete", status="403", user_class="pull") == 1
    assert value("wharf_requests_total", action="pull", status="401", user_class="none") == 1
    assert value("wharf_requests_total", action="base", status="401", user_class="none") == 1
    assert value("wharf_log_lines_total", result="malformed") == 0
    assert value("wharf_repository_received_bytes_total", repository="team/app") > 5000
    assert [value("wharf_replica_up", replica=str(number)) for number in REPLICAS] == [1, 1]


HOSTILE = [
    rb"GET /v2/%s/manifests/1 HTTP/1.1" % (b"a" * 9000),
    b'GET /v2/a"}%0a/manifests/1 HTTP/1.1',
    b"GET /v2/\x1b[31m/manifests/\xff HTTP/1.1",
    b"GET /v2/<script>/tags/list HTTP/1.1",
    b"BREW /v2/ HTTP/1.1",
    b"GET  HTTP/9.9",
    b"\x16\x03\x01",
]


def test_hostile_requests_make_no_series_and_no_line_that_is_none(proxy, metrics):
    before = {key for key in metrics.samples() if key[0] not in ("wharf_requests_total",)}
    for request in HOSTILE:
        proxy.raw(request + b"\r\nHost: x\r\nAuthorization: Basic \xff\xfe\r\n\r\n", seconds=1)
    settle(proxy)
    metrics.wait("wharf_log_unread_bytes", 0)
    found = metrics.samples()
    assert found[("wharf_log_lines_total", ("result", "malformed"))] == 0
    assert found[("wharf_log_lines_total", ("result", "counted"))] >= len(HOSTILE) - 2
    assert not [key for key in found if key[0].endswith(("pulls_total", "pushes_total"))]
    new = {label for key in set(found) - before for name, label in key[1:] if name == "action"}
    assert new <= {"unknown", "pull", "base", "push", "delete", "other"}


def test_a_rotation_by_nginx_and_a_killed_program_lose_nothing(proxy, metrics):
    ci = proxy.client("ci")
    ci.put_image("team/rotated", "1", b"x")
    settle(proxy)
    metrics.wait("wharf_pushes_total", 1, repository="team/rotated")
    pulls = 0
    for _turn in range(3):
        for _pull in range(20):
            assert ci.ask("GET", "/v2/team/rotated/manifests/1", Accept=ACCEPT).status == 200
            pulls += 1
        metrics.kill()
        # As nginx.sh does it once the log is large.
        rotate = "mv /run/wharf-log/requests.log /run/wharf-log/requests.log.1 && nginx -c /tmp/nginx.conf -s reopen"
        command("docker", "exec", proxy.containers["proxy"], "sh", "-c", rotate)
        for _pull in range(20):
            assert ci.ask("GET", "/v2/team/rotated/manifests/1", Accept=ACCEPT).status == 200
            pulls += 1
        metrics.start()
        settle(proxy)
        metrics.wait("wharf_pulls_total", pulls, repository="team/rotated")
    assert metrics.value("wharf_log_gaps_total") == 0

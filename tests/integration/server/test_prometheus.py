"""A real Prometheus reads metrics through nginx while clients push and pull, the log rotates and the program is killed.

In the end, what Prometheus has equals what the clients did. For ten minutes in the long run, and for some seconds else.
"""

from __future__ import annotations

import collections
import contextlib
import json
import random
import signal
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from typing import TYPE_CHECKING

import pytest
import yaml
from engine import command, free_ports, wait_for
from front import ACCOUNT, REPLICAS
from http_client import ACCEPT
from metrics import Metrics, install
from paths import ROOT
from prometheus import program as program_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from front import Front

USERS = [
    {"name": "ci", "access": "push"},
    {"name": "runtime", "access": "pull"},
    {"name": "prometheus"},
]
CLASSES = {"ci": "push", "runtime": "pull", "prometheus": "rules"}
RULES = ROOT / "roles" / "monitoring" / "files" / "alerts"
CLIENTS = 6
# As nginx.sh does it once the log is large.
ROTATE = "mv /run/wharf-log/requests.log /run/wharf-log/requests.log.1 && nginx -c /tmp/nginx.conf -s reopen"


@pytest.fixture(scope="module")
def proxy(fronts: Callable[..., Front]) -> Front:
    return fronts(USERS, reverse_proxy_metrics_users=["prometheus"], reverse_proxy_anonymous_pull=["public/*"])


@pytest.fixture
def metrics(proxy: Front, tmp_path: Path) -> Iterator[Metrics]:
    metrics = Metrics(
        tmp_path,
        install(tmp_path / "program"),
        log=str(proxy.directory / "log" / "requests.log"),
        socket=str(proxy.directory / "metrics" / "metrics.sock"),
        replicas={str(number): str(proxy.socket(number)) for number in REPLICAS},
        storage=str(proxy.directory / "storage"),
        users=CLASSES,
    )
    metrics.owner = ACCOUNT
    metrics.start()
    try:
        yield metrics
    finally:
        metrics.process.kill()
        metrics.process.wait()


class Prometheus:
    """One that scrapes the proxy each second, with the rules of the role."""

    def __init__(self, directory: Path, proxy: Front) -> None:
        (self.port,) = free_ports(1)
        (directory / "password").write_text(proxy.passwords["prometheus"])
        job = {
            "job_name": "wharf-registry",
            "scheme": "https",
            "basic_auth": {"username": "prometheus", "password_file": str(directory / "password")},
            "tls_config": {"ca_file": str(proxy.ca)},
            "static_configs": [{"targets": [f"localhost:{proxy.port}"]}],
        }
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "5s"},
            "rule_files": [f"{RULES}/*.yml"],
            "scrape_configs": [job],
        }
        (directory / "prometheus.yml").write_text(yaml.safe_dump(config))
        subprocess.run(
            [program_of("promtool"), "check", "config", str(directory / "prometheus.yml")],
            check=True,
            capture_output=True,
        )
        self.said = directory / "prometheus.log"
        with self.said.open("wb") as said:
            self.process = subprocess.Popen(
                [
                    program_of("prometheus"),
                    f"--config.file={directory / 'prometheus.yml'}",
                    f"--storage.tsdb.path={directory / 'data'}",
                    f"--web.listen-address=127.0.0.1:{self.port}",
                ],
                stdout=said,
                stderr=said,
            )

    def api(self, path: str, **query: str) -> dict:
        address = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(address, timeout=10) as answer:
            return json.load(answer)["data"]

    def query(self, expression: str) -> dict[tuple, float]:
        """{labels without those of the target: value}."""
        found = {}
        for one in self.api("query", query=expression)["result"]:
            labels = {
                name: value for name, value in one["metric"].items() if name not in ("job", "instance", "__name__")
            }
            found[tuple(sorted(labels.items()))] = float(one["value"][1])
        return found

    def number(self, expression: str) -> float:
        return sum(self.query(expression).values())

    def up(self) -> bool:
        with contextlib.suppress(OSError):
            return self.number("up") == 1
        return False


@pytest.fixture
def prometheus(tmp_path: Path, proxy: Front, metrics: Metrics) -> Iterator[Prometheus]:
    server = Prometheus(tmp_path, proxy)
    try:
        wait_for("Prometheus has read metrics", server.up, seconds=60)
        yield server
    finally:
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(timeout=30)


class Load:
    """Clients that count what they are answered."""

    def __init__(self, proxy: Front) -> None:
        self.proxy = proxy
        self.over = threading.Event()
        self.done: collections.Counter = collections.Counter()
        self.lock = threading.Lock()
        # A registry that is sent the same blob twice at once may not know it for a moment.
        self.pushing = threading.Lock()
        self.problems: list[str] = []
        self.threads = [threading.Thread(target=self.run, args=(number,)) for number in range(CLIENTS)]

    def count(self, *what: str) -> None:
        with self.lock:
            self.done[what] += 1

    def run(self, number: int) -> None:
        try:
            self.work(number)
        except Exception as error:  # noqa: BLE001 - told by the test
            self.problems.append(repr(error))

    def work(self, number: int) -> None:
        chosen = random.Random(number)  # noqa: S311 - the same each time
        clients = {
            "push": self.proxy.client("ci"),
            "pull": self.proxy.client("runtime"),
            "anonymous": self.proxy.client(),
        }
        wrong = self.proxy.client("runtime", "wrong")
        while not self.over.is_set():
            repository = f"{chosen.choice(('team', 'public'))}/app{chosen.randrange(4)}"
            act = chosen.random()
            if act < 0.1:
                with self.pushing:
                    clients["push"].put_image(repository, "new", chosen.randbytes(100))
                self.count("pushes", repository)
            elif act < 0.105:
                status = wrong.ask("GET", "/v2/").status
                assert status in (401, 429), status
                self.count("refused" if status == 401 else "throttled")
            else:
                user_class = chosen.choice(list(clients))
                tag = chosen.choice(("first", "none"))
                answer = clients[user_class].ask("GET", f"/v2/{repository}/manifests/{tag}", Accept=ACCEPT)
                if answer.status == 200:
                    self.count("pulls", repository)
                    self.count("bytes", user_class)
                elif answer.status == 429:
                    self.count("throttled")
                else:
                    assert answer.status == (401 if user_class == "anonymous" and "team" in repository else 404)
                known = "none" if user_class == "anonymous" and answer.status != 200 else user_class
                self.count("requests", str(answer.status), known)


def pull_statuses(prometheus: Prometheus) -> dict[tuple[str, str], float]:
    found = prometheus.query('wharf_requests_total{action="pull"}')
    return {(dict(labels)["status"], dict(labels)["user_class"]): value for labels, value in found.items()}


def by_repository(prometheus: Prometheus, name: str) -> dict[str, float]:
    return {dict(labels)["repository"]: value for labels, value in prometheus.query(name).items()}


def hold(proxy: Front, metrics: Metrics, prometheus: Prometheus, seconds: float, every: float) -> None:
    load = Load(proxy)
    for repository in [f"{team}/app{number}" for team in ("team", "public") for number in range(4)]:
        proxy.client("ci").put_image(repository, "first", b"first")
        load.count("pushes", repository)
    end = time.monotonic() + seconds
    for thread in load.threads:
        thread.start()
    kills = 0
    try:
        while time.monotonic() < end:
            time.sleep(every / 2)
            command("docker", "exec", proxy.containers["proxy"], "sh", "-c", ROTATE)
            time.sleep(every / 2)
            metrics.kill()
            kills += 1
            time.sleep(0.2)
            metrics.start()
    finally:
        load.over.set()
        for thread in load.threads:
            thread.join()
    assert load.problems == []
    assert kills >= 2
    expected = collections.defaultdict(dict)
    for (kind, *labels), number in load.done.items():
        expected[kind][tuple(labels)] = number

    last = {"wharf_pulls_total": "pulls", "wharf_logins_refused_total": "refused", "wharf_throttled_total": "throttled"}

    def arrived() -> bool:
        return all(prometheus.number(name) >= sum(expected[kind].values()) for name, kind in last.items())

    wait_for("Prometheus has read the last line", arrived, seconds=60)
    # No more than that either.
    wait_for("nothing is left", lambda: prometheus.number("wharf_log_unread_bytes") == 0)
    time.sleep(3)
    assert by_repository(prometheus, "wharf_pulls_total") == {name: n for (name,), n in expected["pulls"].items()}
    assert by_repository(prometheus, "wharf_pushes_total") == {name: n for (name,), n in expected["pushes"].items()}
    assert pull_statuses(prometheus) == dict(expected["requests"])
    assert prometheus.number("wharf_logins_refused_total") == sum(expected["refused"].values())
    assert prometheus.number("wharf_throttled_total") == sum(expected["throttled"].values())
    assert prometheus.number('wharf_log_lines_total{result="malformed"}') == 0
    assert prometheus.number("wharf_log_gaps_total") == 0
    # No counter has ever gone back.
    assert prometheus.number("sum(resets(wharf_requests_total[1h])) + sum(resets(wharf_pulls_total[1h]))") == 0
    rules = [rule for group in prometheus.api("rules")["groups"] for rule in group["rules"]]
    assert len(rules) > 30
    assert {rule["health"] for rule in rules} == {"ok"}
    firing = {
        alert["labels"]["alertname"] for alert in prometheus.api("alerts")["alerts"] if alert["state"] == "firing"
    }
    assert firing <= {"WharfLoginsRefused", "WharfThrottled", "WharfDiskAlmostFull"}, firing
    total = sum(sum(one.values()) for one in expected.values())
    print(f"{seconds} s, {kills} kills and rotations, {total} answers counted, {sum(expected['pulls'].values())} pulls")


def test_counters_equal_what_clients_did_while_the_log_rotates_and_the_program_is_killed(proxy, metrics, prometheus):
    hold(proxy, metrics, prometheus, seconds=8, every=3)


@pytest.mark.long
def test_counters_equal_what_clients_did_for_ten_minutes(proxy, metrics, prometheus):
    hold(proxy, metrics, prometheus, seconds=600, every=20)

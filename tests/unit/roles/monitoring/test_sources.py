"""What other programs leave behind, as they write it; and what is damaged or missing."""

from __future__ import annotations

import calendar
import contextlib
import importlib.util
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest
from certificates import Authority
from metrics import running
from paths import ROOT

FILES = ROOT / "roles"


def load(path, name):
    """A module of another role's program; several have one of the same name."""
    spec = importlib.util.spec_from_file_location(name, FILES / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def started(tmp_path, program, python):
    """Starts the program with more settings; ended in the end."""
    (tmp_path / "requests.log").touch()
    with contextlib.ExitStack() as stack:
        yield lambda **settings: stack.enter_context(running(tmp_path, program, python=python, **settings))


def seconds(text):
    return calendar.timegm(time.strptime(text, "%Y-%m-%dT%H:%M:%SZ"))


# ---- each source -----------------------------------------------------------------------------------------------------


@pytest.fixture
def storage(tmp_path):
    """Two repositories that share a blob, in the form of the registry's driver."""
    root = tmp_path / "data" / "docker" / "registry" / "v2"
    blobs = {"a": 1000, "b": 500, "c": 70}
    for one, size in blobs.items():
        place = root / "blobs" / "sha256" / (one * 2) / (one * 64)
        place.mkdir(parents=True)
        (place / "data").write_bytes(b"x" * size)
    for name, layers, tags in [("apps/api", "ab", ["1", "2"]), ("apps/web", "a", ["1"])]:
        repository = root / "repositories" / name
        for layer in layers:
            (repository / "_layers" / "sha256" / (layer * 64)).mkdir(parents=True)
            (repository / "_layers" / "sha256" / (layer * 64) / "link").write_text(f"sha256:{layer * 64}")
        (repository / "_manifests" / "revisions" / "sha256" / ("c" * 64)).mkdir(parents=True)
        for tag in tags:
            (repository / "_manifests" / "tags" / tag).mkdir(parents=True)
    return tmp_path / "data"


def test_storage_by_repository_and_its_disk(started, storage):
    # Nothing that lies there may lead elsewhere, or end the look.
    repositories = storage / "docker" / "registry" / "v2" / "repositories"
    (repositories / "link").symlink_to("/etc")
    (repositories / "Upper").mkdir()
    (repositories / "apps" / "api" / "_layers" / "sha256" / "odd").mkdir()
    metrics = started(storage=str(storage), repositories=1)
    metrics.wait("wharf_storage_bytes", 1570)
    found = metrics.samples()
    assert found[("wharf_repositories",)] == 2
    assert found[("wharf_tags",)] == 3
    assert found[("wharf_repository_storage_bytes", ("repository", "apps/api"))] == 1570
    assert found[("wharf_repository_storage_bytes", ("repository", "other"))] == 1070
    assert found[("wharf_repository_tags", ("repository", "apps/api"))] == 2
    disk = os.statvfs(storage)
    assert found[("wharf_disk_size_bytes",)] == disk.f_frsize * disk.f_blocks
    assert 0 < found[("wharf_disk_free_bytes",)] <= found[("wharf_disk_size_bytes",)]
    assert ("wharf_disk_full_in_seconds",) not in found
    assert found[("wharf_source_up", ("source", "storage"))] == 1
    assert found[("wharf_source_age_seconds", ("source", "storage"))] < 30


def test_a_collection_as_the_collector_tells_it_also_after_a_restart_of_the_host(started, storage, tmp_path):
    settings = {
        "storage": str(tmp_path / "empty"),
        "hold_socket": str(tmp_path / "hold.sock"),
        "quiet_command": ["true"],
        "lock": str(tmp_path / "lock"),
        "report": str(tmp_path / "report.json"),
    }
    (tmp_path / "empty" / "docker" / "registry" / "v2").mkdir(parents=True)
    (tmp_path / "collector.json").write_text(json.dumps(settings))
    program = FILES / "maintenance" / "files" / "collector"
    subprocess.run([sys.executable, "-B", str(program), "collect", str(tmp_path / "collector.json")], check=True)
    metrics = started(collection=settings["report"])
    metrics.wait("wharf_collection_freed_bytes", 0)
    when = metrics.value("wharf_collection_timestamp_seconds")
    assert abs(when - time.time()) < 60
    assert metrics.value("wharf_collection_problems") == 0
    assert metrics.value("wharf_collection_held_seconds") == 0
    # /run is empty then.
    metrics.stop()
    (tmp_path / "report.json").unlink()
    metrics.start()
    assert metrics.value("wharf_collection_timestamp_seconds") == when
    assert metrics.value("wharf_source_up", source="collection") is None


def test_backups(started, tmp_path):
    last = {
        "outcome": "ok",
        "began": "2026-11-30T02:00:00Z",
        "succeeded": "2026-11-30T02:00:00Z",
        "checked": 1764400000,
        "proven": "2026-11-29T10:00:00Z",
        "seconds": 12.5,
        "problems": [],
    }
    (tmp_path / "last.json").write_text(json.dumps(last))
    metrics = started(backup=str(tmp_path / "last.json"))
    metrics.wait("wharf_backup_succeeded", 1)
    assert metrics.value("wharf_backup_timestamp_seconds") == seconds("2026-11-30T02:00:00Z")
    assert metrics.value("wharf_backup_checked_timestamp_seconds") == 1764400000
    assert metrics.value("wharf_backup_restored_timestamp_seconds") == seconds("2026-11-29T10:00:00Z")
    assert metrics.value("wharf_backup_duration_seconds") == 12.5
    metrics.stop()
    # As backup.run writes it where it fails the first time.
    (tmp_path / "last.json").write_text(json.dumps({"outcome": "failed", "checked": 0, "began": last["began"]}))
    metrics.start()
    metrics.wait("wharf_backup_succeeded", 0)
    assert metrics.value("wharf_backup_timestamp_seconds") == 0
    assert metrics.value("wharf_backup_checked_timestamp_seconds") is None
    assert metrics.value("wharf_backup_restored_timestamp_seconds") is None


def test_mirrors_as_their_program_tells_them(started, tmp_path):
    state = load("mirror/files/mirror/state.py", "wharf_mirror_state").State(
        str(tmp_path / "mirror.json"), ["hub", 'evil"} 1\n\u202e' + "x" * 10_000]
    )
    state.begin("hub")
    state.end("hub", {"images": [{"error": "", "changed": True, "skipped": ""}], "remaining": 87}, "")
    metrics = started(mirror=str(tmp_path / "mirror.json"))
    metrics.wait("wharf_mirror_pulls_remaining", 87, mirror="hub")
    assert metrics.value("wharf_mirror_lag_seconds", mirror="hub") == 0
    assert abs(metrics.value("wharf_mirror_timestamp_seconds", mirror="hub") - time.time()) < 60
    other = next(key[1][1] for key in metrics.samples() if key[0] == "wharf_mirror_lag_seconds" and key[1][1] != "hub")
    assert other.startswith(r"evil\"} 1??xx")
    assert len(other) < 300
    metrics.stop()
    state.begin("hub")
    state.end("hub", {"images": [{"error": "no", "changed": False, "skipped": ""}]}, "it does not answer")
    document = json.loads((tmp_path / "mirror.json").read_text())
    document["mirrors"]["hub"]["stale_since"] = "2026-01-01T00:00:00Z"
    (tmp_path / "mirror.json").write_text(json.dumps(document))
    metrics.start()
    metrics.wait("wharf_mirror_failed_images", 1, mirror="hub")
    lag = metrics.value("wharf_mirror_lag_seconds", mirror="hub")
    assert abs(lag - (time.time() - seconds("2026-01-01T00:00:00Z"))) < 60
    assert metrics.value("wharf_mirror_pulls_remaining", mirror="hub") is None


def test_caches_as_their_program_tells_them(started, tmp_path):
    counts = {"hits": 5, "misses": 2, "stale": 1}
    upstream = SimpleNamespace(name="docker.io", answered=1.0, away_since=None, problem="", remaining=42)
    report = load("mirror_cache/files/mirror_cache/report.py", "wharf_cache_report").Report(
        str(tmp_path / "cache.json"),
        SimpleNamespace(counts={"docker.io": counts}),
        SimpleNamespace(total=7, limit=100),
        [upstream],
    )
    report.write()
    metrics = started(cache=str(tmp_path / "cache.json"))
    metrics.wait("wharf_cache_requests_total", 5, upstream="docker.io", result="hit")
    assert metrics.value("wharf_cache_requests_total", upstream="docker.io", result="miss") == 2
    assert metrics.value("wharf_cache_bytes") == 7
    assert metrics.value("wharf_cache_upstream_up", upstream="docker.io") == 1
    assert metrics.value("wharf_cache_pulls_remaining", upstream="docker.io") == 42


def report_of(kind, hosts):
    """As the playbooks keep one, without what is for people."""
    return {
        "version": 1,
        "kind": kind,
        "made": "2026-11-30T17:20:05Z",
        "registry": "registry.example.com",
        "outcome": "ok",
        "summary": "All is well.",
        "sections": [],
        "lines": [],
        "data": {"hosts": hosts},
    }


def test_rollout_and_exposure_by_the_reports_of_their_playbooks(started, tmp_path):
    hosts = {f"web{number}": {"outcome": one} for number, one in enumerate(["ok", "ok", "failed"])}
    (tmp_path / "rollout.json").write_text(json.dumps(report_of("rollout", hosts)))
    findings = [{"critical": 1, "high": 1}, {"high": 1, "new": 1}, None]
    hosts = {f"web{number}": {"findings": one} for number, one in enumerate(findings)}
    (tmp_path / "exposure.json").write_text(json.dumps(report_of("exposure", hosts)))
    metrics = started(
        rollout=str(tmp_path / "rollout.json"),
        exposure=[str(tmp_path / one) for one in ("exposure.json", "summary.json")],
    )
    metrics.wait("wharf_rollout_hosts", 2, outcome="ok")
    assert metrics.value("wharf_rollout_hosts", outcome="failed") == 1
    assert metrics.value("wharf_rollout_timestamp_seconds") == seconds("2026-11-30T17:20:05Z")
    metrics.wait("wharf_exposure_findings", 2, severity="high")
    assert metrics.value("wharf_exposure_findings", severity="critical") == 1
    assert metrics.value("wharf_exposure_findings", severity="medium") == 0
    assert metrics.value("wharf_exposure_findings", severity="unknown") == 1
    metrics.stop()
    # The timer has scanned since, or before.
    for created, expected in (("2026-11-30T03:00:00Z", 2), ("2026-12-01T03:00:00Z", 5)):
        scanned = {"created": created, "report": {"hosts": [{"name": "web1", "findings": {"high": 5}}]}}
        (tmp_path / "summary.json").write_text(json.dumps(scanned))
        metrics.start()
        metrics.wait("wharf_exposure_findings", expected, severity="high")
        metrics.stop()


def test_certificates_with_the_end_that_comes_first(started, tmp_path):
    authority = Authority(tmp_path / "ca", "ca")
    server = authority.issue("server", ("localhost",)).certificate
    ends = [_end(path) for path in (server, authority.certificate)]
    chain = tmp_path / "chain.crt"
    chain.write_text(f"intermediates follow\n{server.read_text()}{authority.certificate.read_text()}")
    metrics = started(
        certificates={"server": str(chain), "ca": str(authority.certificate), "next": str(tmp_path / "none")}
    )
    metrics.wait("wharf_certificate_expiry_timestamp_seconds", min(ends), certificate="server")
    assert metrics.value("wharf_certificate_expiry_timestamp_seconds", certificate="ca") == ends[1]
    assert metrics.value("wharf_certificate_expiry_timestamp_seconds", certificate="next") is None


def _end(path):
    said = subprocess.run(
        ["openssl", "x509", "-noout", "-enddate", "-in", str(path)], check=True, capture_output=True, text=True
    )
    return ssl.cert_time_to_seconds(said.stdout.strip().partition("=")[2])


def test_replicas_that_answer_and_those_that_do_not(started, tmp_path):
    def serve(path, answer):
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen()

        def run():
            while True:
                connection, _address = listener.accept()
                connection.recv(4096)
                connection.sendall(answer)
                connection.close()

        threading.Thread(target=run, daemon=True).start()

    serve(tmp_path / "1", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    serve(tmp_path / "2", b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")
    serve(tmp_path / "3", b"rubbish")
    # One that takes connections and never answers.
    silent = socket.socket(socket.AF_UNIX)
    silent.bind(str(tmp_path / "4"))
    silent.listen()
    metrics = started(replicas={str(number): str(tmp_path / str(number)) for number in range(1, 6)})
    metrics.wait("wharf_replica_up", 1, replica="1")
    assert [metrics.value("wharf_replica_up", replica=str(number)) for number in range(2, 6)] == [0, 0, 0, 0]
    silent.close()


# ---- all of them -----------------------------------------------------------------------------------------------------

ALL = ("backup", "mirror", "cache", "rollout", "exposure", "collection")
DAMAGED = [
    "",
    "[]",
    "{",
    "null",
    '{"mirrors": 1, "data": {"hosts": 2}}',
    "[" * 100_000,
    '{"time": "soon", "outcome": {}}',
]


@pytest.mark.parametrize("text", DAMAGED)
def test_a_damaged_source_is_told_once_and_stops_nothing(started, tmp_path, text):
    for name in ALL:
        (tmp_path / name).write_text(text)
    (tmp_path / "crt").write_text("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n")
    paths = {name: str(tmp_path / name) for name in ALL}
    paths["exposure"] = [paths["exposure"]]
    metrics = started(**paths, certificates={"server": str(tmp_path / "crt")})
    for name in (*ALL, "certificates"):
        metrics.wait("wharf_source_up", 0, source=name)
        assert metrics.said().count(f"the source {name} can't be read") == 1
    assert not [key for key in metrics.samples() if key[0].startswith(("wharf_mirror", "wharf_backup", "wharf_cert"))]


def test_what_is_not_there_has_no_series_and_is_no_error(started, tmp_path):
    nowhere = str(tmp_path / "none")
    metrics = started(
        **{**dict.fromkeys(ALL, nowhere), "exposure": [nowhere]},
        storage=nowhere,
        certificates={"server": nowhere},
        jobs={"collection": "none.service"},
    )
    time.sleep(1.5)
    names = {key[0] for key in metrics.samples()}
    assert not names & {"wharf_backup_succeeded", "wharf_storage_bytes", "wharf_disk_free_bytes", "wharf_rollout_hosts"}
    assert [key for key in metrics.samples() if key[0] == "wharf_source_up" and key[1][1] != "jobs"] == []
    assert metrics.said() == ""


def test_the_textfile_is_the_same_text_for_all_to_read(started, tmp_path, monkeypatch):
    target = tmp_path / "wharf.prom"
    metrics = started(textfile=str(target))
    end = time.monotonic() + 30
    while not target.exists():
        assert time.monotonic() < end
        time.sleep(0.2)
    assert target.stat().st_mode & 0o777 == 0o644
    assert "wharf_requests_total" in target.read_text()
    assert target.read_text().endswith("\n")
    metrics.stop()


# ---- the day on which the disk is full -------------------------------------------------------------------------------


@pytest.fixture
def forecast(program, monkeypatch):
    monkeypatch.syspath_prepend(str(program))
    from wharf_metrics.forecast import Forecast

    return Forecast()


DAY = 86400


def test_a_disk_that_grows_evenly_is_full_on_its_day(forecast):
    for hour in range(14 * 24):
        forecast.add(hour * 3600, 1000 + 10 * hour)
    used = 1000 + 10 * (14 * 24 - 1)
    # 240 a day.
    assert forecast.seconds_until(used, used + 2400) == pytest.approx(10 * DAY)
    assert forecast.seconds_until(used + 2400, used + 2400) == 0


def test_nothing_is_foretold_of_a_disk_that_does_not_grow_or_is_hardly_known(forecast):
    for hour in range(20):
        forecast.add(hour * 3600, hour)
    assert forecast.seconds_until(20, 100) is None
    for hour in range(20, 60):
        forecast.add(hour * 3600, 60 - hour)
    assert forecast.seconds_until(1, 100) is None


def test_collections_in_between_do_not_hide_that_it_grows(forecast):
    """Sawteeth: each night a half of what came is freed again."""
    for hour in range(28 * 24):
        day, rest = divmod(hour, 24)
        forecast.add(hour * 3600, 50 * day + 100 * rest / 24)
    used = 50 * 28
    assert forecast.seconds_until(used, used + 500) == pytest.approx(10 * DAY, rel=0.05)


def test_samples_are_few_and_survive_a_clock_that_is_set_back(forecast):
    for minute in range(40 * 24 * 60):
        forecast.add(minute * 60, minute)
    assert len(forecast.samples) <= 28 * 24 + 1
    before = forecast.samples[-1][0] - 10 * DAY
    forecast.add(before, 5)
    assert forecast.samples[-1][0] <= before
    forecast.restore(json.loads(json.dumps(forecast.samples)))

"""Each alert, by promtool: when it fires, and when it does not. And what it tells is there."""

from __future__ import annotations

import re
import subprocess

import pytest
import yaml
from metrics import metrics_in, series_of
from paths import ROOT
from prometheus import program as program_of

FILES = sorted((ROOT / "roles" / "monitoring" / "files" / "alerts").glob("*.yml"))
RULES = [rule for file in FILES for group in yaml.safe_load(file.read_text())["groups"] for rule in group["rules"]]
NAMES = [rule["alert"] for rule in RULES]
DAY = 86400
# The clock of these tests begins at 0, and this is now: after the longest time that an alert waits for.
NOW_MINUTES = 90
NOW = NOW_MINUTES * 60
AT = {"job": "wharf-registry", "instance": "registry.example.com:443"}


def steady(value: float) -> str:
    return f"{value}x100"


def growing(per_minute: float) -> str:
    return f"0+{per_minute}x100"


def series(name: str, values: str, **labels: str) -> dict[str, str]:
    told = ",".join(f'{key}="{value}"' for key, value in {**AT, **labels}.items())
    return {"series": f"{name}{{{told}}}", "values": values}


def age(name: str, days: float, **labels: str) -> list[dict]:
    """The time of something that was so many days ago."""
    return [series(name, steady(NOW - days * DAY), **labels)]


def requests(failing: float, fine: float) -> list[dict]:
    return [
        series("wharf_requests_total", growing(failing), action="pull", status="502", user_class="pull"),
        series("wharf_requests_total", growing(fine), action="pull", status="200", user_class="pull"),
    ]


def durations(fast: float, slow: float) -> list[dict]:
    name, labels = "wharf_request_duration_seconds", {"action": "pull"}
    bounds = {"0.1": fast, "5.0": fast, "10.0": fast + slow, "+Inf": fast + slow}
    return [
        *(series(f"{name}_bucket", growing(number), **labels, le=bound) for bound, number in bounds.items()),
        series(f"{name}_count", growing(fast + slow), **labels),
    ]


def expiry(name: str, days: float) -> list[dict]:
    return [series("wharf_certificate_expiry_timestamp_seconds", steady(NOW + days * DAY), certificate=name)]


def one(name: str, value: float, **labels: str) -> list[dict]:
    return [series(name, steady(value), **labels)]


# Alert: what makes it fire, and what does not.
CASES = {
    "WharfRegistryDown": (one("up", 0), one("up", 1)),
    "WharfReplicaDown": (one("wharf_replica_up", 0, replica="2"), one("wharf_replica_up", 1, replica="2")),
    "WharfNoReplica": (
        one("wharf_replica_up", 0, replica="1") + one("wharf_replica_up", 0, replica="2"),
        one("wharf_replica_up", 0, replica="1") + one("wharf_replica_up", 1, replica="2"),
    ),
    # And not for one of ten requests a night.
    "WharfErrors": (requests(10, 90), [*requests(3, 97)]),
    "WharfSlow": (durations(40, 60), durations(60, 40)),
    "WharfLoginsRefused": (
        [series("wharf_logins_refused_total", growing(10))],
        [series("wharf_logins_refused_total", growing(5))],
    ),
    "WharfThrottled": ([series("wharf_throttled_total", growing(10))], [series("wharf_throttled_total", growing(1))]),
    "WharfDiskFullSoon": (one("wharf_disk_full_in_seconds", 6 * DAY), one("wharf_disk_full_in_seconds", 8 * DAY)),
    "WharfDiskAlmostFull": (
        one("wharf_disk_free_bytes", 9) + one("wharf_disk_size_bytes", 100),
        one("wharf_disk_free_bytes", 11) + one("wharf_disk_size_bytes", 100),
    ),
    "WharfStorageDamaged": (one("wharf_collection_problems", 1), one("wharf_collection_problems", 0)),
    "WharfTaskFailed": (one("wharf_job_failed", 1, task="mirror"), one("wharf_job_failed", 0, task="mirror")),
    "WharfCollectionTooOld": (
        age("wharf_collection_timestamp_seconds", 2.1),
        age("wharf_collection_timestamp_seconds", 1.1),
    ),
    "WharfCollectionHolds": (one("wharf_collection_held_seconds", 31), one("wharf_collection_held_seconds", 2)),
    "WharfBackupFailed": (one("wharf_backup_succeeded", 0), one("wharf_backup_succeeded", 1)),
    "WharfBackupTooOld": (age("wharf_backup_timestamp_seconds", 2.1), age("wharf_backup_timestamp_seconds", 1.1)),
    "WharfBackupNotChecked": (
        age("wharf_backup_checked_timestamp_seconds", 31),
        age("wharf_backup_checked_timestamp_seconds", 7) + age("wharf_backup_timestamp_seconds", 1),
    ),
    "WharfBackupDamaged": (one("wharf_backup_problems", 2), one("wharf_backup_problems", 0)),
    "WharfCertificateEnds": (expiry("server", 20), expiry("server", 29) + expiry("ca", 5)),
    "WharfCertificateEndsNow": (expiry("server", 2), expiry("server", 4)),
    "WharfAuthorityEnds": (expiry("ca", 80), expiry("ca", 100) + expiry("server", 5)),
    "WharfMirrorBehind": (
        one("wharf_mirror_lag_seconds", 3 * DAY, mirror="hub"),
        one("wharf_mirror_lag_seconds", DAY, mirror="hub"),
    ),
    "WharfPullsRunOut": (
        one("wharf_cache_pulls_remaining", 3, upstream="docker.io"),
        one("wharf_cache_pulls_remaining", 30, upstream="docker.io")
        + one("wharf_mirror_pulls_remaining", 10, mirror="hub"),
    ),
    "WharfCacheUpstreamAway": (
        one("wharf_cache_upstream_up", 0, upstream="docker.io"),
        one("wharf_cache_upstream_up", 1, upstream="docker.io"),
    ),
    "WharfRolloutFailed": (
        one("wharf_rollout_hosts", 1, outcome="rolled_back"),
        one("wharf_rollout_hosts", 5, outcome="ok") + one("wharf_rollout_hosts", 0, outcome="failed"),
    ),
    "WharfExposed": (
        one("wharf_exposure_findings", 2, severity="critical"),
        one("wharf_exposure_findings", 0, severity="critical") + one("wharf_exposure_findings", 9, severity="high"),
    ),
    "WharfSourceDamaged": (one("wharf_source_up", 0, source="backup"), one("wharf_source_up", 1, source="backup")),
    "WharfSourceStale": (
        one("wharf_source_age_seconds", 7 * 3600, source="storage"),
        one("wharf_source_age_seconds", 3600, source="storage"),
    ),
    "WharfLogNotRead": (one("wharf_log_readable", 0), one("wharf_log_readable", 1)),
    "WharfLogLags": (one("wharf_log_unread_bytes", 1 << 25), one("wharf_log_unread_bytes", 1 << 20)),
    "WharfLogGap": ([series("wharf_log_gaps_total", "0x80 1x20")], one("wharf_log_gaps_total", 1)),
    "WharfLogMalformed": (
        [series("wharf_log_lines_total", growing(1), result="malformed")],
        [series("wharf_log_lines_total", growing(0.1), result="malformed")],
    ),
    "WharfRepositoriesUncounted": (
        [series("wharf_repositories_unlabelled_total", growing(1))],
        one("wharf_repositories_unlabelled_total", 5),
    ),
}


def test_each_alert_has_both_cases():
    assert sorted(CASES) == sorted(NAMES)
    assert len(set(NAMES)) == len(NAMES)


def test_promtool_takes_the_rules():
    subprocess.run([program_of("promtool"), "check", "rules", *map(str, FILES)], check=True, capture_output=True)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """The verdicts of promtool, of all cases in one run: {(alert, fires): what is wrong}."""
    directory = tmp_path_factory.mktemp("rules")
    found = {}
    for alert, cases in CASES.items():
        for fires, told in zip((True, False), cases, strict=True):
            test = {
                "rule_files": [str(next(file for file in FILES if f"alert: {alert}\n" in file.read_text()))],
                "evaluation_interval": "1m",
                "tests": [
                    {
                        "interval": "1m",
                        "input_series": told,
                        "promql_expr_test": [
                            {
                                # 0 where there is none.
                                "expr": f'sum(ALERTS{{alertname="{alert}",alertstate="firing"}}) or vector(0)',
                                "eval_time": f"{NOW_MINUTES}m",
                                "exp_samples": [{"labels": "{}", "value": int(fires)}],
                            }
                        ],
                    }
                ],
            }
            path = directory / f"{alert}-{fires}.yml"
            path.write_text(yaml.safe_dump(test))
            found[alert, fires] = path
    return found


@pytest.mark.parametrize("alert", NAMES)
@pytest.mark.parametrize("fires", [True, False], ids=["fires", "does not fire"])
def test_an_alert(results, alert, fires):
    done = subprocess.run(
        [program_of("promtool"), "test", "rules", str(results[alert, fires])],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_backups_that_were_never_checked_are_told(results, tmp_path):
    document = yaml.safe_load(results["WharfBackupNotChecked", True].read_text())
    document["tests"][0]["input_series"] = one("wharf_backup_timestamp_seconds", 60)
    path = tmp_path / "never.yml"
    path.write_text(yaml.safe_dump(document))
    subprocess.run([program_of("promtool"), "test", "rules", str(path)], check=True, capture_output=True)


@pytest.mark.parametrize("rule", RULES, ids=NAMES)
def test_an_alert_tells_what_it_is_and_how_it_is_cured(rule):
    annotations = rule["annotations"]
    assert set(annotations) == {"summary", "description", "runbook"}
    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    playbooks = {path.name for path in (ROOT / "playbooks").glob("*.yml")}
    named = set(re.findall(r"\b([a-z]+\.yml)\b", annotations["runbook"]))
    assert named, "it names no playbook"
    assert named <= playbooks
    variables = set(
        re.findall(
            r"\b(?:monitoring|reverse_proxy|maintenance|backup|certificate|mirror|registry|exposure)_\w+",
            annotations["runbook"],
        )
    )
    assert variables <= _options(), variables - _options()
    # What is templated has labels of the result.
    assert "$labels" not in rule["expr"]


def _options():
    found = {"mirror_caches"}
    for path in ROOT.glob("roles/*/meta/argument_specs.yml"):
        for entry in yaml.safe_load(path.read_text())["argument_specs"].values():
            found |= set(entry.get("options", {}))
    return found


def test_alerts_use_metrics_and_labels_that_there_are(families):
    known = series_of(families)
    for rule in RULES:
        assert metrics_in(rule["expr"]) <= set(known), rule["alert"]
        for name, matchers in re.findall(r"(wharf_\w+)\{([^}]*)\}", rule["expr"]):
            assert set(re.findall(r"(\w+)[=!]", matchers)) <= known[name], rule["alert"]
    # And so do the tests, whose series would prove nothing otherwise.
    for cases in CASES.values():
        for row in [*cases[0], *cases[1]]:
            name, labels = re.fullmatch(r"(\w+)\{(.*)\}", row["series"]).groups()
            if name != "up":
                assert set(re.findall(r"(\w+)=", labels)) == known[name] | set(AT), row


def test_no_family_has_a_label_that_prometheus_sets_itself(families):
    for name, (_kind, labels, _about) in families.items():
        assert not {"job", "instance"} & set(labels), name

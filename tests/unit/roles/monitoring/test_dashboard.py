"""The dashboard that ships is the one that the script builds, and asks for what there is."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
import yaml
from metrics import metrics_in, series_of
from paths import ROOT
from prometheus import program as program_of

DASHBOARD = ROOT / "roles" / "monitoring" / "files" / "dashboards" / "wharf-registry.json"
# What Grafana puts in, as far as Prometheus is concerned.
VARIABLES = {"$__rate_interval": "5m", "$instance": ".*"}


@pytest.fixture(scope="module")
def board():
    return json.loads(DASHBOARD.read_text())


@pytest.fixture(scope="module")
def panels(board):
    return [panel for panel in board["panels"] if panel["type"] != "row"]


@pytest.fixture(scope="module")
def expressions(panels):
    found = [target["expr"] for panel in panels for target in panel["targets"]]
    for name, value in VARIABLES.items():
        found = [expression.replace(name, value) for expression in found]
    return found


def test_it_is_what_the_script_builds(tmp_path):
    built = tmp_path / "built.json"
    subprocess.run([sys.executable, str(ROOT / "scripts" / "dashboard"), str(built)], check=True)
    assert built.read_text() == DASHBOARD.read_text(), "run .venv/bin/python scripts/dashboard"


def test_it_asks_for_metrics_and_labels_that_there_are(expressions, families):
    known = series_of(families)
    for expression in expressions:
        assert metrics_in(expression), expression
        assert metrics_in(expression) <= set(known), expression
        for name, matchers in re.findall(r"(wharf_\w+)\{([^}]*)\}", expression):
            assert "instance=~" in matchers
            assert set(re.findall(r"(\w+)[=!]", matchers)) <= known[name] | {"instance"}, expression


def test_prometheus_takes_what_it_asks(expressions, tmp_path):
    rules = [{"record": f"one:{number}", "expr": expression} for number, expression in enumerate(expressions)]
    path = tmp_path / "rules.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    done = subprocess.run(
        [program_of("promtool"), "check", "rules", str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert f"{len(expressions)} rules found" in done.stdout


def test_legends_and_rows_name_labels_of_their_series(panels, families):
    known = series_of(families)
    for panel in panels:
        for target in panel["targets"]:
            labels = set().union(*(known[name] for name in metrics_in(target["expr"])))
            assert set(re.findall(r"\{\{(\w+)\}\}", target.get("legendFormat", ""))) <= labels, panel["title"]


def test_each_panel_has_a_place_a_unit_and_says_what_it_shows(board, panels):
    assert [row["title"] for row in board["panels"] if row["type"] == "row"] == [
        "Service",
        "Traffic by repository",
        "Storage",
        "Access",
        "Operations",
    ]
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    for panel in panels:
        assert panel["description"], panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"]
        # Whichever Prometheus is chosen.
        assert panel["datasource"]["uid"] == "${datasource}"
        assert {target["datasource"]["uid"] for target in panel["targets"]} == {"${datasource}"}
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24


def test_no_two_panels_lie_on_each_other(panels):
    taken = {}
    for panel in panels:
        place = panel["gridPos"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert taken.setdefault((x, y), panel["title"]) == panel["title"]


def test_the_registry_and_the_prometheus_can_be_chosen(board):
    assert {one["name"]: one["type"] for one in board["templating"]["list"]} == {
        "datasource": "datasource",
        "instance": "query",
    }


def test_metrics_that_count_are_shown_or_alerted(expressions, families):
    """What is neither is a metric that nobody looks at."""
    rules = "\n".join(path.read_text() for path in (ROOT / "roles/monitoring/files/alerts").glob("*.yml"))
    used = metrics_in("\n".join(expressions) + rules)
    used |= {re.sub(r"_(?:bucket|sum|count)$", "", name) for name in used}
    # Parts of what is shown, or for questions of one's own.
    own = {
        "wharf_start_time_seconds",
        "wharf_log_last_line_timestamp_seconds",
        "wharf_served_bytes_total",
        "wharf_repository_received_bytes_total",
        "wharf_repository_tags",
        "wharf_collection_duration_seconds",
        "wharf_backup_duration_seconds",
        "wharf_mirror_timestamp_seconds",
        "wharf_mirror_failed_images",
        "wharf_cache_bytes",
        "wharf_cache_limit_bytes",
        "wharf_rollout_timestamp_seconds",
        "wharf_exposure_timestamp_seconds",
    }
    assert set(families) - used == own

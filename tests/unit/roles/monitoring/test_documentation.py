"""The page on monitoring lists what the program tells and what the rules ask for."""

from __future__ import annotations

import re

import yaml
from paths import ROOT

PAGE = (ROOT / "docs" / "docsite" / "rst" / "monitoring.rst").read_text()


def rows(first):
    """The rows of the table whose first column has this title, as {first cell: the others}."""
    table = PAGE[PAGE.index(f"   * - {first}\n") :]
    table = re.split(r"\n(?=\S)", table)[0]
    cells = [re.split(r"\n     - ", row) for row in re.split(r"^   \* - ", table, flags=re.MULTILINE)[1:]]
    return {row[0].strip().strip("`"): [" ".join(cell.split()) for cell in row[1:]] for row in cells[1:]}


def test_all_metrics_are_listed_as_they_are(families):
    expected = {
        name: [", ".join(labels) or "(none)", " ".join(about.split())]
        for name, (_kind, labels, about) in families.items()
    }
    assert rows("Metric") == expected


def test_all_alerts_are_listed_with_their_severity_and_their_cure():
    listed = rows("Alert")
    found = {}
    for path in (ROOT / "roles" / "monitoring" / "files" / "alerts").glob("*.yml"):
        for group in yaml.safe_load(path.read_text())["groups"]:
            for rule in group["rules"]:
                found[rule["alert"]] = rule
    assert set(listed) == set(found)
    for name, (severity, cure) in listed.items():
        assert severity == found[name]["labels"]["severity"]
        assert words(cure) == words(found[name]["annotations"]["runbook"]), name


def words(text):
    """A text without its marks, and without what depends on labels."""
    text = re.sub(r"\{\{ \$labels\.\w+ \}\}", "X", text).replace("REGISTRY", "X").replace("-TASK", "-X")
    text = text.replace(
        "wharf-registry-1`` on the registry host. playbooks", "wharf-registry-X`` on the registry host. playbooks"
    )
    return " ".join(re.sub(r"[`\"]", "", text).split())


def test_the_help_of_a_metric_is_one_line(families):
    for name, (kind, _labels, about) in families.items():
        assert "\n" not in about
        assert about.endswith("."), name
        assert name.endswith("_total") == (kind == "counter"), name

"""maintain.yml, as an operator runs it: first what it would do, then that, then nothing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from labtest import kept_report, report_in, rows_of, run_playbook

if TYPE_CHECKING:
    import pathlib

    from labtest import DockerClient, LabHost, Registry

RULES = [{"repositories": ["day/two"], "keep_newest": 1, "keep_matching": ["^keep-"]}]
ARGUMENTS = (
    "--extra-vars=" + json.dumps({"maintenance_retention": RULES, "maintenance_retention_max_delete_percent": 90}),
    "--extra-vars=maintenance_grace_seconds=1",
)


def test_tags_and_what_only_they_led_to_go(
    lab: LabHost, registry: Registry, clients: dict[str, DockerClient], ephemeral: pathlib.Path
) -> None:
    pushed = [clients["ci"].make_image("day/two") for _each in range(3)]
    for reference in pushed:
        clients["ci"].push(reference)
    kept = f"{registry.hostname}/day/two:keep-this"
    clients["ci"].run("tag", pushed[0], kept)
    clients["ci"].push(kept)
    layers = clients["runtime"].layers(pushed[2])

    wanted = f"--extra-vars=report={ephemeral}/reports"
    foretold = run_playbook("wharf.registry.maintain", "--check", wanted, *ARGUMENTS)
    told = report_in(ephemeral / "reports", "maintain")
    assert told["check"] and len(rows_of(told, "Tags that no rule keeps")) == 2 and rows_of(told, "Foretold")
    assert "day/two:" in foretold.output
    assert sorted(registry.request("GET", "/v2/day/two/tags/list", "admin").json["tags"]) == sorted(
        reference.rpartition(":")[2] for reference in [*pushed, kept]
    )
    done = run_playbook("wharf.registry.maintain", wanted, *ARGUMENTS)
    assert foretold.changed("trixie")["trixie"] >= 1
    assert done.changed("trixie")["trixie"] >= 2
    report = json.loads(lab.output("cat /run/wharf-registry-maintenance/report.json"))
    assert report["removed"]["manifests"] >= 1
    assert report["freed"] > 0
    assert report["problems"] == []
    told = report_in(ephemeral / "reports", "maintain")
    assert (told["outcome"], told["check"]) == ("ok", False)
    (row,) = rows_of(told, "Registries")
    assert (row["freed"], row["manifests"], row["tags"]) == (report["freed"], report["removed"]["manifests"], 2)
    assert kept_report(lab, "maintain")["data"]["hosts"]["trixie"]["freed"] == report["freed"]
    assert {"name": "day/two", "tags": 2} in [
        {"name": one["name"], "tags": one["tags"]} for one in report["repositories"]
    ]
    left = registry.request("GET", "/v2/day/two/tags/list", "admin").json["tags"]
    assert sorted(left) == sorted(["keep-this", pushed[2].rpartition(":")[2]])
    assert clients["runtime"].pull_anew(pushed[2]) == layers
    clients["runtime"].pull_anew(kept)

    again = run_playbook("wharf.registry.maintain", *ARGUMENTS)
    assert again.changed("trixie") == {"trixie": 0}


def test_the_timer_is_set(lab: LabHost) -> None:
    assert lab.output("systemctl is-enabled wharf-registry-maintenance.timer").strip() == "enabled"
    assert lab.output("systemctl is-active wharf-registry-maintenance.timer").strip() == "active"
    jitter = lab.output("systemctl show --property RandomizedDelayUSec wharf-registry-maintenance.timer").strip()
    assert jitter == "RandomizedDelayUSec=1h"

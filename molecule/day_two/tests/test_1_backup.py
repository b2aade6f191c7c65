"""A backup is made while clients push, move tags and delete; what was acknowledged before it began is in it."""

from __future__ import annotations

import json
import os
import random
import time
from typing import TYPE_CHECKING

from labtest import kept_report, report_in, rows_of, run_playbook, wait_for

if TYPE_CHECKING:
    from conftest import Images, Load
    from labtest import LabHost

COMMAND = "wharf-registry-backup"
SECRETS = "/etc/wharf-registry-backup"


def status(host: LabHost) -> dict:
    return json.loads(host.output(f"{COMMAND} --json status"))


def test_a_backup_under_load(keeper: LabHost, images: Images, load: Load, ephemeral) -> None:
    images.push("quiet/app", "1.0.0")
    load.start()
    before = dict(load.settled)
    began = dict(load.counts)
    try:
        run = run_playbook("wharf.registry.backup", f"--extra-vars=report={ephemeral}/reports")
    finally:
        load.stop()
    # They went on meanwhile.
    assert all(load.counts[name] > began[name] + 3 for name in began), load.counts
    (ephemeral / "before.json").write_text(json.dumps(before))
    assert "Snapshot    " in run.output and "Holds       3 repositories" in run.output
    made = status(keeper)
    report = report_in(ephemeral / "reports", "backup")
    (row,) = rows_of(report, "Backups")
    assert (row["host"], row["outcome"], row["snapshot"]) == ("keeper", "ok", made["snapshot"])
    assert report["lines"] == made["lines"]
    assert kept_report(keeper, "backup")["data"]["hosts"]["keeper"]["last"] == made["succeeded"]
    assert made["outcome"] == "ok" and made["problems"] == [] and made["tags"] > len(before)
    print(f"under load: {load.counts}, {len(before)} tags before, {made['seconds']} s, {made['tags']} tags saved")


def test_the_next_one_is_incremental(keeper: LabHost, images: Images) -> None:
    """After the load. Blobs that were there are not read again; and nothing but the backup is made by another run."""
    keeper.run("systemctl start wharf-registry-backup.service")
    images.push("quiet/app", "1.0.1", size=300_000)
    before = status(keeper)
    assert run_playbook("wharf.registry.backup").changed("keeper") == {"keeper": 1}
    after = status(keeper)
    assert after["tags"] == before["tags"] + 1
    # Three blobs, five links: of the two layers, the revision and the tag.
    assert after["files_new"] == 8, after
    assert 300_000 < after["bytes_added"] < 600_000, after
    assert after["files_unmodified"] > 10 * after["files_changed"], after


def test_check_mode_changes_nothing() -> None:
    assert run_playbook("wharf.registry.backup", "--check").changed("keeper") == {"keeper": 0}


def test_the_timer(keeper: LabHost) -> None:
    shown = keeper.output(
        "systemctl show wharf-registry-backup.timer --property=ActiveState,Persistent,RandomizedDelayUSec"
    )
    assert sorted(shown.splitlines()) == ["ActiveState=active", "Persistent=yes", "RandomizedDelayUSec=30min"]


def test_secrets_are_roots(keeper: LabHost, ephemeral) -> None:
    found = keeper.snapshot(SECRETS, "/var/lib/wharf-registry-backup")
    assert found[SECRETS]["mode"] == "0o40700"
    assert {kept["mode"] for path, kept in found.items() if path.startswith(f"{SECRETS}/")} == {"0o100600"}
    # No copy of a key stays in the staging directory.
    assert not [path for path in found if path.endswith((".key", "http.secret", "htpasswd"))]
    password = (ephemeral / "backup").read_text().strip()
    assert password not in keeper.output("journalctl --unit=wharf-registry-backup --no-pager")


def test_what_runs_is_waited_for(keeper: LabHost) -> None:
    """Another backup is an error, and a collection of garbage is let end."""
    keeper.run("systemd-run --quiet --unit=held flock /run/wharf-registry-maintenance/lock sleep 4")
    began = time.monotonic()
    keeper.run("systemctl start --no-block wharf-registry-backup.service")
    free = "flock --nonblock /run/wharf-registry-backup.lock true"
    wait_for("it runs", lambda: keeper.run(free, check=False).returncode != 0)
    second = keeper.run(f"{COMMAND} run", check=False)
    assert second.returncode == 1 and "A backup or a restore of this registry runs already" in second.stderr
    keeper.run("systemctl start wharf-registry-backup.service")
    assert time.monotonic() - began > 3.5
    assert status(keeper)["outcome"] == "ok"


def test_it_is_killed(keeper: LabHost, images: Images) -> None:
    """At any moment. The next one does not stumble over what it left, and all that was there stays."""
    digest = images.push("quiet/app", "killed")
    saved = status(keeper)["seconds"]
    chance = random.Random()  # noqa: S311 (not a secret)
    for _turn in range(int(os.environ.get("WHARF_KILLS", "3"))):
        keeper.run("systemctl start --no-block wharf-registry-backup.service")
        time.sleep(chance.uniform(0, saved + 1))
        keeper.run("systemctl kill --signal=KILL wharf-registry-backup.service", check=False)
        assert images.digest("quiet/app", "killed") == digest
    keeper.run("systemctl reset-failed wharf-registry-backup.service; systemctl start wharf-registry-backup.service")
    after = status(keeper)
    assert after["outcome"] == "ok"
    assert after["problems"] == []


def test_a_wrong_password(keeper: LabHost) -> None:
    run = run_playbook("wharf.registry.backup", "-e", "backup_password=wrong", check=False)
    assert run.code == 2
    assert "the password does not open it" in run.output and "Set backup_password" in run.output
    # The one that fits was kept.
    assert len(json.loads(keeper.output(f"{COMMAND} --json snapshots"))["snapshots"]) >= 3


def test_a_repository_that_is_gone(keeper: LabHost, spare: LabHost) -> None:
    """It is not made anew where it was: its file system may just not be mounted."""
    spare.run("mv /srv/vault/backups /srv/vault/away")
    try:
        failed = keeper.run("systemctl start wharf-registry-backup.service", check=False)
        assert failed.returncode == 1
        assert "There is no repository at sftp:vault@spare:/srv/vault/backups" in status(keeper)["message"]
        run = run_playbook("wharf.registry.backup", check=False)
        assert run.code == 2 and "There is no repository at" in run.output and "any more" in run.output
        assert spare.output("ls /srv/vault") == "away"
    finally:
        spare.run("mv /srv/vault/away /srv/vault/backups")
    keeper.run("systemctl start wharf-registry-backup.service")


def test_a_full_disk(keeper: LabHost) -> None:
    """Of a repository in a directory, that has room for the first snapshot and not for the second."""
    other = f"{COMMAND} --config /root/other/config.json"
    keeper.run(
        "mkdir -p /srv/small && mount -t tmpfs -o size=200m tmpfs /srv/small"
        " && cp -a /etc/wharf-registry-backup /root/other"
        ' && sed -i \'s#"repository": .*#"repository": "/srv/small/r",#\' /root/other/config.json'
        " && printf /srv/small/r >/root/other/repository"
    )
    try:
        keeper.run(f"{other} init | cut -c5- >/root/other/repository.id && {other} run")
        keeper.run("head -c 1G /dev/zero >/srv/small/filler 2>/dev/null || true")
        full = keeper.run(f"{other} run", check=False)
        assert full.returncode == 1
        assert "a disk is full" in full.stderr and "what was saved is untouched" in full.stderr
        keeper.run("rm /srv/small/filler")
        assert len(json.loads(keeper.output(f"{other} --json snapshots"))["snapshots"]) == 1
        keeper.run(f"{other} run")
    finally:
        keeper.run("umount /srv/small; rm -r /root/other")

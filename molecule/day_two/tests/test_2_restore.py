"""The registry comes back on another host: the same CA, the same passwords, the same digests, and all of it hashed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from labtest import kept_report, run_playbook, wait_for

if TYPE_CHECKING:
    from conftest import Images
    from labtest import LabHost, PlaybookRun

# The containers of the registry.
OURS = "docker ps --all --filter label=registry.wharf.role --format '{{.Names}}'"
STORAGE = "/var/lib/wharf-registry/data/docker/registry/v2"
KEPT = ("/etc/wharf-registry/certificate", "/etc/wharf-registry/http.secret", "/etc/wharf-registry/proxy/auth/htpasswd")


def restore(*arguments: str, check: bool = True) -> PlaybookRun:
    return run_playbook("wharf.registry.restore", *arguments, inventory="spare", check=check)


def contents(host: LabHost) -> dict[str, str]:
    return {path: kept["content"] for path, kept in host.snapshot(*KEPT).items() if "content" in kept}


def verify(host: LabHost) -> dict:
    said = host.run("wharf-registry-backup --json verify", check=False)
    return json.loads(said.stdout)


@pytest.fixture(scope="module")
def onto_a_bare_host() -> PlaybookRun:
    return restore()


def test_onto_a_bare_host(onto_a_bare_host: PlaybookRun, keeper: LabHost, spare: LabHost) -> None:
    assert "Restored    snapshot" in onto_a_bare_host.output
    assert contents(spare) == contents(keeper)
    # By name: the numbers are others there.
    owners = "stat --format='%U %G %a' /var/lib/wharf-registry/data/docker /etc/wharf-registry/proxy/auth/htpasswd"
    assert spare.output(owners) == keeper.output(owners)
    assert spare.output("id -u wharf-registry") != keeper.output("id -u wharf-registry")
    assert (
        spare.output("find /etc /var/lib/wharf-registry -name '*.replaced' -o -name '*.restored' -o -name .restore")
        == ""
    )


def test_what_was_acknowledged_is_there(
    onto_a_bare_host: PlaybookRun, images: Images, restored: Images, ephemeral
) -> None:
    before = json.loads((ephemeral / "before.json").read_text())
    assert {tag: restored.digest("load/app", tag) for tag in before} == before
    assert restored.digest("quiet/app", "1.0.1") == images.digest("quiet/app", "1.0.1")


def test_each_tag_of_the_registry_is_there(onto_a_bare_host: PlaybookRun, keeper: LabHost, spare: LabHost) -> None:
    there, here = verify(keeper), verify(spare)
    assert here["problems"] == []
    assert here["digests"] == there["digests"]


def test_it_goes_on(onto_a_bare_host: PlaybookRun, restored: Images) -> None:
    pushed = restored.push("quiet/app", "after")
    assert restored.digest("quiet/app", "after") == pushed


def test_damage_is_shown_by_the_image(onto_a_bare_host: PlaybookRun, spare: LabHost, restored: Images) -> None:
    manifest = restored.registry.manifest("quiet/app", "1.0.1", "runtime").json
    layer = manifest["layers"][0]["digest"].partition(":")[2]
    lost = restored.digest("quiet/app", "1.0.0")
    spare.run(
        f"printf x | dd of={STORAGE}/blobs/sha256/{layer[:2]}/{layer}/data seek=100 bs=1 conv=notrunc status=none;"
        f"rm {STORAGE}/blobs/sha256/{lost[7:9]}/{lost[7:]}/data"
    )
    said = spare.run("wharf-registry-backup verify", check=False)
    assert said.returncode == 1
    lines = said.stderr.splitlines()
    assert lines[1].split() == ["IMAGE", "PROBLEM", "DIGEST"]
    assert [line.split("  ")[0] for line in lines[2:]] == ["quiet/app:1.0.0", "quiet/app:1.0.1"]
    assert "manifest missing" in lines[2] and "layer damaged" in lines[3] and layer[:12] in lines[3]


def test_a_registry_is_not_overwritten(onto_a_bare_host: PlaybookRun, restored: Images) -> None:
    run = restore(check=False)
    assert run.code == 2
    assert "This host has a registry: 3 repositories" in run.output and "restore_replace=true" in run.output
    assert restored.digest("quiet/app", "after")


def test_what_fails_is_undone(onto_a_bare_host: PlaybookRun, spare: LabHost, restored: Images) -> None:
    """Here nginx refuses its configuration, when the snapshot is in place already."""
    run = restore("-e", "restore_replace=true", "-e", "__reverse_proxy_largest_manifest=potatoes", check=False)
    assert run.code == 2
    assert "what was there before is back" in run.output and "client_max_body_size" in run.output
    assert restored.digest("quiet/app", "after")
    assert verify(spare)["problems"]


def test_one_that_was_interrupted_takes_nothing_away(
    onto_a_bare_host: PlaybookRun, spare: LabHost, restored: Images
) -> None:
    """As Ctrl-C leaves it at "Serve it": the new registry serves, and is pushed to, and is not yet proven."""
    command = "wharf-registry-backup"
    spare.run(
        f"{command} restore-fetch --replace && {command} restore-remember && docker stop $({OURS}) && "
        f"{command} restore-swap && docker start wharf-proxy-network && docker start $({OURS})"
    )
    for container in ("wharf-registry-1", "wharf-proxy"):
        wait_for(f"{container} is healthy", lambda container=container: spare.healthy(container))
    assert restored.digest("quiet/app", "after") is None
    pushed = restored.push("quiet/app", "meanwhile")
    run = restore(check=False)
    assert run.code == 2
    said = " ".join(run.output.split())
    assert "was interrupted when the new registry was in place and not yet proven" in said
    assert "restore-undo" in said and "restore_replace=true" in said
    refused = spare.run(f"{command} run", check=False)
    assert refused.returncode == 1 and "A restore runs on this host, or was interrupted" in refused.stderr
    undone = spare.run(f"{command} restore-undo", check=False)
    assert undone.returncode == 1 and "The registry runs: wharf-proxy, " in undone.stderr
    assert restored.digest("quiet/app", "meanwhile") == pushed


def test_a_snapshot_replaces_it(onto_a_bare_host: PlaybookRun, spare: LabHost, restored: Images) -> None:
    """The one that was interrupted is undone before that."""
    chosen = json.loads(spare.output("wharf-registry-backup --json snapshots"))["snapshots"][-1]["short_id"]
    run = restore("-e", "restore_replace=true", "-e", f"restore_snapshot={chosen}")
    assert f"Restored    snapshot {chosen}" in run.output
    assert verify(spare)["problems"] == []
    assert restored.digest("quiet/app", "after") is None
    assert restored.digest("quiet/app", "1.0.0")


def test_a_snapshot_that_is_not_there(onto_a_bare_host: PlaybookRun, spare: LabHost, restored: Images) -> None:
    run = spare.run("wharf-registry-backup restore-fetch --replace --snapshot 0000", check=False)
    assert run.returncode == 1
    assert "no snapshot 0000 of daytwo.lab.test. Set restore_snapshot to latest or to one of them" in run.stderr
    assert restored.digest("quiet/app", "1.0.0")


def test_the_new_host_goes_on_with_the_series(onto_a_bare_host: PlaybookRun, spare: LabHost) -> None:
    before = len(json.loads(spare.output("wharf-registry-backup --json snapshots"))["snapshots"])
    proven = json.loads(spare.output("wharf-registry-backup --json status"))["proven"]
    run_playbook("wharf.registry.backup", "-e", "backup_keep_last=100", inventory="spare")
    assert len(json.loads(spare.output("wharf-registry-backup --json snapshots"))["snapshots"]) == before + 1
    # A backup does not forget when a restore was last proven here.
    (kept,) = kept_report(spare, "backup")["data"]["hosts"].values()
    assert proven and kept["proven"] == proven

"""mirror.yml and bundles, as an operator runs them: what would be done, then that, then nothing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from labtest import LabHost, kept_report, report_in, rows_of, run_playbook

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Iterator

    from labtest import DockerClient, Registry

UNIT = "wharf-registry-mirror"
STATE = f"/var/lib/{UNIT}/state.json"
SETTINGS = "/etc/wharf-registry/mirror.json"


def arguments(reference: str) -> str:
    """From one part of the registry into another, as another user: a registry like any other to the mirror."""
    password = "{{ (lab_users | selectattr('name', 'eq', 'runtime') | first).password }}"
    mirror = {
        "name": "upstream",
        "source": {
            "registry": "registry.lab.test",
            "username": "runtime",
            "password": password,
            "ca_path": "/etc/wharf-registry/certificate/ca.crt",
        },
        "images": [{"repository": "up/stream", "to": "mirror/", "tags": {"globs": [reference.rpartition(":")[2]]}}],
    }
    return "--extra-vars=" + json.dumps({"mirror_sync": [mirror]})


@pytest.fixture(scope="module")
def upstream(clients: dict[str, DockerClient], lab: LabHost) -> Iterator[str]:
    """An image to be copied, which the mirror is asked for no more in the end."""
    reference = clients["ci"].make_image("up/stream")
    clients["ci"].push(reference)
    yield reference
    lab.run(f"systemctl reset-failed {UNIT}.service", check=False)


def state(lab: LabHost) -> dict:
    return json.loads(lab.output(f"cat {STATE}"))["mirrors"]["upstream"]


def test_images_are_copied(
    lab: LabHost, registry: Registry, upstream: str, clients: dict[str, DockerClient], ephemeral: pathlib.Path
) -> None:
    wanted = f"--extra-vars=report={ephemeral}/reports"
    tag = upstream.rpartition(":")[2]
    bare = run_playbook("wharf.registry.mirror", "--check", wanted, arguments(upstream))
    told = report_in(ephemeral / "reports", "mirror")
    assert told["check"] and [one["to"] for one in rows_of(told, "Images that would be copied")] == ["mirror/up/stream"]
    assert bare.changed("trixie")["trixie"] >= 1 and "upstream: 1 of 1 images would be copied" in bare.output
    assert lab.run(f"ls {SETTINGS}", check=False).returncode != 0
    done = run_playbook("wharf.registry.mirror", wanted, arguments(upstream))
    assert "upstream: 1 of 1 images are here" in done.output
    here, there = (registry.manifest(name, tag, "runtime").body for name in ("up/stream", "mirror/up/stream"))
    assert here == there
    copy = upstream.replace("up/stream", "mirror/up/stream")
    assert clients["runtime"].pull_anew(copy) == clients["runtime"].layers(upstream)
    for check in ((), ("--check",)):
        again = run_playbook("wharf.registry.mirror", *check, arguments(upstream))
        assert again.changed("trixie") == {"trixie": 0}, again.output
    (row,) = rows_of(report_in(ephemeral / "reports", "mirror"), "Mirrors")
    assert (row["mirror"], row["outcome"], row["images"], row["copied"], row["present"]) == ("upstream", "ok", 1, 1, 0)
    # The last one had nothing to copy.
    assert rows_of(kept_report(lab, "mirror"), "Mirrors")[0]["present"] == 1
    assert state(lab)["succeeded"] and state(lab)["images"] == 1


def test_the_timer_is_set(lab: LabHost) -> None:
    assert lab.output(f"systemctl is-enabled {UNIT}.timer") == "enabled"
    assert lab.output(f"systemctl is-active {UNIT}.timer") == "active"
    assert lab.output(f"systemctl show --property RandomizedDelayUSec {UNIT}.timer") == "RandomizedDelayUSec=1h"


def test_passwords_are_roots(lab: LabHost, registry: Registry) -> None:
    assert lab.output(f"stat --format='%U %G %a' {SETTINGS}") == "root wharf-mirror 640"
    settings = json.loads(lab.output(f"cat {SETTINGS}"))
    passwords = {settings["mirrors"][0]["options"][side]["password"] for side in ("source", "destination")}
    assert len(passwords) == 2
    said = lab.output(f"journalctl --unit {UNIT} --output cat; cat {STATE}; systemctl show {UNIT}")
    assert "was copied to mirror/up/stream" in said
    assert not [password for password in passwords if password in said]


def test_the_unit_is_shut_in(lab: LabHost) -> None:
    done = lab.run(f"systemd-analyze security --no-pager --threshold=20 {UNIT}.service", check=False)
    assert done.returncode == 0, done.stdout


def test_a_source_that_fails_leaves_what_is_there(lab: LabHost, registry: Registry, upstream: str) -> None:
    before = state(lab)["succeeded"]
    tag = upstream.rpartition(":")[2]
    digest = registry.manifest("up/stream", tag, "runtime").headers["docker-content-digest"]
    # What the tag leads to is not there any more.
    data = "/var/lib/wharf-registry/data/docker/registry/v2/repositories/up/stream/_manifests/revisions/sha256"
    lab.run(f"mv {data}/{digest[7:]} /root/moved")
    try:
        assert lab.run(f"systemctl start {UNIT}.service", check=False).returncode != 0
        assert state(lab)["stale_since"] == state(lab)["succeeded"] == before
        assert "up/stream" in state(lab)["problem"]
        doctor = run_playbook("wharf.registry.doctor", arguments(upstream))
        told = next(line for line in doctor.output.splitlines() if "mirror upstream on trixie" in line)
        assert before in told
        assert registry.manifest("mirror/up/stream", tag, "runtime").status == 200
    finally:
        lab.run(f"mv /root/moved {data}/{digest[7:]}")
    lab.run(f"systemctl start {UNIT}.service")
    assert state(lab)["stale_since"] == ""


def test_a_bundle_goes_out_and_comes_in(lab: LabHost, registry: Registry, upstream: str) -> None:
    """Out of this registry and back into it, in the place of another site's."""
    lab.run("mkdir -p /media/usb && ssh-keygen -q -t ed25519 -N '' -f /media/usb/key")
    public = lab.output("cat /media/usb/key.pub")
    options = {
        "bundle_path": "/media/usb/bundle-1",
        "bundle_images": [{"repository": "up/stream", "tags": {"globs": [upstream.rpartition(":")[2]]}}],
        "bundle_signing_key": "/media/usb/key",
        "bundle_trusted_keys": [public],
        "bundle_to": "site-b/",
        "bundle_receipt": "",
    }
    out = run_playbook("wharf.registry.bundle", "--extra-vars=" + json.dumps(options))
    assert out.changed("trixie") == {"trixie": 1} and "with 1 images" in " ".join(out.output.split())
    path = f"/v2/site-b/up/stream/manifests/{upstream.rpartition(':')[2]}"
    for check, changed in (("--check", 1), ("--diff", 1), ("--diff", 0)):
        back = run_playbook("wharf.registry.unbundle", check, "--extra-vars=" + json.dumps(options))
        assert back.changed("trixie") == {"trixie": changed}, back.output
        assert registry.request("HEAD", path, "runtime").status == (404 if check == "--check" else 200)
    lab.run("rm -r /media/usb")

"""A registry comes beside another one on its host, is kept and goes, and that one does not notice.

The tests go on from one another.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from typing import TYPE_CHECKING

import pytest
from labtest import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Instance
    from labtest import LabHost

UNITS = "systemctl list-units --all --plain --no-legend 'wharf-*' | cut -d' ' -f1,3,4"


@contextlib.contextmanager
def untouched(other: Instance) -> Iterator[None]:
    """Whatever is done meanwhile, this one has the same files and runs of its containers, and serves what it served."""
    tag = "before"
    before = other.containers, other.files, other.push("proof/app", tag)
    yield
    assert (other.containers, other.files, other.digest("proof/app", tag)) == before


def test_another_one_comes(production: Instance, staging: Instance) -> None:
    assert list(production.containers) and not staging.containers
    with untouched(production):
        staging.play("site")
    assert sorted(staging.containers) == [
        "wharf-staging-proxy",
        "wharf-staging-proxy-auth",
        "wharf-staging-proxy-network",
        "wharf-staging-registry-1",
    ]
    assert len(production.containers) == 5


def test_each_has_its_own_images(production: Instance, staging: Instance) -> None:
    ours, theirs = production.push("app/one", "v1"), staging.push("app/one", "v1")
    assert (production.digest("app/one", "v1"), staging.digest("app/one", "v1")) == (ours, theirs)
    assert ours != theirs
    staging.push("app/other", "v1")
    assert production.digest("app/other", "v1") is None


def test_passwords_of_one_open_the_other_to_nobody(production: Instance, staging: Instance) -> None:
    for one, other in ((production, staging), (staging, production)):
        password = one.registry.password("admin")
        assert one.registry.request("GET", "/v2/", "admin").status == 200
        assert other.registry.request("GET", "/v2/", "admin", password=password).status == 401


@pytest.mark.parametrize("name", ["production", "staging"])
def test_a_second_run_changes_nothing(name: str, production: Instance, staging: Instance) -> None:
    runs = production.containers | staging.containers
    again = {"production": production, "staging": staging}[name].play("site")
    assert again.changed("pair") == {"pair": 0}, again.output
    assert production.containers | staging.containers == runs


def test_accounts_and_networks_are_apart(host: LabHost, production: Instance, staging: Instance) -> None:
    numbers = host.output(
        "id --user wharf-registry wharf-proxy wharf-staging-registry wharf-staging-proxy 2>/dev/null || "
        "for name in wharf-registry wharf-proxy wharf-staging-registry wharf-staging-proxy; do id --user $name; done"
    )
    assert len(set(numbers.split())) == 4
    networks = {
        name: list(host.inspect(f"{name}-network")["NetworkSettings"]["Networks"])
        for name in ("wharf-proxy", "wharf-staging-proxy")
    }
    assert networks == {name: [name] for name in networks}
    # Neither account gets at what the other one keeps.
    for account, path in (("wharf-staging-registry", "wharf-registry"), ("wharf-registry", "wharf-staging-registry")):
        read = f"setpriv --reuid={account} --regid={account} --clear-groups ls /var/lib/{path}/data"
        assert host.run(read, check=False).returncode != 0


def test_locks_are_of_one_alone(host: LabHost, production: Instance, staging: Instance) -> None:
    """A collection or a backup of one does not wait for that of the other."""
    host.run("flock /run/wharf-registry-maintenance/lock sleep 300 > /dev/null 2>&1 & echo $! > /run/holder")
    try:
        with untouched(production):
            digest = staging.push("app/garbage", "v1")
            deleted = staging.registry.request("DELETE", f"/v2/app/garbage/manifests/{digest}", "admin")
            assert deleted.status == 202
            told = staging.play(
                "maintain", "-e", "maintenance_upload_idle_seconds=0", "-e", "maintenance_lock_seconds=5"
            )
            assert told.seconds < 120
    finally:
        host.run("kill $(cat /run/holder); pkill --full 'sleep 300'", check=False)
    assert staging.digest("app/one", "v1")


def test_backups_in_one_repository_are_apart(host: LabHost, production: Instance, staging: Instance) -> None:
    with untouched(staging):
        production.play("backup")
    with untouched(production):
        staging.play("backup")
    kept = {
        one.prefix: json.loads(host.output(f"{one.prefix}-registry-backup --json snapshots"))["snapshots"]
        for one in (production, staging)
    }
    assert {prefix: {tag for item in items for tag in item["tags"]} for prefix, items in kept.items()} == {
        "wharf": {"wharf-registry"},
        "wharf-staging": {"wharf-staging-registry"},
    }


def test_a_restore_of_one_stops_no_other(production: Instance, staging: Instance) -> None:
    digest = staging.digest("app/one", "v1")
    with untouched(production):
        staging.play("restore", "-e", "restore_replace=true")
    assert staging.digest("app/one", "v1") == digest


# The inventory of staging without its instance: the names are those of production, and a directory is not.
@pytest.mark.parametrize(
    ("playbook", "variable", "former"),
    [
        *(
            (playbook, "registry_data_directory", "/var/lib/wharf-registry/data")
            for playbook in ("site", "upgrade", "backup", "maintain", "teardown")
        ),
        ("site", "registry_config_directory", "/etc/wharf-registry/registry"),
        (
            "site",
            "reverse_proxy_config_directory",
            "/etc/wharf-registry/proxy/nginx, /etc/wharf-registry/proxy/auth",
        ),
    ],
)
def test_no_inventory_takes_the_containers_of_another_one(
    production: Instance, staging: Instance, playbook: str, variable: str, former: str
) -> None:
    with untouched(production), untouched(staging):
        refused = staging.play(playbook, "-e", "registry_instance=wharf", "-e", f"{variable}=/srv/staging", check=False)
    said = " ".join(refused.output.split())
    assert refused.code != 0
    assert f"its containers have {former}, and this inventory has /srv/staging" in said, refused.output
    assert "give registry_instance a name of its own" in said


def test_the_port_can_be_changed(production: Instance, staging: Instance) -> None:
    """The same directories: it is this registry, and the change is meant."""
    digest = staging.digest("app/one", "v1")
    moved = dataclasses.replace(staging, registry=dataclasses.replace(staging.registry, port=6443))
    with untouched(production):
        staging.play("site", "-e", "registry_port=6443")
        assert moved.digest("app/one", "v1") == digest
        staging.play("site")
    assert staging.digest("app/one", "v1") == digest


def test_both_come_back_with_the_host(host: LabHost, production: Instance, staging: Instance) -> None:
    digests = [one.digest("app/one", "v1") for one in (production, staging)]
    host.reboot()
    for one in (production, staging):
        name = f"{one.prefix}-proxy"
        wait_for(f"{name} is healthy", lambda name=name: host.healthy(name))
    assert [one.digest("app/one", "v1") for one in (production, staging)] == digests


def test_one_goes(host: LabHost, production: Instance, staging: Instance) -> None:
    with untouched(production):
        staging.play("teardown", "-e", "registry_teardown_data=true")
        left = host.output(
            "find / -xdev -name '*wharf-staging*' ! -path '/proc/*'; docker ps --all --format '{{.Names}}'; "
            "docker network ls --format '{{.Name}}'; getent passwd; getent group; " + UNITS
        )
        assert "wharf-staging" not in left
        assert production.push("app/after", "v1") == production.digest("app/after", "v1")
    again = production.play("site")
    assert again.changed("pair") == {"pair": 0}, again.output

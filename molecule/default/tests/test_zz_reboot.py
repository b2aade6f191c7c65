"""After a reboot of the host everything is there again. Last, since it interrupts everything else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labtest import wait_for
from test_connections import LIMIT, filtered

if TYPE_CHECKING:
    from labtest import DockerClient, LabHost, Registry


def test_the_network_is_started_anew(lab: LabHost, registry: Registry) -> None:
    """Processes in the old one would get no connections any more. No administrator has to act."""
    holder = lab.inspect("wharf-proxy-network")["State"]
    lab.run(f"kill -9 {holder['Pid']}")
    wait_for("it runs again", lambda: lab.inspect("wharf-proxy-network")["State"]["StartedAt"] != holder["StartedAt"])

    def served() -> bool:
        try:
            return registry.request("GET", "/v2/", "runtime").status == 200
        except OSError:
            return False

    print(f"served again after {wait_for('the registry is served', served):.1f} s")
    # In the new network, before nginx was started in it.
    assert f"--connlimit-above {LIMIT} " in filtered(lab)


def test_reboot(lab: LabHost, registry: Registry, clients: dict[str, DockerClient], replicas: list[str]) -> None:
    reference = clients["ci"].make_image("reboot/probe")
    tag = reference.rpartition(":")[2]
    layers = clients["ci"].layers(reference)
    digest = clients["ci"].push(reference)

    print(f"rebooted in {lab.reboot():.1f} s")
    for container in (*replicas, "wharf-proxy", "wharf-proxy-auth"):
        took = wait_for(f"{container} is healthy", lambda container=container: lab.healthy(container))
        print(f"{container} healthy after another {took:.1f} s")

    wait_for("connections are counted", lambda: f"--connlimit-above {LIMIT} " in filtered(lab), 10)
    assert registry.manifest("reboot/probe", tag, "runtime").headers["Docker-Content-Digest"] == digest
    assert clients["runtime"].pull_anew(reference) == layers
    again = clients["ci"].make_image("reboot/probe")
    clients["ci"].push(again)

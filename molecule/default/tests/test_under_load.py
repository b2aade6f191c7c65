"""Whatever happens to the proxy and the replicas, real clients push and pull on, and none of them fails."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING

import pytest
from labtest import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from labtest import DockerClient, LabHost

# How a time went is a line of $log.
NOTE = """
note() {
  if said=$("$@" 2>&1); then echo ok; else echo "FAILED: $said" | tr '\\n' ' '; echo; fi >>$log
}
"""
# Pushes an image that nobody has seen before, or pulls one anew, again and again.
PUSH = f"""{NOTE}
while :; do
  reference=$repository:$(cat /proc/sys/kernel/random/uuid)
  head -c 3M /dev/urandom >$work/payload
  tar -C $work -c payload | docker import - $reference >/dev/null
  note docker --config $config push $reference
  docker image rm $reference >/dev/null
done
"""
PULL = f"""{NOTE}
while :; do
  docker --config $config image rm --force $repository >/dev/null 2>&1
  note docker --config $config pull $repository
done
"""


@dataclasses.dataclass(frozen=True)
class Load:
    """Clients that push and pull meanwhile."""

    host: LabHost
    names: tuple[str, ...] = ("pushes", "pulls")

    def start(self, name: str, script: str, repository: str, client: DockerClient) -> None:
        log = f"/run/load-{name}"
        self.host.run(
            f"rm -f {log}; cat >/run/load-{name}.sh; mkdir -p /run/load-work; systemd-run --quiet --collect "
            f"--unit=load-{name} --setenv=repository={repository} --setenv=config={client.config} --setenv=log={log} "
            f"--setenv=work=/run/load-work --setenv=HOME=/root sh /run/load-{name}.sh",
            stdin=script,
        )

    def stop(self) -> None:
        for name in self.names:
            self.host.run(f"systemctl stop load-{name}", check=False)

    def counts(self) -> dict[str, int]:
        """How many have gone well. None has failed."""
        found = {
            name: self.host.output(f"cat /run/load-{name} 2>/dev/null || true").splitlines() for name in self.names
        }
        failed = [line for lines in found.values() for line in lines if line != "ok"]
        assert not failed, failed
        return {name: len(lines) for name, lines in found.items()}

    def go_on(self) -> None:
        """Some more have begun and ended well from now on."""
        before = self.counts()
        wait_for("pushes and pulls go on", lambda: all(self.counts()[name] >= before[name] + 3 for name in self.names))


@pytest.fixture(scope="module")
def load(lab: LabHost, clients: dict[str, DockerClient]) -> Iterator[Load]:
    probe = clients["ci"].make_image("load/probe")
    clients["ci"].push(probe)
    load = Load(lab)
    load.start("pushes", PUSH, f"{clients['ci'].registry.hostname}/load/pushed", clients["ci"])
    load.start("pulls", PULL, probe, clients["runtime"])
    load.go_on()
    yield load
    load.stop()
    print("under load: " + ", ".join(f"{count} {name}" for name, count in load.counts().items()))


def test_reloads(load: Load, lab: LabHost) -> None:
    for _turn in range(8):
        for container, config in (("wharf-proxy-auth", "auth.conf"), ("wharf-proxy", "nginx.conf")):
            lab.run(f"docker exec {container} nginx -c /etc/wharf-proxy/{config} -s reload")
        time.sleep(0.5)
    load.go_on()


def test_a_replica_is_killed(load: Load, lab: LabHost, replicas: list[str]) -> None:
    for replica in replicas:
        lab.run(f"docker kill --signal KILL {replica}")
        load.go_on()
        lab.run(f"docker start {replica}")
        wait_for(f"{replica} is healthy again", lambda replica=replica: lab.healthy(replica))


def test_what_is_remembered_needs_no_check(load: Load, lab: LabHost) -> None:
    """The container that computes passwords may be away for a while."""
    lab.run("docker kill --signal KILL wharf-proxy-auth")
    load.go_on()
    lab.run("docker start wharf-proxy-auth")
    wait_for("passwords are checked again", lambda: lab.healthy("wharf-proxy-auth"))

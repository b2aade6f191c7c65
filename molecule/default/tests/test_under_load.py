"""Whatever happens to the proxy and the replicas, real clients push and pull on, and none of them fails."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import time
from typing import TYPE_CHECKING

import pytest
from labtest import control, run_playbook, wait_for

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Iterator

    from labtest import DockerClient, LabHost, Registry

# How a time went is a line of $log.
NOTE = """
note() {
  if said=$("$@" 2>&1); then echo ok; else echo "FAILED: $said" | tr '\\n' ' '; echo; fi >>$log
}
"""
# Seconds between two pushes, and between two pulls. What else runs needs processors, too.
PAUSE = os.environ.get("WHARF_PAUSE", "1.5")
# Pushes a new image, or pulls one anew, again and again.
PUSH = f"""{NOTE}
while :; do
  reference=$repository:$(cat /proc/sys/kernel/random/uuid)
  head -c 1M /dev/urandom >$work/payload
  tar -C $work -c payload | docker import - $reference >/dev/null
  note docker --config $config push $reference
  [ "$(tail -n 1 $log)" != ok ] || echo ${{reference##*:}} >>$log-tags
  docker image rm $reference >/dev/null
  sleep $pause
done
"""
PULL = f"""{NOTE}
while :; do
  docker --config $config image rm --force $repository >/dev/null 2>&1
  note docker --config $config pull $repository
  sleep $pause
done
"""
# A new connection each time, up to ten a second. The host has no curl.
CONNECT = """
exec python3 -c '
import os, ssl, time, urllib.request
trusting = ssl._create_unverified_context()
address = "https://" + os.environ["repository"].split("/")[0] + "/healthz"
with open(os.environ["log"], "a", buffering=1) as log:
    while True:
        try:
            urllib.request.urlopen(address, context=trusting, timeout=30).close()
            said = "ok"
        except OSError as error:
            said = f"FAILED: {error!r}"
        log.write(said + "\\n")
        time.sleep(0.1)
'
"""


@dataclasses.dataclass(frozen=True)
class Load:
    """Clients that push and pull meanwhile."""

    host: LabHost
    names: tuple[str, ...] = ("pushes", "pulls", "connections")

    def start(self, name: str, script: str, repository: str, client: DockerClient) -> None:
        log = f"/run/load-{name}"
        self.host.run(
            f"rm -f {log} {log}-tags; cat >/run/load-{name}.sh; mkdir -p /run/load-work; systemd-run --quiet --collect "
            f"--unit=load-{name} --setenv=repository={repository} --setenv=config={client.config} --setenv=log={log} "
            f"--setenv=work=/run/load-work --setenv=pause={PAUSE} --setenv=HOME=/root sh /run/load-{name}.sh",
            stdin=script,
        )

    def stop(self) -> None:
        for name in self.names:
            self.host.run(f"systemctl stop load-{name}", check=False)

    def counts(self) -> dict[str, int]:
        """How many have gone well. None has failed."""
        logs = " ".join(f"/run/load-{name}" for name in self.names)
        found = {name: [] for name in self.names}
        for line in self.host.output(f"grep --with-filename '' {logs} 2>/dev/null || true").splitlines():
            log, _colon, said = line.partition(":")
            found[log.removeprefix("/run/load-")].append(said)
        failed = [line for lines in found.values() for line in lines if line != "ok"]
        assert not failed, failed
        return {name: len(lines) for name, lines in found.items()}

    def acknowledged(self) -> set[str]:
        """The tags whose push has ended well."""
        return set(self.host.output("cat /run/load-pushes-tags").split())

    def go_on(self) -> None:
        """Some more have begun and ended well from now on."""
        before = self.counts()

        def more() -> bool:
            now = self.counts()
            return all(now[name] >= before[name] + 3 for name in self.names)

        wait_for("pushes and pulls go on", more, pause=1.5, longest=1.5)


@pytest.fixture(scope="module")
def load(lab: LabHost, clients: dict[str, DockerClient]) -> Iterator[Load]:
    probe = clients["ci"].make_image("load/probe")
    clients["ci"].push(probe)
    load = Load(lab)
    load.start("pushes", PUSH, f"{clients['ci'].registry.hostname}/load/pushed", clients["ci"])
    load.start("pulls", PULL, probe, clients["runtime"])
    load.start("connections", CONNECT, probe, clients["runtime"])
    try:
        load.go_on()
        yield load
    finally:
        load.stop()
    print("under load: " + ", ".join(f"{count} {name}" for name, count in load.counts().items()))


def test_reloads(load: Load, lab: LabHost) -> None:
    for _turn in range(8):
        for container, name in (("wharf-proxy-auth", "auth"), ("wharf-proxy", "nginx")):
            lab.run(f"docker exec {container} sh /etc/wharf-proxy/{name}/nginx.sh load {name}")
        time.sleep(0.5)
    load.go_on()


def test_a_replica_is_killed(load: Load, lab: LabHost, replicas: list[str]) -> None:
    for replica in replicas:
        lab.run(f"docker kill --signal KILL {replica}")
        load.go_on()
        lab.run(f"docker start {replica}")
        wait_for(f"{replica} is healthy again", lambda replica=replica: lab.healthy(replica))


@pytest.mark.long
def test_what_is_remembered_needs_no_check(load: Load, lab: LabHost) -> None:
    """The container that computes passwords may be away for a while."""
    lab.run("docker kill --signal KILL wharf-proxy-auth")
    load.go_on()
    lab.run("docker start wharf-proxy-auth")
    wait_for("passwords are checked again", lambda: lab.healthy("wharf-proxy-auth"))


REPORT = "/run/wharf-registry-maintenance/report.json"
# Tags that the tests delete.
DELETED: set[str] = set()
# How often a playbook is killed, besides the once of an upgrade.
KILLS = int(os.environ.get("WHARF_KILLS", "0"))
SEED = int(os.environ.get("WHARF_SEED") or time.time())


def pushed(registry: Registry) -> list[str]:
    return sorted(registry.request("GET", "/v2/load/pushed/tags/list", "admin").json["tags"])


def delete(registry: Registry, tag: str) -> None:
    digest = registry.manifest("load/pushed", tag, "admin").headers["Docker-Content-Digest"]
    DELETED.add(tag)
    assert registry.request("DELETE", f"/v2/load/pushed/manifests/{digest}", "admin").status == 202


@pytest.mark.long
def test_collections(load: Load, lab: LabHost, registry: Registry) -> None:
    """What nothing needs goes while others push and pull, and all that they have pushed stays."""
    settings = json.loads(lab.output("cat /etc/wharf-registry/maintenance.json"))
    lab.run("cat >/run/maintenance.json", stdin=json.dumps({**settings, "grace_seconds": 1, "push_seconds": 20}))
    freed, held = 0, []
    for _turn in range(6):
        wait_for("something is pushed", lambda: len(pushed(registry)) > 1)
        delete(registry, pushed(registry)[0])
        kept = pushed(registry)
        lab.run("python3 -B /usr/local/lib/wharf-registry/collector collect /run/maintenance.json")
        report = json.loads(lab.output(f"cat {REPORT}"))
        freed += report["freed"]
        held.append(report["held_seconds"])
        assert report["problems"] == []
        for tag in kept:
            manifest = registry.manifest("load/pushed", tag, "admin")
            for blob in [manifest.json["config"], *manifest.json["layers"]]:
                assert registry.blob_digest("load/pushed", blob["digest"], "admin") == (blob["digest"], blob["size"])
    # A megabyte each time, but where an upload went on just then: what is new stays there.
    assert freed > 1 << 20
    assert max(held) < 5, held
    load.go_on()
    print(f"six collections freed {freed >> 20} MiB and held the registry for {held} seconds")


# What the role runs of nginx, and what asks for another image of it, which the host has.
PROXIES = ("wharf-proxy-auth", "wharf-proxy")
NEWER_NGINX = (
    "--extra-vars=reverse_proxy_image_source=pull",
    "--extra-vars=reverse_proxy_image=lab.local/nginx:9.0.0",
)


def make_newer(lab: LabHost, image: str, name: str) -> None:
    lab.run(
        f"docker rm --force newer; docker run --name newer --entrypoint sh {image} -c 'echo newer >/etc/newer' && "
        f"docker commit newer {name} && docker rm newer"
    )


def test_a_new_image_and_configuration_roll(
    load: Load, lab: LabHost, replicas: list[str], ephemeral: pathlib.Path
) -> None:
    """Replica by replica, from an archive on the control node, and nginx beside nginx, while others push and pull."""
    make_newer(lab, lab.inspect(replicas[0])["Config"]["Image"], "lab.local/registry:9.0.0")
    lab.run("docker save --output /root/newer.tar lab.local/registry:9.0.0 && docker image rm lab.local/registry:9.0.0")
    control("docker", "cp", f"{lab.container}:/root/newer.tar", str(ephemeral / "newer.tar"))
    lab.run("rm /root/newer.tar")
    make_newer(lab, lab.inspect("wharf-proxy")["Config"]["Image"], "lab.local/nginx:9.0.0")
    before = {name: lab.inspect(name)["Id"] for name in (*replicas, *PROXIES)}
    holder = lab.inspect("wharf-proxy-network")["Id"]
    upgrade = (
        f"--extra-vars=registry_image_archive={ephemeral / 'newer.tar'}",
        "--extra-vars=registry_image=lab.local/registry:9.0.0",
        "--extra-vars=registry_log_level=warn",
        *NEWER_NGINX,
    )
    # It is killed, at any moment, and another run finds its way.
    chance = random.Random(SEED)  # noqa: S311 (not a secret)
    print(f"WHARF_SEED={SEED}")
    # The later, the more of it is done twice. `make kills` kills it up to its end.
    run_playbook("wharf.registry.upgrade", *upgrade, check=False, killed_after=chance.uniform(10, 90 if KILLS else 30))
    run = run_playbook("wharf.registry.upgrade", *upgrade)
    (ephemeral / "newer.tar").unlink()
    # Where the killed one had not got that far.
    assert "lab.local/registry:9.0.0" in run.output
    for replica in replicas:
        now = lab.inspect(replica)
        assert now["Id"] != before[replica]
        assert now["Config"]["Image"] == "lab.local/registry:9.0.0"
        lab.run(f"docker exec {replica} test -e /etc/newer")
        assert "level: warn" in lab.output(f"cat /etc/wharf-registry/registry/config-{replica[-1]}.yml")
    for proxy in PROXIES:
        now = lab.inspect(proxy)
        assert now["Id"] != before[proxy]
        assert now["Config"]["Image"] == "lab.local/nginx:9.0.0"
    assert lab.inspect("wharf-proxy-network")["Id"] == holder
    assert "-next" not in lab.output("docker ps --all --format '{{.Names}}'")
    load.go_on()


@pytest.mark.long
def test_an_image_that_does_not_serve_goes_back(load: Load, lab: LabHost, replicas: list[str]) -> None:
    lab.run(
        "docker rm --force broken; docker run --name broken --entrypoint /bin/sh lab.local/registry:9.0.0 -c "
        "'rm -f $(readlink -f $(which registry))' && docker commit broken lab.local/registry:9.0.1 && docker rm broken"
    )
    run = run_playbook(
        "wharf.registry.upgrade",
        "--extra-vars=registry_image_source=pull",
        "--extra-vars=registry_image=lab.local/registry:9.0.1",
        "--extra-vars=registry_log_level=debug",
        "--extra-vars=registry_start_timeout=15",
        check=False,
    )
    assert run.code != 0
    assert "wharf-registry-1 on trixie did not become healthy" in run.output
    assert "Its former image and configuration are back, and serve" in run.output
    newer = lab.output("docker image inspect --format {{.Id}} lab.local/registry:9.0.0").strip()
    for replica in replicas:
        assert lab.inspect(replica)["Image"] == newer
        # The role has run the check itself, and the engine runs it when an interval is over.
        wait_for(f"{replica} is healthy", lambda replica=replica: lab.healthy(replica), 20)
    assert "level: warn" in lab.output("cat /etc/wharf-registry/registry/config-1.yml")
    load.go_on()


@pytest.mark.long
def test_an_nginx_that_would_not_answer_is_not_run(load: Load, lab: LabHost) -> None:
    """Its configuration can be read, by `nginx -t`, and no registry is behind it."""
    before = {proxy: lab.inspect(proxy)["Id"] for proxy in PROXIES}
    read = "cat /etc/wharf-registry/proxy/nginx/nginx.conf /etc/wharf-registry/proxy/auth/auth.conf"
    configuration = lab.output(read)
    run = run_playbook(
        "proxy.yml",
        # What the sockets lie below: another directory would be that of another registry.
        "--extra-vars=reverse_proxy_socket_directory=/var/lib/wharf-registry",
        "--extra-vars=reverse_proxy_log_format=text",
        "--extra-vars=reverse_proxy_start_timeout=10",
        *NEWER_NGINX,
        check=False,
    )
    assert run.code != 0
    said = " ".join(run.output.split())
    assert "it answers 503, and not 200, to a request for /healthz (the registry behind it has to answer)" in said
    assert "The running proxy keeps serving." in said
    assert {proxy: lab.inspect(proxy)["Id"] for proxy in PROXIES} == before
    assert lab.output(read) == configuration
    load.go_on()


BACKUP = (
    "--extra-vars=backup_repository=/srv/backups",
    "--extra-vars=backup_password=of-the-lab-alone",
    # Far from any run of the tests.
    "--extra-vars={backup_schedule: '*-01-01 00:00:00'}",
)


@pytest.mark.long
def test_a_backup(load: Load, lab: LabHost) -> None:
    acknowledged = load.acknowledged()
    run_playbook("wharf.registry.backup", *BACKUP)
    made = json.loads(lab.output("wharf-registry-backup --json status"))
    assert made["outcome"] == "ok"
    assert made["problems"] == []
    # Those that had been acknowledged, but for those that are deleted, and what else is there.
    assert made["tags"] > len(acknowledged - DELETED)
    load.go_on()


@pytest.mark.skipif(not KILLS, reason="WHARF_KILLS is not set: one kill of an upgrade is among the tests before")
def test_a_playbook_is_killed(load: Load, lab: LabHost, replicas: list[str]) -> None:
    """At any moment of an upgrade, a collection or a backup. Another run finds its way, and no client notices."""
    make_newer(lab, "lab.local/nginx:9.0.0", "lab.local/nginx:9.0.1")
    settings = ("--extra-vars=registry_image_source=pull", "--extra-vars=registry_image=lab.local/registry:9.0.0")
    chance = random.Random(SEED)  # noqa: S311 (not a secret)
    for turn in range(KILLS):
        # Each time another image and configuration than before.
        upgrade = (
            *settings,
            *NEWER_NGINX,
            f"--extra-vars=reverse_proxy_image=lab.local/nginx:9.0.{turn % 2}",
            f"--extra-vars=registry_log_level={('info', 'debug')[turn % 2]}",
        )
        playbook, arguments, most = chance.choice(
            [
                ("wharf.registry.upgrade", upgrade, 100),
                ("wharf.registry.upgrade", upgrade, 100),
                ("wharf.registry.maintain", ("--extra-vars=maintenance_grace_seconds=1",), 15),
                ("wharf.registry.backup", BACKUP, 20),
            ]
        )
        run_playbook(playbook, *arguments, check=False, killed_after=chance.uniform(2, most))
        load.go_on()
    run_playbook("wharf.registry.upgrade", *settings, *NEWER_NGINX)
    run_playbook("wharf.registry.backup", *BACKUP)
    assert "-next" not in lab.output("docker ps --all --format '{{.Names}}'")
    for container in (*replicas, *PROXIES):
        wait_for(f"{container} is healthy", lambda container=container: lab.healthy(container), 20)
    load.go_on()


def test_no_tag_is_lost(load: Load, registry: Registry) -> None:
    acknowledged = load.acknowledged()
    assert acknowledged - DELETED - set(pushed(registry)) == set()
    print(f"{len(acknowledged)} tags were pushed, {len(DELETED)} deleted, and none is lost")

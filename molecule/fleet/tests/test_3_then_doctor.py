"""What doctor.yml says of a fleet in which all is well, and of one in which each host is broken in another way.

After the failures, where the engine of fleet-e has been restarted before, which its container does not outlive.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from conftest import HOSTNAME
from labtest import PlaybookRun, kept_report, report_in, rows_of, run_playbook

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Iterator

    from conftest import Client
    from labtest import Registry

# A host that is in the inventory and not there.
GONE = """
runtimes:
  hosts:
    fleet-gone: {ansible_connection: ssh, ansible_host: 127.0.0.1, ansible_port: 1}
"""
PROXY = "[Service]\nEnvironment=HTTPS_PROXY=http://127.0.0.1:9\n"
DROP_IN = "/etc/systemd/system/docker.service.d/doctor.conf"
# However often it was restarted just now.
RESTART = "systemctl daemon-reload && systemctl reset-failed docker && systemctl restart docker"
LOGIN = "~builder/.docker/config.json"
TEMPORARY = "/var/lib/docker/tmp"


def table(run: PlaybookRun) -> dict[str, tuple[str, str]]:
    """The hop that fails, and all that is said of it, by host."""
    lines = run.output.partition("FAILS AT")[2].partition("\n\n")[0].splitlines()
    found, host = {}, ""
    for line in lines[1:]:
        assert len(line) <= 120, line
        row = re.match(r" +(fleet-\S+) +(\S+(?: \S+)*) {2,}(\S.*)", line)
        if row and not line.startswith(" " * 12):
            host = row[1]
            found[host] = (row[2], row[3])
        else:
            found[host] = (found[host][0], f"{found[host][1]} {line.strip()}")
    return found


@pytest.mark.long
def test_all_is_well(clients: dict[str, Client]) -> None:
    run = run_playbook("wharf.registry.doctor")
    engines = {name: client.engine for name, client in clients.items()}
    expected = {name: ("-", f"pulled by {engine}") for name, engine in engines.items()}
    expected |= dict.fromkeys(("fleet-registry", "fleet-a"), ("-", "pushed and pulled by docker"))
    assert table(run) == expected, run.output
    assert set(run.changed(*clients, "fleet-registry").values()) == {0}


def state(clients: dict[str, Client]) -> dict[str, object]:
    """All that the collection or an engine keeps, with the images that are there."""
    return {
        name: (
            client.places(),
            client.type(
                f"{client.cli} images --no-trunc --format '{{{{.Repository}}}}:{{{{.Tag}}}} {{{{.ID}}}}' | sort"
            ),
        )
        for name, client in clients.items()
    }


@pytest.fixture(scope="class")
def broken(clients: dict[str, Client], probe: str, ephemeral: pathlib.Path) -> Iterator[tuple[PlaybookRun, dict, dict]]:
    """A run that looks for an image, and what all hosts had before and after."""
    place = f"{clients['fleet-b'].certificates}/{HOSTNAME}"
    breaks = {
        "fleet-a": (f"mv {LOGIN} {LOGIN}.kept", f"mv {LOGIN}.kept {LOGIN}"),
        # As for a port that the registry does not have.
        "fleet-b": (f"mv {place} {place}:5000", f"mv {place}:5000 {place}"),
        # The file is a mount, which nothing can take the place of.
        "fleet-c": (
            f"cp /etc/hosts /root/hosts; echo {clients['fleet-a'].address} {HOSTNAME} >> /etc/hosts",
            "cat /root/hosts > /etc/hosts; rm /root/hosts",
        ),
        "fleet-d": (
            f"mkdir -p {TEMPORARY}; mount -t tmpfs -o size=4k tmpfs {TEMPORARY}; echo > {TEMPORARY}/full",
            f"umount {TEMPORARY}",
        ),
        "fleet-e": (
            f"mkdir -p {DROP_IN.rpartition('/')[0]}; cat > {DROP_IN}; {RESTART}",
            f"rm {DROP_IN}; {RESTART}",
        ),
    }
    inventory = ephemeral / "gone.yml"
    inventory.write_text(GONE)
    for name, (script, _mend) in breaks.items():
        clients[name].run(script, stdin=PROXY)
    try:
        before = state(clients)
        image = probe.partition("/")[2]
        run = run_playbook(
            "wharf.registry.doctor",
            f"--inventory={inventory}",
            f"--extra-vars=doctor_image={image} report={ephemeral}/reports",
            check=False,
        )
        yield run, before, state(clients)
    finally:
        for name, (_script, mend) in breaks.items():
            clients[name].run(mend)


class TestBroken:
    """No host is blamed for the fault of another."""

    def test_each_is_named_with_its_cure(
        self, broken: tuple[PlaybookRun, dict, dict], clients: dict[str, Client], registry: Registry
    ) -> None:
        run = broken[0]
        said = table(run)
        expected = {
            "fleet-registry": ("-", "pulled by docker"),
            "fleet-a": ("credentials", "not logged in", "'builder'", "rollout.yml --limit fleet-a"),
            "fleet-b": ("TLS", "the CA is unknown on this host", f"{HOSTNAME}:5000", "rollout.yml --limit fleet-b"),
            "fleet-c": (
                "connection",
                "leads to another address",
                f"{clients['fleet-a'].address} here by /etc/hosts, and {registry.host.address} on 4 other hosts",
                "Correct the name in /etc/hosts",
            ),
            "fleet-d": ("pull", "the disk of the engine is full", TEMPORARY, "Free space"),
            "fleet-e": ("pull", "an HTTP proxy stands in the way", "127.0.0.1:9", f"add {HOSTNAME} to NO_PROXY"),
            "fleet-f": ("-", "pulled by containerd"),
            "fleet-gone": ("ansible", "Ansible does not reach this host", "ansible fleet-gone -m ping"),
        }
        assert set(said) == set(expected), run.output
        for host, (hop, *wanted) in expected.items():
            assert said[host][0] == hop, run.output
            for text in wanted:
                assert text in said[host][1], run.output

    def test_the_report_says_the_same(
        self, broken: tuple[PlaybookRun, dict, dict], registry: Registry, ephemeral: pathlib.Path
    ) -> None:
        report, said = report_in(ephemeral / "reports", "doctor"), table(broken[0])
        failed = {row["host"]: row["hop"] for row in rows_of(report, "What failed")}
        assert failed == {host: hop for host, (hop, _words) in said.items() if hop != "-"}
        assert all(row["cure"] for row in rows_of(report, "What failed") if row["host"] != "fleet-gone")
        kept = kept_report(registry.host, "doctor")["data"]["hosts"]
        assert {host: one["hop"] for host, one in kept.items() if one["hop"]} == failed

    def test_it_ends_as_failed_after_the_table(self, broken: tuple[PlaybookRun, dict, dict]) -> None:
        run = broken[0]
        assert run.code == 2
        failed = {host for host, counts in run.recap.items() if counts["failed"]}
        assert failed == {"fleet-a", "fleet-b", "fleet-c", "fleet-d", "fleet-e", "fleet-gone"}
        assert 0 < run.output.index("FAILS AT") < run.output.index("fails at")

    def test_it_changes_nothing(self, broken: tuple[PlaybookRun, dict, dict]) -> None:
        run, before, after = broken
        assert after == before
        assert sum(counts["changed"] for counts in run.recap.values()) == 0

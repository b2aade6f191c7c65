"""A change that is rolled out to a fleet in which not all is well: it stops, and no host is worse off."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING

import pytest
from conftest import HOSTNAME, content
from labtest import PlaybookRun, kept_report, report_in, rows_of, run_playbook

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Iterator

    from conftest import Client
    from labtest import Registry

DAEMON = "/etc/docker/daemon.json"
# As an administrator leaves it who is called away. Docker runs on as it is, and would not start again.
MALFORMED = b'{\n   "log-driver": "json-file",\n   "labels": ["site=north", "rack=7"\n   "debug": tru'
# The engine's own way out leads nowhere; other processes of the host have another.
PROXY = "[Service]\nEnvironment=HTTPS_PROXY=http://127.0.0.1:9\n"


@dataclasses.dataclass(frozen=True)
class Rollout:
    """A rollout, with what each client had before it and after it."""

    run: PlaybookRun
    before: dict[str, dict]
    after: dict[str, dict]


def table(run: PlaybookRun) -> dict[str, dict[str, str]]:
    """The table at the end, by host."""
    rows = [re.split(r"\s{2,}", line.strip(" '\"")) for line in re.findall(r"^ +- (.*)$", run.output, re.MULTILINE)]
    titles = next(row for row in rows if row[0] == "HOST")
    return {row[0]: dict(zip(titles, row, strict=True)) for row in rows if len(row) == len(titles) and row != titles}


def last_words(run: PlaybookRun, host: str) -> str:
    """What is said of a host below the table, where it failed."""
    return " ".join(run.output.rpartition("HOST ")[2].partition(f"[{host}]")[2].partition("fatal:")[0].split())


def outcomes(run: PlaybookRun) -> dict[str, str]:
    return {host: row["OUTCOME"] for host, row in table(run).items()}


@pytest.mark.long
class TestForeseen:
    """In check mode, before anything has gone wrong."""

    def test_all_that_would_change_is_told_and_nothing_does(
        self, clients: dict[str, Client], change: tuple[str, ...]
    ) -> None:
        before = {name: client.places() for name, client in clients.items()}
        run = run_playbook("wharf.registry.rollout", *change, "--check", "--diff")
        assert outcomes(run) == dict.fromkeys(clients, "changed"), run.output
        assert {name: client.places() for name, client in clients.items()} == before


@pytest.fixture(scope="class")
def poisoned(clients: dict[str, Client], change: tuple[str, ...], ephemeral: pathlib.Path) -> Iterator[Rollout]:
    """A rollout that meets a malformed daemon.json in its second batch, and what all hosts had before and after."""
    kept = content(clients["fleet-b"].snapshot(DAEMON)[DAEMON]).decode()
    clients["fleet-b"].run(f"cat > {DAEMON}", stdin=MALFORMED.decode())
    before = {name: client.places() for name, client in clients.items()}
    wanted = f"--extra-vars=report={ephemeral}/reports"
    run = run_playbook("wharf.registry.rollout", wanted, *change, check=False)
    yield Rollout(run, before, {name: client.places() for name, client in clients.items()})
    clients["fleet-b"].run(f"cat > {DAEMON}", stdin=kept)


class TestPoisoned:
    """Its second batch has a host whose settings no program can read."""

    def test_it_fails_and_names_the_host(self, poisoned: Rollout) -> None:
        run = poisoned.run
        assert run.code != 0
        expected = {"fleet-a": "changed", "fleet-b": "rolled_back", "fleet-c": "changed"}
        assert outcomes(run) == {**expected, **dict.fromkeys(("fleet-d", "fleet-e", "fleet-f"), "skipped")}, run.output
        assert table(run)["fleet-b"]["BATCH"] == "2"
        # The file is named, and what is wrong with it.
        assert DAEMON in last_words(run, "fleet-b"), run.output

    def test_the_report_says_the_same(self, poisoned: Rollout, registry: Registry, ephemeral: pathlib.Path) -> None:
        report, expected = report_in(ephemeral / "reports", "rollout"), outcomes(poisoned.run)
        assert report["outcome"] == "failed"
        (failed,) = rows_of(report, "What failed")
        assert failed["host"] == "fleet-b" and DAEMON in failed["said"]
        assert {row["host"]: row["outcome"] for row in rows_of(report, "Hosts")} == expected
        kept = kept_report(registry.host, "rollout")["data"]["hosts"]
        assert {host: kept[host]["outcome"] for host in expected} == expected
        # What a host whose turn did not come had before, it has still.
        assert all(kept[host]["engines"] and HOSTNAME in kept[host]["trust"] for host in expected), kept

    def test_its_file_is_kept(self, poisoned: Rollout) -> None:
        assert content(poisoned.after["fleet-b"][DAEMON]) == MALFORMED
        assert poisoned.after["fleet-b"] == poisoned.before["fleet-b"]

    def test_later_batches_are_untouched(self, poisoned: Rollout) -> None:
        for name in ("fleet-d", "fleet-e", "fleet-f"):
            assert poisoned.after[name] == poisoned.before[name]
            assert poisoned.run.recap.get(name, {}).get("changed", 0) == 0

    @pytest.mark.usefixtures("poisoned")
    def test_the_rest_of_its_batch_is_well(self, clients: dict[str, Client]) -> None:
        for name, user in (("fleet-a", "ci"), ("fleet-c", "successor")):
            assert set(clients[name].logged_in().values()) == {user}

    @pytest.mark.usefixtures("poisoned")
    def test_containers_go_on(self, busy: Client) -> None:
        assert busy.process_now() == busy.process_before()


@pytest.fixture(scope="class")
def late(clients: dict[str, Client], change: tuple[str, ...]) -> Iterator[Rollout]:
    """A rollout that fails on its last host, when that has all and only can't pull."""
    host = clients["fleet-e"]
    drop_in = "/etc/systemd/system/docker.service.d/proxy.conf"
    restart = "systemctl daemon-reload && systemctl restart docker"
    host.run(f"mkdir -p {drop_in.rpartition('/')[0]}; cat > {drop_in}; {restart}", stdin=PROXY)
    before = {name: client.places() for name, client in clients.items()}
    believed = host.settings_now()
    run = run_playbook("wharf.registry.rollout", *change, check=False)
    after = {name: client.places() for name, client in clients.items()}
    assert host.settings_now() == believed
    yield Rollout(run, before, after)
    host.run(f"rm {drop_in}; {restart}")


@pytest.mark.long
class TestLate:
    """Its last host trusts the registry and is logged in, and then can't pull."""

    def test_it_fails_and_names_the_host(self, late: Rollout) -> None:
        run = late.run
        assert run.code != 0
        expected = {
            "fleet-a": "ok",
            "fleet-b": "changed",
            "fleet-c": "ok",
            "fleet-d": "changed",
            "fleet-e": "rolled_back",
            "fleet-f": "changed",
        }
        assert outcomes(run) == expected, run.output
        assert "proxyconnect" in last_words(run, "fleet-e"), run.output

    def test_it_has_what_it_had(self, late: Rollout, clients: dict[str, Client]) -> None:
        assert late.after["fleet-e"] == late.before["fleet-e"]
        # There was something to lose.
        assert f"{clients['fleet-e'].certificates}/{HOSTNAME}/ca.crt" in late.after["fleet-e"]
        assert set(clients["fleet-e"].logged_in().values()) == {"runtime"}

    def test_the_others_have_the_change(self, late: Rollout, clients: dict[str, Client]) -> None:
        for name in ("fleet-b", "fleet-c", "fleet-d", "fleet-f"):
            assert set(clients[name].logged_in().values()) == {"successor"}
            assert f"{clients[name].certificates}/other.fleet.test:5000/ca.crt" in late.after[name]


class TestMended:
    """The same rollout once more, when all is well."""

    def test_it_goes_through(self, change: tuple[str, ...], clients: dict[str, Client]) -> None:
        # Those that it has not reached before.
        lacking = {
            name
            for name, client in clients.items()
            if f"{client.certificates}/other.fleet.test:5000/ca.crt" not in client.places()
        }
        assert "fleet-e" in lacking and "fleet-a" not in lacking
        run = run_playbook("wharf.registry.rollout", *change)
        assert outcomes(run) == {name: "changed" if name in lacking else "ok" for name in clients}, run.output
        assert {name for name, number in run.changed(*clients).items() if number} == lacking
        assert set(clients["fleet-e"].logged_in().values()) == {"successor"}

    def test_the_engines_believe_it(self, client: Client) -> None:
        if client.engine == "docker":
            assert client.settings_now()["mirrors"][-1] == "https://second.fleet.test"

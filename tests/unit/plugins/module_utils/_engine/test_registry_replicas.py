"""The replicas of a registry, exchanged one after another."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from ansible_collections.wharf.registry.plugins.module_utils._common import placement
from ansible_collections.wharf.registry.plugins.module_utils._engine import registry_replicas
from ansible_collections.wharf.registry.plugins.module_utils._engine.docker_api import EngineError
from ansible_collections.wharf.registry.plugins.module_utils._engine.registry_replicas import (
    Replica,
    ReplicaError,
    ReplicaRun,
    Settings,
)
from fake_containers import FakeContainers

if TYPE_CHECKING:
    from pathlib import Path

OLD, NEW = "sha256:old", "sha256:new"


class Host:
    """A host with an engine and files. Replicas answer but for those in `silent`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.engine = FakeContainers({"registry:old": OLD, "registry:new": NEW})
        self.silent: set[tuple[int, str]] = set()
        self.waited: list[float] = []
        self.trust = ""

    def replica(self, number: int, config: str) -> Replica:
        options = {
            "container": {"name": f"registry-{number}", "memory": "64m", "labels": {"role": "replica"}},
            "config": config,
            "config_path": str(self.directory / f"config-{number}.yml"),
            "trust": self.trust,
            "trust_path": str(self.directory / f"ca-{number}.pem"),
            "group": "root",
            "served_path": str(self.directory / f"served-{number}.json"),
            "socket": str(number),
        }
        replica = Replica(options, "config")

        def ask() -> None:
            if (number, self.engine.containers[replica.name]["Image"]) in self.silent:
                raise EngineError("it does not tell what is in the storage")

        replica.ask = ask
        return replica

    def replacement(self, image: str = "registry:old", config: str = "first", replicas: int = 2) -> ReplicaRun:
        limits = {"start_timeout": 1, "stop_timeout": 1, "proxy_seconds": 7}
        wanted = [self.replica(number, config) for number in range(1, replicas + 1)]
        return ReplicaRun(self.engine, wanted, image, limits)

    def run(self, **options: object) -> list[str]:
        foretold, run = self.replacement(**options), self.replacement(**options)
        foretold.foretell()
        run.run()
        assert foretold.changed_containers == run.changed_containers
        return run.changed_containers

    def serves(self, number: int, image: str, config: str, trust: str = "") -> None:
        served = json.loads((self.directory / f"served-{number}.json").read_text())
        assert served == {"image": image, "config": config, **({"trust": trust} if trust else {})}
        assert (self.directory / f"config-{number}.yml").read_text() == config
        ca = self.directory / f"ca-{number}.pem"
        assert (ca.read_text() if ca.exists() else "") == trust
        assert self.engine.containers[f"registry-{number}"]["Image"] == image


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    host = Host(tmp_path)
    monkeypatch.setattr(registry_replicas.time, "sleep", host.waited.append)
    # The account that runs the tests owns the files.
    monkeypatch.setattr(placement, "_ids", lambda _owner, _path: (-1, -1))
    monkeypatch.setattr(
        placement,
        "_attributes",
        lambda found, state, wanted: {
            "state": state,
            "owner": wanted[0],
            "group": wanted[1],
            "mode": f"{found.st_mode & 0o7777:04o}",
        },
    )
    return host


def test_from_nothing_and_again(host: Host) -> None:
    assert host.run() == ["registry-1", "registry-2"]
    assert host.waited == []
    for number in (1, 2):
        host.serves(number, OLD, "first")
    assert host.run() == []


def test_another_configuration_exchanges_one_after_another(host: Host) -> None:
    host.run()
    host.engine.calls.clear()
    assert host.run(config="second") == ["registry-1", "registry-2"]
    assert [call[0:2] for call in host.engine.calls] == [
        ("remove", "registry-1"),
        ("create", "registry-1"),
        ("remove", "registry-2"),
        ("create", "registry-2"),
    ]
    # The proxy has time to try the first one again before the second one goes.
    assert host.waited == [7]
    host.serves(2, OLD, "second")
    assert host.run(config="second") == []


@pytest.mark.parametrize("failing", [1, 2])
def test_one_that_does_not_answer_goes_back_and_those_after_it_are_left(host: Host, failing: int) -> None:
    host.run()
    host.silent = {(failing, NEW)}
    with pytest.raises(ReplicaError) as caught:
        host.replacement("registry:new", "second").run()
    assert caught.value.name == f"registry-{failing}"
    back = "Its former image and configuration are back, and serve; replicas after it were left as they are."
    assert caught.value.message.startswith(f"did not become healthy. {back}")
    for number in (1, 2):
        host.serves(number, NEW if number < failing else OLD, "second" if number < failing else "first")


def test_the_first_one_that_does_not_answer_has_nothing_to_go_back_to(host: Host) -> None:
    host.silent = {(1, OLD)}
    with pytest.raises(ReplicaError, match="There is none to go back to; replicas after it were left"):
        host.replacement().run()
    assert "registry-2" not in host.engine.containers
    host.silent = set()
    assert host.run() == ["registry-2"]
    host.serves(1, OLD, "first")


def test_other_authorities_are_another_container(host: Host) -> None:
    host.run()
    for host.trust in ("one", "other", ""):
        assert host.run() == ["registry-1", "registry-2"]
        host.serves(2, OLD, "first", host.trust)
        assert host.run() == []


def test_the_authorities_go_back_with_the_configuration(host: Host) -> None:
    host.trust = "former"
    host.run()
    for trust in ("another", ""):
        host.trust, host.silent = trust, {(1, NEW)}
        with pytest.raises(ReplicaError, match="are back, and serve"):
            host.replacement("registry:new", "second").run()
        host.serves(1, OLD, "first", "former")


def test_what_a_former_release_has_remembered_is_known(host: Host) -> None:
    host.run()
    host.silent = {(1, NEW)}
    (host.directory / "served-1.json").write_text(json.dumps({"image": OLD, "config": "first"}))
    with pytest.raises(ReplicaError, match="are back, and serve"):
        host.replacement("registry:new", "second").run()
    host.serves(1, OLD, "first")


def test_what_a_killed_run_has_left_is_not_what_comes_back(host: Host) -> None:
    """The container and the file are those of a run that never saw them serve."""
    host.run()
    for file in host.replica(1, "broken").files(Settings("broken", "of another")):
        file.apply()
    host.engine.containers["registry-1"]["Image"] = NEW
    host.silent = {(1, NEW)}
    with pytest.raises(ReplicaError, match="are back, and serve"):
        host.replacement("registry:new", "second").run()
    host.serves(1, OLD, "first")


def test_an_image_that_is_not_there_is_named_before_anything(host: Host) -> None:
    host.run()
    host.engine.calls.clear()
    with pytest.raises(EngineError, match="registry:none is not on this host"):
        host.replacement("registry:none", "second").run()
    assert host.engine.calls == []
    host.serves(1, OLD, "first")


def test_replicas_beyond_the_number_end_and_are_forgotten(host: Host) -> None:
    host.run(replicas=3)
    (host.directory / "served-3.json").write_text("{}")
    for check in (True, False):
        run = host.replacement()
        run.end(["registry-3"], [str(host.directory / "served-3.json")], check)
        assert run.changed_containers == ["registry-3"]
        assert ("registry-3" in host.engine.containers) is check
        assert (host.directory / "served-3.json").exists() is check

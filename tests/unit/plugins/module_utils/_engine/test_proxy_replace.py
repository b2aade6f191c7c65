"""The replacement of a running proxy: every transition, and a run that is killed at each step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from ansible_collections.wharf.registry.plugins.module_utils._engine.container_spec import ContainerSpec
from ansible_collections.wharf.registry.plugins.module_utils._engine.held_network import HeldNetwork
from ansible_collections.wharf.registry.plugins.module_utils._engine.loaded_config import LoadedConfig
from ansible_collections.wharf.registry.plugins.module_utils._engine.proxy_replace import (
    NetworkError,
    Part,
    ProxyReplacement,
)
from ansible_collections.wharf.registry.plugins.module_utils._engine.proxy_trial import ProxyError, Trial, TrialError
from fake_containers import FakeContainers, KilledError

if TYPE_CHECKING:
    from pathlib import Path

OLD, NEW = "sha256:old", "sha256:new"
CHANGES = ("create", "remove", "rename", "start", "restart", "update", "network")


class Host:
    """A host with an engine and files, and the runs on it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.engine = FakeContainers({"nginx:old": OLD, "nginx:new": NEW})
        self.memory = "64m"
        self.user = "1:1"
        self.ports = ["443:8443"]
        self.trial = ["true"]
        for name in ("auth", "nginx"):
            (directory / name).mkdir()
            (directory / name / f"{name}.conf").write_text("first")

    @property
    def files(self) -> list[Path]:
        return [self.directory / name / f"{name}.conf" for name in ("auth", "nginx")]

    def configure(self, text: str) -> None:
        for path in self.files:
            path.write_text(text)

    def configuration(self) -> list[str]:
        return [path.read_text() for path in self.files]

    def part(self, name: str, container: str) -> Part:
        definition = {"name": container, "memory": self.memory, "user": self.user, "network_mode": "none"}
        following = {**definition, "name": f"{container}-next"}
        return Part(name, ContainerSpec(definition), ContainerSpec(following), 15, f"/etc/{name}/nginx.sh")

    def replacement(self, image: str) -> ProxyReplacement:
        holder = ContainerSpec({"name": "proxy-network", "network_mode": "proxy", "published_ports": self.ports})
        return ProxyReplacement(
            self.engine,
            [self.part("auth", "proxy-auth"), self.part("nginx", "proxy")],
            HeldNetwork("proxy", {}, holder),
            image=image,
            loaded=LoadedConfig(str(self.directory), [str(path) for path in self.files]),
            trial=Trial(self.trial, "header"),
            limits={"start_timeout": 1, "drain_seconds": 1},
        )

    def run(self, image: str = "nginx:old") -> ProxyReplacement:
        """A run whose changes were foretold."""
        foretold = self.replacement(image)
        foretold.foretell(files_change=False)
        run = self.replacement(image)
        run.run()
        assert bool(foretold.actions) == bool(run.actions), (foretold.actions, run.actions)
        assert foretold.network_changed == run.network_changed
        return run

    def images(self) -> dict[str, str]:
        return {name: container["Image"] for name, container in self.engine.containers.items()}

    def changes(self) -> list[tuple]:
        """What was done to containers since the last call."""
        done = [call for call in self.engine.calls if call[0] in CHANGES]
        self.engine.calls.clear()
        return done

    def serves(self, image: str, configuration: str) -> None:
        assert self.images() == {"proxy-auth": image, "proxy-network": self.images()["proxy-network"], "proxy": image}
        assert self.configuration() == [configuration] * 2
        assert not self.replacement(image).run.__self__.actions
        holder = self.engine.containers["proxy-network"]["Id"]
        assert self.engine.containers["proxy"]["HostConfig"]["NetworkMode"] == f"container:{holder}"
        assert not any(container["drained"] for container in self.engine.containers.values())


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


@pytest.fixture
def serving(host: Host) -> Host:
    """A host that serves the old image with the first configuration."""
    host.run()
    host.engine.calls.clear()
    return host


def test_from_nothing_and_again(host: Host) -> None:
    run = host.run()
    assert [name for name, _action in run.actions] == [
        "proxy-auth",
        "proxy-network",
        "proxy",
        "proxy-auth",
        "proxy",
    ]
    host.serves(OLD, "first")
    host.engine.calls.clear()
    assert host.run().actions == []
    assert host.changes() == []


def test_another_configuration_is_loaded_and_replaces_nothing(serving: Host) -> None:
    serving.configure("second")
    assert serving.run().actions == [("proxy-auth", "reloaded"), ("proxy", "reloaded")]
    assert [call[0] for call in serving.engine.calls] == ["test", "test", "load", "load"]
    serving.serves(OLD, "second")
    assert serving.run().actions == []


def test_another_image_takes_over_once_it_is_healthy(serving: Host) -> None:
    assert serving.run("nginx:new").actions == [("proxy-auth", "replaced"), ("proxy", "replaced")]
    for name in ("proxy-auth", "proxy"):
        steps = [call for call in serving.engine.calls if name in call or f"{name}-next" in call]
        assert [step[0] for step in steps if step[0] != "publish"] == ["create", "drain", "remove", "rename"]
    serving.serves(NEW, "first")


def test_the_check_of_passwords_is_replaced_first_and_published(serving: Host) -> None:
    serving.run("nginx:new")
    assert serving.engine.calls.index(("publish", "proxy-auth")) < serving.engine.calls.index(
        ("create", "proxy-next", NEW)
    )


def test_limits_are_changed_while_it_runs(serving: Host) -> None:
    serving.memory = "128m"
    assert serving.run().actions == [("proxy-auth", "updated"), ("proxy", "updated")]
    assert serving.changes() == [("update", "proxy-auth"), ("update", "proxy")]
    serving.serves(OLD, "first")


def test_other_settings_are_tried_before_they_replace(serving: Host) -> None:
    serving.user = "2:2"
    serving.trial = ["sh", "-c", "echo it says no; echo early >&2; exit 1"]
    with pytest.raises(TrialError, match="does not serve: it says no"):
        serving.replacement("nginx:old").run()
    assert serving.engine.containers["proxy"]["Config"]["User"] == "1:1"
    serving.trial = ["true"]
    serving.run()
    assert serving.engine.containers["proxy"]["Config"]["User"] == "2:2"


def test_other_ports_are_another_network_with_the_image_that_it_had(serving: Host) -> None:
    serving.ports = ["444:8443"]
    run = serving.run("nginx:new")
    assert run.network_changed
    assert serving.images()["proxy-network"] == OLD
    serving.serves(NEW, "first")


def test_a_network_that_was_started_anew_is_joined_again(serving: Host) -> None:
    serving.engine.start("proxy-network")
    serving.engine.calls.clear()
    assert serving.run().actions == [("proxy", "restarted")]
    assert serving.run().actions == []


@pytest.mark.parametrize("name", ["proxy", "proxy-auth", "proxy-network"])
def test_one_that_does_not_run_is_started(serving: Host, name: str) -> None:
    serving.engine.containers[name]["State"]["Running"] = False
    serving.run()
    assert ("start", name) in serving.changes()
    serving.serves(OLD, "first")


def test_one_that_has_the_ports_for_itself_goes_once_the_check_of_passwords_is_there(serving: Host) -> None:
    serving.engine.containers["proxy"]["HostConfig"]["NetworkMode"] = "bridge"
    del serving.engine.containers["proxy-network"]
    serving.run()
    assert serving.changes()[:2] == [("remove", "proxy"), ("create", "proxy-network", OLD)]
    serving.serves(OLD, "first")


# ---- what does not serve --------------------------------------------------------------------------------------------


def test_a_trial_that_fails_brings_the_files_back_and_touches_no_container(serving: Host) -> None:
    serving.configure("second")
    serving.trial = ["sh", "-c", "cat >&2; echo it answers 500; exit 1"]
    with pytest.raises(TrialError) as caught:
        serving.replacement("nginx:new").run()
    assert caught.value.message == (
        "does not serve: it answers 500. The running proxy keeps serving. Its first words: header"
    )
    assert serving.changes() == []
    serving.serves(OLD, "first")
    assert serving.run().actions == []


def test_the_first_one_that_does_not_serve_has_nothing_to_go_back_to(host: Host) -> None:
    host.engine.is_well = lambda name, _image: name != "proxy"
    with pytest.raises(
        ProxyError, match=r"There is none to go back to\. The engine said: proxy did not become healthy"
    ):
        host.replacement("nginx:old").run()
    host.engine.is_well = lambda _name, _image: True
    host.run()
    host.serves(OLD, "first")


@pytest.mark.parametrize("failing", ["proxy-auth-next", "proxy-next"])
def test_one_that_is_not_healthy_goes_and_the_former_one_serves(serving: Host, failing: str) -> None:
    serving.configure("second")
    serving.engine.is_well = lambda name, image: (name, image) != (failing, NEW)
    with pytest.raises(ProxyError) as caught:
        serving.replacement("nginx:new").run()
    assert "Its former image and configuration are back, and serve." in caught.value.message
    assert f"Its last words: words of {failing}" in caught.value.message
    serving.serves(OLD, "first")
    assert serving.run().actions == []


def test_a_network_that_can_not_be_started_is_said_as_such(host: Host) -> None:
    host.engine.refused["proxy-network"] = "the port is taken"
    with pytest.raises(NetworkError, match="the port is taken"):
        host.replacement("nginx:old").run()


def test_an_image_that_is_not_there_is_named_before_anything(serving: Host) -> None:
    with pytest.raises(Exception, match="nginx:none is not on this host"):
        serving.replacement("nginx:none").run()
    assert serving.changes() == []


# ---- killed ---------------------------------------------------------------------------------------------------------


def steps_of(directory: Path, image: str) -> int:
    """How many steps a replacement of a serving host takes."""
    host = Host(directory)
    host.run()
    host.engine.calls.clear()
    host.configure("second")
    host.run(image)
    return len(host.engine.calls)


def test_a_run_that_was_killed_at_any_step_is_finished_by_the_next_one(tmp_path: Path) -> None:
    (tmp_path / "count").mkdir()
    steps = steps_of(tmp_path / "count", "nginx:new")
    assert steps >= 12
    for step in range(steps):
        for after in ("nginx:new", "nginx:old"):
            directory = tmp_path / f"{step}-{after.partition(':')[2]}"
            directory.mkdir()
            host = Host(directory)
            host.run()
            host.configure("second")
            host.engine.kill_after = step
            with pytest.raises(KilledError):
                host.replacement("nginx:new").run()
            # One of each part serves at any time.
            for name in ("proxy-auth", "proxy"):
                there = [host.engine.containers.get(one) for one in (name, f"{name}-next")]
                assert any(one and one["State"]["Running"] and not one["drained"] for one in there), (step, name)
            host.engine.kill_after = None
            host.run(after)
            host.serves(NEW if after == "nginx:new" else OLD, "second")
            assert host.run(after).actions == [], step


def test_a_first_run_that_was_killed_at_any_step_is_finished_by_the_next_one(tmp_path: Path) -> None:
    for step in range(8):
        directory = tmp_path / str(step)
        directory.mkdir()
        host = Host(directory)
        host.engine.kill_after = step
        with pytest.raises(KilledError):
            host.replacement("nginx:old").run()
        host.engine.kill_after = None
        host.run()
        host.serves(OLD, "first")
        assert host.run().actions == [], step

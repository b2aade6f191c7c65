"""A registry that is moved from its disk to a bucket and back while clients push and pull: no tag is lost."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import front
import memory_s3
import programs
import pytest
from ansible_collections.wharf.registry.plugins.module_utils._storage.storage_switch import Switch
from collecting import COLLECTOR, USERS, Collector, Pusher, content_of, pull
from engine import command, wait_for
from front import Front
from role_config import role_configs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from certificates import Authority
    from seaweedfs import SeaweedFS

PUSHERS = 2


class MovingFront(Front):
    network = "host"

    def switch(self, driver: dict) -> None:
        """Have the replicas serve from another storage."""
        self.driver = driver
        for name in [name for name in self.containers if name.startswith("registry-")]:
            command("docker", "rm", "--force", "--volumes", self.containers.pop(name))
        self.start_replicas()
        wait_for("the registry answers", lambda: content_of(self).ask("GET", "/v2/_catalog?n=1")[0] == 200)


class Puller(threading.Thread):
    """Pulls an image again and again. A client tries again where a replica has just gone."""

    def __init__(self, proxy: Front) -> None:
        super().__init__()
        self.proxy, self.stopping, self.pulled = proxy, threading.Event(), 0
        self.failure: BaseException | None = None

    def run(self) -> None:
        failed_since = None
        while not self.stopping.is_set():
            try:
                pull(content_of(self.proxy), "apps/first", "1")
                self.pulled, failed_since = self.pulled + 1, None
            except (AssertionError, OSError) as failure:
                failed_since = failed_since or time.monotonic()
                if time.monotonic() - failed_since > 60:
                    self.failure = failure
                    return
            time.sleep(0.2)


@pytest.fixture
def moving(images: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[MovingFront]:
    with front.running(tmp_path_factory.mktemp("front"), images, USERS, kind=MovingFront) as proxy:
        yield proxy


@pytest.mark.long
def test_there_and_back_while_clients_push_and_pull(
    moving: MovingFront, storage: SeaweedFS, ca: Authority, tmp_path: Path
) -> None:
    access = {
        **memory_s3.bucket_at(f"https://localhost:{storage.https}"),
    }
    given = {
        **access,
        "endpoint": f"http://127.0.0.1:{storage.gateways[0]}",
        "plain_http": True,
        "root_directory": "moved",
        # The proxy of this front does not know of the storage.
        "redirect": False,
    }
    drivers = {
        "s3": role_configs(tmp_path, registry_storage="s3", registry_s3=given)[0]["storage"],
        "filesystem": Front.driver,
    }
    options = {
        **access,
        "ca": ca.certificate.read_text(),
        "root_directory": "moved",
        "ca_path": None,
        "validate_certs": True,
        "timeout": 30,
        "force_path_style": True,
    }
    program = programs.install(COLLECTOR, tmp_path / "program")
    settings = Collector(moving, patience_seconds=20, drain_seconds=20, attempts=5).settings
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    held = tmp_path / "held"

    def step(phase: str, to: str) -> list[str]:
        notes = tmp_path / "notes"
        notes.mkdir(exist_ok=True)
        data = str(moving.directory / "storage")
        with Switch({"s3": options, "data": data, "notes": str(notes), "to": to}, check_mode=False) as switch:
            return getattr(switch, phase)()

    content_of(moving).image("apps/first", "1")
    puller = Puller(moving)
    pushers = [Pusher(moving, number) for number in range(PUSHERS)]
    for thread in (puller, *pushers):
        thread.start()
    try:
        for to in ("s3", "filesystem"):
            before = {pusher: len(pusher.acknowledged) for pusher in pushers}
            wait_for("more is pushed", lambda b=before: all(len(p.acknowledged) > b[p] + 3 for p in pushers), 120)
            step("copy", to)
            done = subprocess.run(
                [sys.executable, str(program), "hold", str(tmp_path / "settings.json"), str(held), "600"],
                check=False,
                capture_output=True,
                text=True,
            )
            assert done.returncode == 0, done.stderr
            assert "Proven" in step("finish", to)[1]
            step("place", to)
            moving.give_away()
            moving.switch(drivers[to])
            held.unlink()
            assert "Once you are sure" in step("close", to)[0]
        after = {pusher: len(pusher.acknowledged) for pusher in pushers}
        wait_for("more is pushed", lambda: all(len(p.acknowledged) > after[p] for p in pushers), 120)
    finally:
        held.unlink(missing_ok=True)
        for thread in (puller, *pushers):
            thread.stopping.set()
        for thread in (puller, *pushers):
            thread.join()
    for thread in (puller, *pushers):
        assert thread.failure is None, thread.failure
    assert puller.pulled
    content = content_of(moving)
    for pusher in pushers:
        assert len(pusher.acknowledged) > 6
        for tag, digest in pusher.acknowledged.items():
            assert pull(content, pusher.repository, tag)[0] == digest

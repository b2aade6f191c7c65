"""The registry, the proxy or the collector is killed at any moment, again and again, while clients push and delete.

What was acknowledged is there, and service is back without a hand: by the restart policy of the containers, and by
nothing at all where it was the collector.
"""

from __future__ import annotations

import http.client
import os
import random
import secrets
import signal
import threading
import time
from typing import TYPE_CHECKING

import pytest
from collecting import Collector, content_of, pull
from engine import command, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from content import Content
    from front import Front

# By hand 100 and more: an engine waits longer each time it restarts a container that has not run for ten seconds.
ROUNDS = int(os.environ.get("WHARF_KILLS", "16"))
PAUSE = 0.3 if ROUNDS < 20 else 2.5


class Pusher(threading.Thread):
    """Pushes images of a few layers that come again and again, deletes some of them, and remembers what it was told."""

    def __init__(self, front: Front, number: int) -> None:
        super().__init__()
        self.front = front
        self.repository = f"apps/{number}"
        self.random = random.Random(number)  # noqa: S311
        self.layers = [secrets.token_bytes(50_000) for _each in range(4)]
        self.acknowledged: dict[str, str] = {}
        self.stopping = threading.Event()
        self.retries = 0
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            turn = 0
            while not self.stopping.is_set():
                turn += 1
                self.push(f"v{turn}")
                if turn % 3 == 0:
                    self.delete(self.random.choice(sorted(self.acknowledged)))
        except BaseException as failure:  # noqa: BLE001
            self.failure = failure

    def push(self, tag: str) -> None:
        layer = self.random.choice(self.layers)
        # What makes it another image, so that a deletion takes no other tag with it.
        descriptor = self.again(lambda content: content.image(self.repository, tag, layer=layer, labels={"is": tag}))
        self.acknowledged[tag] = descriptor["digest"]

    def delete(self, tag: str) -> None:
        # Whether it is done is not known until the answer comes.
        digest = self.acknowledged.pop(tag)
        self.again(lambda content: self._remove(content, digest))

    def _remove(self, content: Content, digest: str) -> None:
        status, _headers, said = content.ask("DELETE", f"/v2/{self.repository}/manifests/{digest}")
        assert status in (202, 404), said

    def again(self, action: Callable[[Content], object]) -> object:
        """As a client does that was cut off, or told to come back."""
        end = time.monotonic() + 60
        while True:
            try:
                return action(content_of(self.front))
            except (OSError, http.client.HTTPException):
                if time.monotonic() > end:
                    raise
            except (AssertionError, TypeError) as error:
                # TypeError: no Location where a 503 came in place of an upload. Another no is no client's to repeat.
                if time.monotonic() > end or not ("UNAVAILABLE" in str(error) or isinstance(error, TypeError)):
                    raise
            self.retries += 1
            time.sleep(0.2)


def pid_of(container: str) -> int:
    return int(command("docker", "inspect", "--format={{.State.Pid}}", container).stdout)


@pytest.mark.long
def test_nothing_acknowledged_is_lost(fronts: Callable[..., Front]) -> None:
    proxy = fronts([{"name": "admin", "access": "admin"}])
    command("docker", "update", "--restart=unless-stopped", *proxy.containers.values())
    collector = Collector(proxy)
    pushers = [Pusher(proxy, number) for number in range(2)]
    for pusher in pushers:
        pusher.start()
    chosen = random.Random()  # noqa: S311
    ended = {0: 0, 1: 0, -signal.SIGKILL: 0}
    for turn in range(ROUNDS):
        process = collector.start(grace_seconds=0.2, drain_seconds=5)
        time.sleep(chosen.uniform(0, 1.2))
        victim = ("registry-1", "collector", "proxy", "collector", "registry-2", "collector")[turn % 6]
        if victim == "collector":
            process.send_signal(signal.SIGKILL)
        else:
            pid = pid_of(proxy.containers[victim])
            # 0: it has not come back since the last time.
            if pid:
                os.kill(pid, signal.SIGKILL)
        status, output, errors = collector.finish(process)
        assert status in ended, output + errors
        assert status != 1 or "was being written to" in errors or "can't be asked" in errors, errors
        ended[status] += 1
        time.sleep(PAUSE)
    for pusher in pushers:
        pusher.stopping.set()
        pusher.join()
        assert pusher.failure is None, pusher.failure
        assert len(pusher.acknowledged) > ROUNDS / 4
    wait_for("the proxy answers", proxy.healthy)
    content = content_of(proxy)
    for _turn in range(2):
        for pusher in pushers:
            for tag, digest in pusher.acknowledged.items():
                assert pull(content, pusher.repository, tag)[0] == digest
        assert collector.run()["problems"] == []
    assert ended[-signal.SIGKILL] > 0
    assert ended[0] > 0
    print(
        f"{ROUNDS} kills: {ended}, {[len(pusher.acknowledged) for pusher in pushers]} tags, "
        f"{[pusher.retries for pusher in pushers]} retries"
    )

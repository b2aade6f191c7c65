"""The registry, the proxy or the collector is killed at any moment, again and again, while clients push and delete.

What was acknowledged is there, and service is back without a hand: by the restart policy of the containers, and by
nothing at all where it was the collector.
"""

from __future__ import annotations

import os
import random
import signal
import time
from typing import TYPE_CHECKING

import pytest
from collecting import Collector, Pusher, content_of, pull
from engine import command, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from front import Front

# By hand 100 and more: an engine waits longer each time it restarts a container that has not run for ten seconds.
ROUNDS = int(os.environ.get("WHARF_KILLS", "16"))
PAUSE = 0.3 if ROUNDS < 20 else 2.5


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

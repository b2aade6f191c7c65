"""A front that is attacked: its address, its users, what it uses, and whether it is well."""

from __future__ import annotations

import dataclasses
import math
import re
import time
from typing import TYPE_CHECKING

from addresses import LEGITIMATE
from engine import command, wait_for
from front import INSIDE, Front
from mix import LAYER, FromConnection, Mix

if TYPE_CHECKING:
    from http_client import Client
    from measures import Measures

FRESH = 36
# After so long a password is forgotten.
REMEMBERED_SECONDS = 20
NAMES = [f"fresh-{number:02}" for number in range(FRESH)]
USERS = [
    {"name": "admin", "access": "admin"},
    {"name": "pusher", "access": "push"},
    {"name": "puller", "access": "pull"},
    {"name": "attacker", "access": "push"},
    {"name": "reader", "access": "pull"},
]
# Those whose passwords are guessed at.
VICTIMS = [f"victim-{number:02}" for number in range(20)]
OPTIONS = {
    "reverse_proxy_auth_cache_seconds": REMEMBERED_SECONDS,
    "reverse_proxy_anonymous_pull": ["public/*"],
    "reverse_proxy_immutable_tags": ["v*"],
}
# Requests a second of one user, where a front has a limit for it.
RATE = 60
# Connections of one address, where a front has few of them.
NARROW = 64
# More is not left to the next test.
SETTLED_DISK, SETTLED_MIB = 50, 300
RESTART_SECONDS = 60
# As the role's reverse_proxy_memory_limit.
MEMORY = "1g"


@dataclasses.dataclass(frozen=True)
class Use:
    """What the proxy has at a moment."""

    workers: set[str]
    memory_mib: float
    # Of the small disk, in percent.
    disk: int
    # Workers that were killed since the container was started.
    deaths: int


class Target:
    def __init__(self, front: Front) -> None:
        self.front = front
        self.port = INSIDE["https"]
        self.host = self._address()
        # When each of those whose passwords are to be fresh has logged in last; the one that waits for longest first.
        self._fresh = dict.fromkeys(NAMES, -math.inf)
        self.calm: Measures | None = None

    def prepare(self) -> None:
        """The content that the mix pulls, past the proxy; and the limits of the container that the role sets."""
        registry = self.front.registry()
        for repository in ("apps/base", "public/base"):
            registry.put_image(repository, "one", LAYER)
        registry.put_blob("apps/pushed", b"{}")
        command("docker", "update", f"--memory={MEMORY}", f"--memory-swap={MEMORY}", self.front.containers["proxy"])

    def _address(self) -> str:
        form = "{{.NetworkSettings.IPAddress}}"
        return command("docker", "inspect", f"--format={form}", self.front.containers["proxy"]).stdout.strip()

    def fresh(self) -> str:
        """A user whose password is not remembered, where `rest` has provided for so many."""
        name = next(iter(self._fresh))
        del self._fresh[name]
        self._fresh[name] = time.monotonic()
        return name

    def rest(self, count: int) -> None:
        """Wait until the passwords of so many fresh users are forgotten."""
        last = list(self._fresh.values())[min(count, len(self._fresh)) - 1]
        time.sleep(max(0.0, last + REMEMBERED_SECONDS + 1 - time.monotonic()))

    def mix(self, source: str = LEGITIMATE, forwarded: str | None = None) -> Mix:
        return Mix(self, source, forwarded)

    def client(self, user: str | None = None, password: str | None = None, source: str = LEGITIMATE) -> Client:
        client = self.front.client(user, password)
        client.connection = self.connection(source)
        return client

    def connection(self, source: str = LEGITIMATE) -> FromConnection:
        return FromConnection(self, source)

    def remembered(self, user: str) -> dict[str, str]:
        """The credential of a user for an attacker, whose password need not be checked any more."""
        answer = self.client(user).ask("GET", "/v2/")
        assert answer.status == 200, answer
        return {"scheme": "fixed", "value": self.front.basic(user)}

    # ---- how it is ---------------------------------------------------------------------------------------------------

    def use(self) -> Use:
        listed = command("docker", "top", self.front.containers["proxy"], "-o", "pid,rss,args").stdout.splitlines()[1:]
        workers = [line.split() for line in listed if "worker process" in line and "shutting down" not in line]
        disk = self.inside("df -P /tmp").splitlines()[-1]
        # nginx.sh begins another generation of counts for a death that it reads there.
        deaths = self.inside("echo $(cat /tmp/generation 2>/dev/null) $(grep -c exited /tmp/alerts)").split()
        return Use(
            {fields[0] for fields in workers},
            sum(int(fields[1]) for fields in workers) / 1024,
            int(re.search(r"(\d+)%", disk)[1]),
            sum(map(int, deaths)),
        )

    def inside(self, script: str, check: bool = True) -> str:
        return command("docker", "exec", self.front.containers["proxy"], "sh", "-c", script, check=check).stdout.strip()

    def quiet(self) -> bool:
        """Whether a garbage collection would find that nothing is on its way; as the role maintenance asks."""
        asked = "curl --silent --fail --max-time 3 --output /dev/null --unix-socket /tmp/quiet.sock http://quiet/"
        return self.inside(f"{asked} && echo yes", check=False) == "yes"

    def well(self, seconds: float = 10) -> list[str]:
        """What still fails after so long."""
        end = time.monotonic() + seconds
        while failures := self.mix().once():
            if time.monotonic() > end:
                break
            time.sleep(0.5)
        return failures

    def settle(self) -> None:
        """Restart what an attack has left in a state that the next test would suffer from."""
        use = self.use()
        # Counts of those that were killed are minded for a minute, and then all workers are replaced.
        if use.deaths or self.well(0) or use.disk > SETTLED_DISK or use.memory_mib > SETTLED_MIB:
            self.restart()

    def restart(self) -> None:
        command("docker", "restart", "--time=1", *(self.front.containers[name] for name in ("auth", "proxy")))
        # It is in another network, and the role's holder of the network is not here to keep the former one.
        self.front.limit()
        self.host = self._address()
        wait_for("the proxy answers", self.answers, RESTART_SECONDS)

    def answers(self) -> bool:
        try:
            return self.client().ask("GET", "/healthz").status == 200
        except OSError:
            return False


def users(names: list[str] | None = None) -> list[dict]:
    chosen = [*NAMES, *VICTIMS] if names is None else names
    return [*(dict(user) for user in USERS), *({"name": name, "access": "pull"} for name in chosen)]


def started(front: Front) -> Target:
    target = Target(front)
    target.prepare()
    return target

"""What people see who push, pull, list and delete by real clients, each as a user with other rights."""

from __future__ import annotations

import dataclasses
import shlex
from typing import TYPE_CHECKING

import pytest
from managed import words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from front import Front
    from hosts import Machine

USERS = [
    {"name": "admin", "access": "admin"},
    {"name": "builder", "access": "push"},
    {"name": "runtime", "access": "pull"},
    {"name": "team", "rules": [{"repositories": ["team/*"], "actions": ["pull", "push"]}]},
    {"name": "guest"},
]
ENGINES = {"bookworm-docker": "docker", "trixie-docker": "docker", "trixie-podman": "podman"}
# Who may do what with shared/app and with team/app.
MAY = {
    "admin": {"shared": {"push", "pull", "delete"}, "team": {"push", "pull", "delete"}},
    "builder": {"shared": {"push", "pull"}, "team": {"push", "pull"}},
    "runtime": {"shared": {"pull"}, "team": {"pull"}},
    "team": {"shared": set(), "team": {"push", "pull"}},
}


@pytest.fixture(scope="module")
def proxy(fronts: Callable[..., Front]) -> Front:
    return fronts(USERS, reverse_proxy_immutable_tags=["v*"])


@dataclasses.dataclass(frozen=True)
class Client:
    """An engine's own client, with a place of its own for logins."""

    machine: Machine
    engine: str
    registry: str

    def type(self, *arguments: str, stdin: str = "", program: str = "") -> tuple[int, str]:
        """How it ended, and what it said."""
        command = shlex.join([program or self.engine, *arguments])
        env = {
            "DOCKER_CONFIG": "/run/real",
            "REGISTRY_AUTH_FILE": "/run/real/auth.json",
            "PODMAN_IGNORE_CGROUPSV1_WARNING": "1",
        }
        done = self.machine.run(f"{command} 2>&1", stdin=stdin, check=False, env=env)
        return done.returncode, words(done.stdout)

    def login(self, user: str, password: str) -> tuple[int, str]:
        return self.type("login", "--username", user, "--password-stdin", self.registry, stdin=password)

    def make(self, reference: str, text: str) -> None:
        script = f"cd $(mktemp -d); cat >file; tar -c file | {self.engine} import - {reference} >/dev/null 2>&1"
        self.machine.run(script, stdin=text)


def refused(said: str) -> bool:
    """Whether it was told that the user may not; to a question for the head of something there is no room for words."""
    return "may not do that" in said or "StatusCode: 403" in said


@pytest.fixture(params=[pytest.param("bookworm-docker", marks=pytest.mark.long), "trixie-docker", "trixie-podman"])
def client(request: pytest.FixtureRequest, machines: dict[str, Machine], proxy: Front) -> Iterator[Client]:
    machine, engine = machines[request.param], ENGINES[request.param]
    place = f"/etc/{'docker' if engine == 'docker' else 'containers'}/certs.d/{proxy.outside}"
    machine.run(f"mkdir -p {place} /run/real; cat >{place}/ca.crt", stdin=proxy.ca.read_text())
    yield Client(machine, engine, proxy.outside)
    machine.run(f"rm -rf {place} /run/real; rmdir --ignore-fail-on-non-empty $(dirname {place})")


def test_each_user_by_the_engine(client: Client, proxy: Front) -> None:
    registry = proxy.registry()
    for user, rights in MAY.items():
        code, said = client.login(user, proxy.passwords[user])
        assert code == 0, said
        for kind, may in rights.items():
            name = f"{kind}/{client.machine.name or client.engine}-{user}"
            reference = f"{client.registry}/{name}:1.0"
            client.make(reference, f"{user} {kind}")
            code, said = client.type("push", reference)
            if "push" in may:
                assert code == 0, said
                assert registry.digest(name, "1.0"), name
            else:
                assert code != 0 and refused(said), said
                assert registry.digest(name, "1.0") is None
                registry.put_image(name, "1.0", b"not an image that an engine unpacks")
            client.type("image", "rm", "--force", reference)
            if "push" in may:
                code, said = client.type("pull", reference)
                assert (code == 0) == ("pull" in may), said
            if "pull" not in may:
                code, said = client.type("pull", reference)
                assert code != 0 and refused(said), said


def test_who_is_not_let_in_is_told_why(client: Client, proxy: Front) -> None:
    code, said = client.login("builder", "wrong")
    # Docker and Podman put it into words of their own.
    assert code != 0 and any(text in said for text in ("401 Unauthorized", "invalid username/password")), said
    code, said = client.login("guest", proxy.passwords["guest"])
    assert code != 0 and ("may not do that" in said or "403" in said), said
    client.type("logout", client.registry)
    code, said = client.type("pull", f"{client.registry}/shared/none:1.0")
    assert code != 0 and ("no basic auth credentials" in said or "authentication required" in said), said


def test_a_tag_that_stays_is_said_to(client: Client, proxy: Front) -> None:
    assert client.login("builder", proxy.passwords["builder"])[0] == 0
    reference = f"{client.registry}/shared/{client.machine.name or client.engine}-stays:v1"
    client.make(reference, "first")
    code, said = client.type("push", reference)
    assert code == 0, said
    client.make(reference, "second")
    code, said = client.type("push", reference)
    assert code != 0 and "is immutable" in said, said


def test_skopeo_copies_lists_and_deletes(machines: dict[str, Machine], proxy: Front) -> None:
    machine = machines["trixie-podman"]
    client = Client(machine, "podman", proxy.outside)
    place = f"/etc/containers/certs.d/{proxy.outside}"
    machine.run(f"mkdir -p {place} /run/real; cat >{place}/ca.crt", stdin=proxy.ca.read_text())
    client.make("localhost/skopeo:1", "skopeo")
    try:
        for user, rights in MAY.items():
            for kind, may in rights.items():
                name = f"{kind}/skopeo-{user}"
                target = f"docker://{client.registry}/{name}:1.0"
                assert client.login(user, proxy.passwords[user])[0] == 0
                code, said = client.type("copy", "containers-storage:localhost/skopeo:1", target, program="skopeo")
                assert (code == 0) == ("push" in may), said
                if "push" not in may:
                    assert refused(said), said
                    proxy.registry().put_image(name, "1.0", b"a layer")
                code, said = client.type("list-tags", target.rpartition(":")[0], program="skopeo")
                assert (code == 0 and '"1.0"' in said) == ("pull" in may), said
                code, said = client.type("delete", target, program="skopeo")
                assert (code == 0) == ("delete" in may), said
                assert (proxy.registry().digest(name, "1.0") is None) == ("delete" in may)
    finally:
        machine.run(f"rm -rf {place} /run/real")

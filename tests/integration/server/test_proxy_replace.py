"""The module that replaces the proxy of a registry, by the definitions of the role, while clients use it."""

from __future__ import annotations

import contextlib
import secrets
import signal
import socket
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from engine import LABEL, command, wait_for
from replaced_proxy import USERS, Proxy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from managed import Host

SOCKET = Path("/var/run/docker.sock")
# An unchanged run: the image, the network, the holder, and each part with the one that may be beside it; three more for
# each part whose health the engine has not looked at yet.
MOST_REQUESTS = 20


@contextlib.contextmanager
def served(proxy: Proxy) -> Iterator[None]:
    """A client that asks all the time, and is answered each time."""
    done = threading.Event()
    failed = []

    def ask() -> None:
        while not done.wait(0.2):
            if not proxy.answers():
                failed.append(1)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
    assert not failed


@contextlib.contextmanager
def counted(directory: Path) -> Iterator[tuple[Path, list[int]]]:
    """A socket that leads to the engine's, and what counts the connections to it, of which each request has its own."""
    path, seen = directory / "engine.sock", []

    def pass_on(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(65536):
                target.sendall(piece)
            target.shutdown(socket.SHUT_WR)

    def take(listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _address = listener.accept()
                seen.append(1)
                far = socket.socket(socket.AF_UNIX)
                far.connect(str(SOCKET))
                for ends in ((near, far), (far, near)):
                    threading.Thread(target=pass_on, args=ends, daemon=True).start()

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(64)
        threading.Thread(target=take, args=(listener,), daemon=True).start()
        yield path, seen


@pytest.fixture(scope="module")
def proxy(images: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    proxy = Proxy(tmp_path_factory.mktemp("proxy"), images)
    try:
        proxy.prepare()
        yield proxy
    finally:
        proxy.stop()
        for name in proxy.names.values():
            command("docker", "rm", "--force", f"{name}-next", name, check=False)
        command("docker", "network", "rm", proxy.found["network_name"], check=False)


@pytest.fixture
def running(proxy: Proxy, host: Host) -> Proxy:
    """It runs by the definitions of the role, whatever a test has left."""
    proxy.run(host)
    return proxy


@pytest.fixture
def newer(images: dict[str, str]) -> Iterator[str]:
    """Another image of the same nginx."""
    yield from committed(images["nginx"], "true")


@pytest.fixture
def broken(images: dict[str, str]) -> Iterator[str]:
    """An image without nginx."""
    yield from committed(images["nginx"], "rm -f $(command -v nginx)")


def committed(image: str, change: str) -> Iterator[str]:
    name = f"wharf.local/test:{secrets.token_hex(4)}"
    options = ("--entrypoint=/bin/sh", f"--label={LABEL}", "--network=none", "--user=0")
    container = command("docker", "create", *options, image, "-c", change).stdout.strip()
    command("docker", "start", "--attach", container)
    command("docker", "commit", container, name)
    command("docker", "rm", container)
    yield name
    command("docker", "image", "rm", "--force", name)


def test_the_first_run(proxy: Proxy, host: Host, tmp_path: Path) -> None:
    checked = proxy.run(host, check=True)
    assert checked["changed"] and checked["network_changed"]
    assert proxy.inspect("nginx") is None
    made = proxy.run(host)
    assert made["changed"] and made["network_changed"]
    # Check mode tells the same, but for what it would not know of.
    names = set(proxy.names.values())
    assert {name for name, _action in checked["actions"]} == {name for name, _action in made["actions"]} == names
    before = proxy.ids()
    with counted(tmp_path) as (path, seen):
        again = proxy.run(host, socket=str(path))
    assert not again["changed"] and again["actions"] == []
    assert 0 < len(seen) <= MOST_REQUESTS
    assert not proxy.run(host, check=True)["changed"]
    assert proxy.ids() == before
    assert proxy.answers()
    assert proxy.client("ci", "wrong").ask("GET", "/v2/").status == 401


def test_a_limit_is_changed_while_it_runs(running: Proxy, host: Host) -> None:
    before = running.ids()
    limit = {"nginx": {"memory": "900m", "memory_swap": "900m"}}
    checked = running.run(host, check=True, **limit)
    assert checked["changed"]
    assert [one["after"] for one in checked["diff"]] == [{"Memory": 900 << 20, "MemorySwap": 900 << 20}]
    with served(running):
        assert running.run(host, **limit)["changed"]
    assert running.inspect("nginx")["HostConfig"]["Memory"] == 900 << 20
    assert running.ids() == before
    running.assert_right(host, **limit)


def test_another_definition_and_image_beside_the_former_one(running: Proxy, host: Host, newer: str) -> None:
    before = running.ids()
    changes = {"image": newer, "nginx": {"ulimits": ["nofile:8192:8192"]}, "drain_seconds": 240}
    checked = running.run(host, check=True, **changes)
    began = time.monotonic()
    with served(running):
        made = running.run(host, **changes)
    # The former ones go once what they served has ended, and not when the time for it is over.
    assert time.monotonic() - began < 120
    assert checked["changed"] and made["changed"]
    after = running.ids()
    assert after["network"] == before["network"]
    assert after["auth"] != before["auth"] and after["nginx"] != before["nginx"]
    assert running.inspect("nginx")["Config"]["Image"] == newer
    assert [running.names["nginx"], "replaced"] in made["actions"]
    running.assert_right(host, **changes)


def test_another_configuration_is_loaded(running: Proxy, host: Host) -> None:
    before = running.ids()
    running.configure(USERS, **running.options_of_role, reverse_proxy_log_format="text")
    try:
        with served(running):
            assert {action for _name, action in running.run(host)["actions"]} == {"reloaded"}
        running.assert_right(host)
        assert running.ids() == before
    finally:
        running.configure(USERS, **running.options_of_role)


def test_an_image_that_does_not_serve_is_not_run(running: Proxy, host: Host, broken: str) -> None:
    before = running.ids()
    with served(running):
        said = running.run(host, failed=True, image=broken, start_timeout=5)["msg"]
    assert f"nginx as here was to run it, {broken} with the configuration of this run, does not serve: " in said
    assert "The running proxy keeps serving." in said
    assert running.ids() == before
    running.assert_right(host)


def test_a_configuration_that_does_not_serve_is_not_loaded(running: Proxy, host: Host) -> None:
    config = running.directory / "config" / "nginx" / "nginx.conf"
    former = config.read_text()
    config.write_text(former.replace("/registry-", "/nowhere-"))
    assert config.read_text() != former
    before = running.ids()
    with served(running):
        said = running.run(host, failed=True, start_timeout=5)["msg"]
    assert "it answers 503, and not 200, to a request for /healthz (the registry behind it has to answer)" in said
    assert config.read_text() == former
    assert running.ids() == before
    running.assert_right(host)


def test_what_does_not_become_healthy_goes_back(running: Proxy, host: Host, newer: str) -> None:
    """The check of passwords was replaced by then, and goes back, too."""
    before = running.inspect("nginx")
    former = running.configuration()
    running.configure(USERS, **running.options_of_role, reverse_proxy_log_format="text")
    sick = {"nginx": {"healthcheck": {"test": ["CMD", "false"], "interval": "1s", "retries": 1}}}
    with served(running):
        # All of it is waited for. The check of passwords, which is looked at every five seconds, is healthy by then.
        said = running.run(host, failed=True, image=newer, start_timeout=16, **sick)["msg"]
    name = running.names["nginx"]
    assert f"{name} on here did not become healthy. Its former image and configuration are back, and serve." in said
    assert f"{name}-next did not become healthy within 16 seconds" in said
    assert running.inspect("nginx")["Id"] == before["Id"]
    assert running.inspect("auth")["Image"] == before["Image"]
    assert running.configuration() == former
    running.assert_right(host)


@pytest.mark.long
@pytest.mark.parametrize("kind", ["auth", "nginx"])
def test_killed_before_the_former_one_is_told_to_go(running: Proxy, host: Host, kind: str) -> None:
    """The newer one goes, whatever it was."""
    changes = {kind: {"ulimits": ["nofile:2048:2048"]}}
    with served(running):
        process = running.begin(host, **changes)
        # It must not have become healthy when it is killed.
        wait_for("another one is there", lambda: running.inspect(f"{kind}-next"), 120, longest=0.05)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert not running.drains(kind)
        before = running.ids()
        made = running.run(host)
    assert [running.names[kind], "kept"] in made["actions"]
    assert running.ids() == before
    running.assert_right(host)


@pytest.mark.long
@pytest.mark.parametrize("kind", ["auth", "nginx"])
def test_killed_while_the_former_one_drains(running: Proxy, host: Host, kind: str) -> None:
    """The newer one takes its place."""
    changes = {kind: {"ulimits": ["nofile:2048:2048"]}}
    with served(running), slow_client(running, kind):
        process = running.begin(host, **changes)
        wait_for("it is told to drain", lambda: running.drains(kind), 120)
        newer = running.inspect(f"{kind}-next")
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert newer
        assert running.inspect(kind)["Id"] != newer["Id"]
        made = running.run(host, **changes)
    assert [running.names[kind], "taken over"] in made["actions"]
    assert running.inspect(kind)["Id"] == newer["Id"]
    running.assert_right(host, **changes)


@contextlib.contextmanager
def slow_client(proxy: Proxy, kind: str) -> Iterator[None]:
    """A request that goes on, for which the one that serves it waits when it drains."""
    if kind == "auth":
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(proxy.directory / "auth" / "auth.sock"))
            client.sendall(b"GET / HTTP/1.1\r\nHost: auth\r\n")
            yield
    else:
        with (
            socket.create_connection(("127.0.0.1", proxy.port)) as plain,
            proxy.context.wrap_socket(plain, server_hostname="localhost") as client,
        ):
            client.sendall(b"GET /v2/ HTTP/1.1\r\nHost: localhost\r\n")
            yield


def test_a_network_that_was_started_anew(running: Proxy, host: Host) -> None:
    """nginx is started again in it; it would hear no client."""
    command("docker", "restart", "--time=0", running.names["network"])
    assert running.run(host, check=True)["changed"]
    made = running.run(host)
    assert made["actions"] == [[running.names["nginx"], "restarted"]]
    running.assert_right(host)

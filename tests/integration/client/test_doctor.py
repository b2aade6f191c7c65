"""registry_check on what newcomers do wrong: real servers, engines and disks, and what it finds out by itself."""

from __future__ import annotations

import contextlib
import datetime as dt
import email.utils
import functools
import http.server
import json
import re
import secrets
import ssl
import threading
from typing import TYPE_CHECKING

import pytest
from certificates import DAY, Authority
from clients import USER
from content import Content
from engine import command, free_ports, listening, run_container, wait_for
from hops import OF_IMAGE, OF_PUSH, looked_at, walked
from http_client import connection_to
from peers import docker_config
from runs import run_at_registry
from steps import entry, says

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from clients import Box
    from peers import Peers


# --- clocks -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def dated(tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Starts a server whose certificate and whose clock are given in days from now; its address."""
    servers = []

    def start(begin: int, end: int, clock: int) -> str:
        authority = Authority(tmp_path / "dated", "ca")
        pair = authority.issue("dated", begin=begin * DAY, end=end * DAY)

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                self.send_response(401)
                self.end_headers()

            def date_time_string(self, timestamp: float | None = None) -> str:
                assert timestamp is None
                return email.utils.format_datetime(dt.datetime.now(dt.UTC) + clock * DAY, usegmt=True)

            def log_message(self, *_arguments: object) -> None:
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair.certificate, pair.key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"127.0.0.1:{server.server_address[1]}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    "case",
    [
        # The certificate is valid where the server is, and not where this host is: one of the clocks is off.
        ((-40, -10, -20), "clock_off", ["expired", "20 days ahead", "of the registry host, as by timedatectl"]),
        ((10, 40, 20), "clock_off", ["not valid yet", "20 days behind", "of the registry host, as by timedatectl"]),
        # They agree.
        ((-40, -10, 0), "expired", ["expired on", "by the clock of the server, too", "rotate.yml"]),
        ((10, 40, 0), "not_yet_valid", ["not before", "either", "issue it again"]),
    ],
)
def test_whose_clock_is_off(check: Callable[..., dict], dated: Callable[..., str], tmp_path: Path, case: tuple) -> None:
    days, mistake, wanted = case
    address = dated(*days)
    result = check(address, ca_path=str(tmp_path / "dated" / "ca.crt"), timeout=5, failed=True)
    assert (result["failed_hop"], result["mistake"]) == ("TLS", mistake), result["msg"]
    says(result, address, *wanted)


# --- protocols and CAs ------------------------------------------------------------------------------------------------


def test_https_where_http_is_asked_for(check: Callable[..., dict], peers: Peers) -> None:
    result = check("basic", plain_http=True, failed=True)
    assert (result["failed_hop"], result["mistake"]) == ("registry", "https_for_http")
    says(result, peers["basic"], "speaks HTTPS", "plain_http")


def test_an_engine_that_asks_by_https(check: Callable[..., dict], peers: Peers, in_clear: str) -> None:
    """The module may use HTTP, and an engine does not, but for loopback."""
    result = check(in_clear, plain_http=True, access="reach", password=None, failed=True)
    assert (result["failed_hop"], result["mistake"]) == ("reach", "http_for_https"), result["msg"]
    says(result, in_clear, "the registry speaks HTTP", "server gave HTTP response to HTTPS client")


@pytest.fixture
def in_clear(peers: Peers, images: dict[str, str]) -> Iterator[str]:
    """A registry that speaks HTTP, at an address that is not loopback."""
    address = f"{peers.outside.rpartition(':')[0]}:{free_ports(1)[0]}"
    yield from registry(peers, images["registry"], address)


def registry(peers: Peers, image: str, address: str, memory: str = "/data:mode=1777") -> Iterator[str]:
    """A registry at this address, whose storage is in memory."""
    name = f"clear-{secrets.token_hex(4)}.json"
    settings = {
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": "/data"}},
        "http": {"addr": address, "secret": secrets.token_hex(8)},
    }
    (peers.directory / name).write_text(json.dumps(settings))
    volume = f"--volume={peers.directory / name}:/settings.json:ro"
    container = run_container(image, "registry", "serve", "/settings.json", options=(volume, f"--tmpfs={memory}"))
    try:
        host, _colon, port = address.rpartition(":")
        if host == "127.0.0.1":
            wait_for("the registry listens", lambda: listening(int(port)))
        else:
            wait_for("the registry listens", lambda: "listening" in command("docker", "logs", container).stderr)
        yield address
    finally:
        command("docker", "rm", "--force", container)


def test_an_engine_that_does_not_know_the_ca(check: Callable[..., dict], peers: Peers) -> None:
    result = check(peers.outside, access="reach", failed=True)
    assert (result["failed_hop"], result["mistake"]) == ("reach", "engine_unknown_ca")
    says(result, peers.outside, "does not know the CA", f"/etc/docker/certs.d/{peers.outside}/ca.crt")


def test_an_engine_that_has_not_read_the_cas_of_the_system(check: Callable[..., dict], peers: Peers) -> None:
    """This host knows the CA by now, and an engine reads those of the system only when it starts."""
    env = {"SSL_CERT_FILE": str(peers.ca)}
    result = check(peers.outside, ca_path=None, env=env, access="reach", failed=True)
    assert (result["failed_hop"], result["mistake"]) == ("reach", "engine_unknown_ca"), result["msg"]
    says(result, peers.outside, "the CAs of the system know it", "restart the engine")


# --- reach ------------------------------------------------------------------------------------------------------------


def test_an_engine_that_gets_through(check: Callable[..., dict], peers: Peers, image: str) -> None:
    done = check("read_only", access="reach")
    assert walked(done)[-2:] == ["engine", "reach"]
    assert (done["verified"], done["digest"], done["registry"]) == (True, "", peers["read_only"])
    # What it asks for need not be there, and is where this registry was verified before.
    assert re.search("told the engine that|pulled .*/wharf-verify:", done["hops"][-1]["said"])
    assert done["seen"]["addresses"] == ["127.0.0.1"]
    assert "pulled" in check("read_only", access="reach", image=image)["hops"][-1]["said"]


# --- logins -----------------------------------------------------------------------------------------------------------


def test_a_login_for_another_port(check: Callable[..., dict], peers: Peers, tmp_path: Path) -> None:
    docker_config(tmp_path / "config.json", "127.0.0.1:1", "ci", "secret")
    env = {"DOCKER_CONFIG": str(tmp_path)}
    result = check(password=None, env=env, failed=True)
    assert (result["failed_hop"], result["mistake"]) == ("credentials", "not_logged_in")
    says(result, peers["basic"], f"There is a login for 127.0.0.1:1, which is not for {peers['basic']}")
    # This is no matter of logs.
    assert "docker logs" not in result["cure"]


def test_the_login_of_an_account(root_box: Box, peers: Peers) -> None:
    """The accounts of the clients' container: that of root is there, and the other one's is not."""
    box, account = root_box, USER
    login = {"auths": {peers["basic"]: entry("ci", peers.users["ci"])}}
    box.run("mkdir -p /root/.docker && cat > /root/.docker/config.json", stdin=json.dumps(login))
    run = functools.partial(
        run_at_registry, box.host, peers, "registry_check", username=None, password=None, ca_path="/ca.crt"
    )
    done = looked_at(run(accounts=["root"]))
    assert done["hops"][-1]["said"] == "it accepts 'ci' for the account 'root'"
    result = looked_at(run(accounts=["root", account], failed=True))
    assert (result["failed_hop"], result["mistake"]) == ("credentials", "not_logged_in")
    says(result, peers["basic"], f"of the account '{account}'")
    home = f"/home/{account}/.docker"
    box.run(f"mkdir -p {home} && cat > {home}/config.json && chown -R {account} {home}", stdin=json.dumps(login))
    done = looked_at(run(accounts=["root", account]))
    assert account in done["hops"][-1]["said"]
    result = looked_at(run(accounts=["nobody-here"], failed=True))
    assert "no account 'nobody-here'" in result["msg"]


def test_a_name_of_another_team(check: Callable[..., dict], peers: Peers, image: str) -> None:
    """Logged in, and the upload is refused: it is the name, or the user."""
    result = check("read_only", access="image", image=image, require_push=True, failed=True)
    assert (result["failed_hop"], result["mistake"]) == ("upload allowed", "wrong_account")
    says(result, peers["read_only"], "'ci'", image.rpartition(":")[0], "reverse_proxy_users")
    before = len(peers.requests("basic"))
    done = check("basic", access="image", image=image, require_push=True)
    assert walked(done) == ["name", "connection", "TLS", "registry", "credentials", "upload allowed", *OF_IMAGE[5:]]
    # Nothing that was begun is left.
    asked = [(method, status) for method, _path, status, _user in peers.requests("basic")[before:]]
    assert (asked.count(("POST", 202)), asked.count(("DELETE", 204))) == (1, 1)


# --- images -----------------------------------------------------------------------------------------------------------


def test_an_image_that_is_there(check: Callable[..., dict], image: str) -> None:
    done = check("read_only", access="image", image=image)
    assert walked(done) == OF_IMAGE
    assert done["verified"]


@pytest.mark.parametrize(
    "case",
    [
        (["1.0", "1.10"], "", "no_latest", "There is 1.0, 1.10"),
        (["1.0", "1.10"], ":1.11", "no_tag", "There is 1.1"),
        (["latest"], ":1.0", "latest_only", "no tag but latest"),
        ([], ":1.0", "no_repository", "no repository"),
    ],
)
def test_an_image_that_is_not_there(check: Callable[..., dict], content: Content, room: str, case: tuple) -> None:
    tags, wanted, mistake, told = case
    for tag in tags:
        content.image(f"{room}/app", tag)
    result = check(access="image", image=f"{room}/app{wanted}", failed=True)
    assert (result["failed_hop"], result["mistake"]) == ("image", mistake), result["msg"]
    assert told in result["msg"]


def test_an_image_for_another_platform(check: Callable[..., dict], content: Content, room: str) -> None:
    content.image(f"{room}/app", "alone", architecture="s390x")
    content.index(f"{room}/app", "index", architectures=("s390x",))
    for tag in ("alone", "index"):
        result = check(access="image", image=f"{room}/app:{tag}", failed=True)
        assert (result["failed_hop"], result["mistake"]) == ("image", "other_platform"), result["msg"]
        assert "is for linux/s390x, and this host is linux/" in result["msg"]
    # What the engine says of it, where the module has not looked before.
    result = check(access="reach", image=f"{room}/app:index", failed=True)
    assert (result["failed_hop"], result["mistake"]) == ("reach", "other_platform"), result["msg"]


# --- disks ------------------------------------------------------------------------------------------------------------


def test_a_registry_whose_storage_is_full(check: Callable[..., dict], peers: Peers, images: dict[str, str]) -> None:
    address = f"127.0.0.1:{free_ports(1)[0]}"
    for _started in registry(peers, images["registry"], address, "/data:size=1m,mode=1777"):
        fill(address)
        result = check(address, plain_http=True, access="push", require_push=True, password=None, failed=True)
        assert (result["failed_hop"], result["mistake"]) == ("upload allowed", "registry_full"), result["msg"]
        says(result, address, "no space left on its storage", "make room")


def fill(address: str) -> None:
    """Push blobs to a registry until it has no room for another one, nor for the beginning of an upload."""
    content = Content(connection_to(address))
    for size in (100_000, 4096, 1):
        with contextlib.suppress(AssertionError, KeyError, TypeError):
            while True:
                content.blob("room", secrets.token_bytes(size))


def test_disks_are_told(check: Callable[..., dict], tmp_path: Path) -> None:
    (disk,) = check(storage=[str(tmp_path)])["seen"]["disks"]
    assert disk["path"] == str(tmp_path)
    assert disk["free"] <= disk["size"]


def test_a_push_that_must_be_let_in(check: Callable[..., dict]) -> None:
    done = check(access="push", require_push=True)
    assert walked(done) == ["name", "connection", "TLS", "registry", "credentials", "upload allowed", *OF_PUSH[5:]]

"""The clients log in with the passwords of tests/verdicts/passwords.txt, at a registry that keeps what is sent."""

from __future__ import annotations

import ast
import base64
import json
import shlex
from typing import TYPE_CHECKING

import pytest
from engine import wait_for
from managed import encoded
from oracle import alone_with_a_program, rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from clients import Box
    from peers import Peers

# Takes every login, and keeps it.
REGISTRY = """
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        sent = self.headers.get("Authorization") or ""
        with open("/tmp/sent", "a") as log:
            log.write(sent + "\\n")
        self.send_response(200 if sent.startswith("Basic ") else 401)
        self.send_header("WWW-Authenticate", 'Basic realm="registry"')
        self.send_header("Docker-Distribution-Api-Version", "registry/2.0")
        self.send_header("Content-Length", "0")
        self.end_headers()
    do_HEAD = do_GET
    def log_message(self, *words):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", 5001), Handler).serve_forever()
"""
# Podman looks after its storage at a login, too.
STORAGE = '[storage]\ndriver = "vfs"\nrunroot = "/run/containers/storage"\ngraphroot = "/var/lib/containers"\n'
# Column of the table, which of the containers, and what logs in. crane asks no registry until it is used.
CLIENTS = {
    "docker 26.1": (0, "docker login --username USER --password-stdin 127.0.0.1:5001"),
    "podman 5.4": (0, "podman login --tls-verify=false --username USER --password-stdin 127.0.0.1:5001"),
    "skopeo 1.22": (1, "skopeo login --tls-verify=false --username USER --password-stdin 127.0.0.1:5001"),
    "crane 0.20": (
        1,
        "crane auth login --username USER --password-stdin 127.0.0.1:5001 && crane manifest 127.0.0.1:5001/wharf/app:1",
    ),
}
COLUMNS = ["password", "logins", "users", *CLIENTS]
TABLE = rows("passwords.txt")


def password(text: str) -> bytes:
    """The password of a row, as bytes."""
    if text.startswith("long "):
        return b"x" * int(text.removeprefix("long "))
    return ast.literal_eval(text).encode("utf-8", "surrogateescape")


@pytest.fixture(scope="module")
def boxes(session: None, images: dict[str, str]) -> Iterator[tuple[Box, Box]]:
    # Podman makes a namespace even for a login.
    rights = ("--cap-add=SYS_ADMIN", "--security-opt=seccomp=unconfined", "--security-opt=apparmor=unconfined")
    with alone_with_a_program(images, REGISTRY, *rights) as both:
        both[0].write("/etc/containers/storage.conf", STORAGE)
        wait_for("the registry listens", lambda: both[0].run("grep -i :1389 /proc/net/tcp", check=False).stdout)
        yield both


def sent(boxes: tuple[Box, Box], client: str) -> list[str]:
    """For each row, whether the client sends the `same`, an `other` one or `none`."""
    place, command = CLIENTS[client]
    boxes[0].run(": > /tmp/sent")
    script = []
    for number, row in enumerate(TABLE):
        content = base64.b64encode(password(row[0])).decode()
        folder = f"/run/row{number}"
        env = f"DOCKER_CONFIG={folder} REGISTRY_AUTH_FILE={folder}/auth.json"
        run = f"export {env}; {command.replace('USER', f'row{number}')}"
        script.append(f"mkdir -p {folder}; (echo {content} | base64 -d | sh -c {shlex.quote(run)}) >/dev/null 2>&1 &")
        if number % 8 == 7:
            script.append("wait")
    boxes[place].run("\n".join([*script, "wait"]))
    found: dict[str, set[bytes]] = {}
    for line in boxes[0].output("cat /tmp/sent").splitlines():
        if line.startswith("Basic "):
            user, _colon, told = base64.b64decode(line.removeprefix("Basic ")).partition(b":")
            found.setdefault(user.decode(), set()).add(told)
    return [
        "none" if not told else "same" if told == {password(row[0])} else "other"
        for row, told in ((row, found.get(f"row{number}", set())) for number, row in enumerate(TABLE))
    ]


@pytest.mark.long
@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_sends_what_the_table_says(boxes: tuple[Box, Box], client: str) -> None:
    told = [(row[0], row[COLUMNS.index(client)]) for row in TABLE]
    assert list(zip([row[0] for row in TABLE], sent(boxes, client), strict=True)) == told


def test_nginx_takes_all_that_begins_with_72_bytes(peers: Peers) -> None:
    """Which is why no longer one is taken for a user: two would be one."""
    peers.set_password("ci", "x" * 72)
    for given, status in (("x" * 72, 200), ("x" * 73, 200), ("x" * 72 + "other", 200), ("x" * 71, 401)):
        assert peers.get("basic", Authorization="Basic " + encoded(f"ci:{given}")).status == status


@pytest.mark.parametrize(
    "given", ["ge\nheim", "ge\theim\t", " geheim ", "ge:heim", '{\n\t"a": "b\\n"\n}', "gehäim€", "ge\x1bheim"]
)
def test_nginx_takes_what_clients_send(peers: Peers, given: str) -> None:
    peers.set_password("ci", given)
    assert peers.get("basic", Authorization="Basic " + encoded(f"ci:{given}")).status == 200
    assert peers.get("basic", Authorization="Basic " + encoded(f"ci:{given}x")).status == 401


@pytest.mark.parametrize("given", ['{\n\t"a": "b\\n"\n}', "\tge heim\t", " geheim "])
def test_a_login_stores_what_docker_sends(peers: Peers, login: Callable[..., dict], config: Path, given: str) -> None:
    peers.set_password("ci", given)
    result = login(password=given)
    assert (result["changed"], result["verified"]) == (True, True)
    stored = json.loads(config.read_text())["auths"][peers["basic"]]["auth"]
    assert base64.b64decode(stored).decode() == f"ci:{given}"
    assert login(password=given)["changed"] is False


@pytest.mark.parametrize(
    ("given", "says"),
    [("geheim\n", "ends with a line feed, which no client sends"), ("a\n\r", "ends with a carriage return")],
)
def test_a_login_refuses_what_no_client_sends(login: Callable[..., dict], config: Path, given: str, says: str) -> None:
    result = login(password=given, failed=True)
    assert says in result["msg"] and not config.exists()

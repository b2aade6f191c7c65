"""crane and the modules' own client ask the same servers by the proxy of the environment."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import pytest
from engine import wait_for
from oracle import alone_with_a_program, rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clients import Box

# A proxy that connects to nothing, and remembers who asked for what. Each asker has a user name of its own.
PROXY = """
import base64, socket, threading
def serve(connection):
    file = connection.makefile("rb")
    target = file.readline().split()[1].decode()
    user = ""
    while line := file.readline().strip():
        name, _colon, value = line.partition(b":")
        if name.lower() == b"proxy-authorization":
            user = base64.b64decode(value.split()[1]).decode().partition(":")[0]
    with open("/tmp/asked", "a") as log:
        log.write(f"{user} {target}\\n")
    connection.sendall(b"HTTP/1.1 403 no\\r\\nContent-Length: 0\\r\\nConnection: close\\r\\n\\r\\n")
    connection.close()
server = socket.create_server(("127.0.0.1", 3128))
while True:
    threading.Thread(target=serve, args=(server.accept()[0],)).start()
"""
OURS = """
import sys
from ansible_collections.wharf.registry.plugins.module_utils._common.errors import RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._distribution.tls import TLSConfig
from ansible_collections.wharf.registry.plugins.module_utils._distribution.transport import HttpClient
server = sys.argv[1]
try:
    HttpClient(TLSConfig(server), timeout=5, attempts=1).request("GET", f"https://{server}/v2/")
except RegistryError as error:
    print(error)
"""
TABLE = rows("proxies.txt")


@pytest.fixture(scope="module")
def boxes(session: None, images: dict[str, str]) -> Iterator[tuple[Box, Box]]:
    with alone_with_a_program(images, PROXY) as both:
        wait_for("the proxy listens", lambda: both[0].run("ss -ltn | grep 3128 || grep -i :0C38 /proc/net/tcp").stdout)
        yield both


def asked(boxes: tuple[Box, Box], asker: Box, command: str) -> dict[int, str]:
    """Which rows asked the proxy, and for what, where each runs the command on its server, all at once."""
    boxes[0].run(": > /tmp/asked")
    script = []
    for number, (words, server, _verdict) in enumerate(TABLE):
        own = shlex.split(words)
        if not any(word.partition("=")[0].upper() in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY") for word in own):
            own.append("HTTPS_PROXY=http://PROXY")
        own = [
            word
            if word.upper().startswith("NO_PROXY")
            else word.replace("=PROXY", f"=row{number}:x@127.0.0.1:3128").replace(
                "/PROXY", f"/row{number}:x@127.0.0.1:3128"
            )
            for word in own
        ]
        script.append(f"env {shlex.join(own)} timeout 60 {command.replace('SERVER', server)} >/dev/null 2>&1 &")
    asker.run("\n".join([*script, "wait"]))
    found = {}
    for line in boxes[0].output("cat /tmp/asked").splitlines():
        user, target = line.split(" ")
        found[int(user.removeprefix("row"))] = target
    return found


def expected() -> dict[int, str]:
    return {
        number: server if ":" in server else f"{server}:443"
        for number, (_words, server, verdict) in enumerate(TABLE)
        if verdict == "proxy"
    }


@pytest.mark.long
def test_crane_decides_as_the_table_says(boxes: tuple[Box, Box]) -> None:
    assert asked(boxes, boxes[1], "crane manifest SERVER/wharf/app:1") == expected()


def test_the_modules_decide_as_crane_does(boxes: tuple[Box, Box]) -> None:
    ours = f"env PYTHONPATH=/managed PYTHONDONTWRITEBYTECODE=1 python3 -c {shlex.quote(OURS)} SERVER"
    assert asked(boxes, boxes[0], ours) == expected()

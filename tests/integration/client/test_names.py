"""The clients are asked what the names of tests/verdicts/names.txt are to them."""

from __future__ import annotations

import re
import shlex
import urllib.parse
from typing import TYPE_CHECKING

import pytest
from clients import Box
from engine import command, run_container
from oracle import long_name, rows, tools_image

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hosts import Machine

# Column of the table, where it runs, and the command for a name. They end at the name's address: there is no such host.
CLIENTS = {
    "docker 20.10": ("bookworm-docker", "docker pull -- {}/wharf/app:1"),
    "docker 26.1": ("trixie-docker", "docker pull -- {}/wharf/app:1"),
    "podman 5.4": ("trixie-podman", "podman pull --quiet --retry 0 -- docker://{}/wharf/app:1"),
    "skopeo 1.18": ("trixie-podman", "skopeo inspect --retry-times 0 -- docker://{}/wharf/app:1"),
    "skopeo 1.22": ("tools", "skopeo inspect --retry-times 0 -- docker://{}/wharf/app:1"),
    "crane 0.20": ("tools", "crane manifest -- {}/wharf/app:1"),
}
HUB = re.compile(r"https://(?:registry-1|index)\.docker\.io/v2/")
REFUSED = re.compile(
    r"invalid reference format|must be lowercase|could not parse reference|parsing reference|no Host in request URL"
    r"|did not resolve to an alias|not be more than 255 characters|registries can only contain|invalid port|unclosed"
    r"|invalid host name|invalid repository name|can only contain"
)
# tests/unit compares our own code with the table.
pytestmark = pytest.mark.long
COLUMNS = ["name", "ours", *CLIENTS]
TABLE = rows("names.txt")


@pytest.fixture(scope="module")
def places(machines: dict[str, Machine]) -> Iterator[dict[str, Box]]:
    tools = run_container(tools_image(), "sleep", "infinity", network="none")
    yield {**machines, "tools": Box(tools, "root")}
    command("docker", "rm", "--force", "--volumes", tools)


def verdict(name: str, said: str) -> str:
    said = urllib.parse.unquote(said.replace('\\"', '"'))
    if HUB.search(said):
        return "hub"
    if "invalid port" not in said and re.search(f"https?://{re.escape(name.rstrip(':'))}/v2/", said):
        return "registry"
    assert REFUSED.search(said), f"{name}: {said}"
    return "refused"


@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_says_what_the_table_says(places: dict[str, Box], client: str) -> None:
    place, asks = CLIENTS[client]
    script = []
    for number, row in enumerate(TABLE):
        asked = asks.format(shlex.quote(long_name(row[0])))
        script.append(f"timeout 20 {asked} </dev/null >/tmp/{number}.said 2>&1 &")
        if number % (8 if place != "tools" else 40) == 7:
            script.append("wait")
    show = f"for number in $(seq 0 {len(TABLE) - 1}); do tr '\\n' ' ' </tmp/$number.said; echo; done"
    said = places[place].run("\n".join([*script, "wait", show]))
    found = [
        (row[0], verdict(long_name(row[0]), line)) for row, line in zip(TABLE, said.stdout.splitlines(), strict=True)
    ]
    told = [(row[0], row[COLUMNS.index(client)]) for row in TABLE]
    assert found == told

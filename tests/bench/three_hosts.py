"""Compares three hosts of one registry with a single one, by what they compute for each request.

Usage: three_hosts.py, with tests/support and tests/lab on PYTHONPATH. It starts an object storage, and four proxies
with two registries each, on this machine.

All of it shares the processors of this machine, so that requests a second can't grow here. What a host computes for
each request that the registry gets as a whole is what its own processors would limit.
"""

from __future__ import annotations

import json
import re
import secrets
import sys
from typing import TYPE_CHECKING

from fronts import OPTIONS, REPOSITORIES, USERS, bucket, content_of, lab, push, used
from http_client import ACCEPT
from several_fronts import several
from table import Row, report, say

if TYPE_CHECKING:
    from collections.abc import Callable

    from front import Front
    from fronts import Lab

ROUNDS = 3
# In each round, at least: a busy machine answers few in a given time, and what few take is counted badly.
READS = 600
READ_SECONDS = 2
# Those of one host, or of all three.
CONNECTIONS = 12
TAGS = [f"1.{number}" for number in range(8)]
CLIENTS = 6
PUSHED_TAGS = 8  # in each repository, in each round
LAYER_KIB = 16
# The busiest of three hosts would have to compute no more than this part of what a single one has.
GROWTH = 2.4

# For wrk, whose threads begin at the same path.
READER = """
local paths, headers, next = {{{paths}}}, {{{headers}}}, {first}
request = function()
  next = next % #paths + 1
  return wrk.format("GET", paths[next], headers)
end
"""


def read(lab: Lab, fronts: list[Front], paths: list[str], **headers: str) -> int:
    """Ask for the paths again and again, at all fronts at once; the number of answers."""
    script = "set -e\numask 077\ncd /tmp\n"
    for number, front in enumerate(fronts):
        named = {"Authorization": front.basic("ci"), "Accept": ACCEPT, **headers}
        reader = READER.format(
            paths=", ".join(map(json.dumps, paths)),
            headers=", ".join(f"[{json.dumps(name)}] = {json.dumps(value)}" for name, value in named.items()),
            first=number * len(paths) // len(fronts),
        )
        script += f"cat >{number}.lua <<'END'\n{reader}\nEND\n"
    for number, front in enumerate(fronts):
        script += (
            f"wrk --threads=1 --connections={CONNECTIONS // len(fronts)} --duration={READ_SECONDS}s --timeout=20s"
            f" --script={number}.lua https://localhost:{front.port} >{number}.txt 2>&1 &\n"
        )
    said = lab.in_tools(f"{script}wait\ncat {' '.join(f'{number}.txt' for number in range(len(fronts)))}")
    answers = [int(count) for count in re.findall(r"(\d+) requests in", said)]
    if "Non-2xx" in said or "Socket errors" in said or len(answers) != len(fronts) or not all(answers):
        sys.exit(f"FAILED: wrk:\n{said}")
    return sum(answers)


def reads(lab: Lab, fronts: list[Front], paths: list[str], **headers: str) -> int:
    answers = 0
    while answers < READS:
        answers += read(lab, fronts, paths, **headers)
    return answers


def computed(fronts: list[Front], ask: Callable[[list[Front]], int]) -> tuple[float, float]:
    """Milliseconds for each request that was answered: of a host in the mean, and of the busiest one."""
    before = [used(front) for front in fronts]
    answers = ask(fronts)
    spent = [1000 * (used(front) - began) / answers for front, began in zip(fronts, before, strict=True)]
    return sum(spent) / len(spent), max(spent)


def compare(what: str, sides: dict[str, list[Front]], ask: Callable[[list[Front]], int]) -> dict[str, list]:
    """Of each side, what computed() says in each round."""
    figures: dict[str, list] = {name: [] for name in sides}
    # Passwords are remembered, and so is what is warm.
    for fronts in sides.values():
        ask(fronts)
    for turn in range(1, ROUNDS + 1):
        for name in list(sides) if turn % 2 else list(sides)[::-1]:
            figures[name].append(computed(sides[name], ask))
        said = ", ".join(f"{name} {rounds[-1][0]:.2f} ms" for name, rounds in figures.items())
        say(f"{what} {turn}/{ROUNDS}, by each host for each request: {said}")
    return figures


def row(what: str, figures: dict[str, list], *, busiest: bool = False, at_least: float | None = None) -> Row:
    three, one = ([figure[busiest] for figure in figures[name]] for name in ("three", "one"))
    return Row(what, three, one, faster=True, at_least=at_least, unit="ms")


def pushing(fronts: list[Front]) -> int:
    tags = [secrets.token_hex(8) for _tag in range(PUSHED_TAGS)]
    images = push(fronts, tags, CLIENTS)
    # A tag that one has taken is a tag of all.
    for front in fronts:
        content = content_of(front)
        missing = [name for name in REPOSITORIES if not set(tags) <= set(content.tags(name))]
        if missing:
            sys.exit(f"FAILED: tags were pushed that {missing} lack")
    return images


def measure(lab: Lab, sides: dict[str, list[Front]]) -> list[Row]:
    content = content_of(sides["one"][0])
    manifests, blobs = [], []
    for repository in REPOSITORIES:
        for tag in TAGS:
            content.image(repository, tag, layer=secrets.token_bytes(LAYER_KIB << 10))
            document = content.ask("GET", f"/v2/{repository}/manifests/{tag}", Accept=ACCEPT).json
            manifests.append(f"/v2/{repository}/manifests/{tag}")
            blobs.append(f"/v2/{repository}/blobs/{document['layers'][0]['digest']}")
    kept = compare("manifests", sides, lambda fronts: reads(lab, fronts, manifests))
    apart = compare("with a connection each", sides, lambda fronts: reads(lab, fronts, manifests, Connection="close"))
    sent = compare("small blobs", sides, lambda fronts: reads(lab, fronts, blobs))
    pushed = compare("pushes", sides, pushing)
    return [
        row("a manifest by tag, a third of three hosts, one host", kept, at_least=GROWTH),
        row("the same, with a connection each", apart, at_least=GROWTH),
        row("a small blob", sent, at_least=GROWTH),
        row("a push of a small image", pushed),
        row("a push of a small image, the busiest of three hosts, one host", pushed, busiest=True),
    ]


def main() -> None:
    with lab("hosts") as here:
        options = bucket(here.storage.gateways[0])
        one = here.front("one", **options)
        (here.directory / "three").mkdir()
        hosts = several(here.directory / "three", here.images, USERS, 3, **OPTIONS, **options)
        rows = measure(here, {"three": here.stack.enter_context(hosts), "one": [one]})
    report(rows)
    sys.exit(0 if all(row.met for row in rows) else 1)


if __name__ == "__main__":
    main()

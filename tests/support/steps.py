"""What several tests do in the same way."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from engine import command
from managed import encoded, words

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from peers import Peers

REPOSITORIES = "/data/docker/registry/v2/repositories"


def four_runs(run: Callable[..., dict], look: Callable[[], object]) -> dict:
    """Check, apply, check, apply: the first two change and foretell, the last two do not change.

    `look` returns what the runs are about, as it lies there. Returns the result of the run that changed it.
    """
    before = look()
    foretold = run(check=True)
    assert foretold["changed"], foretold
    assert look() == before, "check mode changed something"
    done = run()
    assert done["changed"], done
    assert done["diff"] == foretold["diff"]
    assert done["diff"]["before"] != done["diff"]["after"]
    after = look()
    assert after != before
    for check in (True, False):
        again = run(check=check)
        assert not again["changed"], again
        assert look() == after
        assert again["diff"]["before"] == again["diff"]["after"], again
    return done


def content(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def auths(path: Path) -> dict:
    return json.loads(path.read_text())["auths"]


def entry(user: str, password: str) -> dict[str, str]:
    """An entry of `auths`, as Docker writes it."""
    return {"auth": encoded(f"{user}:{password}")}


def alone(path: Path) -> None:
    """Nothing lies beside the file: no temporary file, no lock."""
    assert [beside.name for beside in path.parent.iterdir()] == [path.name]


def says(result: dict, subject: str, *wanted: str) -> str:
    """A message whose first sentence names the registry or the file, and whose next one tells what to do."""
    message = words(result["msg"])
    first, _dot, cure = message.partition(". ")
    assert subject in first, f"{subject!r} is not named at first: {message}"
    for text in wanted:
        assert text.lower() in message.lower(), f"{text!r} is not in: {message}"
    assert message.endswith("."), message
    assert cure, f"nothing to do about it: {message}"
    return message


def write_tags(peers: Peers, repository: str, digest: str, count: int) -> None:
    """Tags 1 to `count`, written straight to the registry's disk as links to an image of the repository."""
    script = """
        cd "$1"; names=$(seq 1 "$3"); printf '%s/current\\n' $names | xargs mkdir -p
        for name in $names; do printf %s "$2" >$name/current/link; done
    """
    tags = f"{REPOSITORIES}/{repository}/_manifests/tags"
    command("docker", "exec", peers.containers["registry"], "sh", "-ec", script, "sh", tags, digest, str(count))

"""The tables of tests/verdicts, and the containers in which the real clients are asked about them."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

import pytest
from clients import Box
from engine import command, run_container
from managed import TREE
from paths import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator


def rows(table: str) -> list[list[str]]:
    """The rows of a table, each a list of its columns."""
    lines = (ROOT / "tests" / "verdicts" / table).read_text(encoding="utf-8").splitlines()
    return [[part.strip() for part in line.split(" | ")] for line in lines if line and not line.startswith("#")]


def tools_image() -> str:
    """The image with the newest clients, of sid. Skips the test where that can't be had now."""
    done = command(sys.executable, str(ROOT / "tests" / "lab" / "build-image"), "tools", check=False)
    if done.returncode != 0:
        pytest.skip(f"the image with crane and skopeo can't be built now: {done.stderr[-300:]}")
    return done.stdout.strip()


@contextlib.contextmanager
def alone_with_a_program(images: dict[str, str], script: str, *rights: str) -> Iterator[tuple[Box, Box]]:
    """A container that runs Python code, and one with crane that sees the same loopback. Neither sees anything else."""
    tools = tools_image()
    options = ("--init", f"--volume={TREE}:/managed:ro", *rights)
    program = run_container(images["clients"], "python3", "-c", script, options=options, network="none")
    beside = run_container(tools, "sleep", "infinity", network=f"container:{program}")
    try:
        yield Box(program, "root"), Box(beside, "root")
    finally:
        command("docker", "rm", "--force", "--volumes", beside, program)


def long_name(name: str) -> str:
    """The name that a row stands for: `long 63.63` is one of parts with so many characters."""
    if not name.startswith("long "):
        return name
    return ".".join("a" * int(length) for length in name.removeprefix("long ").split("."))

"""A run without changes starts few modules on the registry host: each costs about half a second."""

from __future__ import annotations

import pytest
import yaml
from ansible.playbook.block import Block
from ansible.playbook.handler import Handler
from paths import ROOT

# What Ansible does by itself on the control node.
OF_ANSIBLE = {
    "assert",
    "debug",
    "fail",
    "include_role",
    "include_tasks",
    "import_role",
    "meta",
    "set_fact",
    "include_vars",
}
# Keys of a task that are not its action.
KEYWORDS = set(Handler.fattributes) | set(Block.fattributes) - {"action"}
# Tasks of a role that may start a module: those of its main.yml and of what that imports. Where everything is in place,
# half of them are skipped.
MOST = {
    "engine": 4,
    "image": 12,
    "certificate": 9,
    "registry": 7,
    "reverse_proxy": 11,
    "maintenance": 3,
    "monitoring": 7,
    "client": 1,
}


def action(task: dict) -> str:
    (name,) = set(task) - KEYWORDS
    return name


def modules(role: str, file: str) -> list[str]:
    """The names of the tasks of a file that start a module, with those of the files that it imports."""
    found = []
    for task in flat(yaml.safe_load((ROOT / "roles" / role / "tasks" / file).read_text(encoding="utf-8"))):
        name = action(task)
        if name == "ansible.builtin.import_tasks":
            found += modules(role, task[name])
        elif name.rpartition(".")[2] not in OF_ANSIBLE:
            found.append(task["name"])
    return found


def flat(tasks: list[dict]) -> list[dict]:
    """Tasks, and those of blocks. What a rescue does is no part of a run without changes."""
    return [one for task in tasks for one in (flat(task["block"]) if "block" in task else [task])]


@pytest.mark.parametrize("role", MOST)
def test_a_role_starts_few_modules(role: str) -> None:
    started = modules(role, "main.yml")
    assert len(started) <= MOST[role], started

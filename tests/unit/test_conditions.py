"""Conditions, numbers and delegation of roles and playbooks, as all supported versions of ansible-core take them."""

from __future__ import annotations

from pathlib import Path

import jinja2
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted(path for top in ("roles", "playbooks") for path in (ROOT / top).rglob("*.yml"))
CONDITIONS = ("when", "until", "changed_when", "failed_when")


class Loader(yaml.SafeLoader):
    """Reads what Ansible reads; values with a tag of its own do not matter here."""


Loader.add_multi_constructor("!", lambda _loader, _tag, _node: None)


def conditions(node):
    """Every condition of a file that is a text."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key in CONDITIONS:
                yield from (one for one in (value if isinstance(value, list) else [value]) if isinstance(one, str))
            yield from conditions(value)
    elif isinstance(node, list):
        for one in node:
            yield from conditions(one)


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(ROOT)) for path in FILES])
def test_a_condition_is_one_before_2_19(path):
    """It is put into a tag there, which takes no if-expression without brackets."""
    environment = jinja2.Environment(autoescape=True)
    for condition in conditions(list(yaml.load_all(path.read_text(encoding="utf-8"), Loader))):
        environment.parse("{% if " + condition + " %}yes{% endif %}")


def numbers(value):
    """Templates that end in a number, in values that a role writes as JSON."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from numbers(one)
    elif (
        isinstance(value, str)
        and value.startswith("{{")
        and value.removesuffix("}}").rstrip().endswith(("int", "float"))
    ):
        yield value


@pytest.mark.parametrize(("role", "variable"), [("maintenance", "__maintenance_values"), ("backup", "__backup_config")])
def test_settings_keep_their_types_before_2_19(role, variable):
    """A template by itself is text there; an expression that makes the whole dictionary is none."""
    variables = yaml.safe_load((ROOT / "roles" / role / "vars" / "main.yml").read_text(encoding="utf-8"))
    assert list(numbers(variables[variable])) == []


def delegated(node):
    """Every task of a file that another host than the control node does."""
    if isinstance(node, dict):
        if node.get("delegate_to", "localhost") != "localhost":
            yield node
        node = list(node.values())
    if isinstance(node, list):
        for one in node:
            yield from delegated(one)


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(ROOT)) for path in FILES])
def test_a_task_of_another_host_connects_to_that_host(path):
    """Without it, an expression in the ansible_host of an inventory would be worked out for the host that delegates.

    In a loop over hosts, ansible_host is worked out before there is one: such a loop includes a file.
    """
    for task in delegated(list(yaml.load_all(path.read_text(encoding="utf-8"), Loader))):
        if "ansible.builtin.set_fact" not in task:
            assert "ansible_host" in task.get("vars", {}), task["name"]
            over = task.get("loop_control", {}).get("loop_var", "item")
            assert "loop" not in task or over not in task["delegate_to"], task["name"]


@pytest.mark.parametrize(
    "role",
    [
        path.parents[1].name
        for path in sorted((ROOT / "roles").glob("*/vars/main.yml"))
        if "_registry_peers" in path.read_text(encoding="utf-8") and path.parents[1].name != "registry"
    ],
)
def test_a_role_that_needs_the_addresses_of_other_hosts_asks_for_them(role):
    """A play may be for one host after another, and with facts of none."""
    tasks = yaml.load((ROOT / "roles" / role / "tasks" / "preflight.yml").read_text(encoding="utf-8"), Loader)  # noqa: S506
    included = [task.get("ansible.builtin.include_role", {}) for task in tasks]
    assert {"name": "wharf.registry.registry", "tasks_from": "peers"} in included

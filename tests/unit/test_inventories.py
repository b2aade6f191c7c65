"""The inventories that teach: Ansible reads them, and a dynamic one becomes ours."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = Path(sys.executable).parent / "ansible-inventory"
# What an inventory plugin of a cloud would have found.
CLOUD = {
    "tag_role_registry": {"hosts": {"i-0a": {}}},
    "tag_role_ci": {"hosts": {"i-0b": {"datacenter": "north"}}},
    "all": {
        "hosts": {
            "i-0c": {"datacenter": "north", "container_runtime": "podman"},
            "i-0d": {"datacenter": "south", "container_runtime": "docker"},
            "i-0e": {"datacenter": "south", "container_runtime": "none"},
        }
    },
}


def groups(path):
    result = subprocess.run([COMMAND, "-i", path, "--list"], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "WARNING" not in result.stderr, result.stderr
    listed = json.loads(result.stdout)

    def hosts(group):
        found = set(listed.get(group, {}).get("hosts", []))
        return found.union(*(hosts(child) for child in listed.get(group, {}).get("children", [])))

    return {group: sorted(hosts(group)) for group in listed if group != "_meta"}, listed["_meta"]["hostvars"]


def test_the_example(root):
    found, variables = groups(root / "inventories" / "example")
    assert found["registry"] == ["registry.example.com"]
    assert found["builders"] == ["ci-1.example.com", "ci-2.example.com"]
    assert sorted(found["site_north"] + found["site_south"]) == found["runtimes"]
    assert {tuple(host["rollout_batches"]) for host in variables.values()} == {(1, "10%", "100%")}
    assert not set(found) - {"all", "ungrouped", "registry", "builders", "runtimes", "site_north", "site_south"}


@pytest.fixture
def example(root, tmp_path):
    return shutil.copytree(root / "inventories" / "example", tmp_path / "example")


def test_a_dynamic_inventory(example):
    """Its groups become ours, and no variable of ours is lost on the way."""
    (example / "hosts.yml").unlink()
    (example / "cloud.yml").write_text(json.dumps(CLOUD), encoding="utf-8")
    found, variables = groups(example)
    ours = {group: found[group] for group in ("registry", "builders", "runtimes", "site_north", "site_south")}
    assert ours == {
        "registry": ["i-0a"],
        "builders": ["i-0b"],
        "runtimes": ["i-0c", "i-0d"],
        "site_north": ["i-0b", "i-0c"],
        "site_south": ["i-0d", "i-0e"],
    }
    assert "client_logins" in variables["i-0b"]
    assert "client_logins" not in variables["i-0e"]


def test_the_vault_sample_names_what_is_used(root):
    example = root / "inventories" / "example" / "group_vars"
    used = "".join(path.read_text(encoding="utf-8") for path in example.rglob("*.yml"))
    sample = (example / "all" / "vault.yml.sample").read_text(encoding="utf-8")
    for name in set(re.findall(r"vault_\w+", used)):
        assert name in sample, name

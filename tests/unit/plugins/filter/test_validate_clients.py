"""What the filter `client_problems` says of the variables of whole fleets, in one sentence for each mistake."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PLAYBOOK = Path(sys.executable).parent / "ansible-playbook"
# Two hosts with the same mistake each, and what is said of it.
MISTAKES = [
    (
        {"client_logins": [{"username": "runtime"}]},
        "Login 1 of client_logins, for the account root, must give username",
    ),
    ({"client_logins": [{}]}, "or neither and a credential_helper"),
    ({"client_logins": [{"username": "runtime", "passwd": "x"}]}, "client_logins.passwd. Supported parameters include"),
    (
        {"client_logins": [{"username": "ci", "password": "geheim"}]},
        "no user who may only pull, but ci (push): log in a user",
    ),
    ({"client_logins": "runtime"}, "client_logins"),
    (
        {"client_logins": [{"username": "a", "password": "{{ vault_missing }}"}]},
        "client_logins can't be read: 'vault_missing'",
    ),
    ({"client_registries": []}, "client_registries is empty"),
    ({"client_registries": [{"ca": "x"}]}, "missing required arguments: host found in client_registries"),
    (
        {"client_registries": [{"host": "r.example.com/team"}]},
        'client_registries names "r.example.com/team": give host',
    ),
    ({"client_registries": [{"host": "r.example.com", "ca": "/ca.crt"}]}, "is no PEM text: give what is in the file"),
    ({"client_registries": [{"host": "r.example.com", "client_key": "PRIVATE KEY"}]}, "give both, or none"),
    ({"registry_hostname": ""}, "registry_hostname is not set"),
    (
        {"registry_hostname": "h3-docker"},
        "send the password to Docker Hub. Use a name with a dot, or set registry_port to another port than 443.",
    ),
    ({"registry_hostname": "h3_docker.example.com"}, "a host name with an underscore, which engines refuse"),
    ({"registry_hostname": "registry.example.com", "registry_port": 0}, 'registry_port is "0"'),
    (
        {"client_registries": [{"host": "h3-docker"}]},
        "a registry of client_registries is 'h3-docker', which engines do not take for a host",
    ),
    ({"client_registries": [{"host": "registry-.example.com:5000"}]}, "begins or ends with a hyphen"),
    (
        {"client_logins": [{"username": "ci", "password": "geheim", "registry": "hub"}]},
        "a registry of client_logins is 'hub', which engines do not take for a host",
    ),
    (
        {"client_logins": [{"username": "runtime", "password": "geheim\n"}]},
        "Login 1 of client_logins, for the account root: password ends with a line feed, which no client sends.",
    ),
    ({"client_logins": [{"username": "a:b", "password": "geheim"}]}, "account root: username is 'a:b'"),
    ({"registry_hostname": "{{ nowhere_said }}"}, "registry_hostname can't be read: 'nowhere_said'"),
    ({"client_mirrors": ["mirror.example.com"]}, 'client_mirrors has "mirror.example.com": give http:// or https://'),
    ({"client_mirrors": ["https://mirror.example.com/hub"]}, "and no path"),
    ({"client_apply": "kill"}, "value of client_apply must be one of: never, reload, restart, got: kill"),
    (
        {"client_engines": ["lxc"]},
        "value of client_engines must be one or more of: buildkit, containerd, docker, k3s, podman, rke2. Got no match",
    ),
    ({"client_access": "write"}, "value of client_access must be one of"),
    ({"rollout_batches": ["some"]}, 'rollout_batches has "some"'),
    ({"rollout_batches": [0]}, 'rollout_batches has "0"'),
    ({"rollout_batches": []}, "rollout_batches is empty"),
    ({"rollout_max_fail_percentage": 101}, "rollout_max_fail_percentage must be from 0 to 100"),
]
CI, RUNTIME = ({"username": name, "password": "geheim"} for name in ("ci", "runtime"))
RIGHT = {
    "builders": {"b1": {"client_logins": [CI]}, "b2": {}},
    "runtimes": {
        "r1": {"client_logins": [RUNTIME], "client_mirrors": ["https://mirror.example.com:5000/"]},
        "r2": {"client_logins": [CI], "client_access": "push", "rollout_batches": [1, "10%", "100%"]},
        "r3": {"client_logins": [{"user": "app", "credential_helper": "ecr-login"}]},
        "r4": {"client_registries": [{"host": "[2001:db8::1]:5000", "ca": "-----BEGIN CERTIFICATE-----"}]},
    },
    # One that is in no group is no client, whatever it says.
    "ungrouped": {"other": {"client_logins": "none"}},
}
WRONG = {"builders": {"w1": {"client_logins": [RUNTIME]}}}
LOOK = """
- hosts: localhost
  gather_facts: false
  tasks:
    - ansible.builtin.copy:
        content: "{{ cases | map('wharf.registry._validate_clients', hostvars) | to_json }}"
        dest: "{{ out }}"
        mode: "0600"
"""


@pytest.fixture(scope="session")
def problems(root, tmp_path_factory):
    """What the filter says of the fleets above, in one run, which asks no host anything."""
    folder = tmp_path_factory.mktemp("fleets")
    fleets = [RIGHT, WRONG]
    for number, (variables, _says) in enumerate(MISTAKES):
        fleets.append(
            {"runtimes": {f"m{number}-{letter}": good for letter, good in (("a", variables), ("b", variables))}}
        )
    groups = {name: {"hosts": {}} for name in ("registry", "builders", "runtimes", "ungrouped")}
    groups["registry"]["hosts"]["hub"] = {}
    for fleet in fleets:
        for group, hosts in fleet.items():
            groups[group]["hosts"].update(hosts)
    users = [{"name": name, "password": "geheim", "access": may} for name, may in (("ci", "push"), ("runtime", "pull"))]
    shared = {"registry_hostname": "registry.example.com", "reverse_proxy_users": users}
    (folder / "hosts.yml").write_text(json.dumps({**groups, "all": {"vars": shared}}), encoding="utf-8")
    (folder / "look.yml").write_text(LOOK, encoding="utf-8")
    cases = [["hub", *(host for hosts in fleet.values() for host in hosts)] for fleet in fleets]
    said = json.dumps({"cases": cases, "out": str(folder / "out.json")})
    result = subprocess.run(
        [PLAYBOOK, "-i", folder / "hosts.yml", folder / "look.yml", "-e", said],
        env=os.environ | {"ANSIBLE_CONFIG": str(root / "ansible.cfg")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    found = (folder / "out.json").read_text(encoding="utf-8")
    assert "geheim" not in result.stdout + result.stderr + found
    return json.loads(found)


def test_a_fleet_that_is_right(problems):
    assert problems[0] == []


def test_who_may_only_pull_builds_nothing(problems):
    (found,) = problems[1]
    assert found == (
        "w1: client_logins has no user who may push, but runtime (pull): log in a user of reverse_proxy_users with "
        "access push, or set client_access to what this host is meant to do."
    )


@pytest.mark.parametrize(("number", "says"), list(enumerate(says for _variables, says in MISTAKES)))
def test_a_fleet_that_is_wrong(problems, number, says):
    """What several hosts have in common is said once, with the name of the first."""
    found = problems[2 + number]
    assert len(found) == 1, found
    assert found[0].startswith(f"m{number}-a and 1 more: ")
    assert says in found[0]

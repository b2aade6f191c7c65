"""What is wrong with the variables of one host. test_validate_clients.py has whole inventories."""

from __future__ import annotations

import pytest
from ansible_collections.wharf.registry.plugins.plugin_utils._playbooks.client_problems import (
    client_problems,
    options,
    say_once,
    shape_problems,
)

USERS = [
    {"name": "ci", "access": "push"},
    {"name": "runtime", "access": "pull"},
    {"name": "some", "rules": [{"repositories": ["team/*"], "access": "push"}]},
]
GOOD = {"registry_hostname": "registry.example.com"}


def login(name, **more):
    return {"client_logins": [{"username": name, "password": "geheim", **more}]}


@pytest.mark.parametrize(
    ("values", "groups"),
    [
        ({}, ["runtimes"]),
        (login("runtime"), ["runtimes"]),
        (login("ci"), ["builders"]),
        (login("ci") | {"client_access": "push"}, ["runtimes"]),
        # What a user may do by rules is not known here, nor what one of another registry may.
        (login("some"), ["builders"]),
        (login("runtime", registry="other.example.com"), ["builders"]),
        # The registry host has all users at hand.
        (login("runtime"), ["registry", "builders"]),
        ({"client_registries": [{"host": "other.example.com"}], "registry_hostname": ""}, ["runtimes"]),
        ({"client_policies": [{"scope": "docker.io", "accept": "nothing"}]}, ["runtimes"]),
    ],
)
def test_nothing_is_wrong(values, groups):
    assert client_problems(GOOD | values, groups, USERS) == []


@pytest.mark.parametrize(
    ("values", "groups", "says"),
    [
        ({"registry_hostname": None}, ["runtimes"], "registry_hostname is not set"),
        (login("runtime"), ["builders"], "client_logins has no user who may push, but runtime (pull)"),
        (login("ci"), ["runtimes"], "client_logins has no user who may only pull, but ci (push)"),
        (
            {"client_policies": [{"scope": "registry.example.com/apps"}]},
            ["runtimes"],
            "client_policies: the policy of registry.example.com/apps has no public_keys",
        ),
        (
            {"client_policies": 2 * [{"scope": "quay.io", "accept": "nothing"}]},
            ["runtimes"],
            "client_policies: policies names quay.io more than once",
        ),
        ({"client_policies": [{"scope": "quay.io", "accept": "all"}]}, ["runtimes"], "value of accept must be one of"),
        ({"client_apply": "kill"}, ["runtimes"], "value of client_apply must be one of"),
        ({"client_mirrors": ["mirror.example.com"]}, ["runtimes"], "give http:// or https://"),
        ({"client_mirrors": ["https://mirror.example.com/quay"]}, ["runtimes"], "and no path"),
        ({"client_mirrors": {"quay.io": "mirror/quay"}}, ["runtimes"], 'client_mirrors gives quay.io "mirror/quay"'),
        ({"client_mirrors": {"quay.io": ["https://m.test/Quay"]}}, ["runtimes"], "the path where the images lie"),
        ({"client_mirrors": {"quay.io": [None]}}, ["runtimes"], 'client_mirrors gives quay.io "None"'),
        ({"rollout_batches": ["12.5%"]}, ["runtimes"], 'rollout_batches has "12.5%"'),
    ],
)
def test_what_is_wrong_is_named(values, groups, says):
    (problem,) = client_problems({name: value for name, value in (GOOD | values).items() if value}, groups, USERS)
    assert says in problem
    assert "geheim" not in problem


def test_shapes_come_first():
    """What is of a wrong type is not looked into."""
    values = {"client_registries": [{}], "rollout_batches": []}
    assert client_problems(values, ["runtimes"], []) == shape_problems(values)
    assert len(shape_problems(values)) == 1


def test_all_variables_of_the_role_are_known():
    assert {"client_registries", "client_logins", "client_access", "rollout_batches"} <= set(options())
    assert not any("default" in option for option in options().values())


def test_what_hosts_have_in_common_is_said_once():
    found = {"h1": ["A.", "B."], "h2": ["A."], "h3": ["A."], "h4": []}
    assert say_once(found) == ["h1 and 2 more: A.", "h1: B."]
    assert say_once({}) == []

"""Which host holds which virtual address, and what is refused before one is taken."""

from __future__ import annotations

import ipaddress
import socket

import pytest
from ansible_collections.wharf.registry.plugins.plugin_utils._roles.address import (
    FAILED,
    address_plan,
    address_problems,
    address_router_id,
    address_warnings,
)
from hypothesis import given as with_any
from hypothesis import strategies as st

VIPS = ["192.0.2.101/24", "192.0.2.102/24", "2001:db8::101/64"]
HOSTS = ["a", "b", "c"]


def look(number, **changes):
    eth1 = {"mac": f"02:00:00:00:00:0{number}", "addresses": [f"192.0.2.{number}/24", f"2001:db8::{number}/64"]}
    eth0 = {"mac": f"02:00:00:00:01:0{number}", "addresses": [f"198.51.100.{number}/24"]}
    return {"interfaces": {"eth0": eth0, "eth1": eth1}, "answers": {}, "nonlocal_bind": False} | changes


def given(**changes):
    return {
        "vips": VIPS,
        "hosts": HOSTS,
        "host": "a",
        "looks": {host: look(number) for number, host in enumerate(HOSTS, 1)},
        "peers": {},
        "interface": "",
        "router_id": 51,
        "installed": True,
        "listen": [],
    } | changes


def test_the_instances_of_a_host():
    first, second, third = address_plan(given(host="b"))
    assert first == {
        "number": 1,
        # Outside of the network that it was given with.
        "vip": "192.0.2.101/32",
        "interface": "eth1",
        "router_id": 51,
        "priority": 245,
        "source": "192.0.2.2",
        "peers": ["192.0.2.1", "192.0.2.3"],
    }
    assert (second["priority"], second["router_id"]) == (250, 52)
    # Its own instance, by addresses of its own family.
    assert (third["vip"], third["source"]) == ("2001:db8::101/128", "2001:db8::2")
    assert third["peers"] == ["2001:db8::1", "2001:db8::3"]


@pytest.mark.parametrize(("hosts", "vips"), [(1, 1), (1, 3), (2, 2), (3, 3), (3, 7), (4, 2), (25, 2)])
def test_each_address_has_one_order_of_hosts(hosts, vips):
    """No two hosts have the same priority; each host comes first alike often; one that fails comes after all others."""
    names = [f"h{number}" for number in range(hosts)]
    shared = given(
        hosts=names,
        vips=[str(ipaddress.ip_address("192.0.2.100") + number) for number in range(vips)],
        looks={name: look(1) for name in names},
    )
    plans = [address_plan(shared | {"host": name}) for name in names]
    firsts = []
    for number in range(vips):
        priorities = [plan[number]["priority"] for plan in plans]
        assert len(set(priorities)) == hosts
        assert max(priorities) + FAILED < min(priorities)
        assert 1 <= max(priorities) <= 254
        assert min(priorities) + FAILED >= 1
        firsts.append(priorities.index(max(priorities)))
    counts = [firsts.count(number) for number in range(hosts)]
    assert max(counts) - min(counts) <= 1


def test_an_address_that_is_held_is_no_address_of_the_host():
    held = look(1)
    held["interfaces"]["eth1"]["addresses"].insert(0, "192.0.2.101/24")
    (first, *_others) = address_plan(given(looks=given()["looks"] | {"a": held}))
    assert first["source"] == "192.0.2.1"


def test_a_host_that_is_down_is_known_by_its_variable():
    looks = {"a": look(1), "b": look(2)}
    says = (
        "There is no IPv4 address of c in the network of 192.0.2.101, or c does not answer: set registry_peer_address"
    )
    assert says in address_problems(given(looks=looks))[0]
    changes = {"looks": looks, "peers": {"c": "192.0.2.3"}, "vips": VIPS[:2]}
    assert address_problems(given(**changes)) == []
    assert address_plan(given(**changes))[0]["peers"] == ["192.0.2.2", "192.0.2.3"]


@with_any(st.text(), st.integers(1, 255))
def test_router_ids(name, count):
    first = address_router_id(name, count)
    assert 1 <= first <= first + count - 1 <= 255
    assert first == address_router_id(name, count)


def test_what_is_right():
    assert address_problems(given()) == []
    assert address_problems(given(hosts=["a"], looks={"a": look(1)}, vips=VIPS[:1])) == []
    assert address_problems(given(interface="eth1")) == []
    listen = ["192.0.2.101", "192.0.2.102", "[2001:db8::101]", "192.0.2.1"]
    looks = given()["looks"] | {"a": look(1, nonlocal_bind=True)}
    assert address_problems(given(listen=listen, looks=looks)) == []
    # Another registry host holds it.
    looks = given()["looks"] | {"a": look(1, answers={"192.0.2.102": "02:00:00:00:00:02"})}
    assert address_problems(given(looks=looks)) == []
    # A host that can't be asked may be the one that holds it.
    looks = {"a": look(1, answers={"192.0.2.102": "02:00:00:00:00:03"}), "b": look(2)}
    assert address_problems(given(looks=looks, vips=VIPS[:2], peers={"c": "192.0.2.3"})) == []


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"vips": []}, "registry_address_vips is empty"),
        ({"vips": ["registry.example.com"]}, 'has "registry.example.com", which is no address'),
        ({"vips": ["192.0.2.101/24", "192.0.2.101/32"]}, "lists an address twice"),
        ({"vips": ["203.0.113.1/24"]}, "in no network of any interface of a (192.0.2.0/24, 198.51.100.0/24)"),
        ({"interface": "eth0"}, "192.0.2.101, which is in no network of eth0 of a (198.51.100.0/24)"),
        ({"interface": "eth7"}, "registry_address_interface is eth7, which a has not. It has eth0, eth1."),
        ({"router_id": 254}, "registry_address_router_id is 254: give a number from 1 to 253"),
        ({"router_id": 0}, "registry_address_router_id is 0"),
        ({"hosts": [f"h{number}" for number in range(26)]}, "more than 25 hosts"),
        ({"looks": {}}, "a does not answer"),
        ({"listen": ["192.0.2.1"]}, "lacks 192.0.2.101, 192.0.2.102, 2001:db8::101"),
        (
            {"listen": ["192.0.2.101", "192.0.2.102", "2001:db8::101"]},
            "addresses of registry_address_vips only",
        ),
        (
            {"listen": ["192.0.2.101", "192.0.2.102", "2001:db8::101", "192.0.2.1"]},
            "set net.ipv4.ip_nonlocal_bind",
        ),
        ({"vips": ["192.0.2.1/24"], "installed": False}, "which is an address of a itself"),
        (
            {"looks": {host: look(1, answers={"192.0.2.101": "02:ff:00:00:00:01"}) for host in HOSTS}},
            "hardware address 02:ff:00:00:00:01 has already",
        ),
    ],
)
def test_what_is_refused(changes, says):
    assert says in " ".join(address_problems(given(**changes)))


def test_what_the_name_leads_to():
    def leads(*addresses):
        return lambda *_name, **_type: [(None, None, None, "", (address, 0)) for address in addresses]

    def unknown(*_name, **_type):
        raise socket.gaierror

    assert address_warnings(given(), "registry.test", leads("192.0.2.102")) == []
    (said,) = address_warnings(given(), "registry.test", leads("192.0.2.1"))
    assert "registry.test leads to 192.0.2.1 for the control node" in said
    assert "192.0.2.101, 192.0.2.102, 2001:db8::101, all of them" in said
    assert "has no address" in address_warnings(given(), "registry.test", unknown)[0]

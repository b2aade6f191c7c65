"""What several hosts of one registry must have in common, and where they reach each other."""

from __future__ import annotations

import pytest
from ansible_collections.wharf.registry.plugins.plugin_utils._roles.registry_hosts import peers, problems

COMMON = {
    "registry_hostname": "registry.example.com",
    "registry_storage": "s3",
    "registry_s3": {"bucket": "images", "secret_key": "s3cr3t-that-is-never-told"},
    "reverse_proxy_users": [{"name": "ci", "password": "s3cr3t-that-is-never-told"}],
}


def host(number, **changes):
    facts = {
        "default_ipv4": {"address": f"192.0.2.{number}", "mtu": 1500},
        "date_time": {"epoch": "1796000000"},
        **changes.pop("facts", {}),
    }
    return {**COMMON, "ansible_facts": facts, **changes}


def three(**changes):
    """Three hosts, the second of which has these variables."""
    return {"a": host(1), "b": host(2, **changes), "c": host(3)}


def test_hosts_that_are_alike_have_no_problems():
    assert problems(["a", "b", "c"], three()) == []


def test_one_host_alone_has_no_problems_and_no_peers():
    alone = {"a": {"registry_storage": "filesystem", "registry_hostname": "192.0.2.1"}}
    assert problems(["a"], alone) == []
    assert peers(["a"], alone, 443) == {}


@pytest.mark.parametrize(
    ("changes", "address"),
    [
        ({}, "192.0.2.2"),
        ({"ansible_host": "198.51.100.2"}, "198.51.100.2"),
        ({"ansible_host": "b.example.com"}, "192.0.2.2"),
        ({"ansible_host": "198.51.100.2", "registry_peer_address": "10.0.0.2"}, "10.0.0.2"),
        ({"facts": {"default_ipv4": {}, "default_ipv6": {"address": "2001:db8::2"}}}, "2001:db8::2"),
        ({"facts": {"default_ipv4": {}}}, ""),
    ],
)
def test_an_address_is_what_is_given_or_how_it_is_reached_or_that_of_the_default_route(changes, address):
    found = peers(["c", "b", "a"], three(**changes), "8443")
    assert found["b"] == {"address": address, "port": 8443}
    assert list(found) == ["c", "b", "a"]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"registry_hostname": "other.example.com"}, "registry_hostname of b differs from that of a"),
        ({"registry_s3": {"bucket": "others"}}, "registry_s3 of b differs from that of a"),
        ({"reverse_proxy_users": []}, "reverse_proxy_users of b differs from that of a"),
        ({"registry_http_secret": "x" * 40}, "registry_http_secret of b differs from that of a"),
        ({"reverse_proxy_immutable_tags": ["v*"]}, "reverse_proxy_immutable_tags of b differs from that of a"),
        (
            {"registry_peer_address": "b.example.com"},
            'registry_peer_address of b is "b.example.com": give the IP address',
        ),
        ({"registry_peer_address": "127.0.0.1"}, "b has the address 127.0.0.1, at which no other host reaches it"),
        ({"registry_peer_address": "192.0.2.3"}, "b and c have the same address, 192.0.2.3"),
        ({"facts": {"default_ipv4": {}}}, "b has no address for the other registry hosts: set registry_peer_address"),
        (
            {"reverse_proxy_listen_addresses": ["10.0.0.2"]},
            "b is reached by the other registry hosts at 192.0.2.2, where its proxy does",
        ),
        ({"facts": {"default_ipv4": {"address": "192.0.2.2", "mtu": 1450}}}, "different MTUs (a 1500, b 1450, c 1500)"),
        ({"facts": {"date_time": {"epoch": "1796000900"}}}, "The clock of b is 900 seconds ahead of that of a"),
        ({"facts": {"date_time": {"epoch": "1795999900"}}}, "The clock of a is 100 seconds ahead of that of b"),
    ],
)
def test_each_problem_is_told_once_with_its_cure(changes, told):
    found = problems(["a", "b", "c"], three(**changes))
    assert len(found) == 1, found
    assert told in found[0]
    assert "s3cr3t" not in found[0]
    assert ": " in found[0]


def test_a_listener_may_have_brackets():
    changes = {"registry_peer_address": "2001:db8::2", "reverse_proxy_listen_addresses": ["[2001:db8::2]"]}
    assert problems(["a", "b", "c"], three(**changes)) == []


def test_images_of_their_own_are_no_registry():
    hosts = {name: {**its, "registry_storage": "filesystem"} for name, its in three().items()}
    assert "each would have images of its own" in problems(["a", "b", "c"], hosts)[0]


def test_certificates_are_checked_by_name():
    hosts = {name: {**its, "registry_hostname": "192.0.2.9"} for name, its in three().items()}
    assert "registry_hostname is the address 192.0.2.9" in problems(["a", "b", "c"], hosts)[0]


def test_hosts_whose_facts_are_not_known_are_not_compared():
    hosts = {
        name: {**its, "ansible_host": its["ansible_facts"]["default_ipv4"]["address"], "ansible_facts": {}}
        for name, its in three().items()
    }
    assert problems(["a", "b", "c"], hosts) == []

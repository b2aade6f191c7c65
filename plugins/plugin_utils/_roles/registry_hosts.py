# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several hosts that are one registry: where each reaches the others, and what they must have in common."""

from __future__ import annotations

import ipaddress

from ansible_collections.wharf.registry.plugins.plugin_utils._roles.ip_address import is_address

# A signature of S3 is refused when clocks are 15 minutes apart. Hosts with NTP are milliseconds apart, and facts
# of many hosts
# are gathered within some seconds.
_MOST_SECONDS_APART = 60
# What makes one registry of them. A host that has another value would answer in another way than the others.
_ALIKE = (
    "registry_hostname",
    "registry_port",
    "registry_instance",
    "registry_storage",
    "registry_s3",
    "registry_config_extra",
    "registry_http_secret",
    "reverse_proxy_users",
    "reverse_proxy_anonymous_pull",
    "reverse_proxy_immutable_tags",
    "reverse_proxy_https_port",
    "certificate_source",
    "certificate_files",
)


def peers(hosts, hostvars, port):
    """Where hosts of the group registry reach each other.

    hosts: their names, in the order of the inventory. hostvars: the variables of all hosts. port: of their proxies.
    Returns {host: {"address": IP address, "" where it is not known, "port": port}}. One host alone has none.
    """
    if len(hosts) < 2:
        return {}
    return {host: {"address": _address(hostvars[host]), "port": int(port)} for host in hosts}


def problems(hosts, hostvars):
    """Sentences on what keeps hosts from being one registry. One host alone has none."""
    if len(hosts) < 2:
        return []
    variables = {host: hostvars[host] for host in hosts}
    return [
        *_problems_of_storage(hosts, variables),
        *_problems_of_name(hosts, variables),
        *_problems_of_addresses({host: _address(its) for host, its in variables.items()}, variables),
        *_problems_of_values(hosts, variables),
        *_problems_of_clocks(variables),
        *_problems_of_mtu(variables),
    ]


def _address(variables):
    # What is given counts, even where it is wrong: that is told then.
    given = variables.get("registry_peer_address")
    if given:
        return str(given)
    connection = str(variables.get("ansible_host", ""))
    if is_address(connection):
        return connection
    facts = variables.get("ansible_facts", {})
    return next(
        (
            facts[family]["address"]
            for family in ("default_ipv4", "default_ipv6")
            if facts.get(family, {}).get("address")
        ),
        "",
    )


def _problems_of_storage(hosts, variables):
    if variables[hosts[0]].get("registry_storage", "filesystem") == "filesystem":
        yield (
            f"The group registry has {len(hosts)} hosts, and registry_storage is filesystem: each would have "
            "images of its own. "
            "Set registry_storage to s3 and registry_s3 to a bucket that all of them reach, or give each "
            "registry an inventory of "
            "its own."
        )


def _problems_of_name(hosts, variables):
    name = str(variables[hosts[0]].get("registry_hostname", ""))
    if is_address(name):
        yield (
            f"registry_hostname is the address {name}, and the group registry has {len(hosts)} hosts, which "
            "check each other's "
            "certificates by name: give a name that leads to all of them."
        )


def _problems_of_addresses(found, variables):
    for host, address in found.items():
        if not address:
            yield (
                f"{host} has no address for the other registry hosts: set registry_peer_address for it to the "
                "IP address at which "
                "they reach it, or leave it in --limit, so that its facts are gathered."
            )
        elif not is_address(address):
            yield (
                f'registry_peer_address of {host} is "{address}": give the IP address at which the other registry '
                "hosts reach it."
            )
        elif ipaddress.ip_address(address).is_loopback:
            yield (
                f"{host} has the address {address}, at which no other host reaches it: set "
                "registry_peer_address for it to the IP "
                "address at which the other registry hosts do."
            )
        listens = variables[host].get("reverse_proxy_listen_addresses") or []
        if address and listens and address not in [text.strip("[]") for text in listens]:
            yield (
                f"{host} is reached by the other registry hosts at {address}, where its proxy does not listen: "
                "add that to its "
                "reverse_proxy_listen_addresses, or set registry_peer_address for it."
            )
    for host, address in found.items():
        same = [other for other, its in found.items() if its == address]
        if address and len(same) > 1 and host == same[0]:
            yield (
                f"{' and '.join(same)} have the same address, {address}: set registry_peer_address for each to "
                "an address of its own."
            )


def _problems_of_values(hosts, variables):
    for name in _ALIKE:
        others = [host for host in hosts[1:] if variables[host].get(name) != variables[hosts[0]].get(name)]
        if others:
            yield (
                f"{name} of {', '.join(others)} differs from that of {hosts[0]}, and the hosts of the group "
                "registry are one "
                "registry: set it once, for the group."
            )


def _problems_of_clocks(variables):
    clocks = {
        host: int(its["ansible_facts"]["date_time"]["epoch"])
        for host, its in variables.items()
        if its.get("ansible_facts", {}).get("date_time")
    }
    if not clocks:
        return
    earliest, latest = min(clocks, key=clocks.get), max(clocks, key=clocks.get)
    apart = clocks[latest] - clocks[earliest]
    if apart > _MOST_SECONDS_APART:
        yield (
            f"The clock of {latest} is {apart} seconds ahead of that of {earliest}. S3 refuses requests of a "
            "clock that is 15 minutes "
            "wrong, and tokens, logs and certificates go by it: have NTP set both, and run this again."
        )


def _problems_of_mtu(variables):
    mtus = {
        host: its["ansible_facts"]["default_ipv4"]["mtu"]
        for host, its in variables.items()
        if its.get("ansible_facts", {}).get("default_ipv4", {}).get("mtu")
    }
    if len(set(mtus.values())) > 1:
        yield (
            "The registry hosts have networks with different MTUs ("
            + ", ".join(f"{host} {mtu}" for host, mtu in mtus.items())
            + "): layers that one host hands to another would stall. Give their interfaces the same MTU."
        )

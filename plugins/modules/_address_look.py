#!/usr/bin/python
# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: _address_look
short_description: Check the addresses of a host, and whether others have some already (private)
author: wharf.registry contributors (@wharf)
description:
  - Private to the roles of this collection. It can change without notice; use M(ansible.builtin.setup) in playbooks of
    your own.
  - Reads interfaces by C(ip) of iproute2. For each address that is given and not the host's own, the kernel asks the
    network by ARP or neighbour discovery who has it.
options:
  addresses:
    description: Addresses, with a prefix or without.
    type: list
    elements: str
    default: []
extends_documentation_fragment:
  - wharf.registry.attributes
  - wharf.registry.attributes.info_module
"""

EXAMPLES = r"""
- name: Look whether the address is free
  wharf.registry._address_look:
    addresses: [192.0.2.101]
  register: look
"""

RETURN = r"""
interfaces:
  description: By name, but for the loopback, C(mac) and C(addresses), each with its prefix.
  type: dict
  returned: always
answers:
  description: By address, the hardware address of the machine that has it. Those that none has are left out.
  type: dict
  returned: always
nonlocal_bind:
  description: Whether programs can listen at addresses that the host does not have now.
  type: bool
  returned: always
"""

import ipaddress
import json
import socket
import time

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError
from ansible_collections.wharf.registry.plugins.module_utils._common.process import find, read_text
from ansible_collections.wharf.registry.plugins.module_utils._common.process import run as run_program
from ansible_collections.wharf.registry.plugins.module_utils._modules.base import BaseModule

# As long as a kernel asks before it gives up, and a bit more.
PATIENCE = 3.5
KNOWN = {"REACHABLE", "STALE", "DELAY", "PROBE", "PERMANENT", "NOARP"}
DISCARD = 9


def told(*arguments):
    """What ip says, as data. Without an answer it says nothing, not an empty list."""
    status, out, said = run_program([find("ip") or "ip", "-json", *arguments])
    if status:
        raise InputError(f"ip {' '.join(arguments)} fails: {said.strip()}", "Install iproute2")
    return json.loads(out or "[]")


def interfaces_of(links):
    return {
        link["ifname"]: {
            "mac": link.get("address", ""),
            "addresses": [
                f"{one['local']}/{one['prefixlen']}"
                for one in link.get("addr_info", [])
                if one.get("scope") == "global"
            ],
        }
        for link in links
        if link.get("ifname") and "LOOPBACK" not in link.get("flags", [])
    }


def own_addresses(links):
    return {one["local"] for link in links for one in link.get("addr_info", []) if "local" in one}


def neighbours(address):
    return [
        one for one in told("neigh", "show", "to", address) if one.get("lladdr") or "FAILED" in one.get("state", [])
    ]


def ask(address):
    """Has the kernel look for a neighbour, anew."""
    for known in neighbours(address):
        run_program([find("ip") or "ip", "neigh", "del", address, "dev", known["dev"]])
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as near:
            near.sendto(b"", (address, DISCARD))
    except OSError:
        # No route there, or a firewall: the role says which networks the host has.
        return False
    return True


def who_has(addresses):
    """By address, the hardware address that answers."""
    asked = [address for address in addresses if ask(address)]
    found = {}
    end = time.monotonic() + PATIENCE
    while asked and time.monotonic() < end:
        for address in list(asked):
            states = [(set(one.get("state", [])), one.get("lladdr")) for one in neighbours(address)]
            for state, mac in states:
                if mac and state & KNOWN:
                    found[address] = mac
            if any("FAILED" in state for state, _mac in states) or address in found:
                asked.remove(address)
        time.sleep(0.1)
    return found


def main():
    module = BaseModule({"addresses": {"type": "list", "elements": "str", "default": []}})
    with module.errors_explained():
        try:
            wanted = [str(ipaddress.ip_interface(text).ip) for text in module.params["addresses"]]
        except ValueError as error:
            raise InputError(str(error), "Give addresses") from None
        links = told("address", "show")
        own = own_addresses(links)
        answers = who_has([address for address in wanted if address not in own])
    families = {6 if ":" in address else 4 for address in wanted}
    module.exit_json(
        interfaces=interfaces_of(links),
        answers=answers,
        nonlocal_bind=all(
            read_text(f"/proc/sys/net/ipv{family}/ip_nonlocal_bind").strip() == "1" for family in families
        ),
    )


if __name__ == "__main__":
    main()

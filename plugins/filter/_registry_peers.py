# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: _registry_peers
short_description: Say where the hosts of one registry reach each other (private)
author: wharf.registry contributors (@wharf)
description:
  - Private to the roles of this collection. It can change without notice.
  - That is C(registry_peer_address), or C(ansible_host) where it is an address, or the address of the default route.
positional: hostvars, port
options:
  _input:
    description: The names of the hosts, in the order of the inventory.
    type: list
    elements: str
    required: true
  hostvars:
    description: The variables of all hosts.
    type: dictionary
    required: true
  port:
    description: The port of their proxies.
    type: integer
    required: true
"""

EXAMPLES = r"""
- name: Show them
  ansible.builtin.debug:
    msg: "{{ groups.registry | wharf.registry._registry_peers(hostvars, 443) }}"
"""

RETURN = r"""
_value:
  description: By host C(address), empty where none is known, and C(port). Nothing for one host alone.
  type: dictionary
"""

from ansible_collections.wharf.registry.plugins.plugin_utils._roles.registry_hosts import peers


class FilterModule:
    def filters(self):
        return {"_registry_peers": peers}

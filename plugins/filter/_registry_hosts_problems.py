# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: _registry_hosts_problems
short_description: Check that several hosts can be one registry (private)
author: wharf.registry contributors (@wharf)
description:
  - Private to the roles of this collection. It can change without notice.
  - Checks their storage, their addresses, their clocks, and what their variables must have in common.
positional: hostvars
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
"""

EXAMPLES = r"""
- name: Check that they can be one registry
  ansible.builtin.assert:
    that: groups.registry | wharf.registry._registry_hosts_problems(hostvars) | length == 0
"""

RETURN = r"""
_value:
  description: A sentence on each problem. One host alone has none.
  type: list
  elements: str
"""

from ansible_collections.wharf.registry.plugins.plugin_utils._roles.registry_hosts import problems


class FilterModule:
    def filters(self):
        return {"_registry_hosts_problems": problems}

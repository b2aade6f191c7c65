# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: _supply_report
short_description: Tell of mirrors and caches, for the doctor (private)
author: wharf.registry contributors (@wharf)
description:
  - Private to the playbooks of this collection. It can change without notice.
positional: hostvars, width
options:
  _input:
    description: The names of the hosts.
    type: list
    elements: string
    required: true
  hostvars:
    description: The variables of all hosts, of which C(mirror_state) and C(mirror_cache_state) count.
    type: dictionary
    required: true
  width:
    description: Characters in a line.
    type: integer
    default: 112
"""

EXAMPLES = r"""
- name: Show them
  ansible.builtin.debug:
    msg: "{{ (groups.registry | wharf.registry._supply_report(hostvars)).lines }}"
"""

RETURN = r"""
_value:
  description: What mirrors and caches tell.
  type: dict
  contains:
    lines:
      description: Lines of text, none where no host has a mirror or a cache.
      type: list
      elements: str
    rows:
      description: The same for each of them, as C(what), C(host), C(since) and C(said).
      type: list
      elements: dict
"""


def report(hosts, hostvars, width=112):
    # Ansible loads all filters of a collection in each process that uses one of them.
    from ansible_collections.wharf.registry.plugins.plugin_utils._playbooks.supply_report import (
        supply_lines,
        supply_rows,
    )
    from ansible_collections.wharf.registry.plugins.plugin_utils._playbooks.untrusted import untrusted

    states = {
        str(host): {
            "mirrors": hostvars[host].get("mirror_state"),
            "caches": hostvars[host].get("mirror_cache_state"),
        }
        for host in hosts
    }
    return untrusted({"rows": supply_rows(states), "lines": supply_lines(states, width)})


class FilterModule:
    def filters(self):
        return {"_supply_report": report}

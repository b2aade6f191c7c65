# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: _doctor_report
short_description: Of doctor.yml - what keeps the hosts of a fleet from a registry, host by host
author: wharf.registry contributors (@wharf)
description:
  - Private to the playbooks of this collection, and may change at any time.
  - Reads C(client_result) of the hosts, and makes one table of it.
  - Adds what one host can't know by itself. A name that leads elsewhere is told from the hosts where it leads to the
    registry, whose clock is wrong from those of the other hosts, and a registry that stores nothing from the disk of
    its host.
positional: hostvars
options:
  _input:
    description: Names of all hosts that are to be in the table, in its order.
    type: list
    elements: string
    required: true
  hostvars:
    description: The variables of the hosts, C(hostvars).
    type: dict
    required: true
  width:
    description: The columns that the lines may have. Longer ones go on below.
    type: int
    default: 112
"""

EXAMPLES = r"""
- name: Show the table
  ansible.builtin.debug:
    msg: "{{ (ansible_play_hosts_all | wharf.registry._doctor_report(hostvars)).lines }}"
"""

RETURN = r"""
_value:
  description: What was found.
  type: dict
  contains:
    rows:
      description:
        - For each host C(host), C(hop) (the first that fails, empty where none does), C(mistake) (its name, empty
          where it is none of the common ones), C(title), C(said) and C(cure).
        - The hop of a host that Ansible does not reach is V(ansible).
      type: list
      elements: dict
    lines:
      description: The same as lines of a table. The cure is on the lines below its host.
      type: list
      elements: str
    failed:
      description: The hosts of which a hop fails, and what is said of them.
      type: dict
"""


def report(hosts, hostvars, width=112):
    # Ansible loads all filters of a collection in each process that uses one of them, and what this one needs takes
    # longer than all the others.
    from ansible_collections.wharf.registry.plugins.plugin_utils._playbooks.doctor_report import doctor_report
    from ansible_collections.wharf.registry.plugins.plugin_utils._playbooks.untrusted import untrusted

    return untrusted(doctor_report({str(host): hostvars[host].get("client_result") or {} for host in hosts}, width))


class FilterModule:
    def filters(self):
        return {"_doctor_report": report}

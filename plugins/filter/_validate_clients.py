# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: _validate_clients
short_description: Of rollout.yml and others - what is wrong with the variables of hosts
author: wharf.registry contributors (@wharf)
description:
  - Private to the playbooks of this collection, and may change at any time.
  - Looks at the variables of all hosts on the control node, before any of them is touched, by the argument
    specification of the role and by what it can't say. A sentence names the host, the variable and what to do.
positional: hostvars
options:
  _input:
    description:
      - Names of hosts. Those in none of the groups C(registry), C(builders) and C(runtimes) are passed over.
    type: list
    elements: string
    required: true
  hostvars:
    description: The variables of the hosts, C(hostvars).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Check the variables of all hosts
  ansible.builtin.assert:
    that: problems | length == 0
    fail_msg: "{{ problems }}"
  run_once: true
  vars:
    problems: "{{ ansible_play_hosts_all | wharf.registry._validate_clients(hostvars) }}"
"""

RETURN = r"""
_value:
  description: A sentence for each problem. What several hosts have in common is said once.
  type: list
  elements: str
"""


def validate_clients(hosts, hostvars):
    # As in _doctor_report: the reader of variables is needed once in a run.
    from ansible_collections.wharf.registry.plugins.plugin_utils._playbooks import client_variables

    return client_variables.validate_clients(hosts, hostvars)


class FilterModule:
    def filters(self):
        return {"_validate_clients": validate_clients}

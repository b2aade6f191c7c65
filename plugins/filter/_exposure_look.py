# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: _exposure_look
short_description: What the hosts of a fleet told of what they run (private)
author: wharf.registry contributors (@wharf)
description:
  - Private to the role P(wharf.registry.exposure#role). It can change without notice.
positional: hostvars, registry, port
options:
  _input:
    description: The names of the hosts.
    type: list
    elements: string
    required: true
  hostvars:
    description: The variables of all hosts, of which C(exposure_seen) and C(client_mirrors) count.
    type: dictionary
    required: true
  registry:
    description: Name of the registry.
    type: string
    required: true
  port:
    description: Its port.
    type: integer
    default: 443
"""

EXAMPLES = r"""
- name: Show it
  ansible.builtin.debug:
    msg: "{{ groups.runtimes | wharf.registry._exposure_look(hostvars, registry_hostname) }}"
"""

RETURN = r"""
_value:
  description: The time, and the hosts with what they run.
  type: dictionary
"""

import time


def look(hosts, hostvars, registry, port=443):
    # Ansible loads all filters of a collection in each process that uses one of them.
    from ansible_collections.wharf.registry.plugins.plugin_utils._playbooks.exposure_look import exposure_look

    told = {
        str(host): {
            "seen": hostvars[host].get("exposure_seen"),
            "mirrors": hostvars[host].get("client_mirrors"),
        }
        for host in hosts
    }
    return exposure_look(told, (str(registry), port), time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))


class FilterModule:
    def filters(self):
        return {"_exposure_look": look}

# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: _each_replica
short_description: One description of a replica for each of them (private)
author: wharf.registry contributors (@wharf)
description:
  - Private to the roles of this collection. It can change without notice.
  - Copies a description as often as there are replicas. In all of its strings, C(@replica@) becomes the number of the
    replica, from 1, and C(@first@) becomes V(true) for the first replica and V(false) for the others.
positional: count
options:
  _input:
    description: The description, of any depth.
    type: dictionary
    required: true
  count:
    description: The number of replicas.
    type: integer
    required: true
"""

EXAMPLES = r"""
- name: Start two replicas
  wharf.registry._registry_replicas:
    replicas: "{{ replica | wharf.registry._each_replica(2) }}"
  vars:
    replica: {container: {name: registry-@replica@}, socket: /run/registry-@replica@.sock}
"""

RETURN = r"""
_value:
  description: A description for each replica.
  type: list
  elements: dictionary
"""

from ansible_collections.wharf.registry.plugins.plugin_utils._roles.each_replica import each_replica


class FilterModule:
    def filters(self):
        return {"_each_replica": each_replica}

# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: _mirror_cache_problems
short_description: Check the variables of the role mirror_cache (private)
author: wharf.registry contributors (@wharf)
description:
  - Private to the roles of this collection. It can change without notice.
  - Checks all options, and asks no registry for that.
positional: size, docker_port, service_manager
options:
  _input:
    description: The value of C(mirror_caches).
    type: list
    elements: dictionary
    required: true
  size:
    description: The value of C(mirror_cache_size).
    type: string
    required: true
  docker_port:
    description: The value of C(mirror_cache_docker_port).
    type: integer
    required: true
  service_manager:
    description: The fact C(service_mgr) of the host.
    type: string
    required: true
"""

EXAMPLES = r"""
- name: Check the caches
  ansible.builtin.assert:
    that: (mirror_caches | wharf.registry._mirror_cache_problems('50g', 0, 'systemd')) | length == 0
"""

RETURN = r"""
_value:
  description: A sentence on each problem.
  type: list
  elements: str
"""

from ansible_collections.wharf.registry.plugins.plugin_utils._roles.mirror_cache import mirror_cache_problems


class FilterModule:
    def filters(self):
        return {"_mirror_cache_problems": mirror_cache_problems}

# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: _storage_problems
short_description: Check the variables of the storage of a registry (private)
author: wharf.registry contributors (@wharf)
description:
  - Private to the roles of this collection. It can change without notice.
  - Checks what can be told without asking the storage. That is the module M(wharf.registry.registry_storage_probe).
positional: storage, extra
options:
  _input:
    description: The value of C(registry_s3).
    type: dictionary
    required: true
  storage:
    description: The value of C(registry_storage).
    type: string
    required: true
  extra:
    description: The value of C(registry_config_extra).
    type: dictionary
    required: true
"""

EXAMPLES = r"""
- name: Check the storage
  ansible.builtin.assert:
    that: (registry_s3 | wharf.registry._storage_problems('s3', {})) | length == 0
"""

RETURN = r"""
_value:
  description: A sentence on each problem.
  type: list
  elements: str
"""

from ansible_collections.wharf.registry.plugins.plugin_utils._roles.registry_storage import storage_problems


class FilterModule:
    def filters(self):
        return {"_storage_problems": storage_problems}

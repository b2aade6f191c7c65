# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: _address_router_id
short_description: Virtual router IDs for a name (private)
author: wharf.registry contributors (@wharf)
description:
  - Private to the roles of this collection. It can change without notice.
  - Two names may get the same ones by chance.
positional: count
options:
  _input:
    description: The name.
    type: string
    required: true
  count:
    description: How many are needed.
    type: integer
    required: true
"""

EXAMPLES = r"""
- name: Show the first of three
  ansible.builtin.debug:
    msg: "{{ 'registry.example.com' | wharf.registry._address_router_id(3) }}"
"""

RETURN = r"""
_value:
  description: The first one; the others follow it.
  type: int
"""

from ansible_collections.wharf.registry.plugins.plugin_utils._roles.address import address_router_id


class FilterModule:
    def filters(self):
        return {"_address_router_id": address_router_id}

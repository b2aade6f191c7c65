# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: _address_warnings
short_description: Look whether a name leads to the virtual addresses (private)
author: wharf.registry contributors (@wharf)
description:
  - Private to the roles of this collection. It can change without notice.
  - Asks the resolver of the control node.
positional: hostname
options:
  _input:
    description: What P(wharf.registry._address_plan#filter) takes.
    type: dictionary
    required: true
  hostname:
    description: The name that clients use.
    type: string
    required: true
"""

EXAMPLES = r"""
- name: Show what clients may see
  ansible.builtin.debug:
    msg: "{{ given | wharf.registry._address_warnings('registry.example.com') }}"
"""

RETURN = r"""
_value:
  description: A sentence on each problem.
  type: list
  elements: str
"""

from ansible_collections.wharf.registry.plugins.plugin_utils._roles.address import address_warnings


class FilterModule:
    def filters(self):
        return {"_address_warnings": address_warnings}

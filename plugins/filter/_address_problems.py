# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: _address_problems
short_description: Check the variables of the role address (private)
author: wharf.registry contributors (@wharf)
description:
  - Private to the roles of this collection. It can change without notice.
options:
  _input:
    description: What P(wharf.registry._address_plan#filter) takes.
    type: dictionary
    required: true
"""

EXAMPLES = r"""
- name: Check the addresses
  ansible.builtin.assert:
    that: (given | wharf.registry._address_problems) | length == 0
"""

RETURN = r"""
_value:
  description: A sentence on each problem.
  type: list
  elements: str
"""

from ansible_collections.wharf.registry.plugins.plugin_utils._roles.address import address_problems


class FilterModule:
    def filters(self):
        return {"_address_problems": address_problems}

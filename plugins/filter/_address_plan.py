# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: _address_plan
short_description: The VRRP instances of a registry host (private)
author: wharf.registry contributors (@wharf)
description:
  - Private to the roles of this collection. It can change without notice.
options:
  _input:
    description:
      - What the role C(address) knows, as C(vips), C(hosts), C(host), C(looks), C(peers), C(interface), C(router_id),
        C(installed) and C(listen).
    type: dictionary
    required: true
"""

EXAMPLES = r"""
- name: Show which address the host prefers
  ansible.builtin.debug:
    msg: "{{ given | wharf.registry._address_plan }}"
"""

RETURN = r"""
_value:
  description: By instance C(number), C(vip), C(interface), C(router_id), C(priority), C(source) and C(peers).
  type: list
  elements: dictionary
"""

from ansible_collections.wharf.registry.plugins.plugin_utils._roles.address import address_plan


class FilterModule:
    def filters(self):
        return {"_address_plan": address_plan}

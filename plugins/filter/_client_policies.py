# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: _client_policies
short_description: Give policies the images that prove them (private)
author: wharf.registry contributors (@wharf)
description:
  - Private to the roles of this collection. It can change without notice.
  - Finds the policies of C(client_policies) for which the registry host is to push an image that is not signed.
positional: registry, pushed
options:
  _input:
    description: The policies, as in C(client_policies).
    type: list
    elements: dictionary
    required: true
  registry:
    description: The registry of this inventory.
    type: str
    required: true
  pushed:
    description: The images that were pushed in this run, by scope.
    type: dictionary
    default: {}
"""

EXAMPLES = r"""
- name: Show what is to be pushed
  ansible.builtin.debug:
    msg: "{{ (client_policies | wharf.registry._client_policies('registry.example.com')).missing }}"
"""

RETURN = r"""
_value:
  description:
    - C(policies) as M(wharf.registry.registry_onboard) takes them, and C(missing), by scope the repository of an image
      that was not pushed yet.
  type: dictionary
"""

from ansible_collections.wharf.registry.plugins.plugin_utils._roles.client_policies import client_policies


class FilterModule:
    def filters(self):
        return {"_client_policies": client_policies}

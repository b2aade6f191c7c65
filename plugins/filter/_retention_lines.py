# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: _retention_lines
short_description: The tags that a retention removes, a line each (private)
author: wharf.registry contributors (@wharf)
description:
  - Private to the roles of this collection. It can change without notice.
  - Writes what P(wharf.registry.registry_retention#module) returns for people.
options:
  _input:
    description: C(repositories) as the module returns them.
    type: list
    elements: dictionary
    required: true
"""

EXAMPLES = r"""
- name: Show what is removed, and why
  ansible.builtin.debug:
    msg: "{{ retention.repositories | wharf.registry._retention_lines }}"
"""

RETURN = r"""
_value:
  description: The image and the reason, for each tag. One line says so if no tag is removed.
  type: list
  elements: str
"""

from ansible_collections.wharf.registry.plugins.plugin_utils._roles.retention_lines import retention_lines


class FilterModule:
    def filters(self):
        return {"_retention_lines": retention_lines}

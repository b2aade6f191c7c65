# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: _mirror_lines
short_description: List what became of each mirror (private)
author: wharf.registry contributors (@wharf)
description:
  - Private to the roles of this collection. It can change without notice.
  - Makes lines of the state that the program of the role mirror keeps.
options:
  _input:
    description: The mirrors of the state, by their names.
    type: dictionary
    required: true
"""

EXAMPLES = r"""
- name: Show it
  ansible.builtin.debug:
    msg: "{{ mirror_state | wharf.registry._mirror_lines }}"
"""

RETURN = r"""
_value:
  description: A line for each mirror.
  type: list
  elements: str
"""

from ansible_collections.wharf.registry.plugins.plugin_utils._roles.mirror import mirror_lines


class FilterModule:
    def filters(self):
        return {"_mirror_lines": mirror_lines}

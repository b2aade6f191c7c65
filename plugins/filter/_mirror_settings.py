# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: _mirror_settings
short_description: Make the settings of the mirror (private)
author: wharf.registry contributors (@wharf)
description:
  - Private to the roles of this collection. It can change without notice.
  - Joins rules and destination for the program that the role mirror installs.
positional: destination, state
options:
  _input:
    description: The value of C(mirror_sync).
    type: list
    elements: dictionary
    required: true
  destination:
    description: The value of C(mirror_destination).
    type: dictionary
    required: true
  state:
    description: Path of the file in which the program keeps its state.
    type: path
    required: true
"""

EXAMPLES = r"""
- name: Write the settings
  ansible.builtin.copy:
    content: "{{ mirror_sync | wharf.registry._mirror_settings(mirror_destination, state) | to_json }}"
    dest: /etc/mirror.json
    mode: "0600"
"""

RETURN = r"""
_value:
  description: The settings.
  type: dictionary
"""

from ansible_collections.wharf.registry.plugins.plugin_utils._roles.mirror import mirror_settings


class FilterModule:
    def filters(self):
        return {"_mirror_settings": mirror_settings}

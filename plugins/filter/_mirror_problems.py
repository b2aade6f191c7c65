# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: _mirror_problems
short_description: Check the rules of the mirror (private)
author: wharf.registry contributors (@wharf)
description:
  - Private to the roles of this collection. It can change without notice.
  - Checks all options, and asks no registry for that.
positional: destination
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
"""

EXAMPLES = r"""
- name: Check the rules
  ansible.builtin.assert:
    that: (mirror_sync | wharf.registry._mirror_problems(mirror_destination)) | length == 0
"""

RETURN = r"""
_value:
  description: A sentence on each problem.
  type: list
  elements: str
"""

from ansible_collections.wharf.registry.plugins.plugin_utils._roles.mirror import mirror_problems


class FilterModule:
    def filters(self):
        return {"_mirror_problems": mirror_problems}

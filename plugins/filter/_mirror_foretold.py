# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: _mirror_foretold
short_description: List what would become of each mirror (private)
author: wharf.registry contributors (@wharf)
description:
  - Private to the roles of this collection. It can change without notice.
  - Makes lines of what the module registry_sync returns in check mode.
options:
  _input:
    description: The results of a loop of tasks.
    type: list
    elements: dictionary
    required: true
"""

EXAMPLES = r"""
- name: Show it
  ansible.builtin.debug:
    msg: "{{ looks.results | wharf.registry._mirror_foretold }}"
"""

RETURN = r"""
_value:
  description: A line for each mirror and each image.
  type: list
  elements: str
"""

from ansible_collections.wharf.registry.plugins.plugin_utils._roles.mirror import mirror_foretold


class FilterModule:
    def filters(self):
        return {"_mirror_foretold": mirror_foretold}

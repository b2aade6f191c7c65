# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: _mirror_cache_settings
short_description: Make the settings of the pull-through cache (private)
author: wharf.registry contributors (@wharf)
description:
  - Private to the roles of this collection. It can change without notice.
positional: size, seconds, paths
options:
  _input:
    description: The value of C(mirror_caches), checked by P(wharf.registry._mirror_cache_problems#filter).
    type: list
    elements: dictionary
    required: true
  size:
    description: The value of C(mirror_cache_size).
    type: string
    required: true
  seconds:
    description: The value of C(mirror_cache_seconds).
    type: integer
    required: true
  paths:
    description: Paths of the program, by their names. They become part of the settings as they are.
    type: dictionary
    required: true
"""

EXAMPLES = r"""
- name: Show the settings
  ansible.builtin.debug:
    msg: "{{ mirror_caches | wharf.registry._mirror_cache_settings('50g', 600, {'state': '/var/lib/cache'}) }}"
"""

RETURN = r"""
_value:
  description: The settings, with passwords.
  type: dictionary
"""

from ansible_collections.wharf.registry.plugins.plugin_utils._roles.mirror_cache import mirror_cache_settings


class FilterModule:
    def filters(self):
        return {"_mirror_cache_settings": mirror_cache_settings}

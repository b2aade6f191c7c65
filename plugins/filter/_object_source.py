# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: _object_source
short_description: Tell where nginx may fetch blobs from (private)
author: wharf.registry contributors (@wharf)
description:
  - Private to the roles of this collection. It can change without notice.
  - The roles registry and reverse_proxy both use it, so that the registry redirects only where the proxy follows.
positional: storage
options:
  _input:
    description: The value of C(registry_s3).
    type: dictionary
    required: true
  storage:
    description: The value of C(registry_storage).
    type: string
    required: true
"""

EXAMPLES = r"""
- name: Show the server of the storage
  ansible.builtin.debug:
    msg: "{{ registry_s3 | wharf.registry._object_source('s3') }}"
"""

RETURN = r"""
_value:
  description: The scheme, a regular expression for the host, and the port. None where nginx can't fetch from it.
  type: dictionary
"""

from ansible_collections.wharf.registry.plugins.plugin_utils._roles.object_source import object_source


class FilterModule:
    def filters(self):
        return {"_object_source": object_source}

# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: _bucket_options
short_description: The options of the modules that reach the bucket of a registry (private)
author: wharf.registry contributors (@wharf)
description:
  - Private to the roles of this collection. It can change without notice.
  - Returns the options of M(wharf.registry.registry_storage_probe) that name a bucket and the way to it, without
    O(wharf.registry.registry_storage_probe#module:ca_path).
options:
  _input:
    description: The value of C(registry_s3).
    type: dictionary
    required: true
"""

EXAMPLES = r"""
- name: Name the endpoint
  ansible.builtin.debug:
    msg: "{{ (registry_s3 | wharf.registry._bucket_options).endpoint }}"
"""

RETURN = r"""
_value:
  description: The options, among them the secret key.
  type: dictionary
"""

from ansible_collections.wharf.registry.plugins.plugin_utils._roles.registry_storage import bucket_options


class FilterModule:
    def filters(self):
        return {"_bucket_options": bucket_options}

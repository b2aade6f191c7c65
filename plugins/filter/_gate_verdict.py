# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: _gate_verdict
short_description: Say the verdict of the gate as an attestation (private)
author: wharf.registry contributors (@wharf)
description:
  - Private to the roles of this collection. It can change without notice.
positional: registry, release, policy
options:
  _input:
    description: The result RV(wharf.registry.registry_tag#module:gate).
    type: dictionary
    required: true
  registry:
    description: Name of the registry.
    type: string
    required: true
  release:
    description: What was promoted, as repository@digest.
    type: string
    required: true
  policy:
    description: All by which it was judged.
    type: raw
    required: true
"""

EXAMPLES = r"""
- name: Show what would be attested
  ansible.builtin.debug:
    msg: "{{ gate_result.gate | wharf.registry._gate_verdict(registry_hostname, 'apps/web@sha256:...', {}) }}"
"""

RETURN = r"""
_value:
  description: The predicate.
  type: dictionary
"""

from ansible_collections.wharf.registry.plugins.plugin_utils._roles.gate_verdict import gate_verdict


class FilterModule:
    def filters(self):
        return {"_gate_verdict": gate_verdict}

# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: _validate_rotation
short_description: Of rotate.yml - which hosts a rotation would cut off
author: wharf.registry contributors (@wharf)
description:
  - Private to the playbooks of this collection, and may change at any time.
  - A rollout brings hosts the CA of the registry host and the passwords of the inventory. A host that has another
    source for them would be proven to work with the former ones, and would be cut off when these end. This finds such
    hosts by their variables, before any of them is touched.
  - Shows no password.
positional: hostvars, registry
options:
  _input:
    description: Names of the hosts that use the registry.
    type: list
    elements: string
    required: true
  hostvars:
    description: The variables of the hosts, C(hostvars).
    type: dict
    required: true
  registry:
    description: Name of the registry host in the inventory.
    type: string
    required: true
  rotate:
    description: What is rotated.
    type: string
    choices: [ca, passwords]
    required: true
  bundle:
    description:
      - PEM text of the CAs that clients are to trust meanwhile, the new one last. A host that gives the CA by itself is
        in order if it gives the new one, too.
    type: string
    default: ""
"""

EXAMPLES = r"""
- name: Check that the rollout brings all hosts the new passwords
  ansible.builtin.assert:
    that: problems | length == 0
    fail_msg: "{{ problems }}"
  vars:
    problems: >-
      {{ groups['all'] | wharf.registry._validate_rotation(hostvars, groups['registry'][0], rotate='passwords') }}
"""

RETURN = r"""
_value:
  description: A sentence for each problem, with its host.
  type: list
  elements: str
"""

from ansible.errors import AnsibleFilterError


def validate_rotation(hosts, hostvars, registry, rotate, bundle=""):
    # As in _doctor_report.
    from ansible_collections.wharf.registry.plugins.filter.instance_names import instance_names
    from ansible_collections.wharf.registry.plugins.plugin_utils._playbooks.rotation_problems import rotation_problems

    of_registry = hostvars[registry]
    names = instance_names(of_registry.get("registry_instance") or "wharf")
    directory = of_registry.get("certificate_directory") or names["certificate_directory"]
    of_hosts = {host: hostvars[host] for host in hosts}
    try:
        return rotation_problems(of_hosts, registry, of_registry, rotate, ca_path=f"{directory}/ca.crt", bundle=bundle)
    except ValueError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    def filters(self):
        return {"_validate_rotation": validate_rotation}

# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: _foreign_mounts
short_description: Mounts of containers that come from directories of another inventory (private)
author: wharf.registry contributors (@wharf)
description:
  - Private to the roles of this collection. It can change without notice.
  - Compares the mounts of the containers of an instance with the directories that this inventory gives them. A mount is
    foreign if a container sees it where it would see a directory of this inventory, and it is neither that directory
    nor below it.
positional: directories
options:
  _input:
    description:
      - The containers as Docker Engine describes them, with C(Mounts). An empty value is a container that is not there.
    type: list
    elements: dictionary
    required: true
  directories:
    description:
      - C(path) on the host, C(target) in the containers, and C(variable), the name of the variable that gives the path.
    type: list
    elements: dictionary
    required: true
"""

EXAMPLES = r"""
- name: Check that the containers are those of this inventory
  ansible.builtin.assert:
    that: containers | wharf.registry._foreign_mounts(directories) | length == 0
  vars:
    containers: [{Mounts: [{Source: /srv/other/data, Destination: /var/lib/registry}]}]
    directories: [{path: /srv/data, target: /var/lib/registry, variable: registry_data_directory}]
"""

RETURN = r"""
_value:
  description: C(source) on the host, and C(here), the path and the variable of this inventory, for each foreign mount.
  type: list
  elements: dictionary
"""

from ansible_collections.wharf.registry.plugins.plugin_utils._roles.foreign_mounts import foreign_mounts


class FilterModule:
    def filters(self):
        return {"_foreign_mounts": foreign_mounts}

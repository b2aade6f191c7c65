# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: _mount_arguments
short_description: Mounts of a container as arguments of docker run (private)
author: wharf.registry contributors (@wharf)
description:
  - Private to the roles of this collection. It can change without notice.
  - Writes bind mounts, as P(community.docker.docker_container#module) takes them, as arguments of C(docker run).
options:
  _input:
    description: C(source), C(target) and C(read_only) of each mount.
    type: list
    elements: dictionary
    required: true
"""

EXAMPLES = r"""
- name: Run a container with the mounts of another one
  ansible.builtin.command:
    argv: "{{ ['docker', 'run', '--rm'] + mounts | wharf.registry._mount_arguments + ['image'] }}"
  vars:
    mounts: [{source: /srv/data, target: /data, read_only: true}]
"""

RETURN = r"""
_value:
  description: C(--mount) and its value for each mount.
  type: list
  elements: str
"""

from ansible_collections.wharf.registry.plugins.plugin_utils._roles.mount_arguments import mount_arguments


class FilterModule:
    def filters(self):
        return {"_mount_arguments": mount_arguments}

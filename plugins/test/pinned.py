# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: pinned
short_description: Whether an image name says which image it means
version_added: 0.1.0
author: wharf.registry contributors (@wharf)
description:
  - True for a name with a digest, and for one with a tag that is not V(latest). A name without both has the tag
    V(latest).
  - Only a digest names one image for ever. A tag does so only until it is moved, as M(wharf.registry.registry_push)
    and M(wharf.registry.registry_tag) see to by default.
  - A text that no client would take for the name of an image is an error. So is the identifier of a local image.
options:
  _input:
    description: The name of an image.
    type: string
    required: true
seealso:
  - plugin: wharf.registry.image_reference
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Refuse a compose file whose images the next pull may change
  vars:
    compose: "{{ lookup('ansible.builtin.file', 'compose.yml') | from_yaml }}"
    loose: "{{ compose.services.values() | selectattr('image', 'defined') | map(attribute='image')
      | reject('wharf.registry.pinned') }}"
  ansible.builtin.assert:
    that: loose | length == 0
    fail_msg: "Give these a version or a digest: {{ loose | join(', ') }}"

# What is unpinned on a host. The images are named as the containers were started with them; the list of containers
# names an image by its identifier once its tag has moved.
- name: List the containers of the host
  community.docker.docker_host_info:
    containers: true
  register: engine

- name: Check what they were started from
  community.docker.docker_container_info:
    name: "{{ item.Id }}"
  loop: "{{ engine.containers }}"
  loop_control:
    label: "{{ item.Names | first }}"
  register: containers

- name: Show what is unpinned
  ansible.builtin.debug:
    msg: "{{ containers.results | map(attribute='container.Config.Image') | unique | reject('wharf.registry.pinned') }}"
"""

RETURN = r"""
_value:
  description: Whether the name has a digest, or a tag that is not V(latest).
  type: boolean
"""

from ansible.errors import AnsibleFilterError
from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError
from ansible_collections.wharf.registry.plugins.module_utils._common.reference import parse_reference


def pinned(text):
    if not isinstance(text, str):
        raise AnsibleFilterError(
            f"the test wharf.registry.pinned takes the name of an image, not {type(text).__name__}"
        )
    try:
        return parse_reference(text).is_pinned
    except InputError as error:
        raise AnsibleFilterError(str(error)) from None


class TestModule:
    def tests(self):
        return {"pinned": pinned}

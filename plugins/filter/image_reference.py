# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: image_reference
short_description: The parts of an image name
version_added: 0.1.0
author: wharf.registry contributors (@wharf)
description:
  - Takes the name of an image apart as Docker does it. A name without a registry is one of Docker Hub (V(docker.io)),
    where a repository without a namespace is one of C(library/), and a name without a tag and a digest has the tag
    V(latest).
  - A text that no client would take for the name of an image is an error. So is the identifier of a local image.
options:
  _input:
    description: The name of an image.
    type: string
    required: true
seealso:
  - plugin: wharf.registry.digest
    plugin_type: lookup
  - plugin: wharf.registry.pinned
    plugin_type: test
"""

EXAMPLES = r"""
- name: Promote the image that a service uses, whatever its name leaves out
  vars:
    image: "{{ services.web.image | wharf.registry.image_reference }}"
  wharf.registry.registry_tag:
    registry: "{{ image.registry }}"
    repository: "{{ image.repository }}"
    tag: stable
    source: "{{ image.digest or image.tag }}"
    overwrite: true

- name: Refuse a compose file with an image of a foreign registry
  vars:
    compose: "{{ lookup('ansible.builtin.file', 'compose.yml') | from_yaml }}"
    images: "{{ compose.services.values() | selectattr('image', 'defined') | map(attribute='image')
      | map('wharf.registry.image_reference') }}"
    foreign: "{{ images | rejectattr('registry', 'equalto', 'registry.example.com') | map(attribute='reference') }}"
  ansible.builtin.assert:
    that: foreign | length == 0
    fail_msg: "Not from registry.example.com: {{ foreign | join(', ') }}"
"""

RETURN = r"""
_value:
  description: The parts of the name.
  type: dict
  contains:
    registry:
      description: The registry, V(host) or V(host:port).
      type: str
      sample: docker.io
    repository:
      description: The repository, as the registry itself names it.
      type: str
      sample: library/nginx
    tag:
      description: The tag, empty where the name has a digest and no tag.
      type: str
      sample: latest
    digest:
      description: The digest, empty where the name has none.
      type: str
    reference:
      description: The name in full.
      type: str
      sample: docker.io/library/nginx:latest
"""

from ansible.errors import AnsibleFilterError


def image_reference(text):
    # As in _doctor_report.
    from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError
    from ansible_collections.wharf.registry.plugins.module_utils._common.reference import parse_reference

    if not isinstance(text, str):
        raise AnsibleFilterError(
            f"the filter wharf.registry.image_reference takes the name of an image, not {type(text).__name__}"
        )
    try:
        reference = parse_reference(text)
    except InputError as error:
        raise AnsibleFilterError(str(error)) from None
    return {
        "registry": reference.registry.name,
        "repository": reference.repository,
        "tag": reference.tag,
        "digest": reference.digest,
        "reference": str(reference),
    }


class FilterModule:
    def filters(self):
        return {"image_reference": image_reference}

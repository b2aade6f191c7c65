#!/usr/bin/python
# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: registry_info
short_description: List the repositories and tags of a container registry
version_added: 0.1.0
author: wharf.registry contributors (@wharf)
description:
  - Lists repositories and tags by their names, and says what the tags hold as far as O(details) asks for it. No
    layer is downloaded, and each manifest is read once, however many tags share it.
  - Where O(repositories) holds a wildcard, the registry's catalogue is read, which not every registry has and not
    every user may see.
  - A tag or a repository that is damaged, or that holds what can't be understood, is listed with what is known of it.
    A warning and RV(repositories[].tags[].problems) say what is wrong, and all else is listed.
options:
  repositories:
    description:
      - Names or globs of repositories. C(*) matches any characters, slashes too; C(?) matches one, and C([abc]) one
        of these.
      - A name without a wildcard is looked for directly. One that does not exist is left out of the result, and one
        that can't be listed is an error.
      - On Docker Hub, a name without a slash lies in C(library/).
    type: list
    elements: str
    default: ['*']
  tags:
    description:
      - Names or globs of tags.
    type: list
    elements: str
    default: ['*']
  details:
    description:
      - V(names) lists the tags and reads nothing else.
      - V(digests) adds the digest and the media type of each, with one small request for each tag.
      - V(full) adds all the rest, with one more request for each manifest and for each configuration of an image.
    type: str
    choices: [names, digests, full]
    default: names
  max_workers:
    description:
      - Number of connections that ask at the same time, 1 to 64.
    type: int
    default: 8
extends_documentation_fragment:
  - wharf.registry.connection
  - wharf.registry.attributes
  - wharf.registry.attributes.info_module
"""

EXAMPLES = r"""
- name: List all repositories and tags
  wharf.registry.registry_info:
    registry: registry.example.com
    username: admin
    password: "{{ vault_admin_password }}"
  register: listing

- name: Find what runs on which platform
  wharf.registry.registry_info:
    registry: registry.example.com
    repositories: [apps/*]
    tags: ["[0-9]*"]
    details: full
  register: apps

- name: Show the images without one for arm64
  ansible.builtin.debug:
    msg: "{{ item.0.name }}:{{ item.1.name }}"
  loop: "{{ apps.repositories | subelements('tags') }}"
  loop_control:
    label: "{{ item.0.name }}:{{ item.1.name }}"
  when:
    - item.1.kind == 'image'
    - "'linux/arm64' not in item.1.platforms"

- name: List the tags of one repository of Docker Hub
  wharf.registry.registry_info:
    registry: docker.io
    repositories: [nginx]
"""

RETURN = r"""
repositories:
  description: The repositories in the order of their names.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name of the repository.
      type: str
      sample: apps/web
    tags:
      description: Its tags in the order of their names. Empty for a repository that was emptied.
      type: list
      elements: dict
      contains:
        name:
          description: Name of the tag.
          type: str
          sample: 1.4.2
        digest:
          description: Digest of the manifest.
          returned: O(details=digests) or O(details=full), empty where it can't be read
          type: str
          sample: sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
        media_type:
          description: Media type of the manifest.
          returned: O(details=digests) or O(details=full)
          type: str
          sample: application/vnd.oci.image.index.v1+json
        kind:
          description:
            - V(image) for what can be run, for one platform or for several. V(signature), V(attestation), V(sbom)
              and V(referrers) belong to another manifest, the digest of which is in their tag. V(referrers) is a list
              of such, or what lies under a suffix that is none of C(.sig), C(.att) and C(.sbom). V(artifact) is all
              that is not an image, such as a Helm chart or the cache of a build, and V(unknown) what has a media type
              of another sort, or can't be read.
          returned: O(details=full)
          type: str
        artifact_type:
          description:
            - For an artefact, the media type that says what it is. For an index, this is its own C(artifactType), or
              the type of the first thing that it lists and that is neither a manifest nor a layer.
          returned: O(details=full)
          type: str
          sample: application/vnd.cncf.helm.config.v1+json
        size:
          description:
            - Bytes of all manifests, configurations and layers that the tag needs, as they are stored, each counted
              once. A layer with URLs of its own counts where the registry has it.
          returned: O(details=full)
          type: int
        platforms:
          description: Platforms that it is for, as C(os/architecture/variant).
          returned: O(details=full)
          type: list
          elements: str
          sample: [linux/amd64, linux/arm64/v8]
        created:
          description: When it was made, as it says itself (RFC 3339). That of the first platform for several.
          returned: O(details=full)
          type: str
          sample: "2026-11-24T07:00:00Z"
        labels:
          description: Labels of the image, those of the first platform for several.
          returned: O(details=full)
          type: dict
        problems:
          description: What is damaged or can't be understood, at most ten sentences. Each is a warning, too.
          returned: O(details=digests) or O(details=full), where there is something
          type: list
          elements: str
          sample: ["the configuration sha256:9f86d0… is not a JSON object"]
    problems:
      description: The same of the repository itself, such as an entry of its list of tags that is no tag.
      returned: where there is something
      type: list
      elements: str
"""

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError
from ansible_collections.wharf.registry.plugins.module_utils._distribution.describe import Describer, common_path
from ansible_collections.wharf.registry.plugins.module_utils._distribution.listing import Listing
from ansible_collections.wharf.registry.plugins.module_utils._distribution.pool import Pool
from ansible_collections.wharf.registry.plugins.module_utils._modules.base import RegistryModule

MOST_WORKERS = 64


def run(module):
    make_api = module.apis(common_path(module.params["repositories"]))
    if not 1 <= module.params["max_workers"] <= MOST_WORKERS:
        raise InputError(f"max_workers is {module.params['max_workers']}", f"Give 1 to {MOST_WORKERS}")
    details = module.params["details"]
    with Pool(make_api, module.params["max_workers"]) as pool:
        listing = Listing(pool, module.params["repositories"], module.params["tags"])
        listing.find()
        if details != "names":
            listing.look(Describer() if details == "full" else None)
    for message in listing.warnings(module.registry().name):
        module.warn(message)
    module.exit_json(changed=False, repositories=listing.repositories)


def main():
    module = RegistryModule(
        {
            "repositories": {"type": "list", "elements": "str", "default": ["*"]},
            "tags": {"type": "list", "elements": "str", "default": ["*"]},
            "details": {"type": "str", "choices": ["names", "digests", "full"], "default": "names"},
            "max_workers": {"type": "int", "default": 8},
        }
    )
    with module.errors_explained():
        run(module)


if __name__ == "__main__":
    main()

#!/usr/bin/python
# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: registry_push
short_description: Push an image of the local Docker Engine to a container registry
version_added: 0.1.0
author: wharf.registry contributors (@wharf)
description:
  - Pushes a local image to a tag of a registry, and leaves the names of the local images as they were.
  - Asks the registry first. Where the tag holds that image already, nothing is pushed; where it holds another one,
    nothing is overwritten unless O(overwrite) says so.
  - Looks afterwards whether the registry has what was pushed.
  - A registry refuses an image with layers that lie elsewhere, as those of Windows do, unless it allows their
    addresses, see C(registry_manifest_urls_allow) of the role P(wharf.registry.registry#role).
requirements:
  - docker (the Docker SDK for Python) on the host that runs this, 5.0.3 or later
options:
  image:
    description:
      - The local image, by a name or by its identifier.
    type: str
    required: true
  repository:
    description:
      - The repository in the registry.
    type: str
    required: true
  tag:
    description:
      - The tag in the registry.
    type: str
    required: true
  allow_latest:
    description:
      - Whether O(tag) may be V(latest), which says nothing about what it holds and moves under those who use it.
    type: bool
    default: false
  overwrite:
    description:
      - Whether a tag that holds another image may be moved. With V(false), this is an error that names both.
    type: bool
    default: false
extends_documentation_fragment:
  - wharf.registry.connection
  - wharf.registry.attributes
attributes:
  check_mode:
    support: full
    details:
      - The registry and the engine are asked in check mode, too. The digest of what is not pushed yet is not known,
        and RV(digest) is empty then.
  diff_mode:
    support: full
    details:
      - Shows the identifiers of the images, as the engine does.
  idempotent:
    support: full
notes:
  - The engine is the one that E(DOCKER_HOST) in the environment of the task names, with E(DOCKER_TLS_VERIFY) and
    E(DOCKER_CERT_PATH), by default the one of this host.
  - The engine itself sends the layers. It takes the login from this module, and not O(ca_path), O(validate_certs),
    O(client_cert), O(client_key) and O(plain_http), which are for the questions that this module asks. Let it trust
    the registry by C(/etc/docker/certs.d), or by C(insecure-registries) of its C(daemon.json).
  - An engine can only push an image by the name that it is to have. It is given to the image for the time of the push.
  - A registry can't be asked to refuse a tag that appears meanwhile. Two pushes at once to the same new tag both
    succeed, save where the registry keeps tags from being moved.
seealso:
  - module: wharf.registry.registry_tag
  - module: wharf.registry.registry_info
  - module: community.docker.docker_image_push
"""

EXAMPLES = r"""
- name: Publish a build
  wharf.registry.registry_push:
    image: web:build
    registry: registry.example.com
    repository: apps/web
    tag: 1.4.2

- name: Publish it as another user than the one who is logged in
  wharf.registry.registry_push:
    image: web:build
    registry: registry.example.com
    username: ci
    password: "{{ vault_ci_password }}"
    repository: apps/web
    tag: 1.4.2

- name: Publish what the main branch is now, under a tag that is meant to move
  wharf.registry.registry_push:
    image: web:build
    registry: registry.example.com
    repository: apps/web
    tag: main
    overwrite: true
  register: web

- name: Run exactly that on the hosts
  community.docker.docker_container:
    name: web
    image: "registry.example.com/apps/web@{{ web.digest }}"
  delegate_to: "{{ item }}"
  loop: "{{ groups.runtimes }}"
"""

RETURN = r"""
digest:
  description:
    - Digest of the manifest that the tag points to now. Empty in check mode where the image would be pushed.
  returned: success
  type: str
  sample: sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
reference:
  description: The name of the image in the registry.
  returned: success
  type: str
  sample: registry.example.com/apps/web:1.4.2
pushed:
  description: Whether this run has pushed the image. V(false) in check mode.
  returned: success
  type: bool
"""

import contextlib

from ansible.module_utils.basic import missing_required_lib
from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError, RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._common.reference import Reference, check_tag, full_name
from ansible_collections.wharf.registry.plugins.module_utils._distribution.client_errors import ConflictError
from ansible_collections.wharf.registry.plugins.module_utils._distribution.transport_errors import AnswerError
from ansible_collections.wharf.registry.plugins.module_utils._engine.docker_api import EngineError
from ansible_collections.wharf.registry.plugins.module_utils._engine.docker_push import HAS_DOCKER, ImagePusher
from ansible_collections.wharf.registry.plugins.module_utils._engine.error_patterns import auth_config
from ansible_collections.wharf.registry.plugins.module_utils._modules.base import RegistryModule

FOREIGN_LAYERS = (
    "for an image with layers that lie elsewhere, as those of Windows do, allow their addresses by "
    "registry_manifest_urls_allow on the registry host"
)


def find_image(engine, name):
    """The local Image. Raises RegistryError where there is none."""
    image = engine.image(name) if name.strip() else None
    if image is None:
        raise InputError(
            f"the Docker Engine has no image {name!r}", "Build or load it before, and look at its name and tag"
        )
    return image


def look(api, image, reference):
    """(digest, identifier) of what the tag holds, empty where there is no such tag. Raises RegistryError.

    The identifier is that of the local image where they are the same image.
    """
    head = api.head(reference.repository, reference.tag)
    if head is None:
        return "", ""
    if head.digest in image.identifiers or image.is_known_as(reference, head.digest):
        return head.digest, image.id
    manifest = api.manifest(reference.repository, head.digest)
    if manifest is None or manifest.config is None:
        # An index is an image of its own.
        return head.digest, head.digest
    return head.digest, manifest.config["digest"]


def check_overwrite(module, image, digest, held):
    """Raises ConflictError where a tag that holds another image may not be moved."""
    if digest and not module.params["overwrite"]:
        what = digest if held == digest else f"{digest} (image {held})"
        raise ConflictError(
            f"the tag holds {what}, and not {module.params['image']} (image {image.id})",
            "Give the new image a tag of its own, or set overwrite to true where the tag is meant to move",
        )


def verify(api, image, reference, pushed):
    """The digest that the tag points to after a push. Raises AnswerError where it holds something else."""
    digest, held = look(api, image, reference)
    if not digest or (digest != pushed if pushed else held != image.id):
        raise AnswerError(
            f"the engine pushed {pushed or image.id}, and the registry has {digest or 'no such tag'} there now",
            "Check who else pushes to this tag, and whether the registry and its proxy see the same storage",
        )
    return digest


def push(module, reference, api, credential):
    """The results. Raises RegistryError, which need not name the image."""
    with ImagePusher(module.params["timeout"]) as engine:
        image = find_image(engine, module.params["image"])
        digest, held = look(api, image, reference)
        changed = held != image.id
        if changed:
            check_overwrite(module, image, digest, held)
            digest = ""
        if changed and not module.check_mode:
            sent = engine.push(image, reference, auth_config(credential, reference.registry), module.warn)
            digest = verify(api, image, reference, sent)
    name = str(reference)
    return {
        "changed": changed,
        "digest": digest,
        "reference": name,
        "pushed": changed and not module.check_mode,
        "diff": {
            "before": {"image": held},
            "after": {"image": image.id},
            "before_header": name,
            "after_header": name,
        },
    }


def run(module):
    registry = module.registry()
    tag = module.params["tag"]
    check_tag(tag)
    reference = Reference(registry, full_name(registry, module.params["repository"]), tag)
    try:
        if tag == "latest" and not module.params["allow_latest"]:
            raise InputError(
                "the tag latest says nothing about what it holds, and moves under those who use it",
                "Give it a version, or set allow_latest to true",
            )
        credential = module.credential(registry, reference.repository)
        with contextlib.closing(module.api(registry, module.client(registry), credential)) as api:
            results = push(module, reference, api, credential)
    except RegistryError as error:
        # The engine tells no more than the status, and does not show whether an image has such layers.
        of_push = isinstance(error, EngineError) and error.mistake == "registry_error"
        also = f"; {FOREIGN_LAYERS}" if of_push else ""
        raise RegistryError(f"{reference} could not be pushed: {error.message}", error.cure + also) from None
    module.exit_json(**results)


def main():
    module = RegistryModule(
        {
            "image": {"type": "str", "required": True},
            "repository": {"type": "str", "required": True},
            "tag": {"type": "str", "required": True},
            "allow_latest": {"type": "bool", "default": False},
            "overwrite": {"type": "bool", "default": False},
        }
    )
    if not HAS_DOCKER:
        module.fail_json(msg=missing_required_lib("docker"))
    with module.errors_explained():
        run(module)


if __name__ == "__main__":
    main()

#!/usr/bin/python
# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: registry_sign
short_description: Sign an image of a container registry, or attest something of it, with cosign
version_added: 0.1.0
author: wharf.registry contributors (@wharf)
description:
  - Signs the image that a tag points to now, by its digest, with a key of cosign. Works without the internet. No
    transparency log and no certificate is used.
  - cosign (2.x or 3.x, from the packages of the distribution) is run on the host that holds the key. It gets files
    alone, and neither the login nor the network of the registry.
  - Changes nothing where the key has signed the image already, in all forms that are wanted.
  - Several keys may sign one image, so that a rotation overlaps. Run the module once for each.
options:
  image:
    description:
      - The image, as C(repository:tag) or C(repository@digest). Of an image for several platforms, the index is signed.
    type: str
    required: true
  key:
    description:
      - Path of a private key on the host, as C(cosign generate-key-pair) writes it, or the URI of a key in a KMS that
        cosign takes, as V(hashivault://production).
    type: str
    required: true
  key_password:
    description:
      - Password of the private key. cosign gets it in its environment, which only root and its own account can read.
    type: str
  forms:
    description:
      - The forms in which the signature is kept. V(tag) is that of cosign 2, under the tag C(sha256-….sig), which
        Podman and CRI-O read. V(bundle) is that of cosign 3, a referrer of the image.
    type: list
    elements: str
    choices: [tag, bundle]
    default: [tag]
  attestation:
    description:
      - Something to be said of the image (an in-toto statement), in place of a signature. It is kept as a bundle.
    type: dict
    suboptions:
      type:
        description:
          - Type of the predicate, a URI, or a short name of cosign (V(cyclonedx), V(slsaprovenance),
            V(slsaprovenance1), V(spdxjson), V(vuln)).
        type: str
        required: true
      predicate:
        description:
          - What is said.
        type: dict
      path:
        description:
          - A file with it on the host, as JSON.
        type: path
  program:
    description:
      - Name or path of cosign on the host.
    type: str
    default: cosign
extends_documentation_fragment:
  - wharf.registry.connection
  - wharf.registry.attributes
attributes:
  check_mode:
    support: full
    details:
      - Reads and verifies what is there, with the key.
  diff_mode:
    support: N/A
    details:
      - What is added is a signature.
  idempotent:
    support: full
seealso:
  - module: wharf.registry.registry_verify
  - module: wharf.registry.registry_tag
"""

EXAMPLES = r"""
- name: Sign a release, for Podman and for cosign 3
  wharf.registry.registry_sign:
    registry: registry.example.com
    image: apps/web:1.4.2
    key: /etc/wharf-registry/cosign.key
    key_password: "{{ vault_cosign_password }}"
    forms: [tag, bundle]

- name: Say which build made it
  wharf.registry.registry_sign:
    registry: registry.example.com
    image: apps/web:1.4.2
    key: hashivault://production
    attestation:
      type: slsaprovenance1
      path: /tmp/provenance.json
"""

RETURN = r"""
digest:
  description: Digest of the image that was signed.
  returned: success
  type: str
  sample: sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
key:
  description: The public key, by the hash of its content, or the URI of a KMS.
  returned: success
  type: str
  sample: SHA256:5WJd4KqGL0Yb3kbMMdW8mZ2u0Wm1kq6nQJz1m9mYj3E
signatures:
  description: What this key has made of the image, verified. Empty in check mode where something would be written.
  returned: success
  type: list
  elements: dict
  contains:
    form:
      description: V(tag) or V(bundle).
      type: str
    digest:
      description: Digest of the manifest that holds it.
      type: str
    key:
      description: The public key.
      type: str
written:
  description: The forms that were written, or would be.
  returned: success
  type: list
  elements: str
  sample: [tag, bundle]
"""

import contextlib

from ansible_collections.wharf.registry.plugins.module_utils._modules.base import RegistryModule
from ansible_collections.wharf.registry.plugins.module_utils._modules.signing import SIGN_OPTIONS, SignRun


def run(module):
    sign = SignRun(module.params, module.check_mode)
    with contextlib.closing(module.apis()()) as api:
        module.exit_json(**sign.run(api))


def main():
    module = RegistryModule(SIGN_OPTIONS)
    with module.errors_explained():
        run(module)


if __name__ == "__main__":
    main()

#!/usr/bin/python
# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: registry_verify
short_description: Verify that an image of a container registry is signed by a key that is trusted
version_added: 0.1.0
author: wharf.registry contributors (@wharf)
description:
  - Verifies signatures of cosign 2 and 3 by public keys, without the internet. Fails where the image has none that is
    by one of the keys and of this very image.
  - cosign is run on the host. It gets files alone, and neither the login nor the network of the registry.
options:
  image:
    description:
      - The image, as C(repository:tag) or C(repository@digest).
    type: str
    required: true
  keys:
    description:
      - Public keys, each as PEM, the path of a file on the host, or the URI of a KMS. One of them is enough, so that a
        rotation overlaps.
    type: list
    elements: str
    required: true
  attestation:
    description:
      - The type of an attestation that is required in place of a signature, a URI or a short name of cosign
        (V(cyclonedx), V(slsaprovenance), V(slsaprovenance1), V(spdxjson), V(vuln)).
    type: str
  program:
    description:
      - Name or path of cosign on the host.
    type: str
    default: cosign
extends_documentation_fragment:
  - wharf.registry.connection
  - wharf.registry.attributes
  - wharf.registry.attributes.info_module
seealso:
  - module: wharf.registry.registry_sign
"""

EXAMPLES = r"""
- name: Go on only with what the build server has signed
  wharf.registry.registry_verify:
    registry: registry.example.com
    image: staging/web:1.4.2
    keys:
      - /etc/wharf-registry/build.pub
"""

RETURN = r"""
digest:
  description: Digest of the image that was verified.
  returned: success
  type: str
  sample: sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
verified_by:
  description: The keys by which it is signed, each once.
  returned: success
  type: list
  elements: str
  sample: ["SHA256:5WJd4KqGL0Yb3kbMMdW8mZ2u0Wm1kq6nQJz1m9mYj3E"]
signatures:
  description: The signatures, or attestations, that hold.
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
      description: The public key, by the hash of its content, or the URI of a KMS.
      type: str
"""

import contextlib

from ansible_collections.wharf.registry.plugins.module_utils._distribution.promote import read_source
from ansible_collections.wharf.registry.plugins.module_utils._gate.subject import parse_image
from ansible_collections.wharf.registry.plugins.module_utils._modules.base import RegistryModule
from ansible_collections.wharf.registry.plugins.module_utils._modules.signing import (
    VERIFY_OPTIONS,
    public_keys,
    verify,
)


def run(module):
    keys = public_keys(module.params["keys"])
    with contextlib.closing(module.apis()()) as api:
        source = parse_image(module.params["image"], api.registry)
        manifest = read_source(api, source)
        options = {name: module.params[name] for name in ("attestation", "program")}
        found = verify(api, source, manifest, keys, **options)
    module.exit_json(
        changed=False,
        digest=manifest.digest,
        verified_by=list(dict.fromkeys(one["key"] for one in found)),
        signatures=found,
    )


def main():
    module = RegistryModule(VERIFY_OPTIONS)
    with module.errors_explained():
        run(module)


if __name__ == "__main__":
    main()

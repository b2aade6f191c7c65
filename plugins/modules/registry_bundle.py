#!/usr/bin/python
# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: registry_bundle
short_description: Carry images across an air gap in a signed bundle
version_added: 0.1.0
author: wharf.registry contributors (@wharf)
description:
  - Writes images of a registry into a directory of a medium, signed, and brings them into the registry of another site.
  - A bundle is an OCI image layout with a list of all that is in it (C(bundle.json)) and the signature of that list
    (C(bundle.json.sig)), which C(ssh-keygen) makes and verifies.
  - The other site can answer with a receipt, a signed list of what its registry holds. The next bundle leaves out those
    blobs.
  - An import verifies the signature, each byte, and whether the registry has what the bundle leaves out, before it
    writes anything. Tags are written when all else is there. A run that is killed or loses the medium leaves no tag at
    a broken image, and the next run goes on.
options:
  state:
    description:
      - V(exported) writes a bundle, V(verified) checks one, and V(imported) brings its images into a registry.
    type: str
    choices: [exported, verified, imported]
    required: true
  path:
    description:
      - The directory of the bundle. An export goes on with what is there.
    type: path
    required: true
  source:
    description:
      - The registry that O(state=exported) reads.
    type: dict
    suboptions: &side
      registry:
        description:
          - The registry as image names name it, C(host) or C(host:port). V(docker.io) is Docker Hub.
        type: str
        required: true
      username:
        description:
          - Name of the user. Goes with the password.
        type: str
      password:
        description:
          - Password of the user, or an access token in its place.
        type: str
      ca_path:
        description:
          - A file of CA certificates in PEM, to be trusted in place of all others. By default those of the system, and
            those that engines trust for this registry.
        type: path
      client_cert:
        description:
          - A client certificate in PEM for registries that ask for one. Goes with its key.
        type: path
      client_key:
        description:
          - Its private key in PEM, without a passphrase.
        type: path
      validate_certs:
        description:
          - Whether to check the certificate of the registry.
        type: bool
        default: true
      plain_http:
        description:
          - Whether to speak HTTP. V(true) sends the password in clear.
        type: bool
        default: false
      timeout:
        description:
          - Seconds that one request may take, 1 to 86400. For a blob it is the time of each wait, and the least speed
            is 1 KiB a second on average over that time.
        type: int
        default: 30
      config_path:
        description:
          - A client configuration of Docker or Podman to take credentials from where none are given. By default those
            of the account, credential helpers included.
        type: path
  destination:
    description:
      - The registry that O(state=imported) writes to. With O(state=verified), the registry that is asked for what the
        bundle leaves out; without it, nothing is asked.
    type: dict
    suboptions: *side
  images:
    description:
      - What O(state=exported) writes. An image that several rules choose is written as the first of them says.
    type: list
    elements: dict
    default: []
    suboptions:
      repository:
        description:
          - Name of a repository at the source, or a glob. C(*) matches any characters, slashes too. A glob needs the
            catalogue of the source, which public registries do not give.
        type: str
        required: true
      to:
        description:
          - Name of the repository in the bundle. With a slash at its end, it is put before the name at the source.
          - By default the name at the source. That of C(nginx) at Docker Hub is C(library/nginx).
        type: str
      tags:
        description:
          - Which tags are copied; by default all. The conditions mean what they mean in
            M(wharf.registry.registry_retention). A tag is copied where one of them holds, or where there is none.
        type: dict
        suboptions:
          globs:
            description:
              - Names or globs of tags, or digests. Names without a wildcard are copied even where the tags can't be
                listed. Quote numbers in YAML, to which C(1.10) is 1.1.
            type: list
            elements: str
            default: ['*']
          matching:
            description:
              - Regular expressions, one of which is found in the tag, anywhere unless it has anchors (C(^), C($)).
            type: list
            elements: str
            default: []
          versions:
            description:
              - Ranges of semantic versions, as V(>=1.2 <2.0), V(^1.4), V(~1.4.2) or V(1.x).
            type: list
            elements: str
            default: []
          newest:
            description:
              - So many images of each repository, those that were made last. The configuration of each image that the
                globs name has to be read for that, which counts as a pull.
            type: int
          younger:
            description:
              - Images that were made within this time before now, as V(12h), V(30d) or V(2w). Each is read, as for
                O(images[].tags.newest).
            type: str
      platforms:
        description:
          - Platforms of which the images are copied, as V(linux/amd64) or V(linux/arm64/v8), by default all.
            V(linux/arm) means all of its variants. Attestations of BuildKit go with their platform.
          - The tag gets an index of these platforms alone, which has another digest than that of the source; the
            annotation C(registry.wharf.whole-index) tells that one. Signatures of the platforms are copied, and those
            of the whole index are not, since they would not fit. See O(images[].sparse_index).
          - An image that is no index is copied as it is.
        type: list
        elements: str
        default: []
      sparse_index:
        description:
          - Whether the tag gets the whole index of the source, with its digest and its signatures, while only the
            chosen platforms are copied. CNCF Distribution 2 refuses such an index; version 3 takes it where
            C(validation.manifests.indexes.platforms) says so, and layouts take it.
        type: bool
        default: false
      referrers:
        description:
          - Whether signatures, attestations, SBOMs and other referrers are copied, and theirs in turn, by the list of
            referrers and by tags made of the digest (C(sha256-….sig), C(.att), C(.sbom)). Where the destination keeps
            no such list, the index is written that clients look for in its place.
        type: bool
        default: true
  to:
    description:
      - What O(state=imported) puts before the names of the repositories, with a slash at its end, as V(site-a/).
    type: str
    default: ''
  overwrite:
    description:
      - Whether O(state=imported) moves tags that are at another image. With V(false) that is an error which names both
        digests, and nothing is imported.
    type: bool
    default: false
  receipt:
    description:
      - Path of a receipt. O(state=exported) reads it, and leaves out the blobs that it lists. A key of O(trusted_keys)
        must have signed it. O(state=imported) writes it, signed with O(signing_key), and adds to one that is there.
    type: path
  part_size:
    description:
      - The most bytes of one file, with a unit as in V(4095M), for media that take no larger ones, such as FAT. Blobs
        that are larger lie in parts, which other tools do not read. V(0) makes no parts.
    type: str
    default: '0'
  signing_key:
    description:
      - Path of a private key of SSH without a passphrase, for bundles and receipts that are written.
    type: path
  trusted_keys:
    description:
      - Public keys, each the content of a file such as C(id_ed25519.pub), one of which must have signed what is read.
    type: list
    elements: str
    default: []
  progress_path:
    description:
      - A file to which a line is added for each step while the run goes on, to follow it with C(tail -f).
    type: path
  max_workers:
    description:
      - Number of images, and of blobs, that are copied at the same time, 1 to 64.
    type: int
    default: 8
extends_documentation_fragment:
  - wharf.registry.attributes
attributes:
  check_mode:
    support: full
    details:
      - An import verifies the bundle, and tells what would be copied and what is missing.
  diff_mode:
    support: none
    description: Returns the digests of all images.
  idempotent:
    support: full
requirements:
  - ssh-keygen (OpenSSH 8.2 or later)
notes:
  - Verifying reads each byte of the medium. An import reads what it copies a second time.
  - The receipt lists what the repositories of imported bundles hold at that time. Where the other site removes images
    later, the next import tells which blobs are missing, and imports nothing.
seealso:
  - module: wharf.registry.registry_sync
"""

EXAMPLES = r"""
- name: Write a bundle
  wharf.registry.registry_bundle:
    state: exported
    path: /media/usb/bundle-42
    source:
      registry: registry.example.com
      username: runtime
      password: "{{ vault_runtime_password }}"
    images:
      - repository: apps/web
        tags:
          versions: ["^1.4"]
    receipt: /media/usb/receipt.json
    trusted_keys: ["{{ far_public_key }}"]
    signing_key: /etc/wharf-registry/bundle_key
    part_size: 4095M

- name: Import it at the other site
  wharf.registry.registry_bundle:
    state: imported
    path: /media/usb/bundle-42
    destination:
      registry: registry.site-b.example.com
      username: ci
      password: "{{ vault_ci_password }}"
    trusted_keys: ["{{ near_public_key }}"]
    receipt: /media/usb/receipt.json
    signing_key: /etc/wharf-registry/receipt_key
"""

RETURN = r"""
bundle:
  description: Name of the bundle, empty where there is none yet.
  returned: always
  type: str
  sample: 20261129T101500Z-1f6c0a2e
images:
  description: The images of the bundle, without what belongs to them.
  returned: always
  type: list
  elements: dict
  contains:
    repository:
      description: Name of the repository in the bundle.
      type: str
    tag:
      description: Name of the tag.
      type: str
    digest:
      description: Digest of the image.
      type: str
digests:
  description: Number of the blobs and manifests in the bundle.
  returned: always
  type: int
copied_bytes:
  description: Bytes of blobs that were copied, or would be.
  returned: always
  type: int
missing:
  description:
    - Digests that the bundle leaves out and the registry does not have, or sentences on what is damaged. Nothing was
      imported then.
  returned: always
  type: list
  elements: str
"""

from ansible.module_utils.common.text.formatters import human_to_bytes
from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError, RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._modules.argspec import (
    CONNECTION_OPTIONS,
    CONNECTION_RULES,
    check_range,
)
from ansible_collections.wharf.registry.plugins.module_utils._modules.base import BaseModule
from ansible_collections.wharf.registry.plugins.module_utils._modules.bundle_run import BundleRun, check_options
from ansible_collections.wharf.registry.plugins.module_utils._modules.progress import Progress
from ansible_collections.wharf.registry.plugins.module_utils._modules.sync_run import SYNC_OPTIONS

SIDE = {"type": "dict", "options": CONNECTION_OPTIONS, "required_together": CONNECTION_RULES}


def completed(params):
    """The options as a run takes them. Raises InputError."""
    try:
        size = human_to_bytes(params["part_size"])
    except ValueError:
        raise InputError(f"part_size is {params['part_size']!r}", "Give a size such as 4095M, or 0") from None
    sides = {name: params[name] and {**params[name], "layout": None} for name in ("source", "destination")}
    return {**params, **sides, "part_size": size}


def run(module):
    params = completed(module.params)
    check_options(params)
    check_range(params, "max_workers", 1, 64)
    with Progress(None if module.check_mode else params["progress_path"]) as progress:
        bundle = BundleRun(params, module.check_mode, progress.say)
        failure = ""
        try:
            bundle.run()
        except RegistryError as error:
            failure = str(error)
    for warning in bundle.warnings:
        module.warn(warning)
    if failure:
        module.fail_json(msg=failure, **bundle.result)
    module.exit_json(**bundle.result)


def main():
    module = BaseModule(
        {
            "state": {"type": "str", "choices": ["exported", "verified", "imported"], "required": True},
            "path": {"type": "path", "required": True},
            "source": SIDE,
            "destination": SIDE,
            "images": {**SYNC_OPTIONS["images"], "required": False, "default": []},
            "to": {"type": "str", "default": ""},
            "overwrite": {"type": "bool", "default": False},
            "receipt": {"type": "path"},
            "part_size": {"type": "str", "default": "0"},
            # The path of the key. Its content never comes near the task.
            "signing_key": {"type": "path", "no_log": False},
            "trusted_keys": {"type": "list", "elements": "str", "default": [], "no_log": False},
            "progress_path": {"type": "path"},
            "max_workers": {"type": "int", "default": 8},
        }
    )
    with module.errors_explained():
        run(module)


if __name__ == "__main__":
    main()

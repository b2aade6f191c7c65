#!/usr/bin/python
# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: registry_sync
short_description: Copy images between container registries and OCI image layouts
version_added: 0.1.0
author: wharf.registry contributors (@wharf)
description:
  - Copies the images that rules choose, with their layers, their platforms, their signatures and all else that refers
    to them. Each side is a registry or the directory of an OCI image layout. No engine is needed.
  - Nothing is held in memory or on disk on the way. Blobs are verified while they pass, are mounted where the
    destination has them in another repository of this run, and go on from where they were when a download breaks off.
  - Manifests follow their blobs, and the tag comes last. A run that is killed leaves each tag at its former image or at
    the new one, whole, and the next run goes on.
  - A tag that is the same on both sides costs one request that upstreams do not count as a pull, and one for its
    referrers where the source keeps a list of them.
options:
  source:
    description:
      - Where the images are. Exactly one of O(source.registry) and O(source.layout) is needed.
    type: dict
    required: true
    suboptions: &side
      registry:
        description:
          - The registry as image names name it, C(host) or C(host:port). V(docker.io) is Docker Hub.
        type: str
      layout:
        description:
          - The directory of an OCI image layout. As a destination it is made where it is missing.
          - Images are named by their repository and tag there (C(org.opencontainers.image.ref.name) is
            C(apps/web:1.4.2)). An image that another tool named by a tag alone is found under any repository.
        type: path
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
      - Where the images go. Exactly one of O(destination.registry) and O(destination.layout) is needed.
    type: dict
    required: true
    suboptions: *side
  images:
    description:
      - What is copied. An image that several rules choose is copied as the first of them says.
    type: list
    elements: dict
    required: true
    suboptions:
      repository:
        description:
          - Name of a repository at the source, or a glob. C(*) matches any characters, slashes too. A glob needs the
            catalogue of the source, which public registries do not give.
        type: str
        required: true
      to:
        description:
          - Name of the repository at the destination. With a slash at its end, it is put before the name at the source,
            as V(mirror/).
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
          - Can't be combined with O(prune), since an index of which parts are missing can't be judged.
        type: bool
        default: false
      referrers:
        description:
          - Whether signatures, attestations, SBOMs and other referrers are copied, and theirs in turn, by the list of
            referrers and by tags made of the digest (C(sha256-….sig), C(.att), C(.sbom)). Where the destination keeps
            no such list, the index is written that clients look for in its place.
        type: bool
        default: true
  overwrite:
    description:
      - Whether a tag that is at another image at the destination is moved. With V(false) that is an error which names
        both digests, and so it is where the destination does not let the tag move.
    type: bool
    default: false
  prune:
    description:
      - Whether tags that no rule chooses any more are removed from the repositories that the rules write to, whoever
        put them there. Signatures and the like go with their images, as in M(wharf.registry.registry_retention).
      - A repository of which not all could be read at the source is left alone.
    type: bool
    default: false
  max_delete:
    description:
      - The most tags that one run may remove. Where more would go, it fails and removes none.
    type: int
    default: 100
  max_delete_percent:
    description:
      - The same in percent of the tags in the repositories that the rules write to.
    type: int
    default: 80
  min_remaining:
    description:
      - Number of pulls that are left to other clients of a source that tells its limit (C(ratelimit-remaining)), as
        Docker Hub does.
    type: int
    default: 0
  max_wait:
    description:
      - Seconds that the run may wait for the source in all, after a 429 as long as its C(Retry-After) asks, and below
        O(min_remaining) until there are more. V(0) stops at once. What was copied stays.
    type: int
    default: 0
  progress_path:
    description:
      - A file to which a line is added for each image while the run goes on, to follow it with C(tail -f).
    type: path
  max_workers:
    description:
      - Number of images, and of blobs, that are copied at the same time, 1 to 64. Each side gets up to two connections
        for each.
    type: int
    default: 8
extends_documentation_fragment:
  - wharf.registry.attributes
attributes:
  check_mode:
    support: full
    details:
      - Reads what a run would read, so that a limit of pulls counts the same, and counts the bytes that it would copy.
      - Whether the destination lets the user write is not foreseen.
  diff_mode:
    support: full
    details:
      - Shows the digest of each tag that changes at the destination.
  idempotent:
    support: full
    details:
      - What the source has changes, and what O(images[].tags.younger) chooses does so with time.
notes:
  - E(HTTPS_PROXY), E(HTTP_PROXY) and E(NO_PROXY) in the environment of the task are read as Docker and Podman read
    them.
  - An image that can't be copied does not stop the others. The module fails in the end, with the whole result.
  - Layers with addresses of their own (foreign layers) are copied where the source has them.
seealso:
  - module: wharf.registry.registry_retention
  - module: wharf.registry.registry_tag
"""

EXAMPLES = r"""
- name: Copy what the site needs from Docker Hub
  wharf.registry.registry_sync:
    source:
      registry: docker.io
    destination:
      registry: registry.example.com
      username: ci
      password: "{{ vault_ci_password }}"
    images:
      - repository: library/nginx
        to: mirror/nginx
        tags:
          versions: [">=1.26 <2"]
        platforms: [linux/amd64]
      - repository: library/alpine
        to: mirror/
        tags:
          globs: ["3.20.3", "3.21.0"]
    min_remaining: 20
    max_wait: 3600

- name: Write images to a medium
  wharf.registry.registry_sync:
    source:
      registry: registry.example.com
    destination:
      layout: /media/usb/images
    images:
      - repository: apps/web
        tags:
          versions: ["^1.4"]
    progress_path: /var/log/images.log

- name: Bring them into the registry of the other site
  wharf.registry.registry_sync:
    source:
      layout: /media/usb/images
    destination:
      registry: registry.site-b.example.com
    images:
      - repository: "*"
"""

RETURN = r"""
images:
  description: The tags that rules choose, in the order of the rules and of their names.
  returned: success, and where an image can't be copied
  type: list
  elements: dict
  contains:
    repository:
      description: Name of the repository at the source.
      type: str
      sample: library/nginx
    to:
      description: Name of the repository at the destination.
      type: str
      sample: mirror/nginx
    tag:
      description: Name of the tag, or the digest that a rule names.
      type: str
      sample: 1.26.2
    digest:
      description: Digest that the tag has at the destination now, or would have. Empty where it is not known.
      type: str
      sample: sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
    source_digest:
      description: Digest at the source. It differs where an index was reduced to some platforms.
      type: str
    changed:
      description: Whether the tag, or something that belongs to it, was copied.
      type: bool
    copied_bytes:
      description: Bytes of blobs that were copied, or would be. A blob that several images need counts at one of them.
      type: int
      sample: 73400320
    present_bytes:
      description: Bytes of blobs that were there before, or were taken over from another repository of the destination.
      type: int
    referrers:
      description: Number of signatures and other referrers that were copied, or would be.
      type: int
    skipped:
      description: Why the image was not copied, V(unchanged) where both sides have the same, else empty.
      type: str
    error:
      description: Why it could not be copied, else empty.
      type: str
removed:
  description: The tags that O(prune) removed, or would remove, by repository.
  returned: as RV(images)
  type: dict
  sample: {mirror/nginx: ["1.25.0"]}
copied_bytes:
  description: The sum over all images.
  returned: as RV(images)
  type: int
remaining:
  description: Number of pulls that the source still allows in its window, V(-1) where it tells none.
  returned: as RV(images)
  type: int
"""

from ansible_collections.wharf.registry.plugins.module_utils._modules.base import BaseModule
from ansible_collections.wharf.registry.plugins.module_utils._modules.progress import Progress
from ansible_collections.wharf.registry.plugins.module_utils._modules.sync_run import SYNC_OPTIONS, SyncRun


def run(module):
    sync = SyncRun()
    with Progress(None if module.check_mode else module.params["progress_path"]) as progress:
        sync.run(module.params, module.check_mode, progress.say)
    for warning in sync.warnings:
        module.warn(warning)
    if sync.failure:
        module.fail_json(msg=sync.failure, **sync.result)
    module.exit_json(**sync.result)


def main():
    module = BaseModule(SYNC_OPTIONS)
    with module.errors_explained():
        run(module)


if __name__ == "__main__":
    main()

#!/usr/bin/python
# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: registry_tag
short_description: Point a tag of a container registry at an image, or remove the tag
version_added: 0.1.0
author: wharf.registry contributors (@wharf)
description:
  - Points a tag at an image that is in the same registry already, and promotes it from one repository to another.
    The registry takes the layers over by itself (it mounts them), and none passes through the host that runs this.
  - An image for several platforms is taken over with all of them, and with the signatures, attestations and other
    referrers that are kept under tags made of its digest. One of these that is damaged is left where it is, with a
    warning.
  - An index that lists other things than manifests, such as the cache of BuildKit, is taken over with all that it
    lists.
  - A layer that has URLs of its own, as those of Windows have, is taken over where the registry has it, and is left to
    its URLs where not. A registry refuses such layers unless it allows their addresses, see
    C(registry_manifest_urls_allow) of the role P(wharf.registry.registry#role).
  - Removes one tag and no other, also where other tags point to the same image.
options:
  repository:
    description:
      - The repository that holds the tag.
    type: str
    required: true
  tag:
    description:
      - The tag.
    type: str
    required: true
  source:
    description:
      - What the tag is to point at, a tag or a digest of the same repository, or of another one as C(repository:tag) or
        C(repository@digest). Required with O(state=present).
    type: str
  state:
    description:
      - V(present) points the tag at O(source). V(absent) removes the tag; what it pointed to stays until the
        registry is cleaned.
      - Where a registry deletes no tags but only digests, as version 2 does, the tag is first moved to a small
        manifest made for that purpose, which is then deleted. For this the user needs to push and to delete.
    type: str
    choices: [absent, present]
    default: present
  overwrite:
    description:
      - Whether a tag that points to another image may be moved. With V(false), this is an error that names both. The
        same holds for tags with signatures in the other repository, where some of those would be lost.
    type: bool
    default: false
extends_documentation_fragment:
  - wharf.registry.connection
  - wharf.registry.attributes
attributes:
  check_mode:
    support: full
    details:
      - Whether a registry deletes at all, and lets this user, is not foreseen, since only a deletion tells.
  diff_mode:
    support: full
  idempotent:
    support: full
notes:
  - The tag is written last. Wherever a run is interrupted, it points to the former image or to the new one, whole.
  - Two runs at once that move or remove the same tag end as if one had come after the other. A tag that moves while
    it is being removed is an error, save for the time of one request, in which a registry of version 2 can't be kept
    from losing the move.
"""

EXAMPLES = r"""
- name: Promote what was tested
  wharf.registry.registry_tag:
    registry: registry.example.com
    repository: apps/web
    tag: 1.4.2
    source: staging/web:rc

- name: Name a release by its commit as well
  wharf.registry.registry_tag:
    registry: registry.example.com
    repository: apps/web
    tag: 8c1f3ab
    source: 1.4.2

- name: Move a tag that is meant to move
  wharf.registry.registry_tag:
    registry: registry.example.com
    repository: apps/web
    tag: stable
    source: sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
    overwrite: true

- name: Remove a release candidate, and nothing else
  wharf.registry.registry_tag:
    registry: registry.example.com
    username: admin
    password: "{{ vault_admin_password }}"
    repository: staging/web
    tag: rc
    state: absent
"""

RETURN = r"""
digest:
  description: Digest of the image that the tag points to now, empty where there is no such tag.
  returned: success
  type: str
  sample: sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
previous_digest:
  description: Digest of the image that the tag pointed to before, empty where there was no such tag.
  returned: success
  type: str
media_type:
  description: Media type of the image's manifest, of the former one for O(state=absent).
  returned: success
  type: str
  sample: application/vnd.oci.image.index.v1+json
siblings:
  description:
    - The other tags of the repository that point to the image of the removed tag, and still do. Empty for
      O(state=present), which does not look for them.
  returned: success
  type: list
  elements: str
copied_referrers:
  description:
    - Tags and digests of signatures, attestations and other referrers that were taken over with the image, or that a
      promotion before had not taken over because they came later.
  returned: success
  type: list
  elements: str
"""

import contextlib

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._common.reference import check_tag, full_name
from ansible_collections.wharf.registry.plugins.module_utils._distribution.client_errors import ConflictError
from ansible_collections.wharf.registry.plugins.module_utils._distribution.pool import Pool
from ansible_collections.wharf.registry.plugins.module_utils._distribution.promote import (
    Promotion,
    parse_source,
    remove_alone,
    siblings,
)
from ansible_collections.wharf.registry.plugins.module_utils._modules.base import RegistryModule


def check_overwrite(module, api, name, held, wanted):
    """Raises ConflictError where a tag that holds another image may not be moved."""
    if held and held != wanted and not module.params["overwrite"]:
        raise ConflictError(
            f"{api.registry.name}: {name} points to {held}, and not to {wanted}",
            "Give the new image a tag of its own, or set overwrite to true where the tag is meant to move",
        )


def point(module, api, repository, tag):
    """Points the tag at the source, and returns the results. Raises RegistryError."""
    source = parse_source(module.params["source"], api.registry, repository)
    manifest = api.manifest(source.repository, source.reference)
    if manifest is None:
        raise RegistryError(
            f"{api.registry.name}: the source {source} was not found",
            "Check its name, and whether the user may pull it: some registries hide what one may not see",
        )
    before = api.head(repository, tag)
    previous = before.digest if before else ""
    check_overwrite(module, api, f"{repository}:{tag}", previous, manifest.digest)
    promotion = Promotion(api, source, repository, module.params["overwrite"])
    missing = promotion.missing(manifest)
    for message in promotion.warnings:
        module.warn(message)
    moves = previous != manifest.digest
    if (moves or missing) and not module.check_mode:
        promotion.copy(manifest, missing)
        if moves:
            # The copy may have taken long, and the tag may have been made meanwhile.
            now = api.head(repository, tag)
            check_overwrite(module, api, f"{repository}:{tag}", now.digest if now else "", manifest.digest)
            api.put_manifest(repository, tag, manifest)
    return {
        "changed": moves or bool(missing),
        "digest": manifest.digest,
        "previous_digest": previous,
        "media_type": manifest.media_type,
        "copied_referrers": sorted(reference for reference, _manifest in missing),
    }


def remove(module, api, pool, repository, tag):
    """Removes the tag, and returns the results. Raises RegistryError."""
    before = api.head(repository, tag)
    if before is None:
        return {}
    others = [other for other in api.tags(repository) or [] if other != tag]
    shared = siblings(pool, repository, others, before.digest, module.warn)
    if not module.check_mode:
        remove_alone(api, repository, tag, before.digest, shared)
    return {
        "changed": True,
        "previous_digest": before.digest,
        "media_type": before.media_type,
        "siblings": shared,
    }


def run(module):
    make_api = module.apis(module.params["repository"])
    tag = module.params["tag"]
    check_tag(tag)
    with Pool(make_api) as pool, contextlib.closing(make_api()) as api:
        repository = full_name(api.registry, module.params["repository"])
        if module.params["state"] == "present":
            results = point(module, api, repository, tag)
        else:
            results = remove(module, api, pool, repository, tag)
    nothing = {
        "changed": False,
        "digest": "",
        "previous_digest": "",
        "media_type": "",
        "siblings": [],
        "copied_referrers": [],
    }
    results = {**nothing, **results}
    name = f"{api.registry.name}/{repository}:{tag}"
    before = {"digest": results["previous_digest"]}
    after = {"digest": results["digest"]}
    if results["copied_referrers"]:
        before["missing"], after["missing"] = results["copied_referrers"], []
    module.exit_json(**results, diff={"before": before, "after": after, "before_header": name, "after_header": name})


def main():
    module = RegistryModule(
        {
            "repository": {"type": "str", "required": True},
            "tag": {"type": "str", "required": True},
            "source": {"type": "str"},
            "state": {"type": "str", "choices": ["absent", "present"], "default": "present"},
            "overwrite": {"type": "bool", "default": False},
        },
        required_if=[("state", "present", ("source",))],
    )
    with module.errors_explained():
        run(module)


if __name__ == "__main__":
    main()

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
  require:
    description:
      - What has to hold of the image before the tag is pointed at it. It is checked of the very digest that is then
        written, whatever becomes of the tag of the source meanwhile. Where something does not hold, the module fails,
        says what, and changes nothing but that reports are kept (O(require.gate.store)).
    type: dict
    suboptions:
      pinned:
        description:
          - Whether O(tag) may not be V(latest).
        type: bool
        default: false
      signed_by:
        description:
          - Public keys of cosign, one of which has to have signed the image, as
            O(wharf.registry.registry_verify#module:keys).
        type: list
        elements: str
      attestations:
        description:
          - Types of attestations that one of these keys has to have made of the image, as
            O(wharf.registry.registry_verify#module:attestation).
        type: list
        elements: str
        default: []
      cosign:
        description:
          - Name or path of cosign on the host.
        type: str
        default: cosign
      gate:
        description:
          - The image has to pass this policy. The options are those of M(wharf.registry.registry_scan).
        type: dict
        suboptions:
          platforms:
            description:
              - Platforms that are judged, as V(linux/amd64). V(linux/arm) means all of its variants. By default all of
                the image. One that the image does not have refuses it.
            type: list
            elements: str
            default: []
          scanner:
            description:
              - How Trivy is run.
            type: dict
            suboptions:
              program:
                description:
                  - Name or path of the program on the host.
                type: str
                default: trivy
              image:
                description:
                  - An image of Trivy to be run in a container in place of the program, by digest. It has to be on the
                    host already. The container has no network, unless O(require.gate.scanner.server) is given, and no
                    capabilities.
                type: str
              engine:
                description:
                  - The program that runs O(require.gate.scanner.image).
                type: str
                choices: [docker, podman]
                default: docker
              server:
                description:
                  - URL of a Trivy server, whose database is used in place of one on the host. It keeps what it knows
                    of layers by the digests that images claim for them, so that these are verified before. Layers
                    packed by zstd are refused.
                type: str
              token:
                description:
                  - The token of the server. Trivy gets it in its environment.
                type: str
              cache_dir:
                description:
                  - Directory for the databases, for what Trivy knows of layers, and for the key of the seals of
                    reports. Its mode is 0700. Needs about 1 GiB for the database of vulnerabilities, and 2 GiB for that
                    of Java archives.
                  - By default C(/var/cache/wharf-registry/trivy) for root, C(~/.cache/wharf-registry/trivy) for others.
                type: path
              timeout:
                description:
                  - Seconds that the scan of one platform may take, 1 to 86400.
                type: int
                default: 600
          report:
            description:
              - Reports that another scanner has made of the source, in place of a scan; paths on the host. JSON of
                Trivy or Grype, SARIF, or CycloneDX with vulnerabilities, of which the states V(not_affected),
                V(false_positive) and V(resolved) (VEX) are heeded.
              - Each has to name the image by the digest of its manifest or of its configuration. There has to be one
                for each platform.
            type: list
            elements: path
          database:
            description:
              - The database of vulnerabilities.
            type: dict
            suboptions:
              repository:
                description:
                  - A copy of Trivy's database in the same registry, as V(mirror/aquasecurity/trivy-db:2). With
                    C(@sha256:...) it is pinned. It is loaded only where it has changed.
                  - Without it, the database in O(require.gate.scanner.cache_dir) is used as it is.
                type: str
              java_repository:
                description:
                  - The same for the database of Java archives, as V(mirror/aquasecurity/trivy-java-db:1).
                type: str
              updated:
                description:
                  - Date of the database by which O(require.gate.report) was made, as V(2026-11-30T06:00:00Z), for
                    reports that do not tell it. Those of Trivy, SARIF and CycloneDX do not.
                type: str
          policy:
            description:
              - What refuses an image.
            type: dict
            suboptions:
              severities:
                description:
                  - Severities that block where a fix exists. Some of V(critical), V(high), V(medium), V(low),
                    V(negligible) and V(unknown).
                type: list
                elements: str
                default: [critical, high]
              unfixed_severities:
                description:
                  - Severities that block where no fix exists.
                type: list
                elements: str
                default: []
              deny:
                description:
                  - Vulnerabilities that always block, by name or glob, as V(CVE-2021-44228). No waiver and no baseline
                    excuses them.
                type: list
                elements: str
                default: []
              max_database_age:
                description:
                  - The greatest age of the database, as V(12h), V(3d) or V(2w). An older one refuses all images.
                type: str
                default: 3d
              max_report_age:
                description:
                  - The greatest age of a report. An older one is made again, or refuses the image where it comes by
                    O(require.gate.report).
                type: str
                default: 1d
              allow_unrecognized:
                description:
                  - Whether an image passes in which the scanner recognises neither an operating system nor packages,
                    such as one that holds a single static program.
                type: bool
                default: false
              allow_end_of_life:
                description:
                  - Whether an image passes whose operating system gets no security updates any more. Only Trivy tells
                    that.
                type: bool
                default: true
          baseline:
            description:
              - The image that runs in production, as V(apps/web:stable). What it has already does not block, so that a
                new release is not stopped by what is no worse in it. It is scanned, too.
              - Where it does not exist or can't be scanned, nothing is excused, and a warning says so.
            type: str
          waivers:
            description:
              - Findings that somebody answers for.
            type: list
            elements: dict
            default: []
            suboptions:
              id:
                description:
                  - The vulnerability, as V(CVE-2026-1234).
                type: str
                required: true
              package:
                description:
                  - The package, by name or glob. By default any.
                type: str
              owner:
                description:
                  - Who answers for it.
                type: str
                required: true
              reason:
                description:
                  - Why it does no harm.
                type: str
                required: true
              expires:
                description:
                  - The last day on which it counts (UTC), as V('2027-03-31') in quotes.
                type: str
                required: true
          store:
            description:
              - Whether new reports are kept in the registry, for which the user needs to push to the repository.
              - Other clients find them as referrers of the image, C(application/vnd.wharf.scan-report.v1+json). Only
                those that have the seal of this host are used again, since everyone who may push could have put another
                one there.
            type: bool
            default: true
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
  - Everyone who may push to the repository can point the tag elsewhere without O(require). Let users push to
    repositories of their own, such as C(staging/*), and only the one that promotes to that of releases.
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

- name: Promote what the build server has signed, and what has no critical vulnerability that is mended elsewhere
  wharf.registry.registry_tag:
    registry: registry.example.com
    repository: apps/web
    tag: 1.4.2
    source: staging/web:1.4.2
    require:
      pinned: true
      signed_by: [/etc/wharf-registry/build.pub]
      gate:
        database:
          repository: mirror/aquasecurity/trivy-db:2
        policy:
          severities: [critical]

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
verified_by:
  description: The keys of O(require.signed_by) by which the image is signed. Empty where that is not required.
  returned: success
  type: list
  elements: str
gate:
  description:
    - How the image was judged, as M(wharf.registry.registry_scan) returns it. Empty where that is not required.
  returned: success, and where the image is refused
  type: dict
copied_referrers:
  description:
    - Tags and digests of signatures, attestations and other referrers that were taken over with the image, or that a
      promotion before had not taken over because they came later.
  returned: success
  type: list
  elements: str
"""

import contextlib

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError
from ansible_collections.wharf.registry.plugins.module_utils._common.reference import check_tag, full_name
from ansible_collections.wharf.registry.plugins.module_utils._distribution.client_errors import ConflictError
from ansible_collections.wharf.registry.plugins.module_utils._distribution.pool import Pool
from ansible_collections.wharf.registry.plugins.module_utils._distribution.promote import (
    Promotion,
    parse_source,
    read_source,
    remove_alone,
    siblings,
)
from ansible_collections.wharf.registry.plugins.module_utils._modules.base import RegistryModule
from ansible_collections.wharf.registry.plugins.module_utils._modules.requirement import (
    REQUIRE_OPTIONS,
    REQUIRE_RULES,
    Requirement,
    RequirementError,
)


def check_overwrite(module, api, name, held, wanted):
    """Raises ConflictError where a tag that holds another image may not be moved."""
    if held and held != wanted and not module.params["overwrite"]:
        raise ConflictError(
            f"{api.registry.name}: {name} points to {held}, and not to {wanted}",
            "Give the new image a tag of its own, or set overwrite to true where the tag is meant to move",
        )


def point(module, api, repository, tag, requirement):
    """Points the tag at the source, and returns the results. Raises RegistryError."""
    source = parse_source(module.params["source"], api.registry, repository)
    manifest = read_source(api, source)
    before = api.head(repository, tag)
    previous = before.digest if before else ""
    check_overwrite(module, api, f"{repository}:{tag}", previous, manifest.digest)
    held = requirement.check(api, source, manifest, tag) if requirement else {}
    # With conditions, nothing is brought that could be run and was not judged.
    promotion = Promotion(api, source, repository, module.params["overwrite"], images=requirement is None)
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
        **held,
        "changed": moves or bool(missing) or bool(requirement and requirement.changed),
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
    requirement = None
    if module.params["require"] is not None:
        if module.params["state"] == "absent":
            raise InputError("require goes with state: present", "Leave it out where a tag is removed")
        requirement = Requirement(module.params["require"], module, module.check_mode)
    with Pool(make_api) as pool, contextlib.closing(make_api()) as api:
        repository = full_name(api.registry, module.params["repository"])
        if module.params["state"] == "present":
            results = point(module, api, repository, tag, requirement)
        else:
            results = remove(module, api, pool, repository, tag)
    nothing = {
        "changed": False,
        "digest": "",
        "previous_digest": "",
        "media_type": "",
        "siblings": [],
        "verified_by": [],
        "gate": {},
        "copied_referrers": [],
    }
    for warning in requirement.warnings if requirement else ():
        module.warn(warning)
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
            "require": {"type": "dict", "options": REQUIRE_OPTIONS, **REQUIRE_RULES},
        },
        required_if=[("state", "present", ("source",))],
    )
    with module.errors_explained():
        try:
            run(module)
        except RequirementError as error:
            module.fail_json(msg=str(error), **error.result)


if __name__ == "__main__":
    main()

#!/usr/bin/python
# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: registry_scan
short_description: Scan images of a container registry for known vulnerabilities, and judge them by a policy
version_added: 0.1.0
author: wharf.registry contributors (@wharf)
description:
  - Scans images by Trivy, by digest and for each platform, or takes reports that another scanner has made. Then judges
    them by a policy. The result says which finding blocks, in which package and layer, and which version mends it.
  - Works without the internet. Trivy gets the image from the disk and the database of vulnerabilities from a registry
    of the site, and needs no network.
  - Reports are kept in the registry beside the image. One that is young enough and of the same database is not made
    again, so that no layer leaves the registry.
  - What can't be judged is refused, as an image without a report, or a database that is too old.
  - Never fails because an image is refused. Look at RV(verdict), or use O(wharf.registry.registry_tag#module:require)
    of M(wharf.registry.registry_tag), which promotes nothing that is refused.
options:
  image:
    description:
      - The image, as C(repository:tag) or C(repository@digest). Exactly one of O(image) and O(images) is needed.
    type: str
  images:
    description:
      - Several images, which are scanned with one database, one after the other.
      - One that is not there is refused, and the others are judged.
    type: list
    elements: str
  platforms:
    description:
      - Platforms that are judged, as V(linux/amd64). V(linux/arm) means all of its variants. By default all of the
        image. One that the image does not have refuses it.
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
          - An image of Trivy to be run in a container in place of the program, by digest. It has to be on the host
            already. The container has no network, unless O(scanner.server) is given, and no capabilities.
        type: str
      engine:
        description:
          - The program that runs O(scanner.image).
        type: str
        choices: [docker, podman]
        default: docker
      server:
        description:
          - URL of a Trivy server, whose database is used in place of one on the host. It keeps what it knows of layers
            by the digests that images claim for them, so that these are verified before. Layers packed by zstd are
            refused.
        type: str
      token:
        description:
          - The token of the server. Trivy gets it in its environment.
        type: str
      cache_dir:
        description:
          - Directory for the databases, for what Trivy knows of layers, and for the key of the seals of reports. Its
            mode is 0700. Needs about 1 GiB for the database of vulnerabilities, and 2 GiB for that of Java archives.
          - By default C(/var/cache/wharf-registry/trivy) for root, C(~/.cache/wharf-registry/trivy) for others.
        type: path
      timeout:
        description:
          - Seconds that the scan of one platform may take, 1 to 86400.
        type: int
        default: 600
  report:
    description:
      - Reports that another scanner has made of O(image), in place of a scan; paths on the host. JSON of Trivy or
        Grype, SARIF, or CycloneDX with vulnerabilities, of which the states V(not_affected), V(false_positive) and
        V(resolved) (VEX) are heeded.
      - Each has to name the image by the digest of its manifest or of its configuration. There has to be one for each
        platform.
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
          - Without it, the database in O(scanner.cache_dir) is used as it is.
        type: str
      java_repository:
        description:
          - The same for the database of Java archives, as V(mirror/aquasecurity/trivy-java-db:1).
        type: str
      updated:
        description:
          - Date of the database by which O(report) was made, as V(2026-11-30T06:00:00Z), for reports that do not tell
            it. Those of Trivy, SARIF and CycloneDX do not.
        type: str
  policy:
    description:
      - What refuses an image.
    type: dict
    suboptions:
      severities:
        description:
          - Severities that block where a fix exists. Some of V(critical), V(high), V(medium), V(low), V(negligible) and
            V(unknown).
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
          - Vulnerabilities that always block, by name or glob, as V(CVE-2021-44228). No waiver and no baseline excuses
            them.
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
          - The greatest age of a report. An older one is made again, or refuses the image where it comes by O(report).
        type: str
        default: 1d
      allow_unrecognized:
        description:
          - Whether an image passes in which the scanner recognises neither an operating system nor packages, such as
            one that holds a single static program.
        type: bool
        default: false
      allow_end_of_life:
        description:
          - Whether an image passes whose operating system gets no security updates any more. Only Trivy tells that.
        type: bool
        default: true
  baseline:
    description:
      - The image that runs in production, as V(apps/web:stable). What it has already does not block, so that a new
        release is not stopped by what is no worse in it. It is scanned, too.
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
      - Other clients find them as referrers of the image, C(application/vnd.wharf.scan-report.v1+json). Only those that
        have the seal of this host are used again, since everyone who may push could have put another one there.
    type: bool
    default: true
  sbom:
    description:
      - Whether a list of the packages (SBOM) is made and kept beside each new report, and in which form.
    type: str
    choices: [none, cyclonedx, spdx]
    default: none
extends_documentation_fragment:
  - wharf.registry.connection
  - wharf.registry.attributes
attributes:
  check_mode:
    support: full
    details:
      - Scans and judges, and keeps nothing in the registry. The cache on the host is used and filled.
  diff_mode:
    support: N/A
    details:
      - What is added is a report.
  idempotent:
    support: full
    details:
      - A report that is too old, or of a former database, is made again.
notes:
  - An image is copied to the temporary directory of the host (E(TMPDIR)) while it is scanned. Layers that several
    images share are copied once.
  - Texts of a report come of the files of an image. They are returned without control characters.
seealso:
  - module: wharf.registry.registry_tag
  - module: wharf.registry.registry_sync
"""

EXAMPLES = r"""
- name: Look what would keep a release back
  wharf.registry.registry_scan:
    registry: registry.example.com
    image: staging/web:1.4.2
    database:
      repository: mirror/aquasecurity/trivy-db:2
    baseline: apps/web:stable
    waivers:
      - id: CVE-2026-1234
        package: libxml2
        owner: web team
        reason: The parser is not reachable from outside.
        expires: "2027-03-31"
  register: scan

- name: Refuse it
  ansible.builtin.assert:
    that: scan.verdict == 'passed'
    fail_msg: "{{ scan.sentence }}"

- name: Judge by the report of another scanner
  wharf.registry.registry_scan:
    registry: registry.example.com
    image: staging/web@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
    report: /tmp/grype.json
    policy:
      severities: [critical]
      unfixed_severities: [critical]
"""

RETURN = r"""
verdict:
  description: V(passed) or V(refused). Of several images, V(refused) where one of them is.
  returned: success
  type: str
  sample: refused
sentence:
  description: What a person can act on, of the first image that is refused where there are several.
  returned: success
  type: str
  sample: >-
    staging/web:1.4.2 is refused: CVE-2026-1234 (critical) in libssl3 3.0.11-1, fixed in 3.0.15-1, in layer 1 of 5 of
    the base image debian:12; 2 more block it.
digest:
  description: Digest of the image that was judged. Returned for O(image).
  returned: success, with O(image)
  type: str
  sample: sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
report_digest:
  description: Digest of the report in the registry, of the first platform. Empty where it was not kept.
  returned: success, with O(image)
  type: str
problems:
  description: Sentences on what kept the image from being judged. Each of them refuses it.
  returned: success, with O(image)
  type: list
  elements: str
findings:
  description: The findings, those that block first, then the worst.
  returned: success, with O(image)
  type: list
  elements: dict
  contains: &finding
    id:
      description: The vulnerability.
      type: str
      sample: CVE-2026-1234
    package:
      description: The package.
      type: str
      sample: libssl3
    installed:
      description: Its version in the image.
      type: str
    fixed:
      description: Versions that mend it, empty where there is none.
      type: str
    severity:
      description: V(critical), V(high), V(medium), V(low), V(negligible) or V(unknown).
      type: str
    title:
      description: What it is about.
      type: str
    location:
      description: Where in the image the package was found, as the scanner tells it.
      type: str
    origin:
      description: Which layer brought the package, and the command that made the layer. Empty where it is not known.
      type: str
      sample: in layer 2 of 5 (COPY app /app)
    platforms:
      description: The platforms that have it.
      type: list
      elements: str
    decision:
      description:
        - V(blocks), V(waived), V(known) where the baseline has it, V(dismissed) where the report does not count it, or
          V(allowed) by its severity.
      type: str
    reason:
      description: Why.
      type: str
      sample: the waiver of web team expired on 2026-10-31
reports:
  description: The reports by which it was judged.
  returned: success, with O(image)
  type: list
  elements: dict
  contains: &report
    platform:
      description: The platform.
      type: str
      sample: linux/amd64
    digest:
      description: Digest of the manifest of the image of this platform.
      type: str
    report_digest:
      description: Digest of the report in the registry, empty where it was not kept.
      type: str
    sbom_digest:
      description: Digest of the list of packages in the registry, empty where none was made in this run.
      type: str
    scanner:
      description: Name and version of the scanner.
      type: str
      sample: trivy 0.76.0
    created:
      description: When the report was made.
      type: str
      sample: "2026-11-30T10:16:59Z"
    database_date:
      description: When its database was made.
      type: str
    reused:
      description: Whether it was in the registry already.
      type: bool
results:
  description: The same for each of O(images).
  returned: success, with O(images)
  type: list
  elements: dict
  contains:
    image:
      description: The image.
      type: str
    digest:
      description: Its digest.
      type: str
    verdict:
      description: V(passed) or V(refused).
      type: str
    sentence:
      description: What a person can act on.
      type: str
    report_digest:
      description: Digest of the report of the first platform.
      type: str
    problems:
      description: What kept it from being judged.
      type: list
      elements: str
    findings:
      description: The findings.
      type: list
      elements: dict
      contains: *finding
    reports:
      description: The reports.
      type: list
      elements: dict
      contains: *report
"""

from ansible_collections.wharf.registry.plugins.module_utils._modules.argspec import check_range
from ansible_collections.wharf.registry.plugins.module_utils._modules.base import RegistryModule
from ansible_collections.wharf.registry.plugins.module_utils._modules.scan_run import SCAN_OPTIONS, ScanRun


def run(module):
    check_range(module.params["scanner"], "timeout", 1, 86400)
    scan = ScanRun(module.params, module.check_mode)
    results = scan.run(module)
    for warning in scan.warnings:
        module.warn(warning)
    first = next((one for one in results if one["verdict"] != "passed"), results[0])
    told = {"verdict": first["verdict"], "sentence": first["sentence"]}
    if module.params["images"] is not None:
        module.exit_json(changed=scan.changed, results=results, **told)
    module.exit_json(changed=scan.changed, **{**first, **told})


def main():
    module = RegistryModule(
        SCAN_OPTIONS,
        mutually_exclusive=[("image", "images"), ("report", "images")],
        required_one_of=[("image", "images")],
    )
    with module.errors_explained():
        run(module)


if __name__ == "__main__":
    main()

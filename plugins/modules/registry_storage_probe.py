#!/usr/bin/python
# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: registry_storage_probe
short_description: Probe whether an S3 storage is fit to hold a container registry
version_added: 0.1.0
author: wharf.registry contributors (@wharf)
description:
  - Storages that speak S3 differ in what they do with it. This module tries what a registry rests on, and says what
    would break.
  - It looks whether what was written can be read and is listed at once, by another connection as well; whether uploads
    in parts can be found, resumed, completed and aborted; whether a copy that fails is an error; whether lists are
    complete, in pages and with names that begin alike; whether conditional writes have one winner; whether signed URLs
    work; whether the clocks agree, and how long a request takes.
  - All that it writes lies below a prefix of its own, and is removed at the end, also after a failure. No other object
    is read, changed or deleted.
  - Run it on the host that will run the registry, since the way to the storage counts. It takes some seconds, and
    writes about 20 MiB.
options:
  endpoint:
    description:
      - Address of the S3 API, C(http://host:port) or C(https://host:port), as in C(regionendpoint) of the registry.
    type: str
    required: true
  bucket:
    description:
      - Name of the bucket. It has to be there.
    type: str
    required: true
  region:
    description:
      - Region of the bucket. Most storages of one's own take any.
    type: str
    default: us-east-1
  access_key:
    description:
      - ID of the access key.
    type: str
    required: true
  secret_key:
    description:
      - The secret access key. It is used to sign requests, and never sent.
    type: str
    required: true
  force_path_style:
    description:
      - Whether the bucket is named in the path, as in C(https://host/bucket). With V(false), it is named in the host,
        as in C(https://bucket.host), which needs addresses and a certificate for such names.
    type: bool
    default: true
  ca_path:
    description:
      - A file of CA certificates in PEM, to be trusted in place of those of the system.
    type: path
  validate_certs:
    description:
      - Whether to check the certificate of the storage. With V(false), an attacker on the network can read and change
        what is stored.
    type: bool
    default: true
  timeout:
    description:
      - Seconds that one request may take, 1 to 86400.
    type: int
    default: 30
  prefix:
    description:
      - Where in the bucket the probe works, as V(probes/2026). A directory with a random name is made below it.
    type: str
    default: wharf-probe
  repetitions:
    description:
      - How often it is tried whether what was written is there at once, 1 to 1000. Storages whose gateways do not share
        their metadata miss a few in a hundred.
    type: int
    default: 200
  fail_on:
    description:
      - When the module fails. The result is the same in all cases.
      - V(unsuitable) fails where the storage can't be used, or can't be reached. V(warning) fails where any check has
        a warning, too. V(never) leaves it to the play to look at RV(verdict).
    type: str
    choices: [never, unsuitable, warning]
    default: unsuitable
extends_documentation_fragment:
  - wharf.registry.attributes
attributes:
  check_mode:
    support: partial
    details:
      - Writes nothing. Looks whether the storage can be reached and takes the login, at the clocks, and how long a
        request takes. RV(verdict) is V(unknown) then.
  diff_mode:
    support: N/A
    details:
      - Leaves nothing that could differ.
  idempotent:
    support: full
    details:
      - Is never changed.
notes:
  - E(HTTPS_PROXY), E(HTTP_PROXY) and E(NO_PROXY) in the environment of the task are read as the registry reads them.
  - Storages on directories, such as SeaweedFS, list the emptied directories of a probe for some minutes.
seealso:
  - module: wharf.registry.registry_check
"""

EXAMPLES = r"""
- name: Look whether the storage is fit for a registry, and stop where it is not
  wharf.registry.registry_storage_probe:
    endpoint: https://s3.example.com
    bucket: images
    access_key: "{{ vault_s3_access_key }}"
    secret_key: "{{ vault_s3_secret_key }}"
    ca_path: /etc/ssl/certs/example-ca.pem
  register: probe

- name: Show what it costs
  ansible.builtin.debug:
    msg: "{{ probe.sentence }} A small image takes {{ probe.latency.seconds_per_image }} s."

- name: Look at all that is not as it should be, and go on
  wharf.registry.registry_storage_probe:
    endpoint: http://storage.example.com:8333
    bucket: images
    access_key: "{{ vault_s3_access_key }}"
    secret_key: "{{ vault_s3_secret_key }}"
    repetitions: 500
    fail_on: never
  register: probe

- name: Show it
  ansible.builtin.debug:
    msg: "{{ probe.checks | rejectattr('status', 'eq', 'passed') }}"
"""

RETURN = r"""
verdict:
  description:
    - V(suitable), where no check has failed; there may be warnings. V(unsuitable), where one has.
    - V(unknown), where the storage can't be reached or refuses the login, and in check mode.
  returned: always, unless the options are wrong
  type: str
  sample: suitable
sentence:
  description: The verdict for a person, with what would break and what to do.
  returned: always, unless the options are wrong
  type: str
  sample: >-
    The bucket images at https://s3.example.com is not suitable for a registry: 2 of 200 times a list lacked an object
    that was written before, first at try 17; 2 objects were missed in all. Pushes fail or lose layers, since a registry
    looks for its uploads in lists; new tags are not told. Let all gateways of the endpoint share one store of metadata,
    as all filers of SeaweedFS, or use another storage.
checks:
  description:
    - The checks, in their order. The first is V(access), without which no others are run but V(clock).
    - The names are V(access), V(clock), V(read_after_write), V(list_after_write), V(overwrite), V(delete),
      V(delete_many), V(empty), V(names), V(ranges), V(copy), V(failed_copy), V(tags), V(delimiter), V(start_after),
      V(pages), V(order), V(object_and_directory), V(empty_directories), V(parts_resume), V(parts_order),
      V(parts_missing), V(parts_abort), V(parts_copy), V(parts_failed_copy), V(conditional), V(signed_urls), V(privacy)
      and V(latency).
  returned: always, unless the options are wrong
  type: list
  elements: dict
  contains:
    name:
      description: Name of the check.
      type: str
      sample: list_after_write
    status:
      description: V(passed), V(warning) for what a registry can live with, or V(failed).
      type: str
      sample: passed
    seen:
      description: What was seen.
      type: str
    breaks:
      description: What would break in a registry. Empty where it has passed.
      type: str
    cure:
      description: What to do about it. Empty where it has passed.
      type: str
    seconds:
      description: How long the check took.
      type: float
latency:
  description: What single requests take. Empty where it was not measured.
  returned: always, unless the options are wrong
  type: dict
  contains:
    put:
      description: Median of writing a small object, in milliseconds, and so on for C(get), C(head) and C(list).
      type: float
      sample: 2.1
    seconds_per_image:
      description: What the push of a small image waits for the storage, at 63 requests in a row.
      type: float
      sample: 0.1
left:
  description: What the probe could not remove. Empty where nothing is left.
  returned: always, unless the options are wrong
  type: list
  elements: str
prefix:
  description: The prefix below which it worked.
  returned: always, unless the options are wrong
  type: str
  sample: wharf-probe/6f2b0c6f2d3e4a51/
endpoint:
  description: The endpoint.
  returned: always, unless the options are wrong
  type: str
  sample: https://s3.example.com
bucket:
  description: The bucket.
  returned: always, unless the options are wrong
  type: str
  sample: images
"""

import signal

from ansible_collections.wharf.registry.plugins.module_utils._modules.argspec import check_range
from ansible_collections.wharf.registry.plugins.module_utils._modules.base import BaseModule
from ansible_collections.wharf.registry.plugins.module_utils._storage.s3_access import ACCESS_OPTIONS, S3Access
from ansible_collections.wharf.registry.plugins.module_utils._storage.storage_probe import Probe

OPTIONS = {
    **ACCESS_OPTIONS,
    "prefix": {"type": "str", "default": "wharf-probe"},
    "repetitions": {"type": "int", "default": 200},
    "fail_on": {"type": "str", "choices": ["never", "unsuitable", "warning"], "default": "unsuitable"},
}


def run(module):
    check_range(module.params, "repetitions", 1, 1000)
    probe = Probe(
        S3Access(module.params),
        module.params["prefix"],
        module.params["repetitions"],
        reads_only=module.check_mode,
    )
    # A run that is ended by a signal cleans up as well.
    former = signal.signal(signal.SIGTERM, _end)
    try:
        result = probe.run()
    finally:
        signal.signal(signal.SIGTERM, former)
    warnings = [check for check in result["checks"] if check["status"] == "warning"]
    for check in warnings:
        module.warn(f"{check['name']}: {check['seen']}. {check['breaks']}")
    for left in result["left"]:
        module.warn(f"The probe could not remove all that it made: {left}")
    if fails(result, warnings, module.params["fail_on"]):
        module.fail_json(msg=result["sentence"], changed=False, **result)
    module.exit_json(changed=False, **result)


def fails(result, warnings, fail_on):
    # In check mode, what can't be told is no failure.
    failed = any(check["status"] == "failed" for check in result["checks"])
    return fail_on != "never" and (failed or (fail_on == "warning" and bool(warnings)))


def _end(_signal, _frame):
    raise SystemExit("ended by a signal")


def main():
    module = BaseModule(OPTIONS)
    with module.errors_explained():
        run(module)


if __name__ == "__main__":
    main()

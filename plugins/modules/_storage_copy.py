#!/usr/bin/python
# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: _storage_copy
short_description: Copy the images of a registry between its disk and a bucket (private)
author: wharf.registry contributors (@wharf)
description:
  - Private to the playbooks of this collection. It can change without notice.
  - Runs on the registry host, as the account of the registry. All that it writes is read back and proven.
options:
  phase:
    description:
      - V(probe) probes the bucket. V(copy) copies in rounds until little is left, while the registry serves. V(finish)
        copies the rest and counts, while nothing is written. V(place) gives the copy on a disk its name, V(unplace)
        takes it back, and V(close) puts the former storage aside, once the registry serves from the other.
    type: str
    choices: [probe, copy, finish, place, unplace, close]
    required: true
  to:
    description: Where the images go.
    type: str
    choices: [s3, filesystem]
    required: true
  s3:
    description: The bucket, by the options of M(wharf.registry.registry_storage_probe), and the directory in it.
    type: dict
    required: true
    suboptions:
      endpoint: {description: See there., type: str, required: true}
      bucket: {description: See there., type: str, required: true}
      region: {description: See there., type: str, default: us-east-1}
      access_key: {description: See there., type: str, required: true}
      secret_key: {description: See there., type: str, required: true}
      force_path_style: {description: See there., type: bool, default: true}
      validate_certs: {description: See there., type: bool, default: true}
      timeout: {description: See there., type: int, default: 30}
      ca_path: {description: See there., type: path}
      ca: {description: The CA of the endpoint as PEM., type: str, default: ''}
      root_directory: {description: The directory in the bucket., type: str, default: ''}
  data:
    description: The directory that has C(docker/) in it.
    type: path
    required: true
  notes:
    description: A directory for what has been copied. It outlives an interruption, and goes with V(close).
    type: path
    required: true
  account:
    description: The account of the registry, to which all files belong. Empty for that of this process.
    type: str
    default: ""
extends_documentation_fragment:
  - wharf.registry.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
"""

EXAMPLES = r"""
# See playbooks/storage.yml.
"""

RETURN = r"""
lines:
  description: What was done, for a person.
  type: list
  elements: str
  returned: success
"""

import os

from ansible_collections.wharf.registry.plugins.module_utils._modules.base import BaseModule
from ansible_collections.wharf.registry.plugins.module_utils._storage.s3_access import ACCESS_OPTIONS
from ansible_collections.wharf.registry.plugins.module_utils._storage.storage_switch import Switch, become

S3_OPTIONS = {
    **ACCESS_OPTIONS,
    "ca": {"type": "str", "default": ""},
    "root_directory": {"type": "str", "default": ""},
}
OPTIONS = {
    "phase": {
        "type": "str",
        "choices": ["probe", "copy", "finish", "place", "unplace", "close"],
        "required": True,
    },
    "to": {"type": "str", "choices": ["s3", "filesystem"], "required": True},
    "s3": {"type": "dict", "options": S3_OPTIONS, "required": True},
    "data": {"type": "path", "required": True},
    "notes": {"type": "path", "required": True},
    "account": {"type": "str", "default": ""},
}


def main():
    module = BaseModule(OPTIONS)
    options = module.params
    former = os.geteuid(), os.getegid()
    with module.errors_explained():
        try:
            become(options["account"], options["notes"], module.check_mode)
            with Switch(options, module.check_mode) as switch:
                lines = getattr(switch, options["phase"])()
                changed = switch.changed
        finally:
            # Ansible removes what is its own.
            os.seteuid(former[0])
            os.setegid(former[1])
    module.exit_json(changed=changed, lines=lines)


if __name__ == "__main__":
    main()

#!/usr/bin/python
# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: _bundle_site
short_description: Sign or verify the files of a bundle that a bare host needs (private)
author: wharf.registry contributors (@wharf)
description:
  - Private to the roles of this collection. It can change without notice.
  - Lists all files below a directory in C(SHA256SUMS), as sha256sum reads it, and signs that list with ssh-keygen. Or
    verifies both. A person can do the same by hand where the collection is not installed yet.
options:
  path:
    description: The directory.
    type: path
    required: true
  state:
    description: What is to be done.
    type: str
    choices: [signed, verified]
    required: true
  signing_key:
    description: Path of the private key, for V(signed).
    type: path
  trusted_keys:
    description: Public keys that may have signed the list, for V(verified).
    type: list
    elements: str
    default: []
extends_documentation_fragment:
  - wharf.registry.attributes
  - wharf.registry.attributes.full
"""

EXAMPLES = r"""
- name: Verify what the medium holds
  wharf.registry._bundle_site:
    path: /media/usb/bundle-42/site
    state: verified
    trusted_keys: ["{{ near_key }}"]
"""

RETURN = r"""
files:
  description: How many files there are.
  type: int
  returned: always
"""

from ansible_collections.wharf.registry.plugins.module_utils._modules.base import BaseModule
from ansible_collections.wharf.registry.plugins.module_utils._transfer.signed_files import sign_files, verify_files


def main():
    module = BaseModule(
        {
            "path": {"type": "path", "required": True},
            "state": {"type": "str", "choices": ["signed", "verified"], "required": True},
            # The path of the key. Its content never comes near the task.
            "signing_key": {"type": "path", "no_log": False},
            "trusted_keys": {"type": "list", "elements": "str", "default": [], "no_log": False},
        }
    )
    params = module.params
    changed = False
    with module.errors_explained():
        if params["state"] == "signed":
            files, changed = sign_files(params["path"], params["signing_key"], dry_run=module.check_mode)
        else:
            files = verify_files(params["path"], params["trusted_keys"])
    module.exit_json(changed=changed, files=files)


if __name__ == "__main__":
    main()

#!/usr/bin/python
# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: _kept_report
short_description: Keep the last report of a playbook on a registry host (private)
author: wharf.registry contributors (@wharf)
description:
  - Private to the playbooks of this collection. It can change without notice.
  - Writes a report into a directory of the registry, as a file that is named after its playbook. Root alone can read
    it.
  - What the report before tells of hosts that this run has left out stays, as long as they are in the inventory.
  - Where there is no registry, nothing is written. It is never changed, since a report is kept after each run.
options:
  directory:
    description: The directory. The one that it lies in has to be there.
    type: path
    required: true
  report:
    description: The report, as M(wharf.registry._report) returns it.
    type: dict
    required: true
  hosts:
    description: All hosts of the inventory.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    support: full
    details:
      - Writes nothing.
  diff_mode:
    support: none
  idempotent:
    support: none
    details:
      - Each report has its time.
extends_documentation_fragment:
  - wharf.registry.attributes
"""

EXAMPLES = r"""
- name: Keep the report
  wharf.registry._kept_report:
    directory: /var/lib/wharf-registry/reports
    report: "{{ made.report }}"
    hosts: "{{ groups.all }}"
"""

RETURN = r"""
kept:
  description: Whether it was written, or would be.
  type: bool
  returned: always
"""

import os

from ansible_collections.wharf.registry.plugins.module_utils._modules.base import BaseModule
from ansible_collections.wharf.registry.plugins.module_utils._reports.kept import keep

KINDS = frozenset(["rollout", "doctor", "maintain", "exposure", "mirror", "backup"])


def main():
    module = BaseModule(
        {
            "directory": {"type": "path", "required": True},
            "report": {"type": "dict", "required": True},
            "hosts": {"type": "list", "elements": "str", "default": []},
        },
        # A report of a large fleet is of no use in the log of the host.
        no_log=True,
    )
    directory, report = os.path.normpath(module.params["directory"]), module.params["report"]
    if report.get("kind") not in KINDS:
        module.fail_json(msg=f"kind is {report.get('kind')!r}: give one of {', '.join(sorted(KINDS))}")
    if module.check_mode:
        module.exit_json(changed=False, kept=os.path.isdir(os.path.dirname(directory)))
    with module.errors_explained():
        module.exit_json(changed=False, kept=keep(directory, report, module.params["hosts"]))


if __name__ == "__main__":
    main()

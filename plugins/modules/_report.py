#!/usr/bin/python
# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: _report
short_description: Write the report of a playbook on the control node (private)
author: wharf.registry contributors (@wharf)
description:
  - Private to the playbooks of this collection. It can change without notice.
  - Makes the report of a playbook of what its table is made of, and writes it as JSON and as a page into a directory of
    the control node, with the rights of the account that runs Ansible.
  - A directory that can't be written to fails nothing. RV(problem) says so.
options:
  kind:
    description: The playbook, without C(.yml).
    type: str
    choices: [rollout, doctor, maintain, exposure, mirror, backup]
    required: true
  data:
    description: For V(rollout) and V(doctor), what their filters return.
    type: dict
    default: {}
  hosts:
    description: For the others, the hosts whose results of roles are told.
    type: list
    elements: str
    default: []
  registry:
    description: Name and port of the registry.
    type: str
    default: ""
  directory:
    description: The directory. One that is relative begins where Ansible was started. Nothing is written where empty.
    type: str
    default: ""
  whole:
    description: A file of the host with a JSON object, which the JSON file holds as well.
    type: path
attributes:
  action:
    description: Has an action plugin on the control node.
    support: full
  check_mode:
    support: full
    details:
      - Writes the report on the control node all the same, and marks it as foretold.
  diff_mode:
    support: none
  idempotent:
    support: none
    details:
      - Each report has its time. The task is never changed.
extends_documentation_fragment:
  - wharf.registry.attributes
"""

EXAMPLES = r"""
- name: Write the report
  wharf.registry._report:
    kind: backup
    hosts: "{{ groups.registry }}"
    directory: reports
  register: made
"""

RETURN = r"""
report:
  description: The report, as it is in the JSON file.
  type: dict
  returned: always
files:
  description: The files that were written.
  type: list
  elements: str
  returned: always
at:
  description:
    - The host that fails for a report that could not be written. It is the control node where that is in the play.
  type: str
  returned: always
problem:
  description: Why nothing was written, with the cure, else empty.
  type: str
  returned: always
"""

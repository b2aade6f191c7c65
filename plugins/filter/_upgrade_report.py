# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: _upgrade_report
short_description: Of upgrade.yml - which image each container runs, and which it ran before
author: wharf.registry contributors (@wharf)
description:
  - Private to the playbooks of this collection, and may change at any time.
  - Compares what M(community.docker.docker_container_info) has said of the same containers before and after an upgrade.
positional: after
options:
  _input:
    description: Its results before the upgrade.
    type: list
    elements: dictionary
    required: true
  after:
    description: Its results after the upgrade, in the same order.
    type: list
    elements: dictionary
    required: true
"""

EXAMPLES = r"""
- name: What has changed
  ansible.builtin.debug:
    msg: "{{ before.results | wharf.registry._upgrade_report(after.results) }}"
"""

RETURN = r"""
_value:
  description: A line for each container that was there before and is there now.
  type: list
  elements: str
"""


def report(*arguments, **options):
    # As in _doctor_report.
    from ansible_collections.wharf.registry.plugins.plugin_utils._playbooks.upgrade_report import upgrade_report

    return upgrade_report(*arguments, **options)


class FilterModule:
    def filters(self):
        return {"_upgrade_report": report}

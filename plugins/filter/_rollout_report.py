# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: _rollout_report
short_description: Of rollout.yml - what came of a rollout, host by host
author: wharf.registry contributors (@wharf)
description:
  - Private to the playbooks of this collection, and may change at any time.
  - Reads C(client_result) of the hosts, and what the play has remembered of a task that failed, and puts the hosts into
    their batches as Ansible does it by C(serial).
positional: hostvars, batches, limit
options:
  _input:
    description: Names of all hosts of the play, in its order.
    type: list
    elements: string
    required: true
  hostvars:
    description: The variables of the hosts, C(hostvars).
    type: dict
    required: true
  batches:
    description: The sizes of the batches, as C(serial) takes them.
    type: list
    required: true
  limit:
    description: How many percent of a batch may fail for the rollout to go on.
    type: float
    default: 0
"""

EXAMPLES = r"""
- name: Stop where too many have failed
  ansible.builtin.meta: end_play
  when: (ansible_play_hosts_all | wharf.registry._rollout_report(hostvars, [1, '10%', '100%'])).stopped
"""

RETURN = r"""
_value:
  description: What came of it.
  type: dict
  contains:
    rows:
      description:
        - For each host C(host), C(batch), C(engine), C(other_engines), C(outcome), C(seconds), C(changes), C(said) and
          C(trust), what it trusts in words. One that failed and has what it had before has no changes.
        - The outcome is V(ok), V(changed), V(rolled_back) (failed, and has what it had before), V(failed) (and has
          not), V(unreachable) or V(skipped) (its turn did not come).
      type: list
      elements: dict
    lines:
      description: The same as lines of a table, but for what was said.
      type: list
      elements: str
    failed:
      description: The hosts that failed, and what they said.
      type: dict
    stopped:
      description: Whether a batch had more failures than it may have.
      type: bool
"""

from ansible.errors import AnsibleFilterError


def _came_of(of_host):
    """(the result of the role, what a task that failed has said or None)"""
    return of_host.get("client_result") or {}, (of_host.get("__rollout_failure") or {}).get("said")


def report(hosts, hostvars, batches, limit=0):
    # As in _doctor_report.
    from ansible_collections.wharf.registry.plugins.plugin_utils._playbooks.rollout_report import rollout_report
    from ansible_collections.wharf.registry.plugins.plugin_utils._playbooks.untrusted import untrusted

    try:
        return untrusted(rollout_report({host: _came_of(hostvars[host]) for host in hosts}, batches, limit))
    except ValueError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    def filters(self):
        return {"_rollout_report": report}

# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: _missing_packages
short_description: Name what a host lacks, with its packages (private)
author: wharf.registry contributors (@wharf)
description:
  - Private to the roles of this collection. It can change without notice.
  - Makes the message of the role P(wharf.registry.engine#role) for hosts on which it installs no packages.
positional: host, facts, known
options:
  _input:
    description: What is missing, as keys of C(titles).
    type: list
    elements: str
    required: true
  host:
    description: The name of the host.
    type: str
    required: true
  facts:
    description: Facts of the host, of which C(distribution) and C(distribution_version) are read.
    type: dictionary
    required: true
  known:
    description:
      - C(titles), how a message names each; C(packages), the names of its packages; C(sources), where these come from
        if not from the distribution; C(installs_on), by distribution the oldest release on which
        packages are installed.
    type: dictionary
    required: true
"""

EXAMPLES = r"""
- name: Stop where something is missing
  ansible.builtin.fail:
    msg: "{{ ['requests'] | wharf.registry._missing_packages(inventory_hostname, ansible_facts, known) }}"
  vars:
    known:
      titles: {requests: the Python module requests}
      packages: {requests: [python3-requests]}
      sources: {}
      installs_on: {Debian: 12}
"""

RETURN = r"""
_value:
  description: The message.
  type: str
"""

from ansible_collections.wharf.registry.plugins.plugin_utils._roles.missing_packages import missing_packages


class FilterModule:
    def filters(self):
        return {"_missing_packages": missing_packages}

# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: _proxy_model
short_description: What the templates of the role reverse_proxy know (private)
author: wharf.registry contributors (@wharf)
description:
  - Private to the roles of this collection. It can change without notice.
  - Makes one dictionary of the variables of the role and of what it has found on the host. The templates use nothing
    else, so that a test can render them from options alone.
positional: constants, host
options:
  _input:
    description: The options of the role, without its prefix.
    type: dictionary
    required: true
  constants:
    description: What the role knows of the protocol. It becomes part of the model as it is.
    type: dictionary
    required: true
  host:
    description:
      - C(version) of nginx, C(processors), C(storage), C(passwords), C(former_passwords), and C(access) from the filter
        P(wharf.registry.access_rules#filter).
    type: dictionary
    required: true
"""

EXAMPLES = r"""
- name: Write the configuration
  ansible.builtin.copy:
    content: "{{ lookup('ansible.builtin.template', 'nginx.conf.j2', template_vars={'proxy': model}) }}"
    dest: /etc/nginx/nginx.conf
  vars:
    model: "{{ options | wharf.registry._proxy_model(constants, host) }}"
"""

RETURN = r"""
_value:
  description: The model.
  type: dictionary
"""

from ansible_collections.wharf.registry.plugins.plugin_utils._roles.proxy_model import proxy_model


class FilterModule:
    def filters(self):
        return {"_proxy_model": proxy_model}

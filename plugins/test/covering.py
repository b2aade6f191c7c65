# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: covering
short_description: Whether the names of a certificate cover a host name or an address
version_added: 0.1.0
author: wharf.registry contributors (@wharf)
description:
  - True when one of the subject alternative names covers the host, by the rules that TLS clients use (RFC 6125).
  - A wildcard stands for exactly one label, and only the first. Addresses match addresses only.
options:
  _input:
    description:
      - The names as M(community.crypto.x509_certificate_info) returns them, such as V(DNS:registry.example.com) or
        V(IP:192.0.2.1).
    type: list
    elements: string
    required: true
  host:
    description: A host name, or an IPv4 or IPv6 address with or without brackets.
    type: string
    required: true
"""

EXAMPLES = r"""
- name: The certificate must be for the name that clients use
  ansible.builtin.assert:
    that: certificate_info.subject_alt_name is wharf.registry.covering("registry.example.com")
"""

RETURN = r"""
_value:
  description: Whether one of the names covers the host.
  type: boolean
"""

import ipaddress


def _address(text):
    try:
        return ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return None


def covering(names, host):
    address = _address(host)
    wanted = host.lower().rstrip(".")
    for name in names or []:
        kind, _separator, value = name.partition(":")
        if address is not None:
            if kind.startswith("IP") and _address(value) == address:
                return True
        elif kind == "DNS":
            value = value.lower().rstrip(".")
            if value == wanted:
                return True
            if value.startswith("*.") and "." in wanted and wanted.split(".", 1)[1] == value[2:]:
                return True
    return False


class TestModule:
    def tests(self):
        return {"covering": covering}

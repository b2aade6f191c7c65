# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: rotation_problems
short_description: Which hosts a rotation would cut off
version_added: 0.1.0
author: wharf.registry contributors (@wharf)
description:
  - A rollout brings hosts the CA of the registry host and the passwords of the inventory. A host that has another
    source for them would be proven to work with the former ones, and would be cut off when these end. This finds such
    hosts by their variables, before any of them is touched.
  - Shows no password.
positional: hostvars, registry
options:
  _input:
    description: Names of the hosts that use the registry.
    type: list
    elements: string
    required: true
  hostvars:
    description: The variables of the hosts, C(hostvars).
    type: dict
    required: true
  registry:
    description: Name of the registry host in the inventory.
    type: string
    required: true
  rotate:
    description: What is rotated.
    type: string
    choices: [ca, passwords]
    required: true
  bundle:
    description:
      - PEM text of the CAs that clients are to trust meanwhile, the new one last. A host that gives the CA by itself is
        in order if it gives the new one, too.
    type: string
    default: ""
"""

EXAMPLES = r"""
- name: Check that the rollout brings all hosts the new passwords
  ansible.builtin.assert:
    that: problems | length == 0
    fail_msg: "{{ problems }}"
  vars:
    problems: >-
      {{ groups['all'] | wharf.registry.rotation_problems(hostvars, groups['registry'][0], rotate='passwords') }}
"""

RETURN = r"""
_value:
  description: A sentence for each problem, with its host.
  type: list
  elements: str
"""

from ansible.errors import AnsibleFilterError

_END = "-----END CERTIFICATE-----"
_DIRECTORY = "/etc/wharf-registry/certificate"


def _address(of_registry):
    """The registry as clients name it."""
    port = int(of_registry.get("registry_port") or 443)
    return str(of_registry.get("registry_hostname", "")) + ("" if port == 443 else f":{port}")


def _own(of_host, address):
    """(what the host's client_registries say of the registry, whether a login without a registry is one for it)"""
    registries = of_host.get("client_registries")
    if registries is None:
        return {"host": address}, True
    mine = next((one for one in registries if one["host"] == address), None)
    return mine, bool(registries) and registries[0]["host"] == address


def _bare(pem):
    return "".join(str(pem).split())


def _ca(of_host, address, registry, of_registry, bundle):
    mine, _first = _own(of_host, address)
    if mine is None or mine.get("insecure") or mine.get("plain_http"):
        return
    if mine.get("ca") is not None:
        certificates = [part + _END for part in bundle.split(_END)[:-1]]
        if not certificates or _bare(certificates[-1]) not in _bare(mine["ca"]):
            yield (
                f"client_registries gives the CA of {address} by itself, so that no rollout brings the new one: "
                "remove `ca` there, or put both CAs there."
            )
        return
    if of_host.get("client_ca_host") not in (None, registry):
        yield f"client_ca_host is not {registry}, so that no rollout brings the new CA: remove it."
    path = f"{of_registry.get('certificate_directory') or _DIRECTORY}/ca.crt"
    if of_host.get("client_ca_path") not in (None, path):
        yield f"client_ca_path is not {path}, so that no rollout brings the new CA: remove it."


def _passwords(of_host, address, of_registry):
    mine, first = _own(of_host, address)
    if mine is None:
        return
    users = {user["name"]: str(user.get("password")) for user in of_registry.get("reverse_proxy_users") or []}
    for login in of_host.get("client_logins") or []:
        if login.get("registry") != address and not (first and not login.get("registry")):
            continue
        name = login.get("username")
        if name in users and str(login.get("password")) != users[name]:
            yield (
                f"client_logins has another password for {name} than reverse_proxy_users, which would end: "
                "change it there, too."
            )


def rotation_problems(hosts, hostvars, registry, rotate, bundle=""):
    if rotate not in ("ca", "passwords"):
        raise AnsibleFilterError(f"rotation_problems knows ca and passwords, and not {rotate!r}")
    of_registry = hostvars[registry]
    address = _address(of_registry)
    found = []
    for host in hosts:
        problems = (
            _ca(hostvars[host], address, registry, of_registry, bundle)
            if rotate == "ca"
            else _passwords(hostvars[host], address, of_registry)
        )
        found += [f"{host}: {problem}" for problem in dict.fromkeys(problems)]
    return found


class FilterModule:
    def filters(self):
        return {"rotation_problems": rotation_problems}

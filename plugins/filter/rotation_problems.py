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
from ansible_collections.wharf.registry.plugins.filter.instance_names import instance_names
from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError
from ansible_collections.wharf.registry.plugins.module_utils._common.reference import parse_registry

_END = "-----END CERTIFICATE-----"


def _normal(text):
    """A registry as all ways to write it are compared: in lower case, without scheme, path and the port of HTTPS."""
    try:
        name = parse_registry(str(text)).name
    except InputError:
        # Told by those who check it.
        name = str(text)
    name = name.lower()
    return name[: -len(":443")] if name.endswith(":443") else name


def _addresses(of_registry):
    """All that clients may call the registry, what the inventory calls it first."""
    port = int(of_registry.get("registry_port") or 443)
    hosts = [of_registry.get("registry_hostname", "")]
    for others in ("certificate_names", "certificate_addresses"):
        hosts += of_registry.get(others) or []
    return [_normal(f"[{host}]:{port}" if str(host).count(":") > 1 else f"{host}:{port}") for host in hosts]


def _own(of_host, addresses):
    """(what the host's client_registries say of the registry, whether a login without a registry is one for it)"""
    registries = of_host.get("client_registries")
    if registries is None:
        return [{"host": addresses[0]}], True
    mine = [one for one in registries if _normal(one["host"]) in addresses]
    return mine, bool(registries) and _normal(registries[0]["host"]) in addresses


def _bare(pem):
    return "".join(str(pem).split())


def _ca(of_host, addresses, registry, of_registry, bundle):
    mine, _first = _own(of_host, addresses)
    checked = [one for one in mine if not one.get("insecure") and not one.get("plain_http")]
    given = [one for one in checked if one.get("ca") is not None]
    certificates = [part + _END for part in bundle.split(_END)[:-1]]
    for one in given:
        if not certificates or _bare(certificates[-1]) not in _bare(one["ca"]):
            yield (
                f"client_registries gives the CA of {one['host']} by itself, so that no rollout brings the new one: "
                "remove `ca` there, or put both CAs there."
            )
    if len(given) == len(checked):
        return
    if of_host.get("client_ca_host") not in (None, registry):
        yield f"client_ca_host is not {registry}, so that no rollout brings the new CA: remove it."
    names = instance_names(of_registry.get("registry_instance") or "wharf")
    path = f"{of_registry.get('certificate_directory') or names['certificate_directory']}/ca.crt"
    if of_host.get("client_ca_path") not in (None, path):
        yield f"client_ca_path is not {path}, so that no rollout brings the new CA: remove it."


def _passwords(of_host, addresses, of_registry):
    mine, first = _own(of_host, addresses)
    if not mine:
        return
    users = {user["name"]: str(user.get("password")) for user in of_registry.get("reverse_proxy_users") or []}
    for login in of_host.get("client_logins") or []:
        if not (_normal(login["registry"]) in addresses if login.get("registry") else first):
            continue
        name = login.get("username")
        if not name:
            yield (
                f"client_logins takes a password from {login.get('credential_helper')}, which may be a "
                "former one: put the new one there, and name the host in rotate_despite."
            )
        elif name in users and str(login.get("password")) != users[name]:
            yield (
                f"client_logins has another password for {name} than reverse_proxy_users, which would end: "
                "change it there, too."
            )


def rotation_problems(hosts, hostvars, registry, rotate, bundle=""):
    if rotate not in ("ca", "passwords"):
        raise AnsibleFilterError(f"rotation_problems knows ca and passwords, and not {rotate!r}")
    of_registry = hostvars[registry]
    addresses = _addresses(of_registry)
    found = []
    for host in hosts:
        problems = (
            _ca(hostvars[host], addresses, registry, of_registry, bundle)
            if rotate == "ca"
            else _passwords(hostvars[host], addresses, of_registry)
        )
        found += [f"{host}: {problem}" for problem in dict.fromkeys(problems)]
    return found


class FilterModule:
    def filters(self):
        return {"rotation_problems": rotation_problems}

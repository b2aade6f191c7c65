# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: client_problems
short_description: What is wrong with the variables of hosts that the role client is to be run on
version_added: 0.1.0
author: wharf.registry contributors (@wharf)
description:
  - Looks at the variables of all hosts on the control node, before any of them is touched, by the argument
    specification of the role and by what it can't say. A sentence names the host, the variable and what to do.
positional: hostvars
options:
  _input:
    description:
      - Names of hosts. Those in none of the groups C(registry), C(builders) and C(runtimes) are passed over.
    type: list
    elements: string
    required: true
  hostvars:
    description: The variables of the hosts, C(hostvars).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Check the variables of all hosts
  ansible.builtin.assert:
    that: problems | length == 0
    fail_msg: "{{ problems }}"
  run_once: true
  vars:
    problems: "{{ ansible_play_hosts_all | wharf.registry.client_problems(hostvars) }}"
"""

RETURN = r"""
_value:
  description: A sentence for each problem. What several hosts have in common is said once.
  type: list
  elements: str
"""

import functools
import os
import re

import yaml
from ansible.errors import AnsibleError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError
from ansible_collections.wharf.registry.plugins.module_utils._common.hostname import HTTPS, check_hostname
from ansible_collections.wharf.registry.plugins.module_utils._common.reference import parse_registry
from ansible_collections.wharf.registry.plugins.module_utils._distribution.auth import Credential, check_credential
from jinja2 import Undefined
from jinja2.exceptions import TemplateError

_GROUPS = ("registry", "builders", "runtimes")
_ROLE = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "roles", "client")
_MIRROR = re.compile(r"https?://(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\])(?::[0-9]{1,5})?/?")
_ROLLOUT = {
    "rollout_batches": {"type": "list"},
    "rollout_max_fail_percentage": {"type": "float"},
    "registry_hostname": {"type": "str"},
    "registry_port": {"type": "int"},
    "reverse_proxy_users": {"type": "list"},
}
_LARGEST_PORT = 65535
_MAY = {"push": ("push", "admin"), "pull": ("pull",)}


@functools.lru_cache(maxsize=1)
def _options():
    with open(os.path.join(_ROLE, "meta", "argument_specs.yml"), encoding="utf-8") as file:
        spec = yaml.safe_load(file)["argument_specs"]["main"]["options"]
    # Defaults are the role's to set. Here it counts what the inventory says.
    return {
        **{name: {key: value for key, value in option.items() if key != "default"} for name, option in spec.items()},
        **_ROLLOUT,
    }


def _plain(value):
    """The value without Ansible's own kinds of containers, all of it templated."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def _read(of_host):
    """(the variables that are set, what is wrong with those that can't be read)"""
    values, problems = {}, []
    for name in _options():
        try:
            value = of_host.get(name)
            if isinstance(value, Undefined):
                # Says what is not defined, by raising it.
                str(value)
            if value is not None:
                values[name] = _plain(value)
        except (AnsibleError, TemplateError) as error:
            words = " ".join(str(error).split())
            problems.append(f"{name} can't be read: {words} Set what it refers to, or correct it.")
    return values, problems


def _shapes(values):
    """(the values as the role will take them, what is wrong with their shapes)"""
    taken, problems = {}, []
    for name, value in values.items():
        result = ArgumentSpecValidator({name: _options()[name]}).validate({name: value})
        taken.update(result.validated_parameters)
        if result.error_messages:
            # Of several about the same, one that names the variable.
            messages = sorted(result.error_messages, key=lambda message: name not in message)
            named = "" if name in messages[0] else f"{name}: "
            problems.append(f"{named}{messages[0].rstrip('.')}. Correct it.")
    return taken, problems


def _registries(values):
    for registry in values.get("client_registries") or []:
        host = registry["host"]
        yield from _bare_registry("client_registries", host)
        if bool(registry.get("client_cert")) != bool(registry.get("client_key")):
            yield f'client_registries: "{host}" has one of client_cert and client_key: give both, or none.'
        for key, mark in (
            ("ca", "BEGIN CERTIFICATE"),
            ("client_cert", "BEGIN CERTIFICATE"),
            ("client_key", "PRIVATE KEY"),
        ):
            if registry.get(key) and mark not in registry[key]:
                yield f'client_registries: {key} of "{host}" is no PEM text: give what is in the file, not its path.'
    if "client_registries" in values and not values["client_registries"]:
        yield "client_registries is empty: name a registry, or leave the variable out for that of this inventory."
    if "client_registries" not in values:
        yield from _hostname(values)


def _hostname(values):
    hostname = values.get("registry_hostname")
    if not hostname:
        yield "registry_hostname is not set: set it to the name of the registry, in group_vars/all."
        return
    port = values.get("registry_port", HTTPS)
    if not 0 < port <= _LARGEST_PORT:
        yield f'registry_port is "{port}": give a whole number from 1 to {_LARGEST_PORT}.'
    yield from _said_by(check_hostname, hostname, port)


def _bare_registry(variable, host):
    """What is wrong with a registry that stands there as it stands in names of images."""
    try:
        named = parse_registry(host, what=f"a registry of {variable}").name
    except InputError as error:
        yield str(error)
        return
    if named not in (host, "docker.io"):
        yield f'{variable} names "{host}": give host or host:port, without scheme or path.'


def _said_by(check, *arguments):
    try:
        check(*arguments)
    except InputError as error:
        yield str(error)


def _mirrors(values):
    for mirror in values.get("client_mirrors") or []:
        if not _MIRROR.fullmatch(mirror):
            yield f'client_mirrors has "{mirror}": give http:// or https:// with a host, and no path.'


def _logins(values):
    for number, login in enumerate(values.get("client_logins") or [], 1):
        given = [bool(login.get("username")), bool(login.get("password"))]
        if given != [True, True] and not (given == [False, False] and login.get("credential_helper")):
            yield (
                f"Login {number} of client_logins, for the account {login.get('user') or 'root'}, must give username "
                "and password, or neither and a credential_helper that gets credentials by itself."
            )
        elif all(given):
            for said in _said_by(check_credential, Credential(login["username"], login["password"])):
                yield f"Login {number} of client_logins, for the account {login.get('user') or 'root'}: {said}"
        if login.get("registry"):
            yield from _bare_registry("client_logins", login["registry"])


def _batches(values):
    for size in values.get("rollout_batches") or []:
        if not re.fullmatch(r"[1-9][0-9]*%?", str(size)):
            yield f'rollout_batches has "{size}": give whole numbers of hosts, or percents as "10%".'
    if "rollout_batches" in values and not values["rollout_batches"]:
        yield 'rollout_batches is empty: give sizes of batches, such as [1, "10%", "100%"].'
    if not 0 <= values.get("rollout_max_fail_percentage", 0) <= 100:
        yield "rollout_max_fail_percentage must be from 0 to 100."


def _rights(values, groups, users):
    """Logins that may not do what the host is for, or more than that."""
    own = [login for login in values.get("client_logins") or [] if login.get("username") and not login.get("registry")]
    access = values.get("client_access") or ("push" if "builders" in groups else "pull")
    # What a user may do in some repositories is no reason: which ones the host needs is not known here.
    rights = {
        user.get("name"): user.get("access") for user in users if isinstance(user, dict) and not user.get("rules")
    }
    known = [login["username"] for login in own if login["username"] in rights]
    # The registry host has all users at hand.
    if (
        "registry" in groups
        or "client_verify_user" in values
        or access not in _MAY
        or len(known) < len(own)
        or not known
    ):
        return
    if not any(rights[name] in _MAY[access] for name in known):
        names = ", ".join(f"{name} ({rights[name] or 'nothing'})" for name in known)
        yield (
            f"client_logins has no user who may {'push' if access == 'push' else 'only pull'}, but {names}: log in a "
            f"user of reverse_proxy_users with access {access}, or set client_access to what this host is meant to do."
        )


def _problems(host, hostvars):
    values, problems = _read(hostvars[host])
    values, shapes = _shapes(values)
    if problems or shapes:
        return problems + shapes
    groups = hostvars[host]["group_names"]
    registries = hostvars[host]["groups"].get("registry") or []
    users = []
    if registries:
        # What is wrong with these, the role reverse_proxy says.
        users = _read(hostvars[registries[0]])[0].get("reverse_proxy_users")
    checks = [_registries(values), _mirrors(values), _logins(values), _batches(values)]
    return [
        *(problem for check in checks for problem in check),
        *_rights(values, groups, users if isinstance(users, list) else []),
    ]


def client_problems(hosts, hostvars):
    found = {}
    for host in hosts:
        if set(_GROUPS) & set(hostvars[host]["group_names"]):
            for problem in _problems(host, hostvars):
                found.setdefault(problem, []).append(str(host))
    return [
        f"{named[0]}{f' and {len(named) - 1} more' if len(named) > 1 else ''}: {problem}"
        for problem, named in found.items()
    ]


class FilterModule:
    def filters(self):
        return {"client_problems": client_problems}

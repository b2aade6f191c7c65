# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with the variables of clients, read as Ansible has them."""

from __future__ import annotations

import ansible.template
from ansible.errors import AnsibleError
from ansible_collections.wharf.registry.plugins.plugin_utils._playbooks.client_problems import (
    client_problems,
    options,
    say_once,
    shape_problems,
)
from jinja2 import Environment, Undefined, meta
from jinja2.exceptions import TemplateError

# Before ansible-core 2.19, hostvars have a template as it is where what it refers to is not defined.
_LEAVES_TEMPLATES = not hasattr(ansible.template, "is_trusted_as_template")
_GROUPS = ("registry", "builders", "runtimes")


def _plain(value, of_host):
    """The value without Ansible's own kinds of containers, all of it templated."""
    if isinstance(value, dict):
        return {str(key): _plain(item, of_host) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, of_host) for item in value]
    if _LEAVES_TEMPLATES and isinstance(value, str) and "{{" in value and not hasattr(value, "__UNSAFE__"):
        names = meta.find_undeclared_variables(Environment(autoescape=True).parse(value))
        raise AnsibleError(
            f"{next((repr(name) for name in sorted(names) if name not in of_host), value)} is undefined."
        )
    return value


def _read(of_host):
    """(the variables that are set, what is wrong with those that can't be read)"""
    values, problems = {}, []
    for name in options():
        try:
            value = of_host.get(name)
            if isinstance(value, Undefined):
                # Says what is not defined, by raising it.
                str(value)
            if value is not None:
                values[name] = _plain(value, of_host)
        except (AnsibleError, TemplateError) as error:
            words = " ".join(str(error).split())
            problems.append(f"{name} can't be read: {words} Set what it refers to, or correct it.")
    return values, problems


def _problems(of_host, users):
    values, unreadable = _read(of_host)
    if unreadable:
        return unreadable + shape_problems(values)
    return client_problems(values, of_host["group_names"], users)


def validate_clients(hosts, hostvars):
    found, users = {}, {}
    for host in hosts:
        of_host = hostvars[host]
        if not set(_GROUPS) & set(of_host["group_names"]):
            continue
        registry = next(iter(of_host["groups"].get("registry") or []), None)
        if registry not in users:
            given = _read(hostvars[registry])[0].get("reverse_proxy_users") if registry else None
            users[registry] = given if isinstance(given, list) else []
        found[str(host)] = _problems(of_host, users[registry])
    return say_once(found)

# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with the variables of hosts that the role `client` is to be run on."""

from __future__ import annotations

import functools
import os
import re

import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError
from ansible_collections.wharf.registry.plugins.module_utils._common.hostname import HTTPS, check_hostname
from ansible_collections.wharf.registry.plugins.module_utils._common.reference import parse_registry
from ansible_collections.wharf.registry.plugins.module_utils._distribution.auth import Credential, check_credential
from ansible_collections.wharf.registry.plugins.module_utils._engine.policies import parse_policies

_COLLECTION = os.path.abspath(os.path.join(os.path.dirname(__file__), *3 * [os.pardir]))
_SPECIFICATION = os.path.join(_COLLECTION, "roles", "client", "meta", "argument_specs.yml")
_MIRROR = re.compile(r"https?://(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\])(?::[0-9]{1,5})?/?")
_UPSTREAM_MIRROR = re.compile(_MIRROR.pattern.removesuffix("/?") + r"(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*/?")
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
def options():
    """The variables that are checked, as an argument specification."""
    with open(_SPECIFICATION, encoding="utf-8") as file:
        spec = yaml.safe_load(file)["argument_specs"]["main"]["options"]
    # Defaults are the role's to set. Here it counts what the inventory says.
    return {
        **{name: {key: value for key, value in option.items() if key != "default"} for name, option in spec.items()},
        **_ROLLOUT,
    }


def _shapes(values):
    """(the values as the role will take them, what is wrong with their shapes)"""
    taken, problems = {}, []
    for name, value in values.items():
        result = ArgumentSpecValidator({name: options()[name]}).validate({name: value})
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
    mirrors = values.get("client_mirrors") or []
    if isinstance(mirrors, dict):
        yield from _upstream_mirrors(mirrors)
        return
    for mirror in mirrors:
        if not _MIRROR.fullmatch(mirror):
            yield f'client_mirrors has "{mirror}": give http:// or https:// with a host, and no path.'


def _upstream_mirrors(mirrors):
    for upstream, urls in mirrors.items():
        for url in urls if isinstance(urls, list) else [urls]:
            if not isinstance(url, str) or not _UPSTREAM_MIRROR.fullmatch(url):
                yield (
                    f'client_mirrors gives {upstream} "{url}": give http:// or https:// with a host, and the path '
                    "where the images lie, if any."
                )


def _policies(values):
    for said in _said_by(parse_policies, values.get("client_policies"), True):
        yield f"client_policies: {said}"


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


def shape_problems(values):
    """What is wrong with the shapes of the variables of a host, by the argument specification of the role."""
    return _shapes(values)[1]


def client_problems(values, groups, users):
    """What is wrong with the variables of a host, which is in these groups of the inventory.

    The users are those of the registry host, as far as they are known. What is wrong with these, the role reverse_proxy
    says.
    """
    values, problems = _shapes(values)
    if problems:
        return problems
    checks = [_registries(values), _mirrors(values), _policies(values), _logins(values), _batches(values)]
    return [*(problem for check in checks for problem in check), *_rights(values, groups, users)]


def say_once(found):
    """A sentence for each problem of {host: problems}. What several hosts have in common is said once."""
    hosts = {}
    for host, problems in found.items():
        for problem in problems:
            hosts.setdefault(problem, []).append(host)
    return [
        f"{named[0]}{f' and {len(named) - 1} more' if len(named) > 1 else ''}: {problem}"
        for problem, named in hosts.items()
    ]

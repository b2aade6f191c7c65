# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options that several modules take, as argument specs. Private to this collection."""

from __future__ import annotations

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError
from ansible_collections.wharf.registry.plugins.module_utils._engine.docker_api import SOCKET

CONNECTION_OPTIONS = {
    "registry": {"type": "str", "required": True},
    "username": {"type": "str"},
    "password": {"type": "str", "no_log": True},
    "ca_path": {"type": "path"},
    "client_cert": {"type": "path"},
    # The path of the key. Its content never comes near the task.
    "client_key": {"type": "path", "no_log": False},
    "validate_certs": {"type": "bool", "default": True},
    "plain_http": {"type": "bool", "default": False},
    "timeout": {"type": "int", "default": 30},
    "config_path": {"type": "path"},
}
# Those of registry_client, and of registry_onboard.
TRUST_OPTIONS = {
    "timeout": CONNECTION_OPTIONS["timeout"],
    "registries": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "host": {"type": "str", "required": True},
            "ca": {"type": "str"},
            "client_cert": {"type": "str"},
            "client_key": {"type": "str", "no_log": True},
            "insecure": {"type": "bool", "default": False},
            "username": {"type": "str"},
            "password": {"type": "str", "no_log": True},
        },
    },
    "mirrors": {"type": "list", "elements": "str", "default": []},
    "upstream_mirrors": {"type": "dict", "default": {}},
    "policies": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "scope": {"type": "str", "required": True},
            "accept": {"type": "str", "choices": ["anything", "nothing", "signed"], "default": "signed"},
            # Public ones.
            "public_keys": {"type": "list", "elements": "str", "no_log": False},
            "signed_repository": {"type": "str"},
        },
    },
    "state": {"type": "str", "choices": ["absent", "present"], "default": "present"},
    "engines": {
        "type": "list",
        "elements": "str",
        "choices": ["buildkit", "containerd", "docker", "k3s", "podman", "rke2"],
    },
    "daemon_config_path": {"type": "path"},
    "certs_dir": {"type": "path"},
    "apply": {"type": "str", "choices": ["never", "reload", "restart"], "default": "reload"},
}
# Those of the proof of registry_onboard.
CHECK_OPTIONS = {
    "access": {"type": "str", "choices": ["none", "pull", "push"], "default": "none"},
    "image": {"type": "str"},
    "engine": {"type": "str", "choices": ["containerd", "docker", "k3s", "podman", "rke2"]},
    "socket": {"type": "path", "default": SOCKET},
}
# Those of registry_check, which also looks for what is wrong where nothing has been proven.
LOOK_OPTIONS = {
    **CHECK_OPTIONS,
    "access": {"type": "str", "choices": ["none", "reach", "image", "pull", "push"], "default": "none"},
    "require_push": {"type": "bool", "default": False},
    "accounts": {"type": "list", "elements": "str", "default": []},
    "storage": {"type": "list", "elements": "path", "default": []},
}
# Those of registry_login.
LOGIN_OPTIONS = {
    "state": {"type": "str", "choices": ["absent", "present"], "default": "present"},
    "credential_helper": {"type": "str"},
    "verify": {"type": "bool", "default": True},
    "user": {"type": "str"},
    # No path: its ~ would be the home of the one who runs the module.
    "config_path": {"type": "str"},
}
# One side of registry_sync: a connection or a layout.
ENDPOINT_OPTIONS = {
    **CONNECTION_OPTIONS,
    "registry": {"type": "str"},
    "layout": {"type": "path"},
}
CONNECTION_RULES = [("username", "password"), ("client_cert", "client_key")]
ENDPOINT_RULES = {"mutually_exclusive": [("registry", "layout")], "required_one_of": [("registry", "layout")]}


def check_range(params, name, least, most=None):
    """Raises InputError where an option is not a number in this range."""
    value = params[name]
    if value < least or (most is not None and value > most):
        raise InputError(f"{name} is {value}", f"Give {least} {'or more' if most is None else f'to {most}'}")


# What an option of a type has to be, for a program that reads them from JSON.
_TYPES = {
    "bool": (bool, "true or false"),
    "dict": (dict, "a mapping"),
    "int": (int, "a number"),
    "list": (list, "a list"),
}


def completed(options, specs, where=""):
    """The options, checked and with the defaults of those that are not given, for a program. Raises InputError."""
    unknown = sorted(set(options) - set(specs))
    if unknown:
        raise InputError(f"there is no option {where}{unknown[0]}", f"The options are {', '.join(sorted(specs))}")
    return {name: _completed(options.get(name), spec, f"{where}{name}") for name, spec in specs.items()}


def _completed(value, spec, name):
    if value is None:
        if spec.get("required"):
            raise InputError(f"{name} is missing", "Give it")
        return completed({}, spec["options"], f"{name}.") if spec.get("apply_defaults") else spec.get("default")
    wanted, called = _TYPES.get(spec["type"], (str, "a text"))
    if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
        raise InputError(f"{name} is not {called}", "Correct it; quote numbers that are meant as text")
    if value not in spec.get("choices", [value]):
        raise InputError(f"{name} is {value!r}", f"Give one of {', '.join(spec['choices'])}")
    if wanted is not list:
        return completed(value, spec["options"], f"{name}.") if "options" in spec else value
    one = {"type": spec["elements"], **({"options": spec["options"]} if "options" in spec else {})}
    return [_completed(element, one, f"{name}[{number}]") for number, element in enumerate(value, 1)]

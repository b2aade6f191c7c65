# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: setting_problems
short_description: What is wrong with variables that become part of a configuration
version_added: 0.1.0
author: wharf.registry contributors (@wharf)
description:
  - Checks values by what they are meant to be, before one of them reaches the configuration of nginx, the registry or
    systemd, where another meaning or an error would come of it.
  - A sentence names the variable, the value and what to do.
options:
  _input:
    description:
      - The variables, each with C(name), C(kind) and C(value), and what the kind takes besides. Of a list, each element
        is checked. A value that is empty is passed over where C(optional) is V(true).
      - V(hostname) is the name or the IPv4 address of a registry. C(port) is the one that clients use.
      - V(host) is a host in a URL, V(name) a DNS name for a certificate, which may begin with C(*.).
      - V(address) is an IPv4 or IPv6 address, V(network) one with C(/) and the bits of its network, V(resolver) one
        with a port or without.
      - V(path) is an absolute path of one word, V(line) any text in one line.
      - V(integer) is a whole number from C(least) to C(most), V(port) one of a TCP port.
      - V(size) is a size as nginx takes it, V(memory) one as Docker takes it.
    type: list
    elements: dictionary
    required: true
"""

EXAMPLES = r"""
- name: Check what becomes part of the configuration
  ansible.builtin.assert:
    that: problems | length == 0
    fail_msg: "{{ problems | join(' ') }}"
  vars:
    settings:
      - {name: proxy_networks, kind: network, value: "{{ proxy_networks }}"}
      - {name: proxy_largest_body, kind: size, value: "{{ proxy_largest_body }}"}
    problems: "{{ settings | wharf.registry.setting_problems }}"
"""

RETURN = r"""
_value:
  description: A sentence for each problem.
  type: list
  elements: str
"""

import ipaddress
import json
import re

from ansible.errors import AnsibleFilterError
from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError
from ansible_collections.wharf.registry.plugins.module_utils._common.hostname import check_host, check_hostname

_PATH = re.compile(r"(?:/[A-Za-z0-9._@+-]+)+/?")
_NETWORK = re.compile(r"[0-9A-Fa-f.:]+(?:/[0-9]{1,3})?")
_RESOLVER = re.compile(
    r"(?P<plain>[0-9A-Fa-f:]+:[0-9A-Fa-f:]*)|(?:\[(?P<six>[^\]]*)\]|(?P<four>[0-9.]+))(?::(?P<port>[0-9]+))?"
)
_SIZE = re.compile(r"([0-9]+)([kKmMgG]?)")
_MEMORY = re.compile(r"([0-9]+)([bBkKmMgG]?)")
_FACTORS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
# Of nginx's off_t.
_LARGEST_SIZE = (1 << 63) - 1
# Docker takes no less.
_LEAST_MEMORY = 6 << 20
_LARGEST_PORT = 65535


class _SettingError(Exception):
    """What is wrong with a value, and the cure."""


def _hostname(text, port=443, **_options):
    check_hostname(text, int(port))


def _host(text, **_options):
    check_host(text)


def _name(text, **_options):
    check_host(text.removeprefix("*."))


def _address(text, **_options):
    if not _is_address(text[1:-1] if text.startswith("[") and text.endswith("]") else text):
        raise _SettingError("which is no address", "Give an IPv4 or IPv6 address, without a port or a network")


def _is_address(text):
    try:
        # A zone, as in fe80::1%eth0, means something on one host alone.
        return bool(ipaddress.ip_address(text)) and "%" not in text
    except ValueError:
        return False


def _network(text, **_options):
    if not _NETWORK.fullmatch(text):
        raise _SettingError("which is no network", "Write it as 192.0.2.0/24 or 2001:db8::/32")
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise _SettingError("which is no network", "Write it as 192.0.2.0/24 or 2001:db8::/32") from None
    address = text.partition("/")[0]
    if ipaddress.ip_address(address) != network.network_address:
        raise _SettingError(
            f"an address in a network, which nginx takes for all of {network} with a warning",
            f"Write {network} for the network, or {address} for the address alone",
        )


def _resolver(text, **_options):
    found = _RESOLVER.fullmatch(text)
    fits = found and _is_address(found["plain"] or found["six"] or found["four"])
    if not fits or (found["six"] and ":" not in found["six"]) or not 0 < int(found["port"] or 53) <= _LARGEST_PORT:
        raise _SettingError(
            "which is no address of a name server",
            "Give an IPv4 or IPv6 address, with a port as 192.0.2.1:53 or [2001:db8::1]:53",
        )


def _path(text, **_options):
    if not _PATH.fullmatch(text) or ".." in text.split("/"):
        raise _SettingError(
            "which nginx, Docker or systemd would not read as one path",
            "Give an absolute path of letters, digits and the signs . _ @ + - alone",
        )


def _line(text, **_options):
    if re.search(r"[\x00-\x1f\x7f]", text):
        raise _SettingError("which has a line feed or another control character", "Give one line")


def _integer(text, least=0, most=(1 << 31) - 1, **_options):
    if not re.fullmatch(r"-?[0-9]{1,18}", text) or not int(least) <= int(text) <= int(most):
        raise _SettingError("", f"Give a whole number from {least} to {most}")


def _port(text, **_options):
    _integer(text, 1, _LARGEST_PORT)


def _bytes(pattern, text):
    found = pattern.fullmatch(text)
    return int(found[1]) * _FACTORS[found[2].lower()] if found else -1


def _size(text, **_options):
    if not 0 <= _bytes(_SIZE, text) <= _LARGEST_SIZE:
        raise _SettingError(
            "which is no size to nginx", "Give a number of bytes, or one with k, m or g, such as 20g; 0 for no limit"
        )


def _memory(text, **_options):
    if not _LEAST_MEMORY <= _bytes(_MEMORY, text) <= _LARGEST_SIZE:
        raise _SettingError(
            "which is no limit of memory to Docker", "Give a number with b, k, m or g, such as 512m, of 6m or more"
        )


_KINDS = {
    "hostname": _hostname,
    "host": _host,
    "name": _name,
    "address": _address,
    "network": _network,
    "resolver": _resolver,
    "path": _path,
    "line": _line,
    "integer": _integer,
    "port": _port,
    "size": _size,
    "memory": _memory,
}
# Their own errors name what they are given.
_HOSTS = ("hostname", "host", "name")


def _problem(setting, value):
    name, kind = setting["name"], setting["kind"]
    text = str(value)
    try:
        _KINDS[kind](text, **{key: option for key, option in setting.items() if key not in ("name", "kind", "value")})
    except InputError as error:
        return re.sub(r"^(?:host|registry_hostname) is ", f"{name} {_verb(setting)} ", str(error))
    except _SettingError as wrong:
        problem, cure = wrong.args
        shown = json.dumps(text, ensure_ascii=False)
        return f"{name} {_verb(setting)} {shown}{', ' if problem else ''}{problem}. {cure}."
    return ""


def _verb(setting):
    return "has" if isinstance(setting["value"], (list, tuple)) else "is"


def setting_problems(settings):
    found = []
    for setting in settings:
        if setting.get("kind") not in _KINDS:
            raise AnsibleFilterError(
                f"setting_problems knows no kind {setting.get('kind')!r}; it knows {', '.join(_KINDS)}"
            )
        value = setting["value"]
        if value in ("", None) and setting.get("optional"):
            continue
        values = value if isinstance(value, (list, tuple)) else [value]
        found += [_problem(setting, one) for one in values]
    return [problem for problem in found if problem]


class FilterModule:
    def filters(self):
        return {"setting_problems": setting_problems}

# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which hosts a rotation would cut off, by their variables."""

from __future__ import annotations

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


def _ca(of_host, addresses, registry, ca_path, bundle):
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
    if of_host.get("client_ca_path") not in (None, ca_path):
        yield f"client_ca_path is not {ca_path}, so that no rollout brings the new CA: remove it."


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


def rotation_problems(hosts, registry, of_registry, rotate, *, ca_path="", bundle=""):
    """Of hosts as {host: its variables}. The registry host is called `registry`, and has its CA in `ca_path`."""
    if rotate not in ("ca", "passwords"):
        raise ValueError(f"What can be rotated is ca and passwords, and not {rotate!r}")
    addresses = _addresses(of_registry)
    found = []
    for host, of_host in hosts.items():
        problems = (
            _ca(of_host, addresses, registry, ca_path, bundle)
            if rotate == "ca"
            else _passwords(of_host, addresses, of_registry)
        )
        found += [f"{host}: {problem}" for problem in dict.fromkeys(problems)]
    return found

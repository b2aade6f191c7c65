# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which host holds which virtual address: what the role address makes of its variables and of the hosts.

given, in all functions: vips, hosts (the group registry, in its order), host (the one that it is about), looks (what
_address_look said of each host that answered), peers (registry_peer_address by host), interface, router_id, installed
(whether the host holds addresses by this role already) and listen (where the proxy listens, none for all addresses).
"""

from __future__ import annotations

import ipaddress
import socket
import zlib

# A host that fails its check comes after each one that does not, however far down the list that one is.
_HIGHEST, _STEP, FAILED = 250, 5, -125
_MOST_HOSTS = 25
_MOST_IDS = 255


def address_router_id(name, count):
    """The first of `count` virtual router IDs that end at 255 at the most: always the same for a name."""
    return 1 + zlib.crc32(name.encode()) % max(1, _MOST_IDS + 1 - count)


def address_plan(given):
    """The VRRP instances of a host, one for each virtual address."""
    plan = []
    for number, vip in enumerate(_interfaces(given["vips"])):
        # Each host is the first one for an address of its own, and the next one in the list for that of its neighbour.
        distance = (given["hosts"].index(given["host"]) - number) % len(given["hosts"])
        plan.append(
            {
                "number": number + 1,
                # Not in the network of the host: where it is there first, as when the own address of the host comes
                # late, the kernel would remove that one with it.
                "vip": f"{vip.ip}/{vip.max_prefixlen}",
                "interface": _interface(given, given["host"], vip),
                "router_id": int(given["router_id"]) + number,
                "priority": _HIGHEST - _STEP * distance,
                "source": _peer(given, given["host"], vip),
                "peers": [_peer(given, other, vip) for other in given["hosts"] if other != given["host"]],
            }
        )
    return plan


def address_problems(given):
    """Sentences on what is wrong."""
    problems = _problems_of_vips(given["vips"])
    if problems:
        return problems
    if len(given["hosts"]) > _MOST_HOSTS:
        problems.append(f"The group registry has more than {_MOST_HOSTS} hosts: set registry_address to external.")
    router_id, count = int(given["router_id"]), len(given["vips"])
    if not 1 <= router_id <= _MOST_IDS + 1 - count:
        problems.append(
            f"registry_address_router_id is {router_id}: give a number from 1 to {_MOST_IDS + 1 - count}, so that each "
            "address of registry_address_vips has one."
        )
    return problems + _problems_of_listeners(given) + _problems_of_networks(given)


def address_warnings(given, hostname, resolve=socket.getaddrinfo):
    """Sentences on what may be right: what the name leads to, as the control node sees it."""
    try:
        found = {entry[4][0] for entry in resolve(hostname, None, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError):
        found = set()
    vips = _plain(given["vips"])
    if found & set(vips):
        return []
    leads = f"leads to {', '.join(sorted(found))}" if found else "has no address"
    return [
        (
            f"{hostname} {leads} for the control node, and to none of registry_address_vips. Clients that see the same "
            f"don't use them: give the name the addresses {', '.join(vips)}, all of them."
        )
    ]


def _interfaces(vips):
    return [ipaddress.ip_interface(str(vip)) for vip in vips]


def _plain(vips):
    return [str(vip.ip) for vip in _interfaces(vips)]


def _interface(given, host, vip):
    """Where a host has the network of a virtual address; empty for nowhere."""
    look = given["looks"].get(host)
    if given["interface"] or not look:
        return given["interface"]
    fitting = [(-network.prefixlen, name) for name, _ip, network in _own(given, look) if vip.ip in network]
    return min(fitting)[1] if fitting else ""


def _own(given, look):
    """Interface, address and network of each address that a host has by itself."""
    vips = _plain(given["vips"])
    for name, found in sorted(look["interfaces"].items()):
        for text in found["addresses"]:
            own = ipaddress.ip_interface(text)
            if str(own.ip) not in vips:
                yield name, str(own.ip), own.network


def _peer(given, host, vip):
    """By which address a host talks to the others of a virtual address; empty where it is not known."""
    stated = given["peers"].get(host)
    if stated and ipaddress.ip_address(stated).version == vip.version:
        return stated
    look = given["looks"].get(host)
    if not look:
        return ""
    interface = _interface(given, host, vip)
    fitting = [ip for name, ip, network in _own(given, look) if name == interface and vip.ip in network]
    return fitting[0] if fitting else ""


def _problems_of_vips(vips):
    if not vips:
        return [
            (
                "registry_address is vip, and registry_address_vips is empty: list one address "
                "for each host of the group "
                "registry, such as 192.0.2.10."
            )
        ]
    problems = []
    for vip in vips:
        try:
            ipaddress.ip_interface(str(vip))
        except ValueError:
            problems.append(
                f'registry_address_vips has "{vip}", which is no address: write it as 192.0.2.10 or 2001:db8::10.'
            )
    if not problems and len(set(_plain(vips))) < len(vips):
        problems.append("registry_address_vips lists an address twice: remove one.")
    return problems


def _problems_of_listeners(given):
    listen = [text.strip("[]") for text in given["listen"]]
    if not listen:
        return []
    vips = _plain(given["vips"])
    missing = [vip for vip in vips if vip not in listen]
    if missing:
        return [
            (
                f"reverse_proxy_listen_addresses lacks {', '.join(missing)}, so that no client "
                "could connect there: add "
                "each address of registry_address_vips."
            )
        ]
    if not set(listen) - set(vips):
        return [
            (
                "reverse_proxy_listen_addresses has addresses of registry_address_vips only, and "
                "a host is checked by one "
                "that it always has: add its own one."
            )
        ]
    look = given["looks"].get(given["host"])
    if look and not look["nonlocal_bind"]:
        return [
            (
                f"reverse_proxy_listen_addresses has addresses that {given['host']} holds at "
                "times only, and its engine "
                "can't listen there before: set net.ipv4.ip_nonlocal_bind "
                "(net.ipv6.ip_nonlocal_bind) to 1 on each host "
                "of the group registry, or leave reverse_proxy_listen_addresses empty."
            )
        ]
    return []


def _problems_of_networks(given):
    host, look = given["host"], given["looks"].get(given["host"])
    if not look:
        return [f"{host} does not answer."]
    if given["interface"] and given["interface"] not in look["interfaces"]:
        return [
            (
                f"registry_address_interface is {given['interface']}, which {host} has not. It has "
                f"{', '.join(sorted(look['interfaces']))}."
            )
        ]
    problems = []
    for vip in _interfaces(given["vips"]):
        problems += (
            _problems_of_own(given, vip)
            or _problems_of_network(given, vip)
            or _problems_of_peers(given, vip)
            or _problems_of_use(given, vip)
        )
    # One sentence on a host for all addresses.
    return list(dict.fromkeys(problems))


def _problems_of_network(given, vip):
    host, look = given["host"], given["looks"][given["host"]]
    interface = _interface(given, host, vip)
    networks = {
        str(network)
        for name, _ip, network in _own(given, look)
        if name == (interface or name) and network.version == vip.version
    }
    if any(vip.ip in ipaddress.ip_network(network) for network in networks):
        return []
    return [
        (
            f"registry_address_vips has {vip.ip}, which is in no network of {interface or 'any interface'} of {host} "
            f"({', '.join(sorted(networks)) or 'none'}): give an address of one of them, or "
            "set registry_address_interface."
        )
    ]


def _problems_of_peers(given, vip):
    return [
        f"There is no IPv{vip.version} address of {other} in the network of {vip.ip}, or {other} does not answer: set "
        "registry_peer_address of that host to one by which the other registry hosts reach it."
        for other in given["hosts"]
        if not _peer(given, other, vip)
    ]


def _problems_of_own(given, vip):
    """An address that a host has before this role has run is no address for others."""
    host, look = given["host"], given["looks"][given["host"]]
    own = {ipaddress.ip_interface(text).ip for one in look["interfaces"].values() for text in one["addresses"]}
    if given["installed"] or vip.ip not in own:
        return []
    return [
        (
            f"registry_address_vips has {vip.ip}, which is an address of {host} itself: give one that no host has; the "
            "hosts of the group registry take it in turn."
        )
    ]


def _problems_of_use(given, vip):
    """An address that another machine has would be taken from it."""
    looks = given["looks"]
    answers = looks[given["host"]]["answers"].get(str(vip.ip))
    ours = {one["mac"] for look in looks.values() for one in look["interfaces"].values()}
    # A host that does not tell its hardware addresses may be the one that answers.
    if not answers or answers in ours or set(given["hosts"]) - set(looks):
        return []
    return [
        (
            f"registry_address_vips has {vip.ip}, which a machine with the hardware address "
            f"{answers} has already, and that "
            "is none of the group registry: give a free address."
        )
    ]

# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which names of hosts can name a registry in an image's name. Pure functions. Private to this collection.

Every part of the collection asks here. tests/integration/client/test_names.py asks the engines about the same names.
"""

from __future__ import annotations

import ipaddress
import re

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError

_LABEL = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?")
# What the C library reads as a part of an IPv4 address, and Go as a part of a name.
_NUMBER = re.compile(r"0[xX][0-9a-fA-F]*|[0-9]+")
_IN_BRACKETS = re.compile(r"(\[[^\]]*\])(?::(.*))?", re.DOTALL)
_IPV6 = re.compile(r"\[([a-fA-F0-9:]+)\]")
_PORT = re.compile(r"[0-9]{1,5}")
# What DNS can hold.
_LONGEST_LABEL = 63
_LONGEST_NAME = 253
_LARGEST_PORT = 65535
# The only name without a dot that engines take for a registry.
_LOCAL = "localhost"
# The one that is left out of the names of images.
HTTPS = 443


def split_port(name):
    """(host, port), where the port is None without a colon: the text behind it may be anything."""
    bracketed = _IN_BRACKETS.fullmatch(name)
    if bracketed:
        return bracketed.groups()
    host, colon, port = name.partition(":")
    return host, (port if colon else None)


def check_host(host, what="host", named=None):
    """Raises InputError where no engine or no resolver takes it for a host: a name, an IPv4, or an IPv6 in brackets."""
    fault = _ipv6_fault(host) if host.startswith("[") else _name_fault(host)
    if fault:
        problem, cure = fault
        raise InputError(f"{what} is {host if named is None else named!r}, {problem}", cure)


def check_registry(name, what="registry", named=None):
    """Raises InputError where host[:port] names no registry in an image's name."""
    named = name if named is None else named
    if name.count(":") > 1 and not name.startswith("["):
        raise InputError(f"{what} is {named!r}, which is no host name", "Give an IPv6 address in brackets")
    host, port = split_port(name)
    check_host(host, what, named)
    if port is not None and not (_PORT.fullmatch(port) and 0 < int(port) <= _LARGEST_PORT):
        raise InputError(
            f"{what} is {named!r}, whose port is none",
            f"Give host or host:port, with a port from 1 to {_LARGEST_PORT}",
        )
    if port is None:
        _check_dot(host, f"{what} is {named!r}", f"give the port, as in {host.lower()}:{HTTPS}")


def check_hostname(host, port, what="registry_hostname"):
    """Raises InputError where a host, with a port that is left out where it is that of HTTPS, names no registry."""
    if _is_ipv6(host.strip("[]")):
        raise InputError(
            f"{what} is the IPv6 address {host!r}, which image names can't hold in every engine",
            "Give it a name, and list the address in certificate_addresses",
        )
    if re.search("[:/]", host):
        raise InputError(f"{what} is {host!r}", "Give a bare name or address, without scheme, port or path")
    check_host(host, what)
    if port == HTTPS:
        _check_dot(host, f"{what} is {host!r}", f"set registry_port to another port than {HTTPS}")


def _check_dot(host, problem, cure):
    if "." not in host and not host.startswith("[") and host != _LOCAL:
        raise InputError(
            f"{problem}, which engines do not take for a host: they read {host.lower()}/app as docker.io/"
            f"{host.lower()}/app, and send the password to Docker Hub",
            f"Use a name with a dot, or {cure}",
        )


def _ipv6_fault(host):
    found = _IPV6.fullmatch(host)
    known = found and _is_ipv6(found.group(1))
    return None if known else ("which is no host: the brackets hold no IPv6 address", "Correct the address")


def _is_ipv6(text):
    try:
        return bool(ipaddress.IPv6Address(text))
    except ValueError:
        return False


def _name_fault(host):
    """(what is wrong, the cure), or None."""
    for is_it, problem, cure in (
        (not host, "which names no host", "Give a host name or an address"),
        (":" in host, "which has a colon, as no host name", "Give an IPv6 address in brackets"),
        (not host.isascii(), "a host name with letters beyond ASCII", f"Write it as DNS has it{_in_dns(host)}"),
        ("_" in host, "a host name with an underscore, which engines refuse", "Use a name with hyphens in its place"),
        (host.endswith("."), "a host name with a dot at its end, which engines refuse", "Leave that dot out"),
        (
            host.startswith(".") or ".." in host,
            "a host name with an empty part: a dot at its start, or two in a row",
            "Correct it",
        ),
        (
            any(label[:1] == "-" or label[-1:] == "-" for label in host.split(".")),
            "a host name with a part that begins or ends with a hyphen, which engines refuse",
            "Correct it",
        ),
        (
            not all(_LABEL.fullmatch(label) for label in host.split(".")),
            "which is no host name",
            "Give letters, digits, hyphens and dots, without scheme, path or spaces",
        ),
        (
            max(map(len, host.split("."))) > _LONGEST_LABEL or len(host) > _LONGEST_NAME,
            "a host name that is too long for DNS",
            f"Give parts of up to {_LONGEST_LABEL} characters, {_LONGEST_NAME} in all",
        ),
        (
            _looks_numeric(host) and not _is_ipv4(host),
            "a host of numbers that is no IPv4 address",
            "Write four numbers from 0 to 255, without leading zeros",
        ),
    ):
        if is_it:
            return problem, cure
    return None


def _in_dns(host):
    try:
        return f", {host.encode('idna').decode('ascii')}"
    except UnicodeError:
        return ""


def _looks_numeric(host):
    return all(_NUMBER.fullmatch(part) for part in host.split("."))


def _is_ipv4(host):
    # Not by ipaddress, which takes leading zeros before Python 3.9.5.
    parts = host.split(".")
    return len(parts) == 4 and all(part.isdigit() and str(int(part)) == part and int(part) < 256 for part in parts)

# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The HTTP proxy that the environment names, as Go's httpproxy reads it. Private to this collection.

Docker, Podman, skopeo and crane are written in Go. What they reach without a proxy, the modules must reach without it
too: Python's own rules know no networks, no `*.` and no dot that stands for subdomains alone.
"""

from __future__ import annotations

import ipaddress
import os
import re
import urllib.parse

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError

_PORTS = {"http": "80", "https": "443"}


def proxy_for(scheme, netloc):
    """The proxy for a server, as a split URL, or None where it is asked directly. Raises InputError."""
    address = _variable(f"{scheme}_proxy")
    if not address or _is_direct(scheme, netloc):
        return None
    try:
        proxy = urllib.parse.urlsplit(address if "://" in address else "http://" + address)
        fits = proxy.scheme == "http" and proxy.hostname and proxy.port != 0
    except ValueError:
        fits = False
    if not fits:
        raise InputError(
            f"{scheme.upper()}_PROXY names no proxy that speaks HTTP", "Give http://host:port, or set NO_PROXY"
        )
    return proxy


def _variable(name):
    # Of both spellings Go takes the upper case first, and Python the lower.
    return os.environ.get(name.upper()) or os.environ.get(name) or ""


def _is_direct(scheme, netloc):
    parts = urllib.parse.urlsplit("//" + netloc)
    host, port = parts.hostname or "", str(parts.port or _PORTS[scheme])
    ip = _ip(host)
    if host == "localhost" or (ip is not None and ip.is_loopback):
        return True
    entries = [entry.strip().lower() for entry in _variable("no_proxy").split(",")]
    return "*" in entries or any(_fits(entry, host, port, ip) for entry in entries if entry)


def _fits(entry, host, port, ip):
    """Whether an entry of NO_PROXY means this host."""
    network = _network(entry) if "/" in entry else None
    if network is not None:
        return ip in network if ip is not None else False
    named, its_port = _split(entry)
    if not named or its_port not in ("", port):
        return False
    its_ip = _ip(named)
    if ip is not None or its_ip is not None:
        return ip == its_ip
    # `.example.com` and `*.example.com` are the hosts below it, `example.com` is that one, too.
    domain = named[1:] if named.startswith("*.") else named
    return host.endswith(domain) if domain.startswith(".") else host == domain or host.endswith("." + domain)


def _split(entry):
    """(host, port) of an entry, as Go's SplitHostPort: without a port, all of it is the host, brackets included."""
    if entry.startswith("["):
        inside, bracket, port = entry[1:].partition("]")
        return (inside, port[1:]) if bracket and port.startswith(":") else (entry, "")
    host, colon, port = entry.rpartition(":")
    return (host, port) if colon and ":" not in host else (entry, "")


def _ip(text):
    # ipaddress takes leading zeros before Python 3.9.5, and Go does not.
    if ":" not in text and re.search(r"(?:^|\.)0[0-9]", text):
        return None
    try:
        ip = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(ip, "ipv4_mapped", None) or ip


def _network(text):
    # Go knows no netmask.
    if not text.rpartition("/")[2].isdigit():
        return None
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None

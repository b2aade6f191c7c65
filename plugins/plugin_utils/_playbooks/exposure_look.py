# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the hosts of a fleet told of what they run, as the program `exposure` takes it."""

from __future__ import annotations

import urllib.parse


def exposure_look(hosts, registry, looked):
    """A look, see _exposure/fleet.py.

    hosts are {name: {"seen": a result of _running_images or None, "mirrors": a value of client_mirrors or None}}.
    registry is (name, port). looked is the time (RFC 3339).
    """
    return {
        "looked": looked,
        "hosts": [_host(name, told["seen"], mirrors_within(told["mirrors"], registry)) for name, told in hosts.items()],
    }


def _host(name, seen, mirrors):
    entry = {"name": name, "mirrors": mirrors, "platform": "", "containers": None, "unknown": [], "problem": ""}
    if not isinstance(seen, dict):
        # It is not in this run.
        return entry
    if not isinstance(seen.get("containers"), list):
        words = " ".join(str(seen.get("msg") or "there is no result").split()).rstrip(".")
        return {**entry, "problem": f"not reached: {words}" if seen.get("unreachable") else words}
    told = {"containers": seen["containers"], "unknown": seen.get("unknown") or []}
    return {**entry, **told, "platform": str(seen.get("platform") or "")}


def mirrors_within(mirrors, registry):
    """{another registry: paths of this one below which engines look for its images} of a value of client_mirrors."""
    name, port = registry
    if isinstance(mirrors, (list, str)):
        mirrors = {"docker.io": mirrors}
    found = {}
    for upstream, urls in (mirrors or {}).items():
        for url in [urls] if isinstance(urls, str) else urls:
            parts = urllib.parse.urlsplit(url)
            if (parts.hostname, _port(parts)) == (name.lower(), int(port)):
                found.setdefault(upstream, []).append(parts.path.strip("/"))
    return found


def _port(parts):
    try:
        return parts.port or (80 if parts.scheme == "http" else 443)
    except ValueError:
        return 0

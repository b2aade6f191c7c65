# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of registries, as clients write them. Pure functions. Private to this collection."""

from __future__ import annotations

import re

from ansible_collections.wharf.registry.plugins.module_utils._errors import InputError

HUB = "docker.io"

# Docker Hub is one registry under three host names: the one in image names, the one in Docker's configuration, and
# the one that speaks the distribution API.
_HUB_HOSTS = frozenset(["docker.io", "index.docker.io", "registry-1.docker.io"])
_HUB_API = "registry-1.docker.io"
_HUB_KEY = "https://index.docker.io/v1/"

# The domain of the distribution project's reference grammar.
_COMPONENT = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_DOMAIN = re.compile(rf"(?P<host>{_COMPONENT}(?:\.{_COMPONENT})*|\[[a-fA-F0-9:]+\])(?::(?P<port>[0-9]{{1,5}}))?")
_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*)://")
# What old clients put behind the host in a key that still means the whole registry.
_API_PATHS = frozenset(["", "/", "/v1", "/v1/", "/v2", "/v2/"])


class Registry:
    """A registry by the name that stands in image names: host[:port]. Upper case is kept, as Docker keeps it."""

    def __init__(self, name):
        self.name = name

    def __repr__(self):
        return f"Registry({self.name!r})"

    def __eq__(self, other):
        return isinstance(other, Registry) and self.name == other.name

    def __hash__(self):
        return hash(self.name)

    @property
    def is_hub(self):
        return self.name == HUB

    @property
    def api_host(self):
        """The host[:port] that speaks the distribution API."""
        return _HUB_API if self.is_hub else self.name

    @property
    def config_key(self):
        """The key that Docker itself writes into config.json and sends to credential helpers."""
        return _HUB_KEY if self.is_hub else self.name

    @property
    def podman_key(self):
        """The key that Podman itself writes into auth.json."""
        return self.name


def parse_registry(text):
    """The Registry that an option names: host[:port], with a scheme or a path that is passed over.

    Raises InputError with the reason.
    """
    rest = text.strip()
    scheme = _SCHEME.match(rest)
    if scheme:
        if scheme.group(1).lower() not in ("http", "https"):
            raise InputError(
                f"registry has the scheme {scheme.group(1)}://, which no registry speaks",
                "Give host or host:port",
            )
        rest = rest[scheme.end() :]
    rest = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if "@" in rest:
        # Not shown: what stands before the @ may be a password.
        raise InputError("registry holds an @", "Give host or host:port there, and the user by username and password")
    found = _DOMAIN.fullmatch(rest)
    if not found or (found.group("port") and not 0 < int(found.group("port")) < 65536):
        raise InputError(
            f"registry is {text!r}, which is no host name or address with an optional port",
            "Give host or host:port, an IPv6 address in brackets",
        )
    return Registry(HUB if rest.lower() in _HUB_HOSTS else rest)


def names_registry(key, registry):
    """Whether a key of a credential file, in any of the spellings in use, means the whole of this registry.

    Docker's old keys have a scheme and a path. Podman's may have a path that narrows them to a namespace, as does
    host/team: those are other credentials. So are Docker's own tokens for the Hub, which lie beside its key.
    """
    scheme = _SCHEME.match(key)
    rest = key[scheme.end() :] if scheme else key
    host, slash, path = rest.partition("/")
    if registry.is_hub:
        return host.lower() in _HUB_HOSTS and slash + path in _API_PATHS
    return host == registry.name and (bool(scheme) or slash + path in _API_PATHS)

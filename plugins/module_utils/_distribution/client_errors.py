# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a registry answers in place of what was asked for, as errors with a cure. Private to this collection."""

from __future__ import annotations

import re

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._distribution.auth import (
    RefusedError,
    parse_challenges,
    said,
    unexpected,
)
from ansible_collections.wharf.registry.plugins.module_utils._distribution.transport_errors import (
    AnswerError,
    UnreachableError,
)

# Where the layers of a manifest lie that has URLs for them: scheme, host and port.
_ADDRESS = re.compile(r"https?://[A-Za-z0-9.-]+(?::[0-9]{1,5})?(?=/|$)")


class DeniedError(RegistryError):
    """The registry knows the user, who may not do this."""


class UnsupportedError(RegistryError):
    """The registry does not do this for any user."""


class RequestError(RegistryError):
    """The registry finds fault with the request itself."""


class ConflictError(RegistryError):
    """Another client has changed the same thing in the meantime."""


# What is the same for every repository: there is no use in asking on.
EVERYWHERE = (UnreachableError, RefusedError)


def concerns_all(error):
    """Whether an error is of the registry as a whole, and not of what it was asked for."""
    return isinstance(error, EVERYWHERE) or error.mistake == "too_many_requests"


class AbsentError(Exception):
    """There is no such list: no such repository, or no catalogue at all."""


class ErrorWording:
    """The errors of one registry, name, for one user, the Credential or None."""

    def __init__(self, name, credential=None):
        self._name = name
        self._credential = credential

    def no(self, response, action):
        """The error for an answer that is not what was asked for."""
        name, words = self._name, said(response)
        if response.status == 403:
            return DeniedError(
                f"{name} answered 403: {self.who()} may not {action}{words}",
                "Use a user with the access that this needs",
                "wrong_account",
            )
        if response.status == 405:
            return UnsupportedError(
                f"{name} answered 405: it does not {action}{words}",
                "To delete, it needs storage.delete.enabled; a mirror of another registry takes nothing",
            )
        if response.status == 404:
            return AnswerError(f"{name} answered 404 when asked to {action}{words}", "Check the name of the repository")
        if 400 <= response.status < 500 and response.status != 429:
            return RequestError(f"{name} answered {response.status} when asked to {action}{words}")
        return unexpected(response, f"{name}, asked to {action},")

    def takes_no_urls(self, response, name, manifest):
        """The error for a manifest with foreign layers, which a registry answers with no more than a 500."""
        urls = [url for layer in manifest.parts.foreign for url in layer["urls"]]
        addresses = sorted({match.group() for match in map(_ADDRESS.match, urls) if match})
        allow = " and ".join(f"'^{re.escape(address)}/'" for address in addresses[:5]) or "a pattern of their addresses"
        return RegistryError(
            f"{self._name} answered {response.status} when asked to write {name}, the layers of which lie at "
            f"{', '.join(addresses) or 'other places'}",
            f"It refuses such layers unless it is told to take them: add {allow} to registry_manifest_urls_allow and "
            "run site.yml on the registry host. If that is done already, look at its log",
            "registry_error",
        )

    def who(self):
        username = self._credential.username if self._credential else ""
        return f"user {username!r}" if username else "this client"

    def turned_away(self, response):
        """The error for a 403 before any login, which is no matter of a user."""
        words = said(response)
        message = f"{self._name} answered 403 before any login{words}"
        if "certificate" in words.lower():
            return RefusedError(message, "Give one that it trusts by client_cert and client_key", "client_certificate")
        return RefusedError(
            message if words else f"{message}, as for an address that it does not serve",
            "Connect from a network that it allows, or add this one to reverse_proxy_allowed_networks and run site.yml "
            "on the registry host",
            "address_refused",
        )

    def refused(self, why):
        unnamed = self._credential is not None and not self._credential.username
        return RefusedError(
            f"{self._name} refuses {'the stored identity token' if unnamed else self.who()}: {why}",
            "Correct the name or the password; one that worked before was changed or revoked",
            "wrong_password",
        )

    def no_way_in(self, response):
        schemes = ", ".join(sorted(parse_challenges(response.headers.get_all("WWW-Authenticate") or []))) or "nothing"
        if self._credential is None:
            return RefusedError(
                f"{self._name} asks for a login ({schemes})",
                "Give username and password, or log this account in before",
                "not_logged_in",
            )
        if schemes == "basic":
            return RefusedError(
                f"{self._name} asks for a password, and what is stored is an identity token",
                "Give username and password",
            )
        return self.asks_for_the_unknown([schemes])

    def asks_for_the_unknown(self, schemes):
        return AnswerError(
            f"{self._name} asks for an authentication that is neither Basic nor Bearer "
            f"({', '.join(schemes) or 'nothing'})",
            "Check the proxy in front of the registry",
        )

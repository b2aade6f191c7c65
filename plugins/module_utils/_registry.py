# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The distribution API of one registry. Private to this collection."""

from __future__ import annotations

import urllib.parse

from ansible_collections.wharf.registry.plugins.module_utils._auth import (
    Authenticator,
    RefusedError,
    parse_challenges,
    said,
    unexpected,
)
from ansible_collections.wharf.registry.plugins.module_utils._http import AnswerError

_API_HEADER = "Docker-Distribution-Api-Version"


class Api:
    """Asks one registry as one user."""

    def __init__(self, registry, client, credential=None, plain_http=False):
        self._registry = registry
        self._client = client
        self._credential = credential
        self._base = ("http://" if plain_http else "https://") + registry.api_host
        self._authenticator = Authenticator(client, registry.name, credential)

    def ping(self):
        """Asks /v2/, and returns whether the registry took the credentials: False where it asks for none.

        Raises RefusedError where it does not take them, and other RegistryErrors where it does not answer as a
        registry.
        """
        name = self._registry.name
        response = self._client.request("GET", self._base + "/v2/")
        self._stays_here(response)
        if response.status == 401:
            try:
                authorization = self._authenticator.answer(response)
            except RefusedError as error:
                raise self._refused(error.message) from None
            if authorization is None:
                raise self._no_way_in(response)
            response = self._client.request("GET", self._base + "/v2/", {"Authorization": authorization})
            if response.status == 401:
                raise self._refused(f"it answered 401{said(response)}")
            if response.status == 200:
                return True
        if response.status == 200:
            if not _looks_like_registry(response):
                raise AnswerError(f"{name} answers, but not as a registry", "Correct the host or the port")
            return False
        if response.status == 403:
            raise RefusedError(
                f"{name} answered 403: {self._who()} may not use it{said(response)}",
                "Look at the user's access and at the networks that the registry allows",
            )
        if response.status == 404:
            raise AnswerError(
                f"{name} answered 404: there is no registry at {self._base}/v2/", "Correct the host or the port"
            )
        raise unexpected(response, name)

    def _who(self):
        username = self._credential.username if self._credential else ""
        return f"user {username!r}" if username else "this client"

    def _refused(self, why):
        who = self._who() if self._credential and self._credential.username else "the stored identity token"
        return RefusedError(
            f"{self._registry.name} refuses {who}: {why}",
            "Correct the name or the password; one that worked before was changed or revoked",
        )

    def _no_way_in(self, response):
        schemes = ", ".join(sorted(parse_challenges(response.headers.get_all("WWW-Authenticate") or []))) or "nothing"
        if self._credential is None:
            return RefusedError(f"{self._registry.name} asks for a login ({schemes})", "Give username and password")
        if schemes == "basic":
            return RefusedError(
                f"{self._registry.name} asks for a password, and what is stored is an identity token",
                "Give username and password",
            )
        return AnswerError(
            f"{self._registry.name} asks for an authentication that is neither Basic nor Bearer ({schemes})",
            "Look at the proxy before the registry",
        )

    def _stays_here(self, response):
        here, there = urllib.parse.urlsplit(self._base).netloc, urllib.parse.urlsplit(response.url).netloc
        if here != there:
            raise AnswerError(
                f"{self._registry.name} redirects to {there}",
                "Clients do not send passwords along: use that name as the registry",
            )


def _looks_like_registry(response):
    """Whether an answer without a challenge is a registry's. Any web server can answer 200."""
    kind = response.headers.get_content_type()
    return _API_HEADER in response.headers or kind == "application/json" or not response.body.strip()

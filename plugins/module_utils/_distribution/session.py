# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests to the API of one registry, with the login that it asks for. Private to this collection."""

from __future__ import annotations

import functools
import json
import re
import urllib.parse

from ansible_collections.wharf.registry.plugins.module_utils._common.reference import is_repository, is_tag
from ansible_collections.wharf.registry.plugins.module_utils._distribution.auth import Authenticator, RefusedError, said
from ansible_collections.wharf.registry.plugins.module_utils._distribution.client_errors import (
    AbsentError,
    DeniedError,
    ErrorWording,
)
from ansible_collections.wharf.registry.plugins.module_utils._distribution.http_message import Upload
from ansible_collections.wharf.registry.plugins.module_utils._distribution.manifest import shown
from ansible_collections.wharf.registry.plugins.module_utils._distribution.transport import BODY_LIMIT
from ansible_collections.wharf.registry.plugins.module_utils._distribution.transport_errors import AnswerError

# What a token has to allow; what is not named here changes something.
_ACTIONS = {"GET": "read", "HEAD": "read", "DELETE": "delete"}
# Bytes of one page of a list: some hundred thousand names.
_LIST_LIMIT = 64 << 20

# Of one user, as a cache has them that runs for years. They are asked for again.
_MOST_AUTHORIZATIONS = 1000


class Session:
    """Sends requests to one registry as one user. Each thread needs one of its own.

    Those of one user may share a dictionary of authorizations: what one was given serves the others, too.
    """

    def __init__(self, registry, client, credential=None, plain_http=False, authorizations=None):
        self.registry = registry
        self._client = client
        self._base = ("http://" if plain_http else "https://") + registry.api_host
        self._errors = ErrorWording(registry.name, credential)
        self._authenticator = Authenticator(client, registry.name, credential)
        # The Authorization header that was taken last, by what it was for: tokens are for one repository.
        self._authorizations = {} if authorizations is None else authorizations

    def open(self):
        """Opens the connection before it is needed. Where that fails, the first request says why."""
        self._client.open(self._base)

    def close(self):
        self._client.close()

    def _ask(self, method, target, repository="", **sent):
        """The Response to one request, with a login where the registry asks for one.

        sent may hold headers, body, limit (bytes of the answer), stream and mount_from (the other repository that it
        reads). An Upload is sent with the login that its session began with, and not again.
        """
        # Tokens differ by repository and by whether something is written; Basic is the same for all.
        purpose = repository, _ACTIONS.get(method, "change"), sent.pop("mount_from", "")
        request = functools.partial(self._send, method, target, **sent)
        response = request(self._authorizations.get(purpose) or self._authorizations.get("basic"))
        if response.status != 401 or isinstance(sent.get("body"), Upload):
            return response
        return self._authorized(response, request, purpose)

    def _send(self, method, target, authorization=None, *, headers=None, body=None, limit=BODY_LIMIT, stream=False):
        headers = dict(headers or {})
        if authorization:
            headers["Authorization"] = authorization
        return self._client.request(method, self._base + target, headers, body, limit, stream=stream)

    def _authorized(self, response, request, purpose=None):
        """The answer to the same request with a login. Raises RefusedError where the login is not taken."""
        # Where a redirect leads to may ask for a login, and name a token server of its own.
        self._stays_here(response)
        try:
            authorization = self._authenticator.answer(response)
        except RefusedError as error:
            raise self._errors.refused(error.message) from None
        if authorization is None:
            raise self._errors.no_way_in(response)
        response = request(authorization)
        if response.status == 401:
            if authorization.startswith("Bearer ") and purpose is not None:
                # The token server took the login, and gave less than this needs.
                repository = purpose[0]
                raise DeniedError(
                    f"{self.registry.name} answered 401: {self._errors.who()} may not "
                    f"{purpose[1]} {repository or 'this'}{said(response)}",
                    "Check the name of the repository, and use a user with the access that this needs",
                    "wrong_account",
                )
            raise self._errors.refused(f"it answered 401{said(response)}")
        if len(self._authorizations) >= _MOST_AUTHORIZATIONS:
            self._authorizations.clear()
        self._authorizations["basic" if authorization.startswith("Basic ") else purpose] = authorization
        return response

    def _location(self, response):
        """Where an upload goes on, as a target on this registry. Raises AnswerError where it would leave it."""
        return self._target(response, response.headers.get("Location") or "")

    def _target(self, response, link):
        try:
            parts = urllib.parse.urlsplit(urllib.parse.urljoin(response.url, link))
        except ValueError:
            parts = urllib.parse.urlsplit("")
        if parts.netloc != urllib.parse.urlsplit(self._base).netloc or not parts.path.startswith("/v2/"):
            shown = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="")
            raise AnswerError(
                f"{self.registry.name} sends clients to {shown.geturl() or 'nowhere'} in the middle of a request",
                "Correct http.host or http.relativeurls of the registry, or the headers that its proxy sets",
            )
        return parts.path + ("?" + parts.query if parts.query else "")

    def _pages(self, target, name, what, repository="", odd=None):
        """Yields the names of a list that may come in pages, each once."""
        fits = is_tag if name == "tags" else is_repository
        asked, known, strange = set(), set(), set()
        while True:
            asked.add(target)
            response = self._ask("GET", target, repository, limit=_LIST_LIMIT)
            if response.status == 400 and "n=" in target and len(asked) == 1:
                # One that gives less at once than others.
                target = target.partition("?")[0]
                continue
            if response.status == 404:
                raise AbsentError(f"it answered 404 when asked to list {what}")
            if response.status != 200:
                raise self._errors.no(response, f"list {what}")
            listed = self._listed(response, name, what)
            # They become parts of URLs: what is no name can't be asked for.
            named = [one for one in listed if isinstance(one, str) and fits(one)]
            names = [one for one in dict.fromkeys(named) if one not in known]
            strangers = {shown(one) for one in listed if not (isinstance(one, str) and fits(one))} - strange
            known.update(names)
            strange.update(strangers)
            if odd is not None:
                odd.extend(sorted(strangers))
            yield from names
            link = next_page(response)
            if link is None:
                return
            target = self._target(response, link)
            # Each page must bring something, or it would never end.
            if target in asked or not (names or strangers):
                raise AnswerError(f"{self.registry.name} lists {what} in a loop", "Check the proxy in front of it")

    def _listed(self, response, name, what):
        try:
            listed = json.loads(response.body)[name]
        except (ValueError, KeyError, TypeError, RecursionError):
            listed = {}
        # An emptied repository has null for its tags.
        listed = [] if listed is None else listed
        if not isinstance(listed, list):
            raise AnswerError(f"{self.registry.name} answers, but not with {what}", "Check that it is a registry")
        return listed

    def _stays_here(self, response):
        here, there = urllib.parse.urlsplit(self._base).netloc, urllib.parse.urlsplit(response.url).netloc
        if here != there:
            raise AnswerError(
                f"{self.registry.name} redirects to {there}",
                "Clients do not send passwords along: use that name as the registry",
            )


def next_page(response):
    """What the Link header names as the next page, or None."""
    for link in response.headers.get_all("Link") or []:
        found = re.search(r'<([^>]*)>\s*;[^,]*\brel="?next\b', link)
        if found:
            return found.group(1)
    return None

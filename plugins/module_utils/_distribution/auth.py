# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Basic and Bearer challenges, answered as the distribution project specifies. Private to this collection."""

from __future__ import annotations

import json
import re
import time
import urllib.parse

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError, RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._common.password import check_password, encoded_pair
from ansible_collections.wharf.registry.plugins.module_utils._distribution.transport import retry_after
from ansible_collections.wharf.registry.plugins.module_utils._distribution.transport_errors import AnswerError

_CLIENT_ID = "wharf.registry"
# Bytes of a token server's answer.
_TOKEN_LIMIT = 1 << 20
# What a token is worth when the server does not say, and the least that clients reckon with, in seconds.
_LEAST_LIFE = 60
_LONGEST_LIFE = 10 * 365 * 86400
# A token is not used in its last seconds: the request has to arrive, and clocks differ.
_MARGIN = 10

# The registry's driver of file systems gives the number of the error: ENOSPC or EDQUOT.
_NO_SPACE = re.compile(rb'"Err":\s*(?:28|122)\b|no space left on device')

_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_SCHEME = re.compile(rf"[\s,]*({_WORD})(?=\s|,|$)")
_PARAMETER = re.compile(rf'[\s,]*({_WORD})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')


class RefusedError(RegistryError):
    """The registry, or the token server that it names, does not take the credentials."""


class Credential:
    """A user name with a password, or with an identity token in its place."""

    def __init__(self, username, password="", identity_token=""):
        self.username = username
        self.password = password
        self.identity_token = identity_token

    def __eq__(self, other):
        return isinstance(other, Credential) and self._key() == other._key()

    def __hash__(self):
        return hash(self._key())

    def _key(self):
        return self.username, self.password, self.identity_token

    @property
    def secret(self):
        return self.identity_token or self.password

    @property
    def basic(self):
        """The value of an Authorization header."""
        return "Basic " + encoded_pair(self.username, self.password)


def check_credential(credential):
    """Raises InputError where no client could send or store this credential."""
    if not credential.username or ":" in credential.username:
        raise InputError(
            f"username is {credential.username!r}",
            "It must not be empty, nor hold a colon: HTTP separates name and password by one",
        )
    if credential.username != credential.username.strip():
        raise InputError(
            f"username is {credential.username!r}, with white space around it, which clients do not send", "Remove it"
        )
    if re.search(r"[\x00-\x1f\x7f\ud800-\udfff]", credential.username):
        raise InputError("username holds a control character, or what is not text", "Remove it")
    check_password(credential.password)


def parse_challenges(headers):
    """{scheme in lower case: {parameter: value}} of all WWW-Authenticate headers."""
    challenges = {}
    for header in headers:
        position = 0
        while True:
            scheme = _SCHEME.match(header, position)
            if not scheme:
                break
            position = scheme.end()
            parameters = challenges.setdefault(scheme.group(1).lower(), {})
            while True:
                found = _PARAMETER.match(header, position)
                if not found:
                    break
                quoted, plain = found.group(2), found.group(3)
                parameters[found.group(1).lower()] = plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
                position = found.end()
    return challenges


class Authenticator:
    """Turns challenges of one registry into Authorization headers. Tokens are kept while they live, by scope."""

    def __init__(self, client, registry, credential=None):
        self._client = client
        self._registry = registry
        self._credential = credential
        self._tokens = {}

    def answer(self, response):
        """The Authorization header for a 401, or None where the challenge asks for nothing that is known.

        Raises RefusedError where a token server says no.
        """
        challenges = parse_challenges(response.headers.get_all("WWW-Authenticate") or [])
        if "bearer" in challenges:
            return "Bearer " + self._token(response, challenges["bearer"])
        if "basic" in challenges and self._credential is not None:
            # An identity token is for token servers. Where there is none, it is of no use.
            return self._credential.basic if self._credential.password else None
        return None

    def _token(self, response, challenge):
        key = realm, service, scope = tuple(challenge.get(name, "") for name in ("realm", "service", "scope"))
        token, end = self._tokens.get(key, ("", 0.0))
        if time.monotonic() >= end:
            self._check_realm(response, realm)
            began = time.monotonic()
            token, life = self._fetch(realm, service, scope)
            # A long run asks for many repositories.
            self._tokens = {one: known for one, known in self._tokens.items() if known[1] > began}
            self._tokens[key] = token, began + life - _MARGIN
        return token

    def _check_realm(self, response, realm):
        try:
            scheme, netloc = urllib.parse.urlsplit(realm)[:2]
            netloc = netloc.rpartition("@")[2]
        except ValueError:
            scheme = netloc = ""
        if scheme not in ("http", "https") or not netloc:
            raise AnswerError(
                f"{self._registry} names no token server that can be asked", "Correct auth.token.realm of the registry"
            )
        if scheme == "http" and response.url.startswith("https:"):
            raise AnswerError(
                f"{self._registry} sends clients to the token server {netloc} over HTTP",
                "The password must not travel in clear: correct auth.token.realm of the registry",
            )

    def _fetch(self, realm, service, scope):
        credential = self._credential
        if credential is not None and credential.identity_token:
            answer = self._post(realm, service, scope)
            if answer.status not in (404, 405):
                return self._parse(answer, realm)
        return self._parse(self._get(realm, service, scope), realm)

    def _post(self, realm, service, scope):
        form = {
            "grant_type": "refresh_token",
            "refresh_token": self._credential.identity_token,
            "service": service,
            "client_id": _CLIENT_ID,
            "scope": scope,
        }
        return self._client.request(
            "POST",
            realm,
            {"Content-Type": "application/x-www-form-urlencoded"},
            urllib.parse.urlencode({name: value for name, value in form.items() if value}).encode("ascii"),
            limit=_TOKEN_LIMIT,
        )

    def _get(self, realm, service, scope):
        credential = self._credential
        headers, query = {}, [("service", service), ("client_id", _CLIENT_ID)]
        # More than one scope is sent as more than one parameter.
        query += [("scope", one) for one in scope.split()]
        if credential is not None:
            query.append(("account", credential.username))
            headers["Authorization"] = "Basic " + encoded_pair(credential.username, credential.secret)
        parts = urllib.parse.urlsplit(realm)
        query = urllib.parse.parse_qsl(parts.query) + [(name, value) for name, value in query if value]
        url = urllib.parse.urlunsplit(parts._replace(query=urllib.parse.urlencode(query), fragment=""))
        return self._client.request("GET", url, headers, limit=_TOKEN_LIMIT)

    def _parse(self, answer, realm):
        server = urllib.parse.urlsplit(realm).netloc.rpartition("@")[2]
        if answer.status in (400, 401, 403):
            raise RefusedError(f"the token server {server} answered {answer.status}{said(answer)}")
        if answer.status != 200:
            raise unexpected(answer, f"The token server {server}")
        try:
            content = json.loads(answer.body)
            token = content.get("token") or content.get("access_token")
            life = content.get("expires_in") or _LEAST_LIFE
        except (ValueError, AttributeError, RecursionError):
            token = life = None
        if not isinstance(token, str) or not re.fullmatch(r"[\x21-\x7e]+", token) or not isinstance(life, (int, float)):
            raise AnswerError(
                f"The token server {server} answered without a token",
                "Check what auth.token.realm of the registry names",
            )
        return token, life if _LEAST_LIFE < life < _LONGEST_LIFE else _LEAST_LIFE


def said(response):
    """What the protocol's error document says, as ': words', or nothing. Only printable text, and not much of it."""
    try:
        content = json.loads(response.body)
        # The distribution's form, else that of OAuth 2.
        words = [error.get("message") or error.get("code") for error in content.get("errors") or []]
        words = words or [content.get("error_description") or content.get("details") or content.get("error")]
        text = "; ".join(word for word in words if isinstance(word, str))
    except (ValueError, AttributeError, TypeError, RecursionError):
        return ""
    text = re.sub(r"[^\x20-\x7e]+", " ", text).strip()[:300]
    return f": {text}" if text else ""


def unexpected(response, server):
    """The error for a status that is neither yes nor no."""
    status = response.status
    if status == 429:
        wait = retry_after(response)
        how_long = "later" if wait is None else f"in {wait:.0f} seconds"
        return RegistryError(
            f"{server} answered 429: too many requests{said(response)}",
            f"Try again {how_long}, from fewer hosts at once (serial, throttle), or raise its rate limit",
            "too_many_requests",
        )
    if status == 400 and b"certificate" in response.body:
        return RegistryError(
            f"{server} answered 400: it asks for a client certificate",
            "Give one that it trusts by client_cert and client_key",
            "client_certificate",
        )
    if status >= 500 and _NO_SPACE.search(response.body):
        return RegistryError(
            f"{server} answered {status}: there is no space left on its storage",
            "Make room on the disk of the registry host: remove tags, and collect what nothing refers to",
            "registry_full",
        )
    if status >= 500:
        return RegistryError(
            f"{server} answered {status}{said(response)}",
            "It is there and can't serve now: look at its log, and at those of the proxies before it",
            "registry_error",
        )
    return AnswerError(f"{server} answered {status}{said(response)}", "Check that it is a registry")

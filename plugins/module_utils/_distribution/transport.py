# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP with kept-alive connections, time limits that hold, retries and redirects. Private to this collection.

An answer of any status is a Response; an exception means that there was no answer that could be used.
"""

from __future__ import annotations

import contextlib
import datetime
import email.utils
import http.client
import re
import time
import urllib.parse

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError, RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._distribution.http_connection import (
    ServerConnection,
    resolved,
)
from ansible_collections.wharf.registry.plugins.module_utils._distribution.http_message import TooLongError, Upload
from ansible_collections.wharf.registry.plugins.module_utils._distribution.transport_errors import (
    OF_THE_WAY,
    AnswerError,
    UnreachableError,
    by_proxy,
    explained,
    server_of,
    speaks_https,
)

# Bytes of an answer that is held in memory. The distribution project takes manifests of up to 4 MiB.
BODY_LIMIT = 4 << 20

_CHECK_PROXIES = "Check the proxies in front of the registry"
_LONGEST_TIMEOUT = 86400  # seconds
_MOST_REDIRECTS = 5
_REDIRECTS = frozenset([301, 302, 303, 307, 308])
_BUSY = frozenset([429, 502, 503, 504])
_REPEATABLE = frozenset(["GET", "HEAD", "PUT", "DELETE"])


def check_timeout(seconds):
    """Raises InputError for a time limit that is none."""
    if not 1 <= seconds <= _LONGEST_TIMEOUT:
        raise InputError(f"timeout is {seconds}", f"Give seconds, from 1 to {_LONGEST_TIMEOUT}")


class Response:
    """The status, headers and body of an answer, and the URL that gave it.

    pieces yields the body of one that is streamed, where body is None. It ends with a RegistryError where that breaks.
    """

    def __init__(self, status, headers, body, url, pieces=None):
        self.status = status
        self.headers = headers
        self.body = body
        self.url = url
        self.pieces = pieces


class HttpClient:
    """Sends requests, and keeps one connection to each server alive. Each thread needs a client of its own.

    timeout is in seconds, for one request from the connection to the last byte. A server that is busy is asked
    again, at most `attempts` times in all, and all waits together are no longer than the timeout. With follow=False, a
    redirect is a Response like others.
    """

    def __init__(self, tls, timeout=30, attempts=3, *, follow=True):
        self._tls = tls
        self._timeout = timeout
        self._attempts = attempts
        self._follow = follow
        self._connections = {}
        # Those of them on which the body of an answer is still to come.
        self._streaming = set()

    def __enter__(self):
        return self

    def __exit__(self, *_exception):
        self.close()

    def open(self, url):
        """Connects, where that can be done, so that the first request need not."""
        scheme, netloc = urllib.parse.urlsplit(url)[:2]
        try:
            self._connection(scheme, netloc).open()
        except (OSError, http.client.HTTPException, RegistryError, ValueError):
            self._forget(scheme, netloc)

    def close(self):
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()

    def step(self, name, url):
        """Takes one step towards a server, so that the caller learns which one fails, and returns what is said of it.

        The steps are name, connection and TLS, in this order. The requests that follow use the connection. Raises
        RegistryError.
        """
        scheme, netloc = urllib.parse.urlsplit(url)[:2]
        try:
            return getattr(self, f"_step_{name.lower()}")(scheme, netloc)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self._forget(scheme, netloc)
            by = by_proxy(scheme, netloc)
            failure = explained(error, scheme, netloc + by, self._timeout, BODY_LIMIT)
            if by and failure.mistake in OF_THE_WAY:
                failure.cure = f"Correct {scheme.upper()}_PROXY, or add the registry to NO_PROXY"
                failure.mistake = "proxy"
            raise failure from None

    def _step_name(self, scheme, netloc):
        host, port = self._connection(scheme, netloc).address
        found = resolved(host, port, self._timeout)
        return f"{host} is {', '.join(found)}" + by_proxy(scheme, netloc)

    def _step_connection(self, scheme, netloc):
        connection = self._connection(scheme, netloc)
        connection.reach()
        return "{}:{} accepts connections".format(*connection.address) + by_proxy(scheme, netloc)

    def _step_tls(self, scheme, netloc):
        return f"{netloc} speaks {self._connection(scheme, netloc).secure()}, and its certificate is trusted"

    def certificate(self, url):
        """The certificate that a server shows, as DER, once TLS was begun; empty where there is none to see."""
        scheme, netloc = urllib.parse.urlsplit(url)[:2]
        return self._connection(scheme, netloc).certificate()

    def request(self, method, url, headers=None, body=None, limit=BODY_LIMIT, *, stream=False):
        """The Response, after redirects. Raises UnreachableError or AnswerError, and never shows a header or a body.

        body is bytes, an Upload or None. With stream, the body of a success is read by its pieces, before the next
        request or never, and the time limit is for each wait.
        """
        asked, headers = url, {"User-Agent": "wharf.registry", **(headers or {})}
        for _redirect in range(_MOST_REDIRECTS + 1):
            try:
                response = self._persist(method, url, headers, body, limit, stream=stream)
            except RegistryError as error:
                if url != asked:
                    error.message = f"{server_of(asked)} redirects to {server_of(url)}. {error.message}"
                raise
            if response.status not in _REDIRECTS or method not in ("GET", "HEAD") or not self._follow:
                return response
            url, headers = _redirected(response, headers)
        raise AnswerError(
            f"{server_of(url)} redirects more than {_MOST_REDIRECTS} times",
            "Check the proxies in front of the registry",
        )

    def _persist(self, method, url, headers, body, limit, *, stream):
        patience = self._timeout
        # What is sent as it comes can't be sent again.
        attempt = self._attempts if isinstance(body, Upload) else 1
        while True:
            try:
                response = self._once(method, url, headers, body, limit, stream=stream)
            except (UnreachableError, AnswerError) as error:
                # An answer that was cut short may be whole the next time; all else stays as it is.
                if not getattr(error, "passing", False) or method not in _REPEATABLE or attempt >= self._attempts:
                    raise
                pause = _backoff(attempt)
            else:
                busy = response.status in _BUSY or (response.status == 500 and method in _REPEATABLE)
                if not busy or attempt >= self._attempts:
                    return response
                asked = retry_after(response)
                pause = _backoff(attempt) if asked is None else asked
                if pause > patience:
                    return response
            time.sleep(pause)
            patience -= pause
            attempt += 1

    def _once(self, method, url, headers, body, limit, *, stream):
        scheme, netloc, path, query, _fragment = urllib.parse.urlsplit(url)
        # What a redirect or a token server's address may hold before the @ is neither used nor shown.
        netloc = netloc.rpartition("@")[2]
        target = (path or "/") + ("?" + query if query else "")
        try:
            connection = self._connection(scheme, netloc)
            try:
                answer = connection.exchange(method, target, headers, body, limit, stream=stream)
            except (ConnectionError, http.client.RemoteDisconnected):
                # The server closed a connection that it had kept alive until now. That is no failure of this request.
                if not connection.used or method not in _REPEATABLE or isinstance(body, Upload):
                    raise
                connection.close()
                connection.used = False
                answer = connection.exchange(method, target, headers, body, limit, stream=stream)
        except (OSError, http.client.HTTPException, TooLongError, ValueError) as error:
            self._forget(scheme, netloc)
            raise explained(error, scheme, netloc + by_proxy(scheme, netloc), self._timeout, limit) from None
        except BaseException:
            self._forget(scheme, netloc)
            raise
        response = Response(answer.status, answer.headers, answer.body, url)
        if answer.body is None:
            response.pieces = self._pieces(answer, scheme, netloc)
            # Until the last of them has come, the connection is of no use for another request.
            self._streaming.add((scheme, netloc))
            return response
        if scheme == "http" and response.status == 400 and b"https" in response.body.lower():
            raise speaks_https(netloc)
        return response

    def _pieces(self, answer, scheme, netloc):
        try:
            yield from answer.pieces()
        except (OSError, http.client.HTTPException, TooLongError) as error:
            self._forget(scheme, netloc)
            raise explained(error, scheme, netloc + by_proxy(scheme, netloc), self._timeout, 0) from None
        except BaseException:
            self._forget(scheme, netloc)
            raise
        self._streaming.discard((scheme, netloc))
        if answer.closes:
            self._forget(scheme, netloc)

    def _connection(self, scheme, netloc):
        if (scheme, netloc) in self._streaming:
            # What was not read to its end.
            self._forget(scheme, netloc)
        if (scheme, netloc) not in self._connections:
            self._connections[scheme, netloc] = ServerConnection(scheme, netloc, self._tls, self._timeout)
        return self._connections[scheme, netloc]

    def _forget(self, scheme, netloc):
        self._streaming.discard((scheme, netloc))
        connection = self._connections.pop((scheme, netloc), None)
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.close()


def _backoff(attempt):
    return 0.5 * 2 ** (attempt - 1)


def retry_after(response):
    """The seconds that the server asks to wait, or None. Both forms of the header are in use: seconds and a date."""
    value = (response.headers.get("Retry-After") or "").strip()
    if re.fullmatch(r"[0-9]{1,9}", value):
        return float(value)
    try:
        date = email.utils.parsedate_to_datetime(value)
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=datetime.timezone.utc)
    return max(0.0, (date - datetime.datetime.now(datetime.timezone.utc)).total_seconds())


def _redirected(response, headers):
    """Where a redirect leads, and the headers to go there with."""
    before = urllib.parse.urlsplit(response.url)
    try:
        after = urllib.parse.urlsplit(urllib.parse.urljoin(response.url, response.headers.get("Location") or ""))
    except ValueError:
        after = urllib.parse.urlsplit("")
    if not response.headers.get("Location") or after.scheme not in ("http", "https") or not after.hostname:
        raise AnswerError(
            f"{server_of(response.url)} redirects to nowhere", "Check the proxies in front of the registry"
        )
    if before.scheme == "https" and after.scheme != "https":
        raise AnswerError(
            f"{server_of(response.url)} redirects from HTTPS to HTTP ({after.scheme}://{after.hostname})",
            "Passwords and images must not travel in clear: correct the proxy in front of the registry",
        )
    if (before.scheme, before.netloc) != (after.scheme, after.netloc):
        # The password of one server is not for another.
        headers = {name: value for name, value in headers.items() if name.lower() != "authorization"}
    return urllib.parse.urlunsplit(after._replace(fragment="")), headers

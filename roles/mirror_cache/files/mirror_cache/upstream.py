# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One upstream registry: asked as rarely as can be, and left alone for a while after it has failed."""

from __future__ import annotations

import contextlib
import threading
import time

from ansible_collections.wharf.registry.plugins.module_utils._client_config.connection import Connection
from ansible_collections.wharf.registry.plugins.module_utils._common.errors import RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._distribution.auth import RefusedError
from ansible_collections.wharf.registry.plugins.module_utils._distribution.client_errors import concerns_all
from ansible_collections.wharf.registry.plugins.module_utils._distribution.pool import Pool
from ansible_collections.wharf.registry.plugins.module_utils._distribution.transport import HttpClient, retry_after
from ansible_collections.wharf.registry.plugins.module_utils._distribution.transport_errors import UnreachableError
from ansible_collections.wharf.registry.plugins.module_utils._transfer.budget import PULL, told_limit

# Seconds without a question, after no answer, an answer of 500 or more, a refused login, and a 429 that names no time.
_AFTER_SILENCE = 15
_AFTER_ERROR = 5
_AFTER_REFUSAL = 60
_AFTER_LIMIT = 60
_LONGEST_PAUSE = 3600
# Repositories that are left alone, each by itself.
_MOST_PAUSES = 10000
# Blobs that are fetched at the same time.
_MOST_FETCHES = 32


class AwayError(RegistryError):
    """The upstream can't be asked now. status is that of the answer to a client, seconds when to try again."""

    def __init__(self, error, status, seconds):
        super().__init__(error.message, error.cure, error.mistake)
        self.status = status
        self.seconds = seconds


class Upstream:
    """The registry of this name. options are those of a connection.

    reserve is the number of pulls that are left to others where the registry tells how many are left.
    """

    def __init__(self, name, options, reserve=0):
        self.name = name
        self._reserve = reserve
        self._lock = threading.Lock()
        # Until when it is left alone and why, as a whole (None) and by repository: {name: (end, began, AwayError)}.
        self._pauses = {}
        # For the state: pulls that are left, None where the registry does not tell; when it was away since, as seconds
        # of the epoch, or None; when it has answered last.
        self.remaining = None
        self.away_since = None
        self.answered = None
        self.problem = ""
        self._asked_to_wait = None
        self.slots = threading.BoundedSemaphore(_MOST_FETCHES)
        self.pool = Pool(_Connection(options, self).apis())

    @contextlib.contextmanager
    def client(self, repository):
        """A client for one question. Raises AwayError where there is no answer, and RegistryErrors of one image."""
        with self.asking(repository), self.pool.client() as client:
            yield client

    @contextlib.contextmanager
    def asking(self, repository):
        """What is asked within counts as answered, or not. Raises as client()."""
        began = time.monotonic()
        self.check_pause(repository)
        try:
            yield
        except AwayError:
            raise
        except RegistryError as error:
            raise self._failed(error, repository) from None
        self._succeeded(began, repository)

    def check_pause(self, repository):
        """Raises AwayError while it is left alone."""
        now = time.monotonic()
        with self._lock:
            for key in (None, repository):
                end, _began, failure = self._pauses.get(key, (0, 0, None))
                if now < end:
                    raise AwayError(failure, failure.status, max(round(end - now), 1))

    def _succeeded(self, began, repository):
        with self._lock:
            self.answered = time.time()
            for key in (None, repository):
                # A failure that came meanwhile counts.
                if self._pauses.get(key, (0, 0, None))[1] < began:
                    self._pauses.pop(key, None)
            if None not in self._pauses:
                self.away_since = None
                self.problem = ""

    def _failed(self, error, repository):
        """Notes a failure, and returns it as a client is to be told of it. One that concerns one image passes."""
        if not concerns_all(error) and error.mistake != "registry_error":
            return error
        key, status, seconds = None, 503, _AFTER_SILENCE
        with self._lock:
            if error.mistake == "too_many_requests":
                asked, self._asked_to_wait = self._asked_to_wait, None
                status, seconds = 429, min(max(asked or _AFTER_LIMIT, 1), _LONGEST_PAUSE)
            elif isinstance(error, RefusedError):
                # Token servers refuse a login for one repository that it may not read, too.
                key, status, seconds = repository, 403, _AFTER_REFUSAL
            elif not isinstance(error, UnreachableError):
                key, seconds = repository, _AFTER_ERROR
            away = AwayError(error, status, max(round(seconds), 1))
            if key is not None or self.away_since is None:
                print(f"{self.name}: {repository}: {error}", flush=True)
            if key is None:
                self.away_since = self.away_since or time.time()
            self.problem = str(error)
            now = time.monotonic()
            self._pauses = {one: pause for one, pause in self._pauses.items() if pause[0] > now}
            if len(self._pauses) < _MOST_PAUSES:
                self._pauses[key] = now + seconds, now, away
        return away

    # --- what its answers tell of the limit of pulls ------------------------------------------------------------------

    def check_budget(self):
        """Raises RegistryError where the pulls that are left are for others."""
        with self._lock:
            if self._reserve and self.remaining is not None and self.remaining <= self._reserve:
                raise RegistryError(
                    f"{self.name} allows {self.remaining} more pulls in this window, and min_remaining is "
                    f"{self._reserve}",
                    "Try again later, or log the cache in as a user with a higher limit",
                    "too_many_requests",
                )

    def note(self, response):
        found = told_limit(response)
        with self._lock:
            if found is not None:
                self.remaining = found[0]
            if response.status == 429:
                self._asked_to_wait = retry_after(response)


class _Client(HttpClient):
    """An HttpClient that notes what answers tell of the limit, and asks once: clients of the cache ask again."""

    def __init__(self, tls, timeout, upstream):
        super().__init__(tls, timeout, attempts=1)
        self._upstream = upstream

    def request(self, method, url, headers=None, *args, **options):
        if method == "GET" and PULL.search(url):
            self._upstream.check_budget()
        response = super().request(method, url, headers, *args, **options)
        self._upstream.note(response)
        return response


class _Connection(Connection):
    def __init__(self, params, upstream):
        super().__init__(params)
        self._upstream = upstream

    def client(self, registry, trust=None):
        return _Client(trust or self.trust(registry), self.params["timeout"], self._upstream)

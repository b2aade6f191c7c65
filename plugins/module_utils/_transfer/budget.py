# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The upstream's limit of pulls: read from its answers, kept to, and waited for. Private to this collection."""

from __future__ import annotations

import contextlib
import re
import threading
import time

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._distribution.transport import HttpClient, retry_after

# "76;w=21600": the pulls that are left, and the seconds of the window that they are counted in.
_REMAINING = re.compile(r"\s*([0-9]{1,9})\s*(?:;\s*w=([0-9]{1,9}))?")
# What counts as a pull: a GET of a manifest. A HEAD of it is free, and so are blobs.
PULL = re.compile(r"/v2/.+/manifests/")
# Seconds between two looks at a limit that tells no time.
_PAUSE = 60


def told_limit(response):
    """(pulls that are left, seconds of the window that they are counted in or None), or None where it is not told."""
    found = _REMAINING.match(response.headers.get("RateLimit-Remaining") or "")
    return None if found is None else (int(found[1]), int(found[2]) if found[2] else None)


class BudgetError(RegistryError):
    """The upstream's limit is reached, and there is no more time to wait for it."""


class Budget:
    """What several threads may still pull from one registry.

    reserve is the number of pulls that are left to others, and max_wait the seconds that all waits together may take.
    notice is called with a sentence before each wait.
    """

    def __init__(self, name, reserve=0, max_wait=0, notice=None):
        self._name = name
        self._reserve = reserve
        self._patience = max_wait
        self._notice = notice or (lambda _sentence: None)
        self._changed = threading.Condition()
        self._waits = threading.Lock()
        # As the registry has told: None where it does not, as most don't. What is on its way may not be counted in it.
        self.remaining = None
        self._on_the_way = 0
        self._window = None
        self._told = self._landed = 0.0

    def note(self, response, asked):
        """Reads what an answer tells of the limit to a request that was sent at this time."""
        found = told_limit(response)
        if found is None:
            return
        remaining, window = found
        with self._changed:
            if self.remaining is not None and remaining > self.remaining and asked < self._landed:
                # An answer that was overtaken by that to a pull.
                return
            self.remaining, self._window = remaining, window
            self._told = time.monotonic()

    @contextlib.contextmanager
    def pull(self, ask):
        """Takes one pull for the request within, once more than the reserve is left. Raises BudgetError.

        ask sends a request that costs nothing and tells how many are left.
        """
        self._wait_for_one(ask)
        try:
            yield
        finally:
            with self._changed:
                self._on_the_way -= 1
                self._landed = time.monotonic()
                self._changed.notify_all()

    def _wait_for_one(self, ask):
        with self._changed:
            if self._take():
                return
        # One thread waits for all.
        with self._waits:
            while True:
                with self._changed:
                    while not (taken := self._take()) and self._on_the_way:
                        # The answers of these tell more.
                        self._changed.wait()
                    left = self.remaining
                if taken:
                    return
                self._pause(
                    _PAUSE,
                    f"{self._name} allows {left} more pulls in this window, and min_remaining is {self._reserve}",
                )
                ask()

    def _take(self):
        if self.remaining is not None:
            if self._window is not None and time.monotonic() - self._told > self._window:
                # All that was counted then is forgotten by now.
                self.remaining = None
            elif self.remaining - self._on_the_way <= self._reserve:
                return False
        self._on_the_way += 1
        return True

    def turned_away(self, response):
        """Waits as the registry asks after a 429. Raises BudgetError."""
        asked = retry_after(response)
        with self._waits:
            self._pause(_PAUSE if asked is None else max(asked, 1), f"{self._name} answered 429 (too many requests)")

    def _pause(self, seconds, why):
        if seconds > self._patience:
            raise BudgetError(
                f"{why}; it asks to wait {seconds:.0f} seconds, and max_wait leaves {self._patience:.0f}",
                "What was copied stays. Run it again later, raise max_wait, or log in as a user with a higher limit",
                "too_many_requests",
            )
        self._patience -= seconds
        self._notice(f"{why}: waiting for {seconds:.0f} seconds")
        time.sleep(seconds)


class MeteredClient(HttpClient):
    """An HttpClient that keeps to a Budget."""

    def __init__(self, tls, timeout, budget):
        super().__init__(tls, timeout)
        self._budget = budget

    def request(self, method, url, headers=None, *args, **options):
        if method != "GET" or not PULL.search(url):
            return self._persistently(method, url, headers, *args, **options)
        with self._budget.pull(lambda: self._noted("HEAD", url, headers)):
            return self._persistently(method, url, headers, *args, **options)

    def _persistently(self, *args, **options):
        while True:
            response = self._noted(*args, **options)
            if response.status != 429:
                return response
            self._budget.turned_away(response)

    def _noted(self, *args, **options):
        asked = time.monotonic()
        response = super().request(*args, **options)
        self._budget.note(response, asked)
        return response

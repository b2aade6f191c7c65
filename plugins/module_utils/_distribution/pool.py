# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several connections to a registry at once. Private to this collection."""

from __future__ import annotations

import collections
import concurrent.futures
import threading


class Pool:
    """Asks with several connections at once. make_client makes the RegistryClient of each thread."""

    def __init__(self, make_client, size=8):
        self._make_client = make_client
        self._size = size
        self._local = threading.local()
        self._clients = []
        self._executor = concurrent.futures.ThreadPoolExecutor(size)

    def __enter__(self):
        return self

    def __exit__(self, *_exception):
        self._executor.shutdown()
        for client in self._clients:
            client.close()

    def map(self, function, items):
        """Yields function(client, item) in the order of the items, and works ahead by a few. An error ends it."""
        waiting = collections.deque()
        items = iter(items)
        try:
            for item in items:
                waiting.append(self._executor.submit(self._call, function, item))
                if len(waiting) >= 4 * self._size:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()

    def _call(self, function, item):
        if not hasattr(self._local, "client"):
            self._local.client = self._make_client()
            self._clients.append(self._local.client)
        return function(self._local.client, item)

# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the cache does, in a file for people and other programs.

{"bytes", "limit", "upstreams": {NAME: {"hits", "misses", "stale", "answered", "away_since", "problem", "remaining"}}}.
bytes are those that are held. hits were served without the upstream, misses fetched, and stale served although the
upstream could not be asked, since the start. Times are those of RFC 3339 in UTC, empty where there was none. remaining
are the pulls that the upstream still allows, -1 where it does not tell.
"""

from __future__ import annotations

import json
import os
import threading
import time

_SECONDS = 10


class Report:
    """Writes the state to a path where it has changed."""

    def __init__(self, path, cache, store, upstreams):
        self._path = path
        self._cache = cache
        self._store = store
        self._upstreams = upstreams
        self._written = None

    def start(self):
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        while True:
            self.write()
            time.sleep(_SECONDS)

    def write(self):
        state = {
            "bytes": self._store.total,
            "limit": self._store.limit,
            "upstreams": {one.name: self._of(one) for one in self._upstreams},
        }
        if state == self._written:
            return
        new = f"{self._path}.new"
        try:
            with open(new, "w", encoding="utf-8") as file:
                json.dump(state, file, indent=1, sort_keys=True)
            os.replace(new, self._path)
        except OSError as error:
            # A full disk: it serves on.
            print(f"{self._path} can't be written: {error.strerror}", flush=True)
        self._written = state

    def _of(self, upstream):
        counts = self._cache.counts[upstream.name]
        return {
            "hits": counts["hits"],
            "misses": counts["misses"],
            "stale": counts["stale"],
            "answered": _time(upstream.answered),
            "away_since": _time(upstream.away_since),
            "problem": upstream.problem,
            "remaining": -1 if upstream.remaining is None else upstream.remaining,
        }


def _time(seconds):
    return "" if seconds is None else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))

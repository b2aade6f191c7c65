# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has happened to the storage, by the log of requests, and what is to be looked at for it."""

from __future__ import annotations

import collections
import json

from wharf_storage.names import is_digest, is_repository, is_tag

# The whole repository.
ALL = None
# Of the log at once, each of a MiB at most.
_MOST_CHUNKS = 64
# Since 1970: later than any pull.
_MOST_SECONDS = 1 << 40


class Events:
    """Collects what requests have changed, by repository."""

    def __init__(self):
        # {repository: {tag or digest: user}, or ALL}
        self.changed = collections.OrderedDict()
        # {(repository, tag or digest): seconds}
        self.pulled = {}

    def add_from(self, log):
        """Takes what has come in a Tail of the log, as far as it is objects of JSON."""
        for _chunk in range(_MOST_CHUNKS):
            lines = log.lines()
            if not lines:
                return
            for line in lines:
                try:
                    entry = json.loads((line or b"").decode("utf-8", "replace"))
                except (ValueError, RecursionError):
                    continue
                if isinstance(entry, dict):
                    self.add(entry)

    def add(self, entry):
        """Takes an entry of the log. What is in it is hostile."""
        repository, reference = entry.get("repository"), entry.get("reference")
        if not isinstance(repository, str) or not is_repository(repository):
            return
        call, method, status = entry.get("call"), entry.get("method"), entry.get("status")
        if call == "delete" and status in (200, 202, 204):
            self.changed[repository] = ALL
        elif not isinstance(reference, str) or not (is_tag(reference) or is_digest(reference)):
            return
        elif method == "PUT" and call in ("tag", "write") and status == 201:
            changed = self.changed.setdefault(repository, {})
            if changed is not ALL:
                changed[reference] = _user(entry)
                # A tag may have moved on since.
                digest = entry.get("digest")
                if is_digest(digest):
                    changed[digest] = _user(entry)
        elif method == "GET" and call == "read" and status == 200 and not entry.get("page"):
            when = entry.get("time")
            if isinstance(when, (int, float)) and 0 < when < _MOST_SECONDS:
                self.pulled[(repository, reference)] = int(when)

    def look_at(self, repository):
        """Has a repository looked at as a whole."""
        self.changed[repository] = ALL

    def take(self, ready):
        """Yields (repository, what has changed) of those for which ready(repository) holds."""
        for repository in [one for one in self.changed if ready(one)]:
            yield repository, self.changed.pop(repository)

    def take_pulls(self):
        pulled, self.pulled = self.pulled, {}
        return pulled


def _user(entry):
    user = entry.get("user")
    return user[:256] if isinstance(user, str) else ""

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
_MOST_NAME = 256


class Events:
    """Collects what requests have changed, by repository."""

    def __init__(self):
        # {repository: {tag or digest: user}, or ALL}
        self.changed = collections.OrderedDict()
        # {(repository, tag or digest): seconds}
        self.pulled = {}

    def add_from(self, log, others=()):
        """Takes what has come in a Tail of the log, as far as it is objects of JSON, and so do the other Events."""
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
                    for events in (self, *others):
                        events.add(entry)

    def add(self, entry):
        """Takes an entry of the log. What is in it is hostile."""
        repository, reference = entry.get("repository"), entry.get("reference")
        call, method, status = entry.get("call"), entry.get("method"), entry.get("status")
        if call == "delete" and status in (200, 202, 204):
            self.add_changed(repository, ALL)
        elif method == "PUT" and call in ("tag", "write") and status == 201:
            user = user_name(entry.get("user"))
            self.add_changed(repository, {reference: user})
            # A tag may have moved on since.
            if is_digest(entry.get("digest")):
                self.add_changed(repository, {entry["digest"]: user})
        elif method == "GET" and call == "read" and status == 200 and not entry.get("page"):
            self.add_pulled(repository, reference, entry.get("time"))

    def add_changed(self, repository, changed):
        """Takes what has changed in a repository: {tag or digest: user}, or ALL. What is none of it is passed over."""
        if not isinstance(repository, str) or not is_repository(repository):
            return
        if changed is ALL:
            self.changed[repository] = ALL
            return
        fits = {one: user for one, user in changed.items() if _is_reference(one)}
        if fits and self.changed.setdefault(repository, {}) is not ALL:
            self.changed[repository].update(fits)

    def add_pulled(self, repository, reference, when):
        fits = isinstance(repository, str) and is_repository(repository) and _is_reference(reference)
        if fits and isinstance(when, (int, float)) and 0 < when < _MOST_SECONDS:
            self.pulled[(repository, reference)] = max(int(when), self.pulled.get((repository, reference), 0))

    def put_back(self, repository, changed):
        """Takes again what could not be looked at. What has changed since is newer."""
        newer = self.changed.get(repository, {})
        if ALL in (changed, newer):
            self.changed[repository] = ALL
        else:
            self.changed[repository] = {**changed, **newer}

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


def _is_reference(value):
    return isinstance(value, str) and (is_tag(value) or is_digest(value))


def user_name(value):
    """The name of a user as it is kept."""
    return value[:_MOST_NAME] if isinstance(value, str) else ""

# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the request log of nginx tells, as counters.

A line is JSON: time, user, login, call, action, method, status, repository, reference, bytes_in, bytes_out, seconds,
served, password, page. Whatever a client sends, the number of series stays bounded.
"""

from __future__ import annotations

import json
import re

from .families import Counter, Histogram, is_amount, is_count

# What has no label of its own: a repository beyond the limit, or one whose name no registry takes.
OTHER = "other"
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
_MOST_SECONDS = 10 * 86400
_MOST_BYTES = 1 << 60
_MOST_CHARACTERS = 255
_REPOSITORY = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
_WORD = re.compile(r"[a-z][a-z_]{0,31}")
# More kinds of requests than nginx tells apart.
_MOST_WORDS = 64
_SERVED = frozenset(("registry", "disk", "s3", "blob_cache", "cache", "proxy"))
_PASSWORDS = {"HIT": "hit", "MISS": "miss", "EXPIRED": "miss", "BYPASS": "miss", "STALE": "hit", "UPDATING": "hit"}
CLASSES = ("none", "anonymous", "pull", "push", "admin", "rules")
_TEXTS = ("user", "login", "call", "action", "method", "repository", "reference", "served", "password", "page")


class Traffic:
    """The counters, and what a line adds to them.

    most: how many repositories have labels of their own. classes: {user: pull, push, admin or rules}.
    """

    def __init__(self, most, classes):
        self._most = most
        self._classes = classes
        self._repositories = set()
        self._words = set()
        self.requests = Counter(
            "wharf_requests_total",
            "Requests by what they did, the HTTP status of the answer, and the class of the user: none (no valid "
            "login), anonymous (served without a login), pull, push, admin, rules, or other (a user that is configured "
            "no more).",
            ("action", "status", "user_class"),
        )
        self.received = Counter(
            "wharf_received_bytes_total", "Bytes of requests, headers included, by what they did.", ("action",)
        )
        self.sent = Counter(
            "wharf_sent_bytes_total", "Bytes of answers, headers included, by what the request did.", ("action",)
        )
        self.seconds = Histogram(
            "wharf_request_duration_seconds",
            "Time from the first byte of a request to the last one of its answer. Large layers take as long as the "
            "network of the client needs.",
            ("action",),
            _SECONDS,
        )
        self.pulls = Counter(
            "wharf_pulls_total",
            "Manifests that clients pulled by tag or digest, by repository. Reads of the page do not count.",
            ("repository",),
        )
        self.pushes = Counter("wharf_pushes_total", "Manifests that clients pushed, by repository.", ("repository",))
        self.repository_received = Counter(
            "wharf_repository_received_bytes_total",
            "Bytes that clients sent to a repository in requests that succeeded.",
            ("repository",),
        )
        self.repository_sent = Counter(
            "wharf_repository_sent_bytes_total",
            "Bytes that a repository sent to clients in answers that succeeded.",
            ("repository",),
        )
        self.served = Counter(
            "wharf_served_total",
            "Reads that succeeded, by what has served them: disk (nginx from the storage), registry (a replica), s3 "
            "(nginx from the object storage), blob_cache (nginx from what it has kept of that), cache (the cache of "
            "another registry), or proxy (nginx itself).",
            ("served",),
        )
        self.served_bytes = Counter(
            "wharf_served_bytes_total", "Bytes of reads that succeeded, by what has served them.", ("served",)
        )
        self.passwords = Counter(
            "wharf_password_checks_total",
            "Checks of passwords by result: hit (remembered) or miss (computed, which costs a quarter of a second).",
            ("result",),
        )
        self.refused = Counter(
            "wharf_logins_refused_total", "Requests that were refused because name and password were not right."
        )
        self.throttled = Counter(
            "wharf_throttled_total",
            "Requests that were told to come back later (429): too many guesses of a password, or too many at once.",
        )
        self.unavailable = Counter(
            "wharf_unavailable_total",
            "Requests that were told to come back later (503): no replica answered, or a collection held back writes.",
        )
        self.lines = Counter(
            "wharf_log_lines_total",
            "Lines of the request log, by result: counted, or malformed and passed over.",
            ("result",),
        )
        # Both are there from the beginning, so that a first line is seen as a step.
        self.lines.add(("counted",), 0)
        self.lines.add(("malformed",), 0)
        self.unlabelled = Counter(
            "wharf_repositories_unlabelled_total",
            'Manifests pulled or pushed that were counted as repository="other": monitoring_repositories is too low '
            "where this grows.",
        )

    @property
    def families(self):
        return [one for one in vars(self).values() if isinstance(one, (Counter, Histogram))]

    def add(self, line):
        """Count a line of the log, as bytes."""
        try:
            # nginx leaves bytes as they are that are no UTF-8.
            told = json.loads(line.decode("utf-8", "replace"))
            status, received, sent, seconds = told["status"], told["bytes_in"], told["bytes_out"], told["seconds"]
            user, login, call, action, method, repository, reference, served, password, page = (
                told[name] for name in _TEXTS
            )
        except (ValueError, KeyError, TypeError, RecursionError):
            self.lines.add(("malformed",))
            return
        texts = (user, login, call, action, method, repository, reference, served, password, page)
        fits = all(type(one) is str for one in texts) and _fit(status, received, sent, seconds)
        if not fits:
            self.lines.add(("malformed",))
            return
        self.lines.add(("counted",))
        action = self._word(action)
        self.requests.add((action, str(status), self._class(user, login, status)))
        self.received.add((action,), received)
        self.sent.add((action,), sent)
        self.seconds.add((action,), seconds)
        if password:
            self.passwords.add((_PASSWORDS.get(password, "miss"),))
        if 200 <= status < 300:
            if action == "pull":
                by = served if served in _SERVED else OTHER
                self.served.add((by,))
                self.served_bytes.add((by,), sent)
            pulled = method == "GET" and call == "read" and status == 200 and reference and not page
            pushed = method == "PUT" and call in ("tag", "write") and status == 201
            # What was refused names repositories at will; what has succeeded names those that are there.
            if repository:
                self._add_to(self._label(repository, new=pulled or pushed), (received, sent), pulled, pushed)
        elif status == 401 and login == "refused":
            self.refused.add()
        elif status == 429:
            self.throttled.add()
        elif status == 503:
            self.unavailable.add()

    def _add_to(self, name, sizes, pulled, pushed):
        """Count what was done to the repository of a label."""
        received, sent = sizes
        self.repository_received.add((name,), received)
        self.repository_sent.add((name,), sent)
        if pulled:
            self.pulls.add((name,))
        elif pushed:
            self.pushes.add((name,))
        if name == OTHER and (pulled or pushed):
            self.unlabelled.add()

    def _class(self, user, login, status):
        if user:
            return self._classes.get(user, OTHER)
        return "anonymous" if login == "none" and 200 <= status < 400 else "none"

    def _word(self, text):
        """A word of nginx's configuration, never of a client."""
        if text not in self._words:
            if len(self._words) >= _MOST_WORDS or not _WORD.fullmatch(text):
                return OTHER
            self._words.add(text)
        return text

    def _label(self, repository, *, new):
        """A repository keeps its label for good: a counter that is counted elsewhere from some day on misleads.

        new: whether it gets one. An upload that is begun names a repository that need not come to be.
        """
        if repository in self._repositories:
            return repository
        fits = len(repository) <= _MOST_CHARACTERS and repository != OTHER and _REPOSITORY.fullmatch(repository)
        if not fits or not new or len(self._repositories) >= self._most:
            return OTHER
        self._repositories.add(repository)
        return repository

    def kept(self):
        return {
            "repositories": sorted(self._repositories),
            "words": sorted(self._words),
            "families": {one.name: one.kept() for one in self.families},
        }

    def restore(self, kept):
        """Raises ValueError, TypeError or KeyError where it is damaged."""
        for name in ("repositories", "words"):
            if not all(isinstance(one, str) for one in kept[name]):
                raise ValueError(f"{name} are no texts")
        for family in self.families:
            family.restore(kept["families"].get(family.name, []))
        self._repositories = set(kept["repositories"])
        self._words = set(kept["words"])


def _fit(status, received, sent, seconds):
    return (
        is_count(status)
        and status < 1000
        and is_count(received)
        and received < _MOST_BYTES
        and is_count(sent)
        and sent < _MOST_BYTES
        and is_amount(seconds)
        and seconds < _MOST_SECONDS
    )

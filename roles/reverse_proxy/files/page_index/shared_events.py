# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the hosts of one registry tell each other: small objects in their bucket, beside the images.

Each host numbers its own. Others read what is new by a list that starts after the last one that they have read, and the
host that wrote them removes them after a quarter of an hour. Who was away for longer looks at all images.
"""

from __future__ import annotations

import collections
import hashlib
import json
import time

from ansible_collections.wharf.registry.plugins.module_utils._storage.s3_errors import S3Error
from events import ALL, Events, user_name
from wharf_bucket.clock import now_by, seconds_of

# Beside docker/, where the registry does not look.
DIRECTORY = "wharf-page-events"
# Seconds between two records of a host, and between two that tell of nothing but pulls; and how often others read.
_BETWEEN_RECORDS, _BETWEEN_PULLS, _BETWEEN_READS = 1, 10, 5
# How long a record stays, and when a host that could not read may have missed one.
_KEPT, _MISSED = 900, 600
# Those of hosts that are not of this registry any more.
_ABANDONED = 86400
# References of a record, and the bytes of one that is read: ten times what these may take.
_MOST, _LARGEST = 2000, 16 << 20
# Digits of a number, so that their order is that of names.
_DIGITS = 20


class SharedEvents:
    """Writes and reads by an S3Client. `news` are the Events of this host that others are told."""

    def __init__(self, client, root, hosts, notes):
        """hosts: the name of this one, and those of the others. notes: a Catalog, which keeps what was read."""
        own, others = hosts
        self._client = client
        self._top = f"{root}/{DIRECTORY}/".lstrip("/")
        self._own = self._prefix(own)
        self._others = {name: self._prefix(name) for name in others}
        self._notes = notes
        self._last = notes.note("others") or {}
        self.news = Events()
        self._look = False
        # (when, key) of what was written, and the last number; none before what a former run has written is known.
        self._written, self._number = collections.deque(), None
        self._times = {"record": 0.0, "pulls": now(), "read": None, "tried": 0.0}

    def _prefix(self, host):
        # A name of the inventory may hold anything.
        return f"{self._top}{hashlib.sha256(host.encode()).hexdigest()[:16]}/"

    def look_at_all(self):
        """Has others look at all images: something has changed that no request tells of."""
        self._look = True

    def exchange(self, events):
        """Tells others what is new, and adds to events what they tell. Raises S3Error.

        Returns whether all images are to be looked at: another host says so, or something of theirs may be missing.
        """
        if self._number is None:
            self._begin()
        self._tell()
        if now() - self._times["tried"] < _BETWEEN_READS:
            return False
        self._times["tried"] = now()
        looks = [self._read(name, prefix, events) for name, prefix in self._others.items()]
        read, self._times["read"] = self._times["read"], now()
        self._notes.keep_note("others", self._last)
        return any(looks) or (read is not None and now() - read > _MISSED)

    # --- what is told -------------------------------------------------------------------------------------------------

    def _begin(self):
        self._remove_abandoned()
        keys = [one.key for one in self._client.objects(self._own)]
        self._written.extend((now(), key) for key in keys)
        # They may have been removed since.
        self._number = max([self._notes.note("told") or 0, *map(number_of, keys)])

    def _remove_abandoned(self):
        ours = (self._own, *self._others.values())
        found = [one for one in self._client.objects(self._top) if not one.key.startswith(ours)]
        old = [one.key for one in found if seconds_of(one) < now_by(self._client) - _ABANDONED]
        if old:
            self._client.delete_all(old[:1000])

    def _tell(self):
        pulls = now() - self._times["pulls"] > _BETWEEN_PULLS and self.news.pulled
        if now() - self._times["record"] < _BETWEEN_RECORDS or not (self.news.changed or pulls or self._look):
            return
        for record in records(self.news, look=self._look):
            # Of a clock that was set back, numbers go on all the same.
            number = max(self._number + 1, time.time_ns())
            key = f"{self._own}{number:0{_DIGITS}}.json"
            self._client.put(key, json.dumps(record, separators=(",", ":")).encode())
            self._number = number
            self._notes.keep_note("told", number)
            self._written.append((now(), key))
        # Not before all of it is there: what is told twice does no harm.
        self.news, self._look = Events(), False
        self._times["record"] = self._times["pulls"] = now()
        self._remove_old()

    def _remove_old(self):
        old = []
        while self._written and self._written[0][0] < now() - _KEPT and len(old) < 1000:
            old.append(self._written.popleft()[1])
        if old:
            self._client.delete_all(old)

    # --- what others tell ---------------------------------------------------------------------------------------------

    def _read(self, name, prefix, events):
        look = False
        for listed in self._client.objects(prefix, start_after=self._last.get(name, "")):
            try:
                look |= add_record(self._client.get(listed.key, limit=_LARGEST), events)
            except S3Error as error:
                if error.code != "NoSuchKey":
                    raise
                # It was there for a quarter of an hour, and is gone now.
                look = True
            self._last[name] = listed.key
        return look


def now():
    """Seconds that go on while a host sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def number_of(key):
    digits = key.rpartition("/")[2].partition(".")[0]
    return int(digits) if len(digits) == _DIGITS and digits.isdecimal() else 0


def records(events, *, look):
    """Yields what tells of Events, in parts that are small enough."""
    record, size = {"look": look, "changed": {}, "pulled": []}, 0
    for repository, changed in events.changed.items():
        for part in _parts(changed):
            if size + len(part or [1]) > _MOST or repository in record["changed"]:
                yield record
                record, size = {"look": False, "changed": {}, "pulled": []}, 0
            record["changed"][repository] = part
            size += len(part or [1])
    for (repository, reference), when in events.pulled.items():
        if size >= _MOST:
            yield record
            record, size = {"look": False, "changed": {}, "pulled": []}, 0
        record["pulled"].append([repository, reference, when])
        size += 1
    if size or record["look"]:
        yield record


def _parts(changed):
    if changed is ALL:
        return [ALL]
    items = list(changed.items())
    return [dict(items[first : first + _MOST]) for first in range(0, len(items), _MOST)]


def add_record(content, events):
    """Adds what a record tells to Events, and returns whether to look at all. What is no record tells nothing."""
    try:
        record = json.loads(content)
        changed, pulled = dict(record["changed"]), list(record["pulled"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return False
    for repository, references in changed.items():
        if isinstance(references, dict):
            events.add_changed(repository, {one: user_name(user) for one, user in references.items()})
        else:
            events.add_changed(repository, ALL)
    for one in pulled:
        if isinstance(one, list) and len(one) == 3:
            events.add_pulled(*one)
    return record.get("look") is True

# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps the data of the page up to date: what was pushed is there in seconds, and no other repository is read."""

from __future__ import annotations

import os
import sys
import time

from ansible_collections.wharf.registry.plugins.module_utils._common.log_tail import Tail
from documents import Details
from events import ALL, Events
from fleet import Fleet
from gate import Gate
from page_settings import kept_digests
from pages import Pages
from places import Place
from repository import Contents
from retention import Retention
from stored import StorageError, StoredRegistry
from survey import Survey
from wharf_storage.names import is_digest

# Seconds between two looks at the log, and between two writings of the indexes: a browser tells two files apart by the
# second and the size.
_PAUSE, _BETWEEN_INDEXES = 0.5, 1.2
# Pulls are told some times a minute, the whole storage is looked at by the quarter of a day, and what is not needed
# any more is forgotten then.
_BETWEEN_PULLS, _BETWEEN_LOOKS = 10, 6 * 3600
# What is known of the fleet is looked at so often, and how long certificates last is told anew by the hour.
_BETWEEN_FLEETS, _FLEET_LASTS = 5, 3600
# What a program that was killed was at, and how often that may be before it does that no more.
_NOTHING, _MOST_TIMES = {"name": "", "times": 0}, 2
# How much of the time a repository that is pushed to all the time may take, and the longest rest for that, in seconds.
_SHARE, _LONGEST_SHARE = 10, 60
# How long a storage that does not answer is left alone, and a repository of which something can't be read: longer each
# time.
_AWAY_SECONDS, _FIRST_REST, _LONGEST_REST = 10, 15, 3600


class Keeper:
    """Brings storage, catalog and pages together."""

    def __init__(self, settings):
        self._settings = settings
        from catalog import Catalog  # noqa: PLC0415 - an sqlite3 that is missing is a message, see __main__

        self._catalog = Catalog(settings.catalog)
        self._left = self._catalog.note("working") or _NOTHING
        self._events = Events()
        self._log = Tail(settings.log, self._catalog.note("log"))
        self._keeps = kept_digests(settings)
        self._place = self._survey = self._details = None
        # When the storage is asked again.
        self._away_until = 0.0
        self._pages = Pages(settings.data, settings.registry, settings.policies, self._catalog)
        # Numbers of repositories, names, and digests that the next publication tells of.
        self._rows, self._gone, self._digests = set(), set(), set()
        self._fleet = Fleet(settings.fleet, settings.registry)
        self._resting, self._unreadable = {}, {}
        self._look = None
        self._gaps = 0
        self._signs = None
        self._empty = False
        self._times = {"indexes": 0.0, "pulls": time.monotonic(), "look": None, "fleet": None, "told": None}

    # --- the loop -----------------------------------------------------------------------------------------------------

    def run(self, turns):
        for _turn in range(turns):
            self.turn()
            time.sleep(_PAUSE)

    def turn(self):
        """One turn of the loop. What one repository does wrong is told, and keeps no other one from being told."""
        self._tell_of_fleet()
        if time.monotonic() < self._away_until or (self._place is None and not self._open_place()):
            return
        self._events.add_from(self._log, self._place.news)
        if self._log.gaps != self._gaps:
            # What was lost of the log, the storage tells, but for who has pushed.
            self._gaps, self._times["look"] = self._log.gaps, None
        try:
            self._read_storage()
        except StorageError as error:
            self._leave_alone(error)
        self._publish()
        self._catalog.keep_note("log", self._log.positions())
        self._catalog.commit()

    def _read_storage(self):
        """Looks at what has changed, and goes on with what is under way."""
        if self._place.exchange(self._events):
            self._times["look"] = None
        for name, changed in self._events.take(self._may_look):
            self._try(name, changed)
        self._step_look()
        self._add_pulls()
        if self._away_until:
            self._away_until = 0.0
            print("wharf-registry: page: the storage can be read again", file=sys.stderr, flush=True)

    def _leave_alone(self, error):
        """What was being looked at is looked at again, when the storage answers."""
        if not self._away_until:
            told = f"wharf-registry: page: the images can't be read, and the page shows what they were: {error}"
            print(told, file=sys.stderr, flush=True)
        self._away_until = time.monotonic() + _AWAY_SECONDS
        self._look, self._times["look"] = None, None

    def look_at_all(self):
        """Looks at the whole storage at once: for tests, and for what is measured."""
        self.turn()
        while self._look is not None:
            self._step_look(once=False)
        self._times["indexes"] = 0.0
        self.turn()

    def close(self):
        self._log.close()
        self._catalog.close()
        if self._place is not None:
            self._place.close()

    def _open_place(self):
        """Whether there is one: a registry that nothing was pushed to has none yet."""
        try:
            self._place = Place(self._settings, self._catalog)
        except OSError:
            if not self._empty:
                self._pages.begin_anew(self._told())
            self._empty = True
            return False
        registry = StoredRegistry(self._place.images)
        self._survey = Survey(self._place.images, registry, self._catalog)
        gate = Gate(registry, self._catalog, self._settings.gate)
        retention = Retention(self._settings.retention, lambda: self._keeps)
        self._details = Details(gate, retention, lambda: self._fleet.running)
        # What is known from before, for policies that are new.
        self._pages.write_all_digests()
        self._pages.begin_anew(self._told())
        return True

    # --- repositories -------------------------------------------------------------------------------------------------

    def _may_look(self, name):
        """A repository of ten thousand tags that is pushed to all the time must not take all of the time."""
        until = self._resting.get(name, 0)
        if until and until <= time.monotonic():
            del self._resting[name]
        return until <= time.monotonic()

    def _try(self, name, changed):
        self._read(name, changed, lambda: self._refresh(name, changed))

    def _read(self, name, changed, work):
        """Does a work for a repository, and later again where the storage fails at it. Raises StorageError."""
        try:
            self._safely(name, work)
        except StorageError as error:
            self._events.put_back(name, changed)
            if not self._place.images.answers():
                raise
            # The others are to be told all the same.
            rest = self._unreadable[name] = min(2 * self._unreadable.get(name, _FIRST_REST / 2), _LONGEST_REST)
            self._resting[name] = time.monotonic() + rest
            told = f"wharf-registry: page: {name!a} can't be read, and is tried again in {rest:g} seconds"
            print(f"{told}: {error}", file=sys.stderr, flush=True)
        else:
            self._unreadable.pop(name, None)

    def _safely(self, name, work):
        """Does a work for a repository, unless that has ended this program twice, such as by its memory."""
        times = self._left["times"] + 1 if self._left["name"] == name else 1
        if times > _MOST_TIMES:
            told = f"wharf-registry: page: {name!a} has ended this program {_MOST_TIMES} times, and is passed over"
            print(f"{told}. Remove what is wrong in it, and restart the unit twice", file=sys.stderr, flush=True)
            return
        self._catalog.keep_note("working", {"name": name, "times": times})
        self._catalog.commit()
        began = time.monotonic()
        away = None
        try:
            work()
        except StorageError as error:
            away = error
        except Exception as error:  # noqa: BLE001 - anything may lie in a storage, and the others are to be told
            told = f"wharf-registry: page: {name!a} can't be shown: {error!r}. Run maintain.yml to check the storage"
            print(told, file=sys.stderr, flush=True)
        self._catalog.keep_note("working", _NOTHING)
        if self._left["name"] == name:
            self._left = _NOTHING
        took = time.monotonic() - began
        if took > 0.2:
            self._resting[name] = time.monotonic() + min(_SHARE * took, _LONGEST_SHARE)
        if away:
            raise away

    def _refresh(self, name, changed=ALL):
        number = self._catalog.number_of(name)
        if changed is ALL or number is None:
            number, digests = self._survey.read(name)
            self._digests |= digests
        if number is None:
            self._remove(name)
            return
        for reference, user in (changed or {}).items():
            if is_digest(reference):
                self._survey.read_revision(name, number, reference)
            else:
                number, digests = self._survey.read_tag(name, reference)
                self._digests |= digests
                if number is None:
                    self._remove(name)
                    return
                self._catalog.set_pushed_by(number, reference, user)
        self._show(name, number)

    def _show(self, name, number):
        contents = Contents(self._catalog, number, self._keeps)
        others = self._catalog.set_contents(number, contents.sizes(contents.revisions))
        document, tags, untagged, worst = self._details.of(contents)
        self._catalog.summarise(number, tags, untagged, worst)
        for one in {number, *others}:
            self._catalog.measure(one)
        self._rows |= {number, *others}
        self._pages.write_details(name, document)

    def _remove(self, name):
        number = self._catalog.number_of(name)
        if number is not None:
            others = self._catalog.remove_repository(number)
            for one in others:
                self._catalog.measure(one)
            self._rows |= others
            self._rows.discard(number)
            self._gone.add(name)
        self._pages.remove_details(name)

    # --- the whole storage --------------------------------------------------------------------------------------------

    def _step_look(self, *, once=True):
        """Goes on with the look at all repositories, or begins one where it is time."""
        if self._look is None:
            if not self._look_is_due():
                return
            self._times["look"] = time.monotonic()
            self._look = iter(self._survey.names()), int(time.time())
        names, number = self._look
        until = time.monotonic() + self._place.images.look_seconds
        for name in names:
            self._try(name, ALL)
            known = self._catalog.number_of(name)
            if known is not None:
                self._catalog.mark_seen(known, number)
            if once and time.monotonic() > until:
                return
        self._end_look(number)

    def _look_is_due(self):
        signs = self._read_signs()
        former, self._signs = self._signs, signs
        changed = signs != former
        if changed:
            self._keeps = kept_digests(self._settings)
        if changed and former is not None:
            # The sign is on this host alone.
            self._place.look_at_all()
        last = self._times["look"]
        return last is None or changed or time.monotonic() - last > _BETWEEN_LOOKS

    def _read_signs(self):
        # What runs is kept, and told to be.
        return [_modified(path) for path in (*self._settings.signs, self._settings.running)]

    def _end_look(self, number):
        for name in self._catalog.names(unseen_in=number):
            # It may have been pushed since the look began.
            self._try(name, ALL)
        self._pages.remove_others(set(self._catalog.names()))
        self._catalog.forget_unneeded()
        self._pages.write_all_digests()
        self._look = None
        self._catalog.keep_note("complete", True)
        self._pages.begin_anew(self._told())
        self._rows, self._gone, self._digests = set(), set(), set()

    # --- what is told -------------------------------------------------------------------------------------------------

    def _add_pulls(self):
        if time.monotonic() - self._times["pulls"] < _BETWEEN_PULLS:
            return
        self._times["pulls"] = time.monotonic()
        touched = {}
        for (name, reference), when in self._events.take_pulls().items():
            number = self._catalog.number_of(name)
            if number is not None:
                self._catalog.add_pull(number, reference, when)
                self._rows.add(number)
                touched[name] = number
        for name, number in touched.items():
            self._touch(name, number)

    def _touch(self, name, number):
        """What is pulled changes nothing but times: of a repository of many tags they are told with the next change."""
        if self._may_look(name):
            self._read(name, {}, lambda: self._show(name, number))

    def _tell_of_fleet(self):
        now, last, told = time.monotonic(), self._times["fleet"], self._times["told"]
        if last is not None and now - last < _BETWEEN_FLEETS:
            return
        self._times["fleet"] = now
        if self._fleet.changed() or told is None or now - told > _FLEET_LASTS:
            before = self._fleet.running
            self._pages.write_fleet(self._fleet.document())
            self._times["told"] = now
            self._show_again(set(before.items()) ^ set(self._fleet.running.items()))

    def _show_again(self, changed):
        """Has repositories shown anew of which something runs on other hosts. changed: {(digest, hosts)}."""
        for digest in {digest for digest, _hosts in changed}:
            for name, _tag in self._catalog.tagged(digest, most=100):
                self._events.look_at(name)

    def _publish(self):
        if not (self._rows or self._gone or self._digests):
            return
        if time.monotonic() - self._times["indexes"] < _BETWEEN_INDEXES:
            return
        self._pages.write_digests(self._digests)
        self._pages.publish(self._rows, self._gone, self._told())
        self._rows, self._gone, self._digests = set(), set(), set()
        self._times["indexes"] = time.monotonic()

    def _told(self):
        retains = bool(self._settings.retention)
        complete = bool(self._catalog.note("complete"))
        room = None if self._place is None else self._place.images.room()
        return {"retention": {"configured": retains, "next": None}, "storage": room, "complete": complete}


def _modified(path):
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return None

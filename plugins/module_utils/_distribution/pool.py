# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several connections to a registry at once. Private to this collection."""

from __future__ import annotations

import collections
import collections.abc
import contextlib
import threading

# In place of an item, where there are no more.
_NONE = object()


class Pool:
    """A pool of connections. make_client creates the RegistryClient of each connection."""

    def __init__(self, make_client, size=8):
        self._make_client = make_client
        self._size = size
        self._clients = []
        # Those that no thread uses now; the one that was used last is taken first.
        self._idle = collections.deque()

    def __enter__(self):
        return self

    def __exit__(self, *_exception):
        for client in self._clients:
            client.close()

    @contextlib.contextmanager
    def client(self):
        """A client that nothing else uses meanwhile."""
        try:
            client = self._idle.pop()
        except IndexError:
            client = self._make_client()
            self._clients.append(client)
        try:
            yield client
        finally:
            self._idle.append(client)

    def map(self, function, items):
        """Yields function(client, item) in the order of the items, and works ahead by a few. An error ends it.

        items may be a function that asks a client for them: the other connections are opened meanwhile.
        """
        size = min(self._size, len(items)) if isinstance(items, collections.abc.Sized) else self._size
        if not size:
            # No thread would be started that could say that nothing comes.
            return
        work = _Work(items, 4 * self._size)
        opened = threading.Event() if callable(items) else None
        threads = [
            threading.Thread(target=self._serve, args=(work, function, opened, number == 0), daemon=True)
            for number in range(size)
        ]
        for thread in threads:
            thread.start()
        try:
            yield from work.results()
        finally:
            work.end()
            for thread in threads:
                thread.join()

    def _serve(self, work, function, opened, first):
        try:
            with self.client() as client:
                if opened is not None:
                    self._open(client, opened, first)
                for number, item in work.items(client):
                    work.put(number, *_outcome(function, client, item))
        except BaseException as error:  # noqa: BLE001 - the caller gets it
            work.fail(error)
        finally:
            if opened is not None:
                opened.set()

    def _open(self, client, opened, first):
        # The first one asks for the items, which must not wait for the other connections.
        if not first:
            opened.wait()
        client.open()
        opened.set()


def _outcome(function, *arguments):
    """(what the function returns, None), or (None, the error that it raises)."""
    try:
        return function(*arguments), None
    except BaseException as error:  # noqa: BLE001 - the caller gets it
        return None, error


class _Work:
    """Items that threads take in turn, and what comes of each, which is handed out in their order.

    An error counts as one more item. No item is taken after it.
    """

    def __init__(self, items, most_ahead):
        self._items = items
        self._most_ahead = most_ahead
        self._outcomes = {}
        self._taken = self._given = 0
        self._ended = False
        lock = threading.Lock()
        self._ready = threading.Condition(lock)
        self._room = threading.Condition(lock)

    def items(self, client):
        """Yields (number, item) to one of the threads."""
        while True:
            with self._room:
                while not self._ended and self._taken - self._given >= self._most_ahead:
                    self._room.wait()
                if self._ended:
                    return
                item, error = _outcome(self._next, client)
                if error is not None:
                    self._fail(error)
                if item is _NONE:
                    self._end()
                if self._ended:
                    return
                number, self._taken = self._taken, self._taken + 1
            yield number, item

    def _next(self, client):
        if callable(self._items):
            self._items = self._items(client)
        if self._taken == 0:
            self._items = iter(self._items)
        return next(self._items, _NONE)

    def put(self, number, result, error):
        with self._ready:
            self._outcomes[number] = result, error
            if error is not None:
                self._end()
            elif number == self._given:
                self._ready.notify()

    def fail(self, error):
        """Ends it with an error of no item."""
        with self._ready:
            self._fail(error)

    def end(self):
        with self._ready:
            self._end()

    def _fail(self, error):
        self._outcomes[self._taken] = None, error
        self._taken += 1
        self._end()

    def _end(self):
        self._ended = True
        self._ready.notify_all()
        self._room.notify_all()

    def results(self):
        """Yields them in order, to one thread. Raises the error of the first item that has one."""
        while True:
            with self._ready:
                while self._given not in self._outcomes:
                    if self._ended and self._given == self._taken:
                        return
                    self._ready.wait()
                result, error = self._outcomes.pop(self._given)
                self._given += 1
                self._room.notify()
            if error is not None:
                raise error
            yield result

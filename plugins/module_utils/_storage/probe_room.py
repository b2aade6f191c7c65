# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of a bucket in which the checks of a storage work, and its removal. Private to this collection."""

from __future__ import annotations

import contextlib
import itertools
import time

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._distribution.pool import Pool
from ansible_collections.wharf.registry.plugins.module_utils._storage.s3_client import PAGE
from ansible_collections.wharf.registry.plugins.module_utils._storage.s3_errors import S3Error

# Connections that read what another one has written.
READERS = 3
# Threads that try at once whether what was written is there: gateways that tell each other of it take longer then.
HANDS = 4
# How often lists that may be late are asked for, and the seconds between.
_LOOKS = 4
_PAUSE = 0.25


class FlawError(Exception):
    """What a check has seen that is not as it must be. warning is for what a registry can live with."""

    def __init__(self, seen, *, warning=False):
        super().__init__(seen)
        self.seen = seen
        self.warning = warning


class Hand:
    """What one thread works with: a connection that writes, and two others."""

    def __init__(self, make_client):
        self.writer = make_client()
        self._readers = [make_client(), make_client()]

    def readers(self, number):
        """Both of them. The first to ask is now this one and now that, as a balancer may part them."""
        return self._readers if number % 2 else self._readers[::-1]

    def close(self):
        for client in (self.writer, *self._readers):
            client.close()


class Room:
    """Names below a prefix of their own, and the connections to them. Remembers what it makes, and removes it."""

    def __init__(self, access, prefix, repetitions, attempts):
        self.prefix = prefix
        self.repetitions = repetitions
        self.make_client = lambda attempts=attempts: access.client(attempts)
        self.client = self.make_client()
        self._readers = [self.make_client() for _number in range(READERS)]
        self._turn = itertools.cycle(self._readers)
        self._keys = set()
        self._uploads = set()

    def close(self):
        for client in (self.client, *self._readers):
            client.close()

    @property
    def reader(self):
        """The connection whose turn it is: none of them has written what it reads."""
        return next(self._turn)

    def key(self, name):
        """The key of a name. What is made by it will be removed."""
        key = self.prefix + name
        self._keys.add(key)
        return key

    def put(self, name, body):
        """Writes an object and returns its key."""
        key = self.key(name)
        self.client.put(key, body)
        return key

    def begin(self, name):
        """Begins an upload and returns its key and ID."""
        key = self.key(name)
        upload_id = self.client.begin(key)
        self._uploads.add((key, upload_id))
        return key, upload_id

    def tries(self, tried):
        """What tried(hand, number) returns for each repetition. Several threads do so at once."""
        with Pool(lambda: Hand(self.make_client), HANDS) as pool:
            return list(pool.map(tried, range(self.repetitions)))

    # --- removal ------------------------------------------------------------------------------------------------------

    def empty(self):
        """Removes all that was made, and returns sentences on what could not be."""
        problems = []
        if not _answered(self.client.head_bucket, (), problems):
            # Each of the requests would wait as long for an answer.
            return [*problems, f"what the probe has made lies below {self.prefix}"]
        # Lists may be late: what is remembered is removed as well.
        with _noted(problems):
            self._uploads.update((one.key, one.upload_id) for one in self._own(self.client.uploads(self.prefix)))
        self._each(self.client.abort, sorted(self._uploads), problems)
        with _noted(problems):
            self._keys.update(one.key for one in self._own(self.client.objects(self.prefix)))
        self._delete(sorted(self._keys), problems)
        return list(dict.fromkeys([*problems, *self._left()]))

    def _own(self, listed):
        # However a server reads a prefix: nothing else is touched.
        return (one for one in listed if one.key.startswith(self.prefix))

    def _delete(self, keys, problems):
        for begin in range(0, len(keys), PAGE):
            some = keys[begin : begin + PAGE]
            try:
                refused = self.client.delete_all(some)
            except S3Error:
                # Not all servers can.
                refused = [(key, "") for key in some]
            self._each(self.client.delete, [(key,) for key, _reason in refused], problems)

    def _each(self, remove, items, problems):
        # Once no answer comes, each of the others would wait as long for one.
        all(_answered(remove, item, problems) for item in items)

    def _left(self):
        """Sentences on what is there after all was removed."""
        left = []
        with contextlib.suppress(S3Error):
            listed = [one.key for one in self._own(self.client.objects(self.prefix))]
            for key in listed:
                # A request for many may have passed it over.
                self.client.delete(key)
            # One that is listed and can't be read is late in the list, and not there.
            left += [f"{key} is still there" for key in listed if self.client.head(key) is not None]
        with contextlib.suppress(S3Error):
            left += [f"the upload of {one.key} is still there" for one in self._own(self.client.uploads(self.prefix))]
        return left


def _answered(remove, item, problems):
    """Removes an item, and returns whether any answer came."""
    try:
        remove(*item)
    except S3Error as error:
        problems.append(str(error))
        return bool(error.status)
    return True


@contextlib.contextmanager
def _noted(problems):
    try:
        yield
    except RegistryError as error:
        problems.append(str(error))


def timed(function, *arguments):
    """(what a function returns, the seconds it took)."""
    began = time.monotonic()
    result = function(*arguments)
    return result, time.monotonic() - began


def counted(tries, what):
    """Raises FlawError where something went wrong in some tries. These are whether each of them went well."""
    wrong = [number for number, well in enumerate(tries, 1) if not well]
    if wrong:
        raise FlawError(f"{len(wrong)} of {len(tries)} times {what}, first at try {wrong[0]}")


def found(client, key):
    """The bytes of an object, or None where it is not there."""
    try:
        return client.get(key)
    except S3Error as error:
        if error.status == 404:
            return None
        raise


def patiently(look):
    """What look() returns, asked again for a while where it raises FlawError.

    Whether lists are late is for one check. The others look at what they say in the end.
    """
    for _attempt in range(_LOOKS - 1):
        with contextlib.suppress(FlawError):
            return look()
        time.sleep(_PAUSE)
    return look()

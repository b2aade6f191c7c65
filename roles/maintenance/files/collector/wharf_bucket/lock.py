# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A lock in a bucket: one holder of all hosts, until it lets go or has not renewed it for long.

It is a row of numbered objects, of which the last one counts. Each is written only where there is none of that number
(If-None-Match), so that of two who take or renew the lock at once one fails. Numbers never begin anew: who was stopped
for long writes a number that is taken. An empty object says that the lock is free. Its age is told by S3: by the time
of the object and of the answer, never by the clock of a host.
"""

from __future__ import annotations

import json
import secrets
import socket
import threading
import time

from ansible_collections.wharf.registry.plugins.module_utils._storage.s3_errors import S3Error

from wharf_bucket.clock import now_by, seconds_of

_TAKEN = frozenset([409, 412])
_NOT_KNOWN = 501
_MOST_TEXT = 4096
# A server may tell a change and its time with a second between.
_MARGIN_SECONDS = 2


class LockError(Exception):
    """The lock is another's, or was lost."""


class BucketLock:
    """A context in which this process has the lock. Each thread needs a client: renewing is for one of its own.

    lease is how many seconds a lock lives that is not renewed, and patience how long another holder is waited for, who
    is called so in messages.
    """

    def __init__(self, connect, prefix, lease, patience, *, holder="another collection or a backup"):
        self._connect, self._prefix = connect, prefix
        self._lease, self._patience, self._other = lease, patience, holder
        self._me = {"host": socket.gethostname(), "holder": secrets.token_hex(16)}
        self._number, self._etag, self._lost = 0, "", False
        # Of the number, which check() must not read while it is about to change.
        self._changing = threading.Lock()
        self._over = threading.Event()
        # Whether S3 lets one of several writers win.
        self.conditional = True

    def __enter__(self):
        self._client = self._connect()
        try:
            self._take()
        except BaseException:
            self._client.close()
            raise
        self._thread = threading.Thread(target=self._keep, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_exception):
        self._over.set()
        self._thread.join()
        try:
            if not self._lost:
                self._write(self._client, b"")
        except S3Error:
            # It is free when its time is over.
            pass
        finally:
            self._client.close()

    def check(self):
        """Raises LockError unless this process has the lock, and has it for a while."""
        with self._changing:
            number, last = self._last(self._client)
            age = self._age(self._client, last) if last else 0
            ours = not self._lost and number == self._number and last and last.etag == (self._etag or last.etag)
        if not ours:
            raise LockError(f"{self._other} has taken the lock, and nothing more is removed. Look at its host")
        if age > self._lease / 2:
            raise LockError(
                f"the lock in the bucket could not be renewed for {age:.0f} seconds, and nothing more is removed. "
                "Look at the load and at the log of the storage, and run this again"
            )

    # --- to take it ---------------------------------------------------------------------------------------------------

    def _take(self):
        end = time.monotonic() + self._patience
        while True:
            number, last = self._last(self._client)
            if last is None or last.size == 0 or self._age(self._client, last) > self._lease + _MARGIN_SECONDS:
                self._number = number
                if self._write(self._client, self._text(number + 1)):
                    self._try_again()
                    return
            elif time.monotonic() > end:
                raise LockError(
                    f"{self._other}, on {self._holder(last)}, has held the lock in the bucket for "
                    f"{self._patience} seconds. Check it, and run this again when it has ended"
                )
            time.sleep(min(5, self._lease / 10))

    def _try_again(self):
        """Finds out whether S3 keeps to the condition: what was just written can't be written as new again."""
        if self.conditional:
            try:
                self._client.put(self._key(self._number), self._text(self._number), only_new=True)
                self.conditional = False
            except S3Error as error:
                if error.status not in _TAKEN:
                    raise
        if not self.conditional:
            # The last one to write has it, and the others see that it is not theirs.
            time.sleep(_MARGIN_SECONDS)
            self.check()

    def _write(self, client, text):
        """Whether the next number could be written."""
        number = self._number + 1
        key = self._key(number)
        try:
            etag = client.put(key, text, only_new=self.conditional)
        except S3Error as error:
            if error.status == _NOT_KNOWN and self.conditional:
                self.conditional = False
                return self._write(client, text)
            if error.status not in _TAKEN:
                raise
            # It may have been written by the first of two tries, of which the answer was lost.
            etag = self._etag_of_ours(client, key, text)
            if etag is None:
                return False
        former, self._number, self._etag = self._number, number, etag
        if former:
            client.delete(self._key(former))
        return True

    def _etag_of_ours(self, client, key, text):
        found = client.head(key)
        ours = text and found is not None and client.get(key, limit=_MOST_TEXT) == text
        return found.etag if ours else None

    # --- to keep it ---------------------------------------------------------------------------------------------------

    def _keep(self):
        with self._connect() as client:
            while not self._over.wait(self._lease / 6):
                with self._changing:
                    try:
                        self._lost = not self._write(client, self._text(self._number + 1))
                    except S3Error:
                        # It is tried again, and check() looks how old the lock has become.
                        continue
                if self._lost:
                    return

    def _last(self, client):
        """(number, Listed) of the object that counts, or (0, None)."""
        found = {listed.key[len(self._prefix) :]: listed for listed in client.objects(self._prefix)}
        return max(((int(name), listed) for name, listed in found.items() if name.isdigit()), default=(0, None))

    def _age(self, client, listed):
        """Its seconds, right after an answer of S3."""
        return now_by(client) - seconds_of(listed)

    def _key(self, number):
        return f"{self._prefix}{number:016d}"

    def _text(self, number):
        return json.dumps({**self._me, "number": number}).encode()

    def _holder(self, listed):
        try:
            return str(json.loads(self._client.get(listed.key, limit=_MOST_TEXT))["host"])
        except (S3Error, ValueError, KeyError, TypeError):
            return "another host"

# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of a storage: what several hosts and clients rest on who use it at once. Private to this collection."""

from __future__ import annotations

import threading

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._storage.probe_check import Check
from ansible_collections.wharf.registry.plugins.module_utils._storage.probe_room import FlawError, found
from ansible_collections.wharf.registry.plugins.module_utils._storage.s3_errors import S3Error

# Writers at once, and how often they meet.
_WRITERS = 4
_MEETINGS = 3
# What tells a writer that another one was first.
_LOST = (409, 412)


def check_conditional(room):
    key = room.key("conditional/one")
    room.client.put(key, b"first", only_new=True)
    try:
        room.client.put(key, b"second", only_new=True)
    except S3Error as error:
        if error.status not in _LOST:
            raise
    else:
        raise FlawError("A PUT with If-None-Match: * has replaced an object")
    if found(room.reader, key) != b"first":
        raise FlawError("A PUT with If-None-Match: * was refused, and has replaced the object all the same")
    for meeting in range(_MEETINGS):
        _meet(room, room.key(f"conditional/meeting-{meeting}"))
    return f"Of {_WRITERS} writers at once with If-None-Match: *, one wins, {_MEETINGS} of {_MEETINGS} times"


def _meet(room, key):
    """Lets several writers write the same new object at once."""
    outcomes = [None] * _WRITERS
    start = threading.Barrier(_WRITERS)

    def write(number):
        # Asks once: a second time it would meet its own object.
        with room.make_client(attempts=1) as client:
            try:
                client.open()
                start.wait(10)
                client.put(key, f"writer {number}".encode(), only_new=True)
                outcomes[number] = "won"
            except S3Error as error:
                outcomes[number] = "lost" if error.status in _LOST else error
            except (RegistryError, threading.BrokenBarrierError) as error:
                outcomes[number] = error

    threads = [threading.Thread(target=write, args=(number,), daemon=True) for number in range(_WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winners = [number for number, outcome in enumerate(outcomes) if outcome == "won"]
    if len(winners) != 1:
        raise FlawError(f"Of {_WRITERS} writers at once with If-None-Match: *, {len(winners)} were told that they won")
    if found(room.reader, key) != f"writer {winners[0]}".encode():
        raise FlawError("An object is that of a writer who was told that another one won")


def check_signed_url(room):
    body = b"by a URL"
    key = room.put("signed", body)
    url = room.client.signed_url(key, 60)
    status, got = room.client.fetch(url)
    if status != 200 or got != body:
        raise FlawError(f"A GET of a signed URL is answered with {status}")
    return "Objects can be read by signed URLs"


def check_privacy(room):
    key = room.put("private", b"private")
    status, got = room.client.fetch(room.client.address(key))
    if got == b"private":
        raise FlawError(f"An object can be read without a login ({status})")
    url = room.client.signed_url(key, 60)
    status, got = room.client.fetch(url[:-8] + ("0" * 8 if not url.endswith("0" * 8) else "1" * 8))
    if got == b"private":
        raise FlawError(f"An object can be read by a URL with a wrong signature ({status})")
    return "Objects can't be read without a login"


CHECKS = (
    Check(
        "conditional",
        check_conditional,
        "Needed only with several registry hosts: the collection of garbage takes its lock by it, and two of them at "
        "the same time may not notice each other",
        "With one registry host, nothing has to be done. With several, use a storage with conditional writes",
        only_warns=True,
    ),
    Check(
        "signed_urls",
        check_signed_url,
        "Needed only where clients or nginx fetch layers from the storage itself: redirects lead nowhere",
        "Leave redirects off (redirect.disable), so that all layers pass through the registry",
        only_warns=True,
    ),
    Check(
        "privacy",
        check_privacy,
        "All who reach the storage can pull all images, whatever the users and rules of the registry are",
        "Take the public right to read away from the bucket, or give the storage users",
        only_warns=True,
    ),
)

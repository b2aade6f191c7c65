# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of a storage: the way to it, its clock, its speed. Private to this collection."""

from __future__ import annotations

import functools
import statistics

from ansible_collections.wharf.registry.plugins.module_utils._storage.probe_check import Check
from ansible_collections.wharf.registry.plugins.module_utils._storage.probe_room import FlawError, timed

# S3 refuses what is further off.
_CLOCK_REFUSED = 15 * 60
_CLOCK_WARNED = 60
# Measured: what a push of a small image waits for, one after the other.
ROUND_TRIPS = 63
# Milliseconds: an image takes more than a second then.
SLOW = 20
_MEASURED = 20


def check_access(room):
    room.client.head_bucket()
    next(room.client.pages(room.prefix, size=1))
    return "The bucket is there, and the login is taken"


def check_clock(room):
    ahead = room.client.clock_ahead
    if ahead is None:
        raise FlawError("No answer has told the time of the storage", warning=True)
    seconds = abs(ahead)
    seen = f"The clock of this host is {seconds:.0f} s {'ahead of' if ahead > 0 else 'behind'} that of the storage"
    if seconds >= _CLOCK_WARNED:
        raise FlawError(seen, warning=seconds < _CLOCK_REFUSED)
    return seen if seconds >= 1 else "The clocks of this host and of the storage agree"


def check_latency(room, reads_only=False):
    """Measures single requests, one after the other on a kept connection, as a registry waits for them."""
    client, key = room.client, room.key("latency")
    steps = {
        "put": lambda: client.put(key, b"x" * 512),
        "get": lambda: client.get(key),
        "head": lambda: client.head(key),
        "list": lambda: next(client.pages(room.prefix + "latency", size=10)),
    }
    if reads_only:
        steps = {"head": client.head_bucket, "list": steps["list"]}
    times = {name: [] for name in steps}
    for _number in range(min(room.repetitions, _MEASURED)):
        for name, step in steps.items():
            times[name].append(timed(step)[1])
    medians = {name: round(statistics.median(measured) * 1000, 1) for name, measured in times.items()}
    slowest, mean = max(medians.values()), statistics.mean(medians.values())
    image = round(mean * ROUND_TRIPS / 1000, 1)
    room.latency = {**medians, "seconds_per_image": image}
    told = ", ".join(f"{name} {milliseconds} ms" for name, milliseconds in medians.items())
    seen = f"Medians: {told}. A small image takes about {ROUND_TRIPS} of them in a row: {image} s to push"
    if slowest > SLOW:
        raise FlawError(seen)
    return seen


CHECKS = (
    Check("access", check_access, "Nothing works without it", "", reads_only=True),
    Check(
        "clock",
        check_clock,
        "S3 refuses all requests of a host whose clock is off by 15 minutes, and ages of objects are told wrong",
        "Set the clocks of this host and of the storage by NTP",
        reads_only=True,
        needs_no_access=True,
    ),
)
LAST = (
    Check(
        "latency",
        check_latency,
        "Pushes are slow, and slower the more of them there are",
        "Bring the registry nearer to the storage: the same data centre, a kept connection, a faster disk for metadata",
        only_warns=True,
    ),
)
# In place of the last one where nothing may be written.
READING_LAST = (LAST[0]._replace(run=functools.partial(check_latency, reads_only=True), reads_only=True),)

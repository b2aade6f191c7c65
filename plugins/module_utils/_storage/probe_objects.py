# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of a storage: single objects, written, read, copied and deleted. Private to this collection."""

from __future__ import annotations

import functools

from ansible_collections.wharf.registry.plugins.module_utils._storage.probe_check import (
    OTHER_STORAGE,
    Check,
)
from ansible_collections.wharf.registry.plugins.module_utils._storage.probe_room import FlawError, found, patiently
from ansible_collections.wharf.registry.plugins.module_utils._storage.s3_errors import S3Error

# As the names of a registry: _ before its own, two underscores, long tags, digests in two levels.
_DIGEST = "ab" * 32
_NAMES = (
    "repositories/team__a/my-app.v2/_layers/sha256/" + _DIGEST + "/link",
    "repositories/team__a/my-app.v2/_manifests/tags/" + "V" * 128 + "/current/link",
    "repositories/" + "/".join(["n" * 50] * 5) + "/_uploads/6b3c9a93-af5d-473f-a4ff-9710022185cd/hashstates/sha256/0",
    "blobs/sha256/ab/" + _DIGEST + "/data",
)


def check_delete_many(room):
    keys = [room.put(f"many/{number}", b"x") for number in range(5)]
    refused = room.client.delete_all([*keys[1:], room.prefix + "many/absent"])
    if refused:
        raise FlawError(f"It did not delete {refused[0][0]}: {refused[0][1] or 'no reason'}")
    left = [key for key in keys if found(room.reader, key) is not None]
    if left != keys[:1]:
        raise FlawError(f"Of 5 objects, 4 of which were to be deleted, {len(left)} are there")
    return "One request deletes several objects"


def check_empty(room):
    key = room.put("empty", b"")
    head = room.reader.head(key)
    if head is None or head.size != 0 or found(room.reader, key) != b"":
        raise FlawError("An object of 0 bytes is not there, or has another size")
    patiently(lambda: _look_for_empty(room, key))
    return "An object of 0 bytes is kept"


def _look_for_empty(room, key):
    if [one.size for one in room.reader.objects(key)] != [0]:
        raise FlawError("An object of 0 bytes is not listed")


def check_names(room):
    for name in _NAMES:
        patiently(functools.partial(_look_for_name, room, name, room.put(name, name.encode())))
    return "Names as a registry has them are kept as they are"


def _look_for_name(room, name, key):
    if found(room.reader, key) != name.encode():
        raise FlawError(f"An object with a name of a registry, {name}, can't be read")
    if [one.key for one in room.reader.objects(key)] != [key]:
        raise FlawError(f"An object with a name of a registry, {name}, is not listed by its name")


def check_ranges(room):
    body = bytes(range(256)) * 8
    key = room.put("ranges", body)
    for first, last in ((0, 99), (1000, 1999), (2000, None), (2047, None)):
        got = room.reader.get(key, first, last)
        if got != body[first : None if last is None else last + 1]:
            raise FlawError(f"Bytes {first} to {last or 'the end'} of an object came as {len(got)} others")
    try:
        room.reader.get(key, len(body) + 1)
    except S3Error as error:
        if error.status == 416:
            return "Parts of objects can be read"
        raise
    raise FlawError("A part behind the end of an object is no error")


def check_copy(room):
    body = b"copied" * 1000
    source = room.put("copy/source", body)
    target = room.key("copy/target")
    room.client.copy(source, target)
    got = found(room.reader, target)
    if got != body:
        raise FlawError(
            "A copy is said to be made, and " + ("is not there" if got is None else "is not the same as its source")
        )
    room.client.put(target, b"former")
    room.client.copy(source, target)
    if found(room.reader, target) != body:
        raise FlawError("A copy over an object that was there has not replaced it")
    return "A copy has the content of its source"


def check_failed_copy(room):
    target = room.key("copy/of-nothing")
    try:
        room.client.copy(room.prefix + "copy/absent", target)
    except S3Error as error:
        if 400 <= error.status < 500:
            return f"A copy of what is not there is refused with {error.status}"
        raise FlawError(
            f"A copy of what is not there is answered with {error.status or 'nothing'} in place of 404: {error.message}"
        ) from None
    there = "and an object is there" if found(room.reader, target) is not None else "and no object is there"
    raise FlawError(f"A copy of what is not there is answered with 200 and success, {there}")


CHECKS = (
    Check(
        "delete_many",
        check_delete_many,
        "Deleting images and cleaning up after pushes fails",
        OTHER_STORAGE,
    ),
    Check("empty", check_empty, "Pushes of images with an empty layer fail", OTHER_STORAGE),
    Check("names", check_names, "Images with such names can't be pushed or pulled", OTHER_STORAGE),
    Check(
        "ranges",
        check_ranges,
        "Pulls that go on after a break, and uploads in several requests, get wrong bytes",
        OTHER_STORAGE,
    ),
    Check(
        "copy",
        check_copy,
        "The last step of a push copies the layer to its place: the push is acknowledged, and the layer lost",
        OTHER_STORAGE,
    ),
    Check(
        "failed_copy",
        check_failed_copy,
        "The last step of a push copies the layer to its place: where that fails, the push is acknowledged, and the "
        "layer lost",
        OTHER_STORAGE,
    ),
)

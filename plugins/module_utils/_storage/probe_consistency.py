# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of a storage: that what was written is there at once, for all who ask. Private to this collection."""

from __future__ import annotations

from ansible_collections.wharf.registry.plugins.module_utils._storage.probe_check import ONE_WORLD, Check
from ansible_collections.wharf.registry.plugins.module_utils._storage.probe_room import counted, found

# So that long lists do not hide that they are late.
_IN_A_FOLDER = 20


def check_read_after_write(room):
    def tried(hand, number):
        body = f"written {number}".encode()
        key = room.key(f"read/{number}")
        hand.writer.put(key, body)
        return all(found(reader, key) == body for reader in hand.readers(number))

    counted(room.tries(tried), "a new object could not be read at once")
    return f"{room.repetitions} of {room.repetitions} new objects could be read at once"


def check_list_after_write(room):
    """Looks for each new object as a registry looks for a tag: in a list of directories, and in one of objects."""

    def tried(hand, number):
        folder = f"list/{number // _IN_A_FOLDER}/"
        key = room.key(f"{folder}{number}/link")
        hand.writer.put(key, b"x")
        first, second = hand.readers(number)
        listed = {prefix for page in first.pages(room.prefix + folder, "/") for prefix in page.prefixes}
        return key[: -len("link")] in listed and [one.key for one in second.objects(key)] == [key]

    counted(room.tries(tried), "a list lacked an object that was written before")
    return f"{room.repetitions} of {room.repetitions} new objects were listed at once"


def check_overwrite(room):
    def tried(hand, number):
        key = room.key(f"overwritten/{number}")
        for body in (b"former", b"new"):
            hand.writer.put(key, body)
        return all(found(reader, key) == b"new" for reader in hand.readers(number))

    counted(room.tries(tried), "an object that was overwritten had its former content")
    return f"{room.repetitions} of {room.repetitions} times the new content came at once"


def check_delete(room):
    def tried(hand, number):
        folder = f"deleted/{number // _IN_A_FOLDER}/"
        key = room.key(f"{folder}{number}/link")
        hand.writer.put(key, b"x")
        hand.writer.delete(key)
        first, second = hand.readers(number)
        return found(first, key) is None and all(one.key != key for one in second.objects(room.prefix + folder))

    counted(room.tries(tried), "an object that was deleted could still be read, or was still listed")
    return f"{room.repetitions} of {room.repetitions} objects were gone at once"


CHECKS = (
    Check(
        "read_after_write",
        check_read_after_write,
        "A push is acknowledged, and the pull after it finds no image or a part of it",
        ONE_WORLD,
    ),
    Check(
        "list_after_write",
        check_list_after_write,
        "Pushes fail or lose layers, since a registry looks for its uploads in lists; new tags are not told",
        ONE_WORLD,
    ),
    Check(
        "overwrite",
        check_overwrite,
        "A tag that was moved still points to its former image for some clients",
        ONE_WORLD,
    ),
    Check(
        "delete",
        check_delete,
        "Images that were deleted can still be pulled, and tags of them are listed",
        ONE_WORLD,
    ),
)

# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of a storage: objects written in parts, as a registry writes its layers. Private to this collection."""

from __future__ import annotations

import hashlib

from ansible_collections.wharf.registry.plugins.module_utils._storage.probe_check import (
    ONE_WORLD,
    OTHER_STORAGE,
    Check,
)
from ansible_collections.wharf.registry.plugins.module_utils._storage.probe_room import FlawError
from ansible_collections.wharf.registry.plugins.module_utils._storage.s3_errors import S3Error
from ansible_collections.wharf.registry.plugins.module_utils._storage.s3_multipart import LEAST_PART

# No two blocks of it are the same, so that a part in a wrong place is seen.
_LARGE = b"".join(hashlib.sha256(str(number).encode()).digest() for number in range(LEAST_PART // 32))
_SMALL = b"the last part"


def check_resume(room):
    """Goes on with an upload as another replica of a registry does, which knows of it only what the storage lists."""
    key, upload_id = room.begin("parts/resumed")
    room.client.put_part(key, upload_id, 1, _LARGE)
    _look_for(room.reader, key, upload_id)
    other = room.reader
    parts = _parts(other, key, upload_id, {1: len(_LARGE)})
    other.put_part(key, upload_id, 2, _SMALL)
    parts = _parts(room.reader, key, upload_id, {1: len(_LARGE), 2: len(_SMALL)})
    room.reader.complete(key, upload_id, [(part.number, part.etag) for part in parts])
    _compare(room, key, _LARGE + _SMALL)
    if any(one.key == key for one in room.reader.uploads(key)):
        raise FlawError("An upload that was completed is still listed", warning=True)
    return "Another connection finds an upload and its parts at once, goes on with it and completes it"


def check_part_order(room):
    key, upload_id = room.begin("parts/reversed")
    second = room.client.put_part(key, upload_id, 2, _SMALL)
    first = room.reader.put_part(key, upload_id, 1, _LARGE)
    room.client.complete(key, upload_id, [(1, first), (2, second)])
    _compare(room, key, _LARGE + _SMALL)
    return "Parts that came in another order are in that of their numbers"


def check_missing_part(room):
    key, upload_id = room.begin("parts/missing")
    etag = room.client.put_part(key, upload_id, 2, _SMALL)
    try:
        room.client.complete(key, upload_id, [(1, "0" * 32), (2, etag)])
    except S3Error as error:
        # An error document may come with the status 200, as S3 documents it for this request.
        if error.code or 400 <= error.status < 500:
            room.client.abort(key, upload_id)
            return f"An upload that lacks a part is refused with {error.code or error.status}"
        raise
    there = "an object is there" if room.reader.head(key) is not None else "no object is there"
    raise FlawError(f"An upload of which part 1 was never written is completed with success, and {there}")


def check_abort(room):
    key, upload_id = room.begin("parts/aborted")
    room.client.put_part(key, upload_id, 1, _SMALL)
    room.client.abort(key, upload_id)
    if any(one.upload_id == upload_id for one in room.reader.uploads(key)):
        raise FlawError("An upload that was aborted is still listed")
    try:
        parts = list(room.reader.parts(key, upload_id))
    except S3Error as error:
        if error.status != 404:
            raise
        parts = []
    if parts:
        raise FlawError("The parts of an upload that was aborted are still there")
    if room.reader.head(key) is not None:
        raise FlawError("An upload that was aborted has made an object")
    return "An upload that is aborted is gone with its parts"


def check_part_copy(room):
    """A registry moves layers of more than 32 MiB to their place by copies of parts."""
    source = room.put("parts/source", _LARGE + _SMALL)
    begun = room.begin("parts/copied")
    cut = len(_LARGE)
    etags = [
        room.client.copy_part(begun, 1, source, 0, cut - 1),
        room.reader.copy_part(begun, 2, source, cut, cut + len(_SMALL) - 1),
    ]
    room.client.complete(*begun, list(enumerate(etags, 1)))
    _compare(room, begun[0], _LARGE + _SMALL)
    return "Parts that are copied from another object have its bytes"


def check_failed_part_copy(room):
    begun = room.begin("parts/of-nothing")
    try:
        room.client.copy_part(begun, 1, room.prefix + "parts/absent", 0, 9)
    except S3Error as error:
        if 400 <= error.status < 500:
            return f"A copy of a part of what is not there is refused with {error.status}"
        raise FlawError(
            f"A copy of a part of what is not there is answered with {error.status or 'nothing'} in place of 404: "
            f"{error.message}"
        ) from None
    finally:
        room.client.abort(*begun)
    raise FlawError("A copy of a part of what is not there is answered with 200 and success")


def _look_for(client, key, upload_id):
    begun = list(client.uploads(key))
    if all(one.key != key or one.upload_id != upload_id for one in begun):
        raise FlawError("An upload that is under way is not listed (ListMultipartUploads)")


def _parts(client, key, upload_id, wanted):
    parts = list(client.parts(key, upload_id))
    sizes = {part.number: part.size for part in parts}
    if sizes != wanted:
        missing = [str(number) for number in wanted if number not in sizes]
        what = f"lacks part {', '.join(missing)}" if missing else f"tells sizes of {sizes} for {wanted}"
        raise FlawError(f"The list of the parts of an upload that is under way {what} (ListParts)")
    return parts


def _compare(room, key, body):
    """Compares an object with what was written in parts."""
    head = room.reader.head(key)
    if head is None:
        raise FlawError("An upload is said to be complete, and the object is not there")
    if head.size != len(body):
        raise FlawError(f"An object of {len(body)} bytes that was written in parts has {head.size}: parts are lost")
    got, size = hashlib.sha256(), 0
    for piece in room.reader.pieces(key):
        got.update(piece)
        size += len(piece)
    if size != len(body) or got.digest() != hashlib.sha256(body).digest():
        raise FlawError(f"An object that was written in parts has other bytes than these ({size} of {len(body)} came)")


CHECKS = (
    Check(
        "parts_resume",
        check_resume,
        "Pushes fail with 'blob upload unknown' or 's3aws: Path not found', or layers are pushed with bytes missing",
        ONE_WORLD,
    ),
    Check("parts_order", check_part_order, "Layers are pushed with their bytes in a wrong order", OTHER_STORAGE),
    Check(
        "parts_missing",
        check_missing_part,
        "A push that lost a part on its way is acknowledged, and the layer is damaged",
        OTHER_STORAGE,
    ),
    Check(
        "parts_abort",
        check_abort,
        "Pushes that were cancelled fill the storage, and what lists them grows slower",
        "Let a rule of the bucket remove uploads that are older than a week, or use another storage",
    ),
    Check(
        "parts_copy",
        check_part_copy,
        "The last step of a push copies layers of more than 32 MiB in parts: they are damaged or lost",
        OTHER_STORAGE,
    ),
    Check(
        "parts_failed_copy",
        check_failed_part_copy,
        "The last step of a push copies layers of more than 32 MiB in parts: where that fails, the push is "
        "acknowledged, and the layer lost",
        OTHER_STORAGE,
    ),
)

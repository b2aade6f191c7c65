# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of a storage: what it lists. Private to this collection."""

from __future__ import annotations

from ansible_collections.wharf.registry.plugins.module_utils._storage.probe_check import (
    OTHER_STORAGE,
    Check,
)
from ansible_collections.wharf.registry.plugins.module_utils._storage.probe_room import (
    FlawError,
    counted,
    found,
    patiently,
)
from ansible_collections.wharf.registry.plugins.module_utils._storage.s3_errors import S3Error

# Tags beside each other of which one begins as the other does.
_TAGS = ("1", "1-rc1", "1.0", "1.0.0", "10", "2", "latest")
# In the order of their bytes, which is that of S3: "." is less than "/".
_SIDE_BY_SIDE = ("a-b", "a.b", "a/b", "a/c/d", "ab")


def check_delimiter(room):
    """Two levels of names, as directories, and those that begin alike beside each other."""
    folder = f"{room.prefix}delimiter/"
    for name in _SIDE_BY_SIDE:
        room.put(f"delimiter/{name}", b"x")
    patiently(lambda: _look_at_levels(room, folder))
    return "Lists with a delimiter tell objects and directories as S3 does"


def _look_at_levels(room, folder):
    beside = ", ".join(_SIDE_BY_SIDE)
    keys, prefixes = _listed(room.reader, folder, "/")
    if sorted(keys) != ["a-b", "a.b", "ab"] or sorted(prefixes) != ["a/"]:
        raise FlawError(f"Of {beside} it lists as objects {_told(keys)}, as directories {_told(prefixes)}")
    keys, _prefixes = _listed(room.reader, folder + "a", "")
    if sorted(keys) != ["-b", ".b", "/b", "/c/d", "b"]:
        raise FlawError(f"Of {beside} it lists as beginning with a: {_told('a' + key for key in keys)}")


def check_tags(room):
    for tag in _TAGS:
        room.put(f"tags/{tag}/current/link", b"x")
    patiently(lambda: _look_at_tags(room))
    return "Directories whose names begin alike, as 1 and 1.0, are listed beside each other"


def _look_at_tags(room):
    _keys, prefixes = _listed(room.reader, f"{room.prefix}tags/", "/")
    beside = f"Of the directories {', '.join(_TAGS)} beside each other"
    missing = [tag for tag in _TAGS if f"{tag}/" not in prefixes]
    if missing:
        raise FlawError(f"{beside} its list lacks {', '.join(missing)}")
    if len(prefixes) != len(_TAGS):
        raise FlawError(f"{beside} it lists {_told(prefixes)}")


def check_start_after(room):
    """Goes on behind each name in turn, as garbage collection does after a pause, in whatever order the lists are."""
    folder = f"{room.prefix}order/"
    for name in _SIDE_BY_SIDE:
        room.put(f"order/{name}", b"x")
    patiently(lambda: _go_on(room, folder))
    return "A list that begins behind a name goes on where another one ended"


def _go_on(room, folder):
    keys, _prefixes = _listed(room.reader, folder, "")
    for number, name in enumerate(keys, 1):
        after = [one.key[len(folder) :] for one in room.reader.objects(folder, start_after=folder + name)]
        if after != keys[number:]:
            raise FlawError(f"Of {_told(keys)} it lists {_told(after)} as what comes after {name}")


def check_order(room):
    keys, _prefixes = _listed(room.reader, f"{room.prefix}order/", "")
    if keys != list(_SIDE_BY_SIDE):
        raise FlawError(f"It lists {_told(keys)} in place of {', '.join(_SIDE_BY_SIDE)}")
    return "Lists are in the order of the bytes of the names"


def check_pages(room):
    names = [f"{number}/{part}" for number in range(5) for part in "ab"]
    for name in names:
        room.put(f"pages/{name}", b"x")
    patiently(lambda: _look_at_pages(room, names))
    return "Lists in pages are complete, and name nothing twice"


def _look_at_pages(room, names):
    folder = f"{room.prefix}pages/"
    for size in (1, 3):
        keys = [one.key[len(folder) :] for page in room.reader.pages(folder, size=size) for one in page.objects]
        _compare(keys, names, f"objects in pages of {size}")
        prefixes = [one[len(folder) :] for page in room.reader.pages(folder, "/", size=size) for one in page.prefixes]
        _compare(prefixes, [f"{number}/" for number in range(5)], f"directories in pages of {size}")


def _compare(listed, wanted, what):
    lost, twice = sorted(set(wanted) - set(listed)), sorted({one for one in listed if listed.count(one) > 1})
    if lost:
        raise FlawError(f"A list of {len(wanted)} {what} lacks {len(lost)}, such as {lost[0]}")
    if twice:
        raise FlawError(f"A list of {len(wanted)} {what} names {len(twice)} twice, such as {twice[0]}")


def check_object_and_directory(room):
    """A name that is an object, and of which others go on behind a slash. A file system can't have both."""
    key = room.put("both", b"object")
    try:
        below = room.put("both/below", b"below")
    except S3Error as error:
        if found(room.reader, key) == b"object":
            return f"A name can't be an object and a directory ({error.status}); a registry has none"
        raise FlawError("An object is lost when one is refused whose name goes on behind a slash") from None
    lost = [one for one, body in ((key, b"object"), (below, b"below")) if found(room.reader, one) != body]
    if lost:
        raise FlawError(f"Of the objects both and both/below, {lost[0][len(room.prefix) :]} is lost without an error")
    return "A name can be an object and a directory"


def check_empty_directories(room):
    """A registry removes a tag by the objects in its directory, and lists tags by directories."""
    folder = f"{room.prefix}emptied/"
    tries = []
    for number in range(min(room.repetitions, 10)):
        key = room.put(f"emptied/{number}/current/link", b"x")
        room.client.delete_all([key])
        tries.append(not any(page.prefixes for page in room.reader.pages(folder, "/")))
    counted(tries, "a directory without an object was listed")
    return "Directories without objects are not listed"


def _listed(client, folder, delimiter):
    """(names of objects, of directories) that are listed, without what they begin with."""
    pages = list(client.pages(folder, delimiter))
    size = len(folder)
    return [one.key[size:] for page in pages for one in page.objects], [
        one[size:] for page in pages for one in page.prefixes
    ]


def _told(names):
    names = list(names)
    return ", ".join(names) if names else "none"


CHECKS = (
    Check(
        "tags",
        check_tags,
        "Such tags are missing in lists, and retention and garbage collection are blind for them",
        OTHER_STORAGE,
    ),
    Check(
        "delimiter",
        check_delimiter,
        "Repositories and tags are missing in lists, and retention and garbage collection are blind for them",
        OTHER_STORAGE,
    ),
    Check(
        "start_after",
        check_start_after,
        "A registry that lists in pages, and garbage collection, pass over repositories",
        OTHER_STORAGE,
    ),
    Check(
        "pages",
        check_pages,
        "Repositories of more than 1000 tags or layers lose some of them in lists; garbage collection deletes what is "
        "in use",
        OTHER_STORAGE,
    ),
    Check(
        "order",
        check_order,
        "Programs that compare sorted lists of the bucket with each other, as copiers do, may pass over objects",
        "Use such programs only where they sort what is listed",
        only_warns=True,
    ),
    Check(
        "object_and_directory",
        check_object_and_directory,
        "A registry has no such names itself. What else lies in the bucket may be lost",
        "Give the registry a bucket of its own",
        only_warns=True,
    ),
    Check(
        "empty_directories",
        check_empty_directories,
        "Tags that were deleted are listed for a while, and a pull of them is answered with 404",
        "Nothing has to be done; do not take the list of tags for proof that one exists",
        only_warns=True,
    ),
)

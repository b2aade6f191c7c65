# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What lies in the storage of a registry: repositories, tags, links and blobs, and what is odd among them."""

from __future__ import annotations

import contextlib
import os
import stat
import time

from . import names
from .files import DIRECTORY, LINK, Directory, OddError, kind_of
from .found import Link

# Below the directory of the storage.
ROOT = ("docker", "registry", "v2")
# A link is empty for a moment while the registry writes it: one that was touched since may be read again.
_WRITING_SECONDS = 5
_TRIES, _PAUSE_SECONDS = 5, 0.05
# A digest is shorter.
_MOST_LINK = 256


class Storage:
    """A storage directory: that which has docker/registry/v2 in it. Its descriptor stays open until it is closed."""

    def __init__(self, directory, root=ROOT):
        self.directory = os.path.realpath(directory)
        self.top = Directory.at(self.directory)
        self._root = tuple(root)
        # By algorithm, the directories of blobs that stay open while the manifests of a storage are read.
        self._open_blobs = {}

    def __enter__(self):
        return self

    def __exit__(self, *_exception):
        self.close()

    def close(self):
        self._close_blobs()
        self.top.close()

    def _close_blobs(self):
        while self._open_blobs:
            self._open_blobs.popitem()[1].close()

    def enter(self, *parts):
        """A directory below docker/registry/v2. Raises FileNotFoundError and OddError."""
        return self.top.enter(*self._root, *parts)

    def enter_repository(self, repository, *parts):
        return self.enter("repositories", *repository.split("/"), *parts)

    # --- repositories -------------------------------------------------------------------------------------------------

    def repositories(self, oddities):
        """The names of all repositories, sorted. One may lie within another."""
        try:
            with self.enter("repositories") as top:
                return sorted(_repositories(top, "", oddities))
        except FileNotFoundError:
            return []
        except OddError as error:
            oddities.add_error(error, error.filename)
            return []

    def has_entries_of_repositories(self):
        """Whether anything lies in the directory of all repositories, as in a storage that is mounted."""
        try:
            with self.enter("repositories") as top:
                return bool(top.entries())
        except FileNotFoundError:
            return False

    def tags(self, repository, oddities, only=None):
        """{tag: Link} of all tags, or only of some: of those that say something, or nothing of use."""
        found = {}
        for directory, tag in self._each_tag(repository, oddities, only):
            try:
                with directory.enter(tag) as inner:
                    link = _read_link(inner, "current")
            except FileNotFoundError:
                continue
            except OSError as error:
                oddities.add_error(error, directory.join(tag))
                continue
            if link is not None:
                found[tag] = link
        return found

    def history(self, repository, tag, oddities):
        """{digest: Link} of all that a tag points to and has pointed to."""
        return self._links(oddities, repository, "_manifests", "tags", tag, "index")

    def revisions(self, repository, oddities):
        """{digest: Link} of the manifests that the repository has."""
        return self._links(oddities, repository, "_manifests", "revisions")

    def layers(self, repository, oddities):
        """{digest: Link} of the blobs that the repository has."""
        return self._links(oddities, repository, "_layers")

    def last_upload(self, repository):
        """When an upload that is not finished was last written to, in seconds, or 0."""
        latest = 0.0
        # Nothing here leads to anything: what is odd is only no upload.
        with contextlib.suppress(FileNotFoundError, OddError), self.enter_repository(repository, "_uploads") as top:
            for upload, kind in top.entries():
                if kind == DIRECTORY:
                    with contextlib.suppress(FileNotFoundError, OddError), top.enter(upload) as inner:
                        for name, _kind in inner.entries():
                            with contextlib.suppress(FileNotFoundError):
                                about = os.stat(name, dir_fd=inner.descriptor, follow_symlinks=False)
                                latest = max(latest, about.st_mtime)
        return latest

    def _each_tag(self, repository, oddities, only):
        with self._within(oddities, repository, "_manifests", "tags") as directory:
            if only is not None:
                yield from ((directory, tag) for tag in only if directory)
                return
            for tag, kind in directory.entries() if directory else ():
                if kind == DIRECTORY and names.is_tag(tag):
                    yield directory, tag
                else:
                    oddities.add_entry(directory, tag, kind)

    @contextlib.contextmanager
    def _within(self, oddities, repository, *parts):
        """A directory of a repository, or None."""
        try:
            directory = self.enter_repository(repository, *parts)
        except FileNotFoundError:
            directory = None
        except OSError as error:
            oddities.add_error(error, "/".join((repository, *parts)))
            directory = None
        try:
            yield directory
        finally:
            if directory:
                directory.close()

    def _links(self, oddities, repository, *parts):
        found = {}
        with self._within(oddities, repository, *parts) as top:
            for algorithm, kind in top.entries() if top else ():
                if kind != DIRECTORY or algorithm not in names.ALGORITHMS:
                    oddities.add_entry(top, algorithm, kind)
                    continue
                directory = _entered(top, algorithm, oddities)
                if directory:
                    with directory:
                        found.update(_read_links(directory, algorithm, oddities))
        return found

    # --- blobs --------------------------------------------------------------------------------------------------------

    def blobs(self, oddities):
        """Yields (digest, size, time) of all blobs. Sizes are in bytes. Raises OSError where the disk does."""
        self._close_blobs()
        for prefix, algorithm, encoded in self._each_blob(oddities):
            try:
                found = prefix.look(encoded, "data")
            except FileNotFoundError:
                continue
            except OddError as error:
                oddities.add(error)
                continue
            if stat.S_ISREG(found.st_mode):
                yield f"{algorithm}:{encoded}", found.st_size, found.st_mtime
            else:
                oddities.add(OddError(prefix.join(encoded, "data"), kind_of(found)))

    def _each_blob(self, oddities):
        """Yields (directory, algorithm, digits). What is no place of a blob hides none that the registry could find."""
        try:
            top = self.enter("blobs")
        except FileNotFoundError:
            return
        except OddError as error:
            oddities.add(error)
            return
        with top:
            for algorithm, within in _each(top, oddities, lambda name: name in names.ALGORITHMS):
                for prefix, place in _each(within, oddities, lambda name: len(name) == 2):
                    for encoded, kind in place.entries():
                        fits = names.is_encoded(algorithm, encoded) and encoded.startswith(prefix)
                        if kind == DIRECTORY and fits:
                            yield place, algorithm, encoded
                        else:
                            oddities.add_entry(place, encoded, kind)

    def open_blob(self, digest):
        """The descriptor of a blob's content. Raises FileNotFoundError, OddError and OSError."""
        algorithm, encoded = names.split(digest)
        directory = self._open_blobs.get(algorithm)
        if directory is None:
            made = self.enter("blobs", algorithm)
            # Another thread may have been quicker.
            directory = self._open_blobs.setdefault(algorithm, made)
            if directory is not made:
                made.close()
        with directory.enter(encoded[:2], encoded) as place:
            return place.open("data")

    def read_blob(self, digest, most, begins=b""):
        """The first bytes of a blob's content; none where it begins otherwise, but for white space."""
        with open(self.open_blob(digest), "rb", buffering=0) as stream:
            content = stream.read(min(most, 4096))
            if not content.lstrip().startswith(begins):
                return b""
            while len(content) < most:
                more = stream.read(most - len(content))
                if not more:
                    break
                content += more
        return content

    def blob_size(self, digest):
        """The bytes of a blob, or None where there is none."""
        try:
            with self.enter(*self.place(digest)) as place:
                found = place.look(names.split(digest)[1], "data")
        except (FileNotFoundError, OddError):
            return None
        return found.st_size if stat.S_ISREG(found.st_mode) else None

    def keep_blobs(self, wanted):
        """Removes all below blobs that is not the content of one of the digests. For a storage that nothing serves."""
        try:
            top = self.enter("blobs")
        except FileNotFoundError:
            return
        except OddError:
            with self.enter() as root:
                root.remove("blobs")
            return
        with top:
            for algorithm, within in _each_or_remove(top):
                for prefix, place in _each_or_remove(within):
                    for encoded, blob in _each_or_remove(place):
                        whole = f"{algorithm}:{encoded}"
                        if whole not in wanted or not encoded.startswith(prefix):
                            place.remove(encoded)
                            continue
                        for name, _kind in blob.entries():
                            if name != "data":
                                blob.remove(name)

    @staticmethod
    def place(digest):
        """The directory in which the directory of a blob lies."""
        algorithm, encoded = names.split(digest)
        return ("blobs", algorithm, encoded[:2])


def _repositories(directory, name, oddities):
    """Yields a repository and those that lie within it."""
    below, is_one = [], False
    try:
        entries = directory.entries()
    except OSError as error:
        oddities.add_error(error, directory.path)
        entries = []
    for entry, kind in entries:
        full = f"{name}/{entry}" if name else entry
        # A part that is none is told by who reads it.
        if name and entry in names.PARTS and kind in (DIRECTORY, LINK):
            is_one = True
        elif kind == DIRECTORY and names.is_component(entry) and len(full) <= names.MOST_CHARACTERS:
            below.append((entry, full))
        else:
            oddities.add_entry(directory, entry, kind)
    if is_one:
        yield name
    for entry, full in below:
        inner = _entered(directory, entry, oddities)
        if inner:
            with inner:
                yield from _repositories(inner, full, oddities)


def _entered(directory, name, oddities):
    """The directory of that name, or None."""
    try:
        return directory.enter(name)
    except FileNotFoundError:
        return None
    except OSError as error:
        oddities.add_error(error, directory.join(name))
        return None


def _each(directory, oddities, fits):
    """Yields (name, open directory) of those whose names fit."""
    for name, kind in directory.entries():
        if kind != DIRECTORY or not fits(name):
            oddities.add_entry(directory, name, kind)
            continue
        inner = _entered(directory, name, oddities)
        if inner:
            with inner:
                yield name, inner


def _each_or_remove(directory):
    for name, kind in directory.entries():
        if kind != DIRECTORY:
            directory.remove(name)
            continue
        with directory.enter(name) as inner:
            yield name, inner


def _read_links(directory, algorithm, oddities):
    """{digest: Link} of a directory of links."""
    found, unfinished = {}, []
    for name, kind in directory.entries():
        if kind is not DIRECTORY or not names.is_encoded(algorithm, name):
            oddities.add_entry(directory, name, kind)
            continue
        try:
            link = _read_link(directory, name)
        except OSError as error:
            oddities.add_error(error, directory.join(name))
            # It is there, whatever it says.
            link = Link(None, time.time())
        else:
            if link is not None and link.target is None:
                unfinished.append(name)
        if link is not None:
            found[f"{algorithm}:{name}"] = link
    _finish(directory, algorithm, found, unfinished, oddities)
    return found


def _finish(directory, algorithm, found, unfinished, oddities):
    """Reads again what is being written just now: all of it together, so that many take no longer than one."""
    for _try in range(_TRIES):
        since = time.time() - _WRITING_SECONDS
        young = [name for name in unfinished if found[f"{algorithm}:{name}"].time > since]
        if not young:
            break
        time.sleep(_PAUSE_SECONDS)
        for name in young:
            with contextlib.suppress(OSError):
                link = _read_link(directory, name)
                if link is None:
                    del found[f"{algorithm}:{name}"]
                    unfinished.remove(name)
                elif link.target is not None:
                    found[f"{algorithm}:{name}"] = link
                    unfinished.remove(name)
    for name in unfinished:
        oddities.add(f"the link {names.shown(directory.join(name))} is damaged")


def _read_link(directory, name):
    """The Link in the directory of a name, or None where there is none. Raises OddError and OSError."""
    try:
        about, content = directory.read(name, "link", _MOST_LINK)
    except FileNotFoundError:
        # What was deleted through the API leaves its directory.
        return None
    text = content.decode("ascii", "replace").strip()
    return Link(text if names.is_digest(text) else None, about.st_mtime, about.st_mtime_ns)

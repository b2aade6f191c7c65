# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What lies in the storage of a registry, as versions 2 and 3 write it with the driver `filesystem`. Reads only."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import time

_DIGEST = re.compile(r"[a-z0-9]+:[0-9a-f]{32,}")
# The largest manifest that a registry takes.
MOST_BYTES = 4 * 1024 * 1024


class UnreadableError(Exception):
    """A manifest that is missing or damaged."""


def is_digest(text):
    return isinstance(text, str) and bool(_DIGEST.fullmatch(text))


class Storage:
    """A storage directory: that which has docker/registry/v2 in it."""

    def __init__(self, directory):
        self.directory = os.path.realpath(directory)
        self.root = os.path.join(self.directory, "docker", "registry", "v2")
        self._references = {}

    # --- repositories -------------------------------------------------------------------------------------------------

    def repositories(self):
        """The names of all repositories, sorted. One may lie within another. Raises OSError where there is no place."""
        top = os.path.join(self.root, "repositories")
        names = []
        waiting = [""]
        while waiting:
            name = waiting.pop()
            for entry in _scan(os.path.join(top, name) if name else top):
                if not entry.is_dir(follow_symlinks=False):
                    continue
                if entry.name in ("_layers", "_manifests", "_uploads"):
                    if name and (not names or names[-1] != name):
                        names.append(name)
                elif not entry.name.startswith("_"):
                    waiting.append(f"{name}/{entry.name}" if name else entry.name)
        # Blobs alone would all be garbage: this is a storage that is not whole, or not mounted.
        if not names and any(self.blobs()):
            raise FileNotFoundError(
                errno.ENOENT,
                "Nothing was removed: there are blobs, and no repositories. Mount what is missing, or remove the "
                "directory blobs beside it where nobody needs them",
                top,
            )
        return sorted(set(names))

    def path(self, repository, *parts):
        return os.path.join(self.root, "repositories", repository, *parts)

    def tags(self, repository):
        """Yields (tag, digest) of those that point to something. Raises UnreadableError where one is damaged."""
        for entry in _scan(self.path(repository, "_manifests", "tags")):
            try:
                digest = _read_link(os.path.join(entry.path, "current", "link"))
            except UnreadableError as error:
                raise UnreadableError(f"the tag {entry.name} {error}") from None
            if digest is not None:
                yield entry.name, digest

    def history(self, repository):
        """Yields (directory, digest) for all that tags point to and have pointed to."""
        for tag in _scan(self.path(repository, "_manifests", "tags")):
            for algorithm in _scan(os.path.join(tag.path, "index")):
                for entry in _scan(algorithm.path):
                    if is_digest(f"{algorithm.name}:{entry.name}"):
                        yield entry.path, f"{algorithm.name}:{entry.name}"

    def revisions(self, repository):
        """{digest: time} of the manifests that the repository has. The time, in seconds, is that of the last push."""
        return self._links(self.path(repository, "_manifests", "revisions"))

    def layers(self, repository):
        """{digest: time} of the blobs that the repository has."""
        return self._links(self.path(repository, "_layers"))

    def revision_directory(self, repository, digest):
        return self.path(repository, "_manifests", "revisions", *digest.split(":", 1))

    def layer_directory(self, repository, digest):
        return self.path(repository, "_layers", *digest.split(":", 1))

    def _links(self, directory):
        links = {}
        for algorithm in _scan(directory):
            for entry in _scan(algorithm.path):
                # What was deleted through the API leaves its directory.
                with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                    links[f"{algorithm.name}:{entry.name}"] = os.stat(os.path.join(entry.path, "link")).st_mtime
        return links

    def last_upload(self, repository):
        """When an upload that is not finished was last written to, in seconds, or 0."""
        latest = 0
        for upload in _scan(self.path(repository, "_uploads")):
            for entry in _scan(upload.path):
                with contextlib.suppress(FileNotFoundError):
                    latest = max(latest, entry.stat(follow_symlinks=False).st_mtime)
        return latest

    # --- blobs --------------------------------------------------------------------------------------------------------

    def blobs(self):
        """Yields (digest, size, time) of all blobs. Sizes are in bytes."""
        for algorithm in _scan(os.path.join(self.root, "blobs")):
            for prefix in _scan(algorithm.path):
                for entry in _scan(prefix.path):
                    try:
                        found = os.stat(os.path.join(entry.path, "data"))
                    except (FileNotFoundError, NotADirectoryError):
                        continue
                    yield f"{algorithm.name}:{entry.name}", found.st_size, found.st_mtime

    def blob_directory(self, digest):
        algorithm, name = digest.split(":", 1)
        return os.path.join(self.root, "blobs", algorithm, name[:2], name)

    def references(self, digest):
        """(digests, subject) that a manifest names. What was read once is remembered: a digest is its content.

        Raises UnreadableError, and OSError where the disk does.
        """
        if digest not in self._references:
            try:
                with open(os.path.join(self.blob_directory(digest), "data"), "rb") as stream:
                    # A layer, of which there may be thousands, is known by its first bytes.
                    content = stream.read(64)
                    content += stream.read(MOST_BYTES) if content.lstrip().startswith(b"{") else b""
            except FileNotFoundError:
                raise UnreadableError("is missing") from None
            self._references[digest] = _references(content)
        found = self._references[digest]
        if isinstance(found, str):
            raise UnreadableError(found)
        return found


def _references(content):
    """(digests, subject) of a manifest, or in words what is wrong with it."""
    try:
        document = json.loads(content)
        # Whatever kind it is: an index may name layers, and other formats name things in the same places.
        digests = [
            descriptor.get("digest", descriptor.get("blobSum"))
            for key in ("manifests", "layers", "blobs", "fsLayers", "config")
            for descriptor in _listed(document.get(key))
        ]
        subject = (document.get("subject") or {}).get("digest", "")
    except (ValueError, AttributeError, RecursionError):
        return "is no manifest"
    if not all(is_digest(one) for one in [*digests, *([subject] if subject else [])]):
        return "names what is no digest"
    return tuple(digests), subject


def _listed(value):
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _read_link(path):
    """The digest in a link, or None where there is none. Raises UnreadableError where it holds something else."""
    for _attempt in range(5):
        try:
            with open(path, encoding="ascii", errors="replace") as stream:
                text = stream.read(256).strip()
        except (FileNotFoundError, NotADirectoryError):
            return None
        if is_digest(text):
            return text
        # The registry may be writing it just now.
        time.sleep(0.05)
    raise UnreadableError("is damaged")


def _scan(directory):
    """The entries of a directory; none where it is gone. Raises OSError where it is not what the registry makes.

    It makes no symbolic links. What lies behind one would be taken for gone, and what it names for garbage; and its
    account could lead this one out of the storage.
    """
    try:
        with os.scandir(directory) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return []
    linked = [entry.path for entry in entries if entry.is_symlink()]
    if os.path.realpath(directory) != directory:
        linked.append(directory)
    if linked:
        raise OSError(
            errno.ELOOP, "Nothing was removed: the registry makes no symbolic link, and this is one", linked[0]
        )
    return entries

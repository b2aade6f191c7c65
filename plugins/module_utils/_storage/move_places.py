# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The images of a registry as files or as objects, as a move reads and writes them. Private to this collection.

Both know the same paths, below docker/registry/v2: blobs and links. Uploads that are not finished are left out.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import threading
from typing import NamedTuple

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._distribution.http_message import Upload
from ansible_collections.wharf.registry.plugins.module_utils._storage.s3_errors import S3Error

ROOT = "docker/registry/v2"
# Bytes that are read at once.
_PIECE = 1 << 20
# Bytes from which on an object is written in parts, and the least size of one. S3 takes 10,000 parts.
_LARGE, _PART, _MOST_PARTS = 64 << 20, 32 << 20, 10000
_BLOB = re.compile(r"blobs/([a-z0-9+._-]+)/([0-9a-f]{2})/(\2[0-9a-f]+)/data\Z")
_LINK = re.compile(r"repositories/(?:[^/]+/)+link\Z")
_UPLOADS = "_uploads"


class Entry(NamedTuple):
    """A file or an object. stamp differs once it was written again; changed is the time of that, or 0."""

    path: str
    size: int
    stamp: str
    changed: float = 0


class GoneError(Exception):
    """It is not there any more."""


def digest_of(path):
    """(algorithm, hash) of the path of a blob, or None for a link."""
    found = _BLOB.match(path)
    return found and (found[1], found[3])


def is_image(path):
    """Whether a path is that of a blob or a link, as a registry writes them, and leads nowhere else."""
    if {"", ".", ".."} & set(path.split("/")) or "\0" in path:
        return False
    if path.startswith("blobs/"):
        return bool(_BLOB.match(path))
    return bool(_LINK.match(path)) and f"/{_UPLOADS}/" not in path


class Disk:
    """The files below a directory, which belong to the account that this process has."""

    def __init__(self, directory):
        self._base = os.path.join(directory, ROOT)
        self.name = directory

    def entries(self):
        """Yields an Entry for each blob and link. Links of the file system are not followed."""
        for folder, folders, files, descriptor in os.fwalk(self._base, follow_symlinks=False):
            with contextlib.suppress(ValueError):
                folders.remove(_UPLOADS)
            inner = os.path.relpath(folder, self._base)
            for name in files:
                path = f"{inner}/{name}"
                if not is_image(path):
                    continue
                try:
                    about = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
                except FileNotFoundError:
                    continue
                if stat.S_ISREG(about.st_mode):
                    stamp = f"{about.st_ino}:{about.st_size}:{about.st_mtime_ns}"
                    yield Entry(path, about.st_size, stamp, about.st_mtime)

    def pieces(self, path, first=0, size=None):
        """Yields the content, or so many bytes from the first on. Raises GoneError."""
        try:
            descriptor = os.open(self._place(path), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            raise GoneError(path) from None
        with os.fdopen(descriptor, "rb") as stream:
            stream.seek(first)
            left = size
            while left is None or left > 0:
                piece = stream.read(_PIECE if left is None else min(_PIECE, left))
                if not piece:
                    return
                left = None if left is None else left - len(piece)
                yield piece

    def write(self, entry, source):
        """Writes what the source has at the path, on the disk for good before it has its name."""
        place = self._place(entry.path)
        os.makedirs(os.path.dirname(place), mode=0o755, exist_ok=True)
        temporary = f"{place}.moving"
        try:
            with open(temporary, "wb") as stream:
                for piece in source.pieces(entry.path):
                    stream.write(piece)
                stream.flush()
                os.fsync(stream.fileno())
            os.rename(temporary, place)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise

    def delete(self, path):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._place(path))

    def is_empty(self):
        return not os.path.lexists(self._base)

    def close(self):
        """There is nothing to close."""

    def _place(self, path):
        return os.path.join(self._base, path)


class Bucket:
    """The objects below a directory in a bucket. Each thread has a connection of its own."""

    def __init__(self, access, root):
        self._access = access
        root = root.strip("/")
        self._base = f"{root}/{ROOT}/" if root else f"{ROOT}/"
        self.name = f"s3://{access.bucket}/{root}".rstrip("/")
        self._own = threading.local()
        self._clients = []
        self._lock = threading.Lock()
        self.beside = f"{root}/" if root else ""

    @property
    def client(self):
        client = getattr(self._own, "client", None)
        if client is None:
            client = self._own.client = self._access.client()
            with self._lock:
                self._clients.append(client)
        return client

    def entries(self, below=""):
        """Yields an Entry for each blob and link whose path begins so, in the order of S3."""
        for listed in self.client.objects(self._base + below):
            path = listed.key[len(self._base) :]
            if is_image(path):
                yield Entry(path, listed.size, f"{listed.size}:{listed.etag}:{listed.modified}")

    def pieces(self, path, first=0, size=None):
        """Yields the content, or so many bytes from the first on. Raises GoneError."""
        part = () if size is None else (first, first + size - 1)
        try:
            yield from self.client.pieces(self._base + path, *part)
        except S3Error as error:
            if error.status == 404 and error.code == "NoSuchKey":
                raise GoneError(path) from None
            raise

    def write(self, entry, source):
        """Writes what the source has at the path."""
        key = self._base + entry.path
        if entry.size < _PIECE:
            self.client.put(key, b"".join(source.pieces(entry.path)))
        elif entry.size < _LARGE:
            self.client.put(key, Upload(entry.size, source.pieces(entry.path)))
        else:
            self._write_parts(key, entry, source)

    def _write_parts(self, key, entry, source):
        size = max(_PART, -(-entry.size // _MOST_PARTS))
        upload = self.client.begin(key)
        try:
            parts = []
            for number, first in enumerate(range(0, entry.size, size), 1):
                length = min(size, entry.size - first)
                body = Upload(length, source.pieces(entry.path, first, length))
                parts.append((number, self.client.put_part(key, upload, number, body)))
            self.client.complete(key, upload, parts)
        except BaseException:
            with contextlib.suppress(RegistryError):
                self.client.abort(key, upload)
            raise

    def abort_uploads(self):
        """Ends what a copy that was killed has begun."""
        for begun in list(self.client.uploads(self._base)):
            self.client.abort(begun.key, begun.upload_id)

    def key(self, path):
        return self._base + path

    def delete(self, path):
        self.client.delete(self._base + path)

    def is_empty(self):
        return next(iter(self.client.objects(self._base)), None) is None

    def close(self):
        for client in self._clients:
            client.close()


def room(directory):
    """The bytes that are free in the file system of a directory."""
    about = os.statvfs(directory)
    return about.f_bavail * about.f_frsize


def is_full(error):
    """Whether an OSError is for want of room."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)

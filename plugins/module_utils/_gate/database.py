# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The databases of Trivy, taken from a registry of the site. Private to this collection.

Each lies in a directory that is named by the digest of its artefact and never changes, and a run has a cache of its
own that leads to those that it means: a run that takes another database meanwhile changes nothing for it.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import shutil
import tarfile
import tempfile
import time
import zlib

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError, RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._distribution.manifest import size_of
from ansible_collections.wharf.registry.plugins.module_utils._transfer.blob_mover import Download

# What an artefact of a database holds, and where Trivy looks for it.
_FILES = {"db": ("trivy.db", "metadata.json"), "java-db": ("trivy-java.db", "metadata.json")}
_TYPES = {
    "db": "application/vnd.aquasec.trivy.db.layer.v1.tar+gzip",
    "java-db": "application/vnd.aquasec.trivy.javadb.layer.v1.tar+gzip",
}
_DATABASES = "databases"
_UNFINISHED = ".wharf-"
_LARGEST = 16 << 30
# What no run has used for that long is removed when another database comes.
_KEPT_SECONDS = 2 * 86400


class DatabaseError(RegistryError):
    """A database that can't be had, or is none."""


def check_cache_dir(path):
    """Makes the directory where it is missing. Raises InputError where others could put something into it."""
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
        found = os.stat(path)
    except OSError as error:
        raise InputError(
            f"{path} can't be used: {error.strerror}", "Give a cache_dir that this account may write"
        ) from None
    if found.st_uid not in (0, os.geteuid()) or found.st_mode & 0o022:
        raise InputError(
            f"{path} can be written by other accounts, who could put another database there",
            "Give a directory of this account alone, with the mode 0700",
        )


@contextlib.contextmanager
def cache_of_run(cache_dir, directories):
    """A cache for one run, which leads to databases: {kind: directory}. It is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix=_UNFINISHED, dir=cache_dir) as place:
        for kind, directory in directories.items():
            # Relative, so that it leads there in a container as well.
            os.symlink(os.path.relpath(directory, place), os.path.join(place, kind))
        yield place


class Database:
    """One database in the cache: kind is db or java-db. digest is that of its artefact, empty for one put by hand."""

    def __init__(self, cache_dir, kind):
        self._kind = kind
        self._cache_dir = cache_dir
        self.digest = ""
        self.directory = os.path.join(cache_dir, kind)

    @property
    def is_there(self):
        return all(os.path.isfile(os.path.join(self.directory, name)) for name in _FILES[self._kind])

    def take(self, pool, source):
        """Brings the database that a Source of promote.py names, where it is not here. Raises RegistryError."""
        with pool.client() as api:
            name = f"{api.registry.name}/{source}"
            head = api.head(source.repository, source.reference)
            if head is None:
                raise DatabaseError(
                    f"{name} is not there",
                    "Copy it into your registry with registry_sync or mirror_sync, or correct the name",
                )
            self.digest = head.digest
            folder = f"{self._kind}-{head.digest.replace(':', '-')}"
            self.directory = os.path.join(self._cache_dir, _DATABASES, folder)
            if self.is_there:
                os.utime(self.directory)
                return
            manifest = api.manifest(source.repository, head.digest)
        found = (
            [] if manifest is None else [one for one in manifest.blobs if one.get("mediaType") == _TYPES[self._kind]]
        )
        if len(found) != 1:
            raise DatabaseError(f"{name} is no database of Trivy ({_TYPES[self._kind]})", "Give a copy of its artefact")
        self._bring(pool, source, found[0])

    def _bring(self, pool, source, layer):
        os.makedirs(os.path.dirname(self.directory), mode=0o700, exist_ok=True)
        self._sweep()
        with tempfile.TemporaryDirectory(prefix=_UNFINISHED, dir=self._cache_dir) as place:
            new = os.path.join(place, "new")
            os.mkdir(new, 0o700)
            self._unpack(pool, source, layer, new)
            with contextlib.suppress(OSError):
                os.rename(new, self.directory)
        if not self.is_there:
            raise DatabaseError(
                f"{self.directory} can't be written", "Check the free space and the rights of cache_dir"
            )

    def _unpack(self, pool, source, layer, directory):
        packed = os.path.join(directory, "layer")
        with open(packed, "wb") as file:
            for piece in Download(pool, source.repository, layer["digest"], size_of(layer)).pieces():
                file.write(piece)
        wanted = set(_FILES[self._kind])
        try:
            with tarfile.open(packed, "r:gz") as archive:
                for entry in archive:
                    name = entry.name[2:] if entry.name.startswith("./") else entry.name
                    if name in wanted and entry.isfile() and entry.size <= _LARGEST:
                        with open(os.path.join(directory, name), "wb") as file:
                            shutil.copyfileobj(archive.extractfile(entry), file, 1 << 20)
                        wanted.discard(name)
        except (tarfile.TarError, zlib.error, EOFError, gzip.BadGzipFile) as error:
            raise DatabaseError(f"{source} can't be unpacked: {error}", "Copy it again") from None
        os.unlink(packed)
        if wanted:
            raise DatabaseError(f"{source} has no {min(wanted)}", "Give a copy of Trivy's own artefact")

    def _sweep(self):
        """Removes what runs have left that were killed, and databases that none has used for days."""
        folders = [os.path.join(self._cache_dir, _DATABASES), self._cache_dir]
        for folder in folders:
            for name in os.listdir(folder):
                path = os.path.join(folder, name)
                ours = folder == folders[0] or name.startswith(_UNFINISHED)
                if ours and time.time() - os.lstat(path).st_mtime > _KEPT_SECONDS:
                    shutil.rmtree(path, ignore_errors=True)

# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An OCI image layout on disk, with the words of a registry's client. Private to this collection.

Images of several repositories lie in one layout: the name of each, org.opencontainers.image.ref.name, is its repository
and tag, as skopeo and oras read it (`oci:DIRECTORY:apps/web:1.4.2`). Blobs and manifests belong to the layout as a
whole, not to a repository.
"""

from __future__ import annotations

import json
import os
import threading

from ansible_collections.wharf.registry.plugins.module_utils._common.atomic_file import File, OvertakenError
from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError, RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._common.reference import fits_digest, is_digest, split_tag
from ansible_collections.wharf.registry.plugins.module_utils._distribution.blob_streams import BlobStream
from ansible_collections.wharf.registry.plugins.module_utils._distribution.blobs import digest_of
from ansible_collections.wharf.registry.plugins.module_utils._distribution.client import Head
from ansible_collections.wharf.registry.plugins.module_utils._distribution.manifest import (
    KNOWN_TYPES,
    Manifest,
    read_object,
)
from ansible_collections.wharf.registry.plugins.module_utils._distribution.transport import BODY_LIMIT
from ansible_collections.wharf.registry.plugins.module_utils._distribution.transport_errors import AnswerError
from ansible_collections.wharf.registry.plugins.module_utils._transfer.blob_store import BlobStore

REF_NAME = "org.opencontainers.image.ref.name"
# Where builders write the whole name, when the other one is only a tag.
_FULL_NAME = "io.containerd.image.name"
_MARKER = {"imageLayoutVersion": "1.0.0"}
_INDEX_TYPE = "application/vnd.oci.image.index.v1+json"


class _Name:
    """What messages call the other side, in the place of a registry."""

    is_hub = False

    def __init__(self, name):
        self.name = name


class Layout:
    """A layout at a path. Several threads may use it; another process that writes to it meanwhile is waited for.

    With create, the directory is made by the first thing that is written, and before that a missing one is empty.
    part_size is the most bytes of one of its files, 0 for any. held are digests of blobs that are left out, since the
    side for which the layout is made has them.
    """

    def __init__(self, path, create=False, *, part_size=0, held=frozenset()):
        self.registry = _Name(path)
        self.blobs = BlobStore(path, part_size)
        self._path = path
        self._held = held
        self._lock = threading.Lock()
        self._index = File(os.path.join(path, "index.json"))
        self._made = False
        # Descriptors as they stand in index.json, and those of what has a subject by the subject's digest.
        self.entries = self._load(create)
        self._subjects = {}
        for entry in self.entries:
            self._note_subject(entry)

    def close(self):
        """As of a client. Nothing is open."""

    def open(self):
        """As of a client."""

    # --- what is there ------------------------------------------------------------------------------------------------

    def _load(self, create):
        if not os.path.exists(self._path) or (create and _is_new(self._path)):
            if create:
                return []
            raise InputError(f"{self._path} does not exist", "Give the directory of an OCI image layout")
        marker = self._read_json("oci-layout")
        if marker is None or marker.get("imageLayoutVersion") != "1.0.0":
            raise InputError(
                f"{self._path} is no OCI image layout: it has no file oci-layout of version 1.0.0",
                "Give the directory of a layout, or an empty one as a destination",
            )
        self._made = True
        index = self._read_json("index.json")
        if create and index is None and not os.path.exists(self._index.path):
            # Killed between the two files.
            return []
        listed = index.get("manifests") if index else None
        if not isinstance(listed, list) or not all(_is_descriptor(entry) for entry in listed):
            raise InputError(
                f"{self._path}/index.json does not list manifests by their digests",
                "The layout is damaged: copy it again",
            )
        return listed

    def _read_json(self, name):
        try:
            with open(os.path.join(self._path, name), "rb") as file:
                return read_object(file.read(64 << 20))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._failed(f"{name} can't be read", error) from None

    def _note_subject(self, entry):
        manifest = self._manifest(entry["digest"])
        subject = manifest.document.get("subject") if manifest is not None and manifest.looks_like_one else None
        digest = subject.get("digest") if isinstance(subject, dict) else None
        if isinstance(digest, str) and fits_digest(digest):
            self._subjects.setdefault(digest, {})[entry["digest"]] = entry

    def repositories(self, odd=None):  # noqa: ARG002 - as of a registry
        """The names of the repositories of all tagged images."""
        return sorted({repository for repository, _tag in map(_named, self.entries) if repository})

    def tags(self, repository, odd=None):  # noqa: ARG002 - as of a registry
        """The tags of a repository, or None where the layout has none. Those without a repository are of each."""
        found = [tag for name, tag in map(_named, self.entries) if tag and name in ("", repository)]
        return found or None

    def _entry(self, repository, tag):
        for entry in self.entries:
            name, named = _named(entry)
            if named == tag and name in ("", repository):
                return entry
        return None

    def head(self, repository, reference):
        """The Head of a manifest by tag or digest, or None."""
        manifest = self.manifest(repository, reference)
        return None if manifest is None else Head(manifest.digest, manifest.media_type)

    def manifest(self, repository, reference):
        """The Manifest by tag or digest, or None. Raises AnswerError where it does not match its digest."""
        if is_digest(reference):
            return self._manifest(reference)
        entry = self._entry(repository, reference)
        if entry is None:
            return None
        manifest = self._manifest(entry["digest"], entry.get("mediaType"))
        if manifest is None:
            raise AnswerError(
                f"{self._path} names {repository}:{reference}, and has no {entry['digest']}",
                "The layout is damaged: copy it again",
            )
        return manifest

    def _manifest(self, digest, media_type=None):
        content = self._small(digest)
        if content is None:
            return None
        if len(content) > BODY_LIMIT or digest_of(content, digest.partition(":")[0]) != digest:
            raise AnswerError(f"{self._path} has a manifest {digest} that does not match its digest", "Copy it again")
        known = media_type if media_type in KNOWN_TYPES else "application/json"
        return Manifest(content, digest, known)

    def referrers(self, _repository, digest, odd=None):  # noqa: ARG002 - as of a registry
        """The descriptors of what has this subject."""
        return list(self._subjects.get(digest, {}).values())

    def has_blob(self, _repository, digest):
        """Whether it is there, or at the side for which the layout is made."""
        return digest in self._held or bool(self.blobs.files(digest))

    def blob(self, _repository, digest):
        """A small blob, such as a configuration, or None."""
        content = self._small(digest)
        if content is not None and digest_of(content, digest.partition(":")[0]) != digest:
            raise AnswerError(f"{self._path} has a blob {digest} that does not match its digest", "Copy it again")
        return content

    def _small(self, digest):
        """The bytes of a blob, one byte more than may be held at most, or None."""
        if self.blobs.size(digest) is None:
            return None
        content = b""
        for piece in self.blobs.read(digest):
            content += piece
            if len(content) > BODY_LIMIT:
                break
        return content

    def open_blob(self, _repository, digest, start=0):
        """The BlobStream of a blob from the byte `start` on, or None where there is no such blob."""
        size = self.blobs.size(digest)
        return None if size is None else BlobStream(size, self.blobs.read(digest, start))

    def reachable(self):
        """The digests of all that is named, and of all that this needs."""
        needed, waiting = set(), [entry["digest"] for entry in self.entries]
        while waiting:
            digest = waiting.pop()
            if digest in needed:
                continue
            needed.add(digest)
            manifest = self._manifest(digest) if self._may_be_manifest(digest) else None
            if manifest is not None and manifest.looks_like_one:
                parts = manifest.parts
                waiting += [part["digest"] for part in (*parts.children, *parts.blobs, *parts.foreign)]
        return needed

    def _may_be_manifest(self, digest):
        size = self.blobs.size(digest)
        return bool(size) and size <= BODY_LIMIT and next(self.blobs.read(digest))[:1] == b"{"

    # --- what is written ----------------------------------------------------------------------------------------------

    def mount(self, _repository, digest, _source):
        """Whether a blob is there, as all repositories share them."""
        return self.has_blob("", digest)

    def upload_blob(self, _repository, digest, size, pieces):
        """Writes a blob, whole or not at all. Its digest is verified where the pieces come from."""
        # Before anything is made: it may be none that can be stored.
        self.blobs.files(digest)
        self._make()
        self.blobs.write(digest, size, pieces)

    def _make(self):
        with self._lock:
            if self._made:
                return
            try:
                os.makedirs(os.path.join(self._path, "blobs"), exist_ok=True)
            except OSError as error:
                raise self._failed("it can't be made", error) from None
            marker = File(os.path.join(self._path, "oci-layout"))
            with marker.locked():
                if marker.load() is None:
                    marker.replace(json.dumps(_MARKER).encode())
            self._change(list)
            self._made = True

    def put_manifest(self, repository, reference, manifest):
        """Writes a manifest, and names it where the reference is a tag."""
        if not self.blobs.files(manifest.digest):
            self.upload_blob(repository, manifest.digest, len(manifest.content), [manifest.content])
        entry = {"mediaType": manifest.media_type, "digest": manifest.digest, "size": len(manifest.content)}
        artifact_type = manifest.document.get("artifactType")
        if isinstance(artifact_type, str):
            entry["artifactType"] = artifact_type
        if is_digest(reference):
            if not isinstance(manifest.document.get("subject"), dict):
                return
        else:
            entry["annotations"] = {REF_NAME: f"{repository}:{reference}"}
        with self._lock:
            self._change(lambda entries: [*_without(entries, repository, reference), entry])
            self._note_subject(entry)

    def delete_manifest(self, repository, tag):
        """Whether there was such a tag. What it led to stays until sweep()."""
        with self._lock:
            before = len(self.entries)
            self._change(lambda entries: _without(entries, repository, tag))
            return len(self.entries) < before

    def _change(self, change):
        """Another process may have written since: what it named stays named."""
        with self._index.locked():
            self._write(change(self._load(create=True)))

    def _write(self, entries):
        document = {"schemaVersion": 2, "mediaType": _INDEX_TYPE, "manifests": entries}
        try:
            self._index.load()
            self._index.replace(json.dumps(document, indent=1).encode())
        except OvertakenError:
            raise RegistryError(
                f"{self._path}/index.json was changed by another program meanwhile", "Run it again when that has ended"
            ) from None
        self.entries = entries

    def sweep(self):
        """Removes the blobs that no image needs, and returns the bytes that this frees."""
        return self.blobs.sweep(self.reachable())

    def _failed(self, what, error):
        return InputError(f"{self._path}: {what}: {error.strerror}", "Check the medium and its free space")


# What a File leaves of a marker that a run was killed while it wrote.
_BEGUN = {"blobs", ".oci-layout.wharf-new", ".oci-layout.wharf-lock"}


def _is_new(path):
    """Whether it is an empty directory, or what a run leaves that is killed at its very begin."""
    blobs = os.path.join(path, "blobs")
    return os.path.isdir(path) and set(os.listdir(path)) <= _BEGUN and not (os.path.isdir(blobs) and os.listdir(blobs))


def _is_descriptor(entry):
    return isinstance(entry, dict) and isinstance(entry.get("digest"), str) and fits_digest(entry["digest"])


def _named(entry):
    """(repository, tag) of an entry of index.json, with empty strings for what it does not tell."""
    annotations = entry.get("annotations")
    annotations = annotations if isinstance(annotations, dict) else {}
    name, full = annotations.get(REF_NAME), annotations.get(_FULL_NAME)
    if not isinstance(name, str):
        return "", ""
    repository, tag = split_tag(name)
    if tag is not None:
        return repository, tag
    if isinstance(full, str):
        path, full_tag = split_tag(full)
        if full_tag == name:
            return path.partition("/")[2] or path, name
    return "", name


def _without(entries, repository, reference):
    return [
        entry
        for entry in entries
        if (entry["digest"] != reference or _named(entry)[1]) and _named(entry) != (repository, reference)
    ]

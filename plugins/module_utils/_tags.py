# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pointing tags at manifests, and removing them, without moving a layer. Private to this collection."""

from __future__ import annotations

import uuid

from ansible_collections.wharf.registry.plugins.module_utils._errors import InputError, RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._http import AnswerError
from ansible_collections.wharf.registry.plugins.module_utils._images import full_name, subject_of
from ansible_collections.wharf.registry.plugins.module_utils._reference import check_digest, check_tag, is_digest
from ansible_collections.wharf.registry.plugins.module_utils._registry import (
    OCI_MANIFEST,
    ConflictError,
    RequestError,
    UnsupportedError,
    new_manifest,
)

# Nobody has this manifest, so that asking to delete it tells whether the registry deletes at all.
_NOBODYS = "sha256:" + "0" * 64
_CONFIG = b"{}"
_CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
# How deep an index may hold indexes.
_MOST_LEVELS = 8


class Source:
    """What a tag is to point at: a manifest in a repository of the same registry, by tag or digest."""

    def __init__(self, repository, reference):
        self.repository = repository
        self.reference = reference

    def __str__(self):
        return f"{self.repository}{'@' if is_digest(self.reference) else ':'}{self.reference}"


def parse_source(text, registry, repository):
    """The Source that an option means: a tag or a digest of the repository itself, repo:tag or repo@digest.

    The name of the registry may stand before. Raises InputError.
    """
    prefix = registry.name + "/"
    rest = text[len(prefix) :] if text.startswith(prefix) else text
    name, at, digest = rest.partition("@")
    if at:
        # With both, the digest says more.
        name, reference = name.partition(":")[0], digest
    elif rest.startswith(("sha256:", "sha384:", "sha512:")):
        name, reference = None, rest
    elif ":" in rest:
        name, _colon, reference = rest.rpartition(":")
    elif "/" in rest:
        raise InputError(f"source is {text!r}, which names no tag", "Give repository:tag or repository@digest")
    else:
        name, reference = None, rest
    (check_digest if is_digest(reference) else check_tag)(reference)
    return Source(repository if name is None else full_name(registry, name), reference)


def siblings(pool, repository, tags, digest, but):
    """The other tags that point to the same digest, sorted."""
    others = sorted(tag for tag in tags if tag != but)
    heads = pool.map(lambda api, tag: api.head(repository, tag), others)
    return [tag for tag, head in zip(others, heads) if head is not None and head.digest == digest]


class Promotion:
    """Brings a manifest, and all that it needs, from one repository of a registry into another, and points a tag at it.

    The tag is written last: wherever it is interrupted, the tag is at the old manifest or at the new one, whole.
    """

    def __init__(self, api, source, repository):
        self._api = api
        self._source = source
        self._repository = repository
        self._blobs = set()
        self._manifests = set()

    def copy(self, manifest):
        """Everything but the tag: blobs, children, and the signatures that belong to them."""
        if self._source.repository == self._repository:
            return
        self._copy(manifest, 0)
        self._copy_signatures()

    def _copy(self, manifest, level):
        """The blobs and children of a manifest. The manifest itself is for the caller to put."""
        if level > _MOST_LEVELS:
            raise AnswerError(f"{self._source} holds indexes more than {_MOST_LEVELS} deep", "Push it anew")
        self._manifests.add(manifest.digest)
        for blob in manifest.blobs:
            if blob["digest"] not in self._blobs:
                self._mount(blob["digest"])
                self._blobs.add(blob["digest"])
        for descriptor in manifest.children:
            if descriptor["digest"] not in self._manifests:
                child = self._read(descriptor["digest"])
                self._copy(child, level + 1)
                self._api.put_manifest(self._repository, child.digest, child)

    def _read(self, reference):
        manifest = self._api.manifest(self._source.repository, reference)
        if manifest is None:
            raise AnswerError(
                f"{self._api.registry.name}: {self._source} needs {reference}, which {self._source.repository} has not",
                "Push the source again, whole",
            )
        return manifest

    def _mount(self, digest):
        if self._api.mount(self._repository, digest, self._source.repository):
            return
        if self._api.has_blob(self._repository, digest):
            return
        raise RegistryError(
            f"{self._api.registry.name} did not take the blob {digest} over from {self._source.repository} into "
            f"{self._repository}",
            f"Look whether the user may pull from {self._source.repository}, and whether the blob is there",
        )

    def _copy_signatures(self):
        """What belongs to the manifests that were copied. It may have signatures of its own, and so it goes on."""
        tags = self._api.tags(self._source.repository) or []
        waiting = {tag for tag in tags if subject_of(tag)}
        asked, lists = set(), True
        while asked != self._manifests:
            for digest in sorted(self._manifests - asked):
                asked.add(digest)
                for tag in sorted(tag for tag in waiting if subject_of(tag) == digest):
                    waiting.discard(tag)
                    self._copy_with(tag)
                listed = self._api.referrers(self._source.repository, digest) if lists else None
                # One that keeps no list for one manifest keeps none at all.
                lists = listed is not None
                for descriptor in listed or []:
                    if descriptor["digest"] not in self._manifests:
                        self._copy_with(descriptor["digest"])

    def _copy_with(self, reference):
        manifest = self._read(reference)
        self._copy(manifest, 0)
        self._api.put_manifest(self._repository, reference, manifest)


class Removal:
    """Removes one tag and no other, from registries that can do that and from those that only delete digests."""

    def __init__(self, api, repository, tag):
        self._api = api
        self._repository = repository
        self._tag = tag

    @property
    def _name(self):
        return f"{self._api.registry.name}: {self._repository}:{self._tag}"

    def remove(self, digest):
        """Removes the tag, which was seen at this digest. Raises ConflictError where it has moved since."""
        if not self._natively(digest):
            self._by_throw_away(digest)

    def _natively(self, digest):
        """Whether the registry has deleted the tag by its name, which version 2 can't."""
        try:
            self._api.delete_manifest(self._repository, self._tag)
        except UnsupportedError:
            return False
        except RequestError:
            # It takes a digest here, and nothing else.
            return False
        now = self._api.head(self._repository, self._tag)
        return now is None or now.digest != digest

    def _by_throw_away(self, digest):
        """Points the tag at a manifest that nothing else points to, and deletes that one by its digest."""
        # A registry that deletes nothing must say so before the tag has moved.
        self._api.delete_manifest(self._repository, _NOBODYS)
        original = self._api.manifest(self._repository, digest)
        throw_away = self._make_throw_away()
        # As late as can be: who moves the tag between this look and the next request is overtaken.
        now = self._api.head(self._repository, self._tag)
        if now is None:
            return
        if now.digest != digest:
            raise ConflictError(
                f"{self._name} was moved from {digest} to {now.digest} while it was to be removed",
                "Nothing was changed: look who pushes there, and run it again",
            )
        self._api.put_manifest(self._repository, self._tag, throw_away)
        try:
            self._delete(throw_away.digest)
        except RegistryError:
            self._put_back(original, throw_away)
            raise

    def _delete(self, digest):
        self._api.delete_manifest(self._repository, digest)
        left = self._api.head(self._repository, self._tag)
        if left is not None and left.digest == digest:
            raise RegistryError(f"{self._name} could not be removed: the registry says so, and still answers for it")

    def _put_back(self, original, throw_away):
        now = self._api.head(self._repository, self._tag)
        if original is not None and now is not None and now.digest == throw_away.digest:
            self._api.put_manifest(self._repository, self._tag, original)

    def _make_throw_away(self):
        config = self._api.put_blob(self._repository, _CONFIG)
        document = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": {"mediaType": _CONFIG_TYPE, "size": len(_CONFIG), "digest": config},
            "layers": [],
            "annotations": {"registry.wharf.removes": self._tag, "registry.wharf.unique": uuid.uuid4().hex},
        }
        return new_manifest(document, OCI_MANIFEST)

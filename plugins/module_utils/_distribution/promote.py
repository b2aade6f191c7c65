# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pointing tags at manifests, and removing them, without moving a layer. Private to this collection."""

from __future__ import annotations

import re
import uuid

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError, RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._common.reference import (
    check_digest,
    check_tag,
    full_name,
    is_digest,
    split_tag,
)
from ansible_collections.wharf.registry.plugins.module_utils._distribution.client_errors import (
    ConflictError,
    RequestError,
    UnsupportedError,
    concerns_all,
)
from ansible_collections.wharf.registry.plugins.module_utils._distribution.describe import MOST_LEVELS, subject_of
from ansible_collections.wharf.registry.plugins.module_utils._distribution.manifest import (
    INDEXES,
    KNOWN_TYPES,
    OCI_MANIFEST,
    new_manifest,
)
from ansible_collections.wharf.registry.plugins.module_utils._distribution.transport_errors import AnswerError

# No repository has this manifest: a request to delete it tells whether the registry deletes at all.
_NOBODYS = "sha256:" + "0" * 64
# Annotation of the temporary manifest that a tag is moved to before removal. Its value is the tag.
REMOVES = "registry.wharf.removes"
# Tags of an index of referrers, and of signatures, attestations and SBOMs.
_KNOWN_SUFFIX = re.compile(r"[0-9a-f]{64}(?:\.(?:sig|att|sbom))?\Z")
# Layers of files, in any packing, by all names that engines know.
_FILES = re.compile(r"layer|rootfs|tar|^None$|^$")
_CONFIG = b"{}"
_CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
# The most manifests that may belong to one image, against a registry that always has another one.
_MOST_REFERRERS = 1000


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
        name, tag = split_tag(name)
        if tag is not None:
            check_tag(tag)
        reference = digest
    elif rest.startswith(("sha256:", "sha384:", "sha512:")):
        name, reference = None, rest
    else:
        name, reference = split_tag(rest)
        if reference is None:
            if "/" in rest:
                raise InputError(f"source is {text!r}, which names no tag", "Give repository:tag or repository@digest")
            name, reference = None, rest
    (check_digest if at or is_digest(reference) else check_tag)(reference)
    return Source(repository if name is None else full_name(registry, name), reference)


def read_source(api, source):
    """The Manifest that a Source names. Raises RegistryError where there is none."""
    manifest = api.manifest(source.repository, source.reference)
    if manifest is None:
        raise RegistryError(
            f"{api.registry.name}: the source {source} was not found",
            "Check its name, and whether the user may pull it: some registries hide what one may not see",
        )
    return manifest


def siblings(pool, repository, others, digest, warn):
    """Those of the other tags that point to the same digest, sorted.

    warn is called with a message on each that can't be read.
    """

    def look(api, tag):
        try:
            return api.head(repository, tag)
        except RegistryError as error:
            if concerns_all(error):
                raise
            warn(f"{api.registry.name}: {repository}:{tag} can't be read, and is left alone: {error.message}")
            return None

    others = sorted(others)
    heads = pool.map(look, others)
    return [tag for tag, head in zip(others, heads) if head is not None and head.digest == digest]


class Promotion:
    """Brings a manifest, and all that belongs to it, from one repository of a registry into another.

    The caller must write the tag last: wherever it is interrupted, the tag is at the former manifest or
    at the new one, whole. overwrite says whether signatures that are in the other repository and not in this one may
    be lost. images says whether images may be among what belongs to it, which others could run. Afterwards, warnings
    holds messages on what belongs to it and can't be read, which is left where it is.
    """

    def __init__(self, api, source, repository, overwrite=False, *, images=True):
        self.warnings = []
        self._api = api
        self._source = source
        self._repository = repository
        self._overwrite = overwrite
        self._images = images
        self._blobs = set()
        self._manifests = set()

    def missing(self, manifest):
        """[(reference, Manifest)] of what belongs to a manifest and its children, and is not in the other repository.

        These are signatures, attestations and other referrers, and theirs in turn. Raises ConflictError.
        """
        if self._source.repository == self._repository:
            return []
        tags = [tag for tag in self._api.tags(self._source.repository) or [] if self._may_belong(tag)]
        missing, known, lists = [], set(), True
        waiting = self._with_children(manifest)
        while waiting:
            digest = waiting.pop()
            if digest in known:
                continue
            known.add(digest)
            if len(known) > _MOST_REFERRERS:
                raise AnswerError(f"{self._source} has more than {_MOST_REFERRERS} referrers", "Remove some")
            listed = self._referrers(digest) if lists else None
            # One that keeps no list for one manifest keeps none at all.
            lists = listed is not None
            named = sorted(tag for tag in tags if subject_of(tag) == digest)
            for reference in [*named, *(descriptor["digest"] for descriptor in listed or [])]:
                found, below = self._read_referrer(reference)
                if found is None:
                    continue
                if not self._is_there(reference, found):
                    missing.append((reference, found))
                waiting += below
        return missing

    def _referrers(self, digest):
        odd = []
        listed = self._api.referrers(self._source.repository, digest, odd)
        self.warnings += [self._left(f"an entry of the list of what belongs to {digest}", f"it {one}") for one in odd]
        return listed

    def _read_referrer(self, reference):
        """(Manifest, digests of it and of all below it) of what belongs to the source, or (None, []) with a warning."""
        try:
            found = self._read(reference)
            if self._images or not self._is_run(found):
                return found, self._with_children(found)
            self.warnings.append(self._left(reference, "it is, or lists, an image that could be run"))
        except AnswerError as error:
            # What is there and is no manifest stays that; a registry that can't answer now may have a signature.
            self.warnings.append(self._left(reference, error.message))
        return None, []

    def _may_belong(self, tag):
        return bool(subject_of(tag)) and (self._images or _KNOWN_SUFFIX.search(tag) is not None)

    def _is_run(self, manifest, level=0):
        """Whether a manifest, or one that it lists, is an image that engines run."""
        self._check_depth(level)
        parts = manifest.whole
        if not manifest.is_index:
            return any(_FILES.search(str(layer.get("mediaType"))) for layer in (*parts.layers, *parts.foreign))
        # What an index lists beside manifests is none of signatures, and could be a manifest all the same.
        children = [self._api.manifest(self._source.repository, one["digest"]) for one in parts.children]
        return bool(parts.listed) or any(self._is_run(one, level + 1) for one in children if one is not None)

    def _left(self, what, why):
        return f"{self._api.registry.name}: {what} in {self._source.repository} was not taken over: {why}"

    def _with_children(self, manifest, level=0):
        """The digests of a manifest and of all below it."""
        self._check_depth(level)
        digests = [manifest.digest]
        for descriptor in manifest.children:
            if descriptor.get("mediaType") in INDEXES:
                digests += self._with_children(self._read(descriptor["digest"]), level + 1)
            else:
                digests.append(descriptor["digest"])
        return digests

    def _is_there(self, reference, manifest):
        """Whether the other repository has all of it. Raises ConflictError where something would be lost."""
        if is_digest(reference):
            return self._api.head(self._repository, reference) is not None
        there = self._api.manifest(self._repository, reference)
        if there is None:
            return False
        ours, theirs = listed_in(manifest), listed_in(there)
        if _is_list(reference, manifest, there):
            # Those of both are kept, see copy().
            return ours <= theirs
        if not (ours <= theirs or theirs <= ours or self._overwrite):
            raise ConflictError(
                f"{self._api.registry.name}: {self._repository}:{reference} holds signatures ({there.digest}) that "
                f"{self._source.repository} has not ({manifest.digest})",
                "Sign it there, or set overwrite to true where those of the source are meant",
            )
        return ours <= theirs

    def copy(self, manifest, belonging):
        """Brings the manifest, and what `missing` returned."""
        if self._source.repository == self._repository:
            return
        if manifest.media_type not in KNOWN_TYPES:
            raise RegistryError(
                f"{self._api.registry.name}: {self._source} has the media type {manifest.media_type}",
                "Only images and artefacts in the formats of Docker (version 2, schema 2) and OCI can be promoted",
            )
        self._copy(manifest, 0)
        for reference, found in belonging:
            self._copy(found, 0)
            self._api.put_manifest(self._repository, reference, self._merged(reference, found))

    def _merged(self, reference, manifest):
        """A list of what belongs to the image, with what the other repository has listed beside it."""
        there = None if is_digest(reference) else self._api.manifest(self._repository, reference)
        if there is None or self._overwrite or not _is_list(reference, manifest, there):
            return manifest
        ours = {one["digest"] for one in manifest.children}
        added = [one for one in there.children if one["digest"] not in ours]
        return new_manifest({**manifest.document, "manifests": [*manifest.children, *added]}, manifest.media_type)

    def _copy(self, manifest, level):
        """The blobs and children of a manifest. The manifest itself is for the caller to put."""
        self._check_depth(level)
        self._manifests.add(manifest.digest)
        parts = manifest.whole
        for blob in [*([parts.config] if parts.config else []), *parts.layers]:
            self._take_over(blob["digest"])
        for layer in parts.foreign:
            # Clients fetch it from its URLs where the registry does not have it.
            if self._has(layer):
                self._take_over(layer["digest"])
        children = list(parts.children)
        for blob in parts.listed:
            # What is no blob may be a manifest of a type that is not known here.
            if self._has(blob):
                self._take_over(blob["digest"])
            else:
                children.append(blob)
        self._copy_children(manifest, children, level + 1)

    def _copy_children(self, manifest, children, level):
        for descriptor in children:
            if descriptor["digest"] not in self._manifests:
                child = self._read(descriptor["digest"], manifest)
                self._copy(child, level)
                self._api.put_manifest(self._repository, child.digest, child)

    def _has(self, blob):
        return blob["digest"] in self._blobs or self._api.has_blob(self._source.repository, blob["digest"])

    def _check_depth(self, level):
        if level > MOST_LEVELS:
            raise AnswerError(f"{self._source} holds indexes more than {MOST_LEVELS} deep", "Push it anew")

    def _read(self, reference, parent=None):
        manifest = self._api.manifest(self._source.repository, reference)
        if manifest is None:
            named_by = f"{self._source}" if parent is None else f"{self._source.repository}@{parent.digest}"
            raise AnswerError(
                f"{self._api.registry.name}: {named_by} needs {reference}, which {self._source.repository} has not",
                "Push the source again, whole",
            )
        return manifest

    def _take_over(self, digest):
        if digest in self._blobs:
            return
        self._mount(digest)
        self._blobs.add(digest)

    def _mount(self, digest):
        if self._api.mount(self._repository, digest, self._source.repository):
            return
        if self._api.has_blob(self._repository, digest):
            return
        raise RegistryError(
            f"{self._api.registry.name} did not take the blob {digest} over from {self._source.repository} into "
            f"{self._repository}",
            f"Check whether the user may pull from {self._source.repository}, and whether the blob is there",
        )


def _is_list(reference, manifest, other):
    """Whether both are the list that clients keep of what belongs to an image, under the tag of its digest alone."""
    return subject_of(reference) and "." not in reference and manifest.is_index and other.is_index


def listed_in(manifest):
    """What a list of signatures or of referrers holds: each is a layer or a child of it."""
    parts = manifest.whole
    return {part["digest"] for part in [*parts.children, *parts.listed, *parts.layers, *parts.foreign]}


def remove_alone(api, repository, tag, digest, needed_by):
    """Removes a tag that was seen at this digest, and nothing of what others need. Raises RegistryError.

    needed_by: the references that have to lead to the same digest afterwards, other tags or the digest itself.
    """
    original = api.manifest(repository, digest) if needed_by else None
    Removal(api, repository, tag).remove(digest)
    if original is not None and api.head(repository, digest) is None:
        # A registry that deletes a tag by deleting what it points to, or another client that deleted it meanwhile.
        for reference in needed_by:
            api.put_manifest(repository, reference, original)


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
        if not self._is_there(digest):
            return
        if not self._natively(digest):
            self._by_throw_away(digest)

    def _is_there(self, digest):
        """Whether the tag is still there. Raises ConflictError where it is at something else by now."""
        now = self._api.head(self._repository, self._tag)
        if now is not None and now.digest != digest:
            raise ConflictError(
                f"{self._name} was moved from {digest} to {now.digest} while it was to be removed",
                "Nothing was changed: look who pushes there, and run it again",
            )
        return now is not None

    def _natively(self, digest):
        """Whether the registry has deleted the tag by its name, which version 2 can't."""
        try:
            self._api.delete_manifest(self._repository, self._tag)
        except (UnsupportedError, RequestError):
            # It deletes nothing, or takes a digest here and nothing else.
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
        if not self._is_there(digest):
            return
        if original is None:
            raise AnswerError(
                f"{self._name} points to {digest}, which can't be read", "Push it again, and remove it then"
            )
        try:
            # Where no answer comes, the tag may have moved all the same.
            self._api.put_manifest(self._repository, self._tag, throw_away)
            self._delete(throw_away.digest)
        except BaseException as failure:
            try:
                self._put_back(original, throw_away)
            except RegistryError as error:
                raise RegistryError(
                    f"{self._name} could not be removed ({failure}), nor be put back to {digest} ({error.message})",
                    f"It may point to an empty manifest now: run it again, or point it to {digest}",
                ) from None
            raise

    def _delete(self, digest):
        self._api.delete_manifest(self._repository, digest)
        left = self._api.head(self._repository, self._tag)
        if left is not None and left.digest == digest:
            raise RegistryError(f"{self._name} could not be removed: the registry says so, and still answers for it")

    def _put_back(self, original, throw_away):
        now = self._api.head(self._repository, self._tag)
        if now is not None and now.digest == throw_away.digest:
            self._api.put_manifest(self._repository, self._tag, original)

    def _make_throw_away(self):
        config = self._api.put_blob(self._repository, _CONFIG)
        document = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": {"mediaType": _CONFIG_TYPE, "size": len(_CONFIG), "digest": config},
            "layers": [],
            "annotations": {REMOVES: self._tag, "registry.wharf.unique": uuid.uuid4().hex},
        }
        return new_manifest(document, OCI_MANIFEST)

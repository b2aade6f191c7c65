# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One image on its way: its manifests, its blobs and what belongs to it, the tag last. Private to this collection."""

from __future__ import annotations

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._common.reference import is_digest
from ansible_collections.wharf.registry.plugins.module_utils._distribution.client import named
from ansible_collections.wharf.registry.plugins.module_utils._distribution.client_errors import (
    ConflictError,
    DeniedError,
    RequestError,
)
from ansible_collections.wharf.registry.plugins.module_utils._distribution.describe import MOST_LEVELS, subject_of
from ansible_collections.wharf.registry.plugins.module_utils._distribution.manifest import (
    KNOWN_TYPES,
)
from ansible_collections.wharf.registry.plugins.module_utils._distribution.promote import REMOVES, listed_in
from ansible_collections.wharf.registry.plugins.module_utils._distribution.referrers import (
    add_referrers,
    index_tag,
)
from ansible_collections.wharf.registry.plugins.module_utils._distribution.transport_errors import AnswerError
from ansible_collections.wharf.registry.plugins.module_utils._transfer.blob_mover import Moved
from ansible_collections.wharf.registry.plugins.module_utils._transfer.platforms import (
    is_reduction,
    of_platforms,
    platform_in,
    reduced,
)

_SUFFIXES = ("", ".sig", ".att", ".sbom")
_MOST_REFERRERS = 1000


class Outcome:
    """What became of one tag. former is the digest that it had, skipped says why nothing was copied, and problem is the
    RegistryError that ended it.
    """

    def __init__(self, item):
        self.item = item
        self.digest = self.source_digest = self.former = self.skipped = ""
        self.moved = Moved()
        self.referrers = 0
        self.changed = False
        self.problem = None
        # Sentences on what could not be taken along.
        self.warnings = []


class ReferrerLists:
    """Whether a registry keeps lists of referrers, learned from its first answer, for several threads."""

    def __init__(self):
        self._kept = True

    def of(self, client, repository, digest):
        """The descriptors of what belongs to a manifest, or None where no such list is kept."""
        listed = client.referrers(repository, digest) if self._kept else None
        # One that keeps no list for one manifest keeps none at all.
        self._kept = listed is not None
        return listed


class ImageCopy:
    """Copies one tag by a client of each side.

    blobs(item, descriptors) brings blobs, and returns their Moved. lists are the ReferrerLists of the source.
    """

    def __init__(self, source, destination, blobs, lists, item, *, overwrite=False, dry_run=False):
        self._source = source
        self._destination = destination
        self._blobs = blobs
        self._lists = lists
        self._item = item
        self._overwrite = overwrite
        self._dry_run = dry_run
        self.outcome = Outcome(item)
        # The manifests that are at the destination by now, by digest.
        self._there = set()
        # The children of an index that are for one of the chosen platforms.
        self._wanted = frozenset()

    def run(self):
        """Raises RegistryError. The outcome holds what was done until then."""
        item, outcome = self._item, self.outcome
        head = self._source.head(item.repository, item.tag)
        if head is None:
            raise AnswerError(
                f"{self._source.registry.name} has no {named(item.repository, item.tag)}",
                "Correct the name, or look whether it was deleted there",
            )
        outcome.source_digest = head.digest
        there = self._destination.head(item.to, item.tag)
        digest = outcome.former = there.digest if there is not None else ""
        same = digest == head.digest
        if (same and self._is_whole(digest)) or (there is not None and self._is_reduction(digest, head.digest)):
            outcome.digest, outcome.skipped = digest, "unchanged"
            if item.rule.referrers:
                self._bring_referrers(self._subjects_there(digest), asked_for={digest})
            return
        if there is not None and not same and not self._overwrite and not self._was_being_removed(digest):
            raise ConflictError(
                f"{self._destination.registry.name}: {named(item.to, item.tag)} is at {digest}, and "
                f"{self._source.registry.name} has it at {head.digest} now",
                "Set overwrite to true where tags may move",
            )
        manifest = self._read(head.digest)
        chosen = self._reduced(manifest)
        outcome.digest = chosen.digest
        roots = self._bring_parts(chosen, 0)
        if item.rule.referrers:
            if chosen is not manifest and self._listed_referrers(manifest.digest):
                outcome.warnings.append(
                    f"what belongs to the whole index {manifest.digest}, such as its signature, was left out, since "
                    f"the index of the chosen platforms has the digest {chosen.digest}"
                )
            self._bring_referrers(roots, chosen)
        outcome.changed = True
        self._put(chosen.digest if is_digest(item.tag) else item.tag, chosen, digest)

    # --- the image ----------------------------------------------------------------------------------------------------

    def _read(self, reference):
        manifest = self._source.manifest(self._item.repository, reference)
        if manifest is None:
            raise AnswerError(
                f"{self._source.registry.name}: {named(self._item.repository, self._item.tag)} needs {reference}, "
                "which is not there",
                "The image is damaged at its source: push it there again",
            )
        if manifest.media_type not in KNOWN_TYPES:
            raise AnswerError(
                f"{self._source.registry.name}: {named(self._item.repository, reference)} has the media type "
                f"{manifest.media_type}",
                "Only the formats of Docker (version 2, schema 2) and OCI can be copied",
            )
        return manifest

    def _bring_parts(self, manifest, level):
        """Blobs and children of a manifest, and the digests of it and of all manifests below it."""
        if level > MOST_LEVELS:
            raise AnswerError(
                f"{named(self._item.repository, self._item.tag)} holds indexes more than {MOST_LEVELS} deep",
                "Push it anew",
            )
        parts, digests = manifest.whole, [manifest.digest]
        children, blobs = list(parts.children), [*([parts.config] if parts.config else []), *parts.layers]
        # Clients fetch foreign layers from their URLs where the registry does not have them.
        blobs += filter(self._is_blob, parts.foreign)
        for listed in parts.listed:
            # What is no blob may be a manifest of a type that is not known here.
            (blobs if self._is_blob(listed) else children).append(listed)
        for child in children:
            if level == 0 and self._is_left_out(child):
                continue
            if child["digest"] in self._there:
                digests.append(child["digest"])
                continue
            found = self._read(child["digest"])
            digests += self._bring_parts(found, level + 1)
            self._write(found.digest, found)
        self.outcome.moved += self._blobs(self._item, blobs)
        return digests

    def _is_blob(self, descriptor):
        return self._source.has_blob(self._item.repository, descriptor["digest"])

    def _write(self, reference, manifest):
        if not self._dry_run:
            self._destination.put_manifest(self._item.to, reference, manifest)
        self._there.add(manifest.digest)

    def _put(self, tag, manifest, former):
        """Puts the tag where all else is there."""
        try:
            self._write(tag, manifest)
        except (DeniedError, RequestError) as error:
            name = f"{self._destination.registry.name}: {named(self._item.to, tag)}"
            if former:
                raise ConflictError(
                    f"{name} is at {former}, and may not be moved to {manifest.digest}. {error.message}",
                    "The tag is immutable there: leave it, or change the rule of the registry",
                ) from None
            if self._item.rule.sparse and manifest.is_index:
                raise RegistryError(
                    f"{name} was refused: the registry takes no index without all of its children. {error.message}",
                    "Set sparse_index to false, which makes an index of the chosen platforms alone",
                ) from None
            raise

    # --- platforms ----------------------------------------------------------------------------------------------------

    def _is_left_out(self, child):
        """Whether a sparse index lists this child and does not need it."""
        rule = self._item.rule
        return bool(rule.platforms and rule.sparse) and child["digest"] not in self._wanted

    def _reduced(self, manifest):
        """The manifest that the tag gets: as it is, or an index of the chosen platforms alone."""
        rule = self._item.rule
        if not rule.platforms or not manifest.is_index:
            return manifest
        chosen = of_platforms(manifest.children, rule.platforms)
        if not chosen:
            raise AnswerError(
                f"{self._source.registry.name}: {named(self._item.repository, self._item.tag)} is not there for "
                f"{' or '.join(rule.platforms)}",
                f"It has {', '.join(sorted({platform_in(child) for child in manifest.children} - {''}))}",
            )
        self._wanted = {child["digest"] for child in chosen}
        if rule.sparse or len(chosen) == len(manifest.children):
            return manifest
        return reduced(manifest, chosen, rule.platforms)

    def _is_whole(self, digest):
        """Whether the destination has all that is chosen of an image that it has. Others are whole, or were refused."""
        rule = self._item.rule
        if not (rule.platforms and rule.sparse):
            return True
        index = self._destination.manifest(self._item.to, digest)
        wanted = of_platforms(index.children, rule.platforms) if index is not None and index.is_index else []
        return all(self._destination.head(self._item.to, child["digest"]) is not None for child in wanted)

    def _was_being_removed(self, digest):
        """Whether a run that was killed has left the tag where it was about to be removed."""
        manifest = self._destination.manifest(self._item.to, digest)
        return manifest is not None and manifest.annotation(REMOVES) == self._item.tag

    def _is_reduction(self, digest, whole):
        """Whether what is at the destination was made of this index, for the same platforms."""
        if not self._item.rule.platforms or self._item.rule.sparse:
            return False
        manifest = self._destination.manifest(self._item.to, digest)
        return (
            manifest is not None
            and manifest.looks_like_one
            and is_reduction(manifest, whole, self._item.rule.platforms)
        )

    # --- what belongs to it -------------------------------------------------------------------------------------------

    def _subjects_there(self, digest):
        """The digests that signatures of an unchanged image may be of, as the destination has them."""
        if not any(map(subject_of, self._item.tags or ())):
            # To ask for what each child may have costs too much.
            return [digest]
        found, waiting = [], [digest]
        while waiting:
            found.append(waiting.pop())
            manifest = self._destination.manifest(self._item.to, found[-1])
            if manifest is not None and manifest.is_index:
                waiting += {child["digest"] for child in manifest.parts.children}.difference(found)
        return found

    def _listed_referrers(self, digest):
        return self._lists.of(self._source, self._item.repository, digest)

    def _bring_referrers(self, roots, manifest=None, asked_for=None):
        """Signatures, attestations and other referrers of these digests, and theirs in turn.

        manifest is the image where its tag is still to be written: what belongs to it comes before the tag. Only those
        asked for are looked up in lists, where they are given, and what belongs to them.
        """
        waiting, known = list(roots), set()
        while waiting:
            subject = waiting.pop()
            if subject in known:
                continue
            known.add(subject)
            if len(known) > _MOST_REFERRERS:
                raise AnswerError(
                    f"{named(self._item.repository, self._item.tag)} has more than {_MOST_REFERRERS} referrers",
                    "Remove some at the source, or set referrers to false",
                )
            ask = asked_for is None or subject in asked_for or subject not in roots
            listed = [one["digest"] for one in (self._listed_referrers(subject) if ask else None) or []]
            missing = [digest for digest in listed if self._destination.head(self._item.to, digest) is None]
            if manifest is not None and (missing or self._tagged(subject)):
                self._write(manifest.digest, manifest)
                manifest = None
            brought = [self._bring_referrer(digest) for digest in missing]
            self._keep_list(subject, brought)
            for tag in self._tagged(subject):
                waiting += self._bring_tagged(tag)
            waiting += listed

    def _bring_referrer(self, digest):
        found = self._read(digest)
        self._bring_parts_of_referrer(found)
        self._write(digest, found)
        self._count()
        return found

    def _bring_parts_of_referrer(self, manifest):
        # An index of signatures has all of its children, whatever platforms were asked for.
        return self._bring_parts(manifest, 1)

    def _count(self):
        self.outcome.referrers += 1
        self.outcome.changed = True

    def _tagged(self, subject):
        """The tags at the source that are made of this digest."""
        stem = index_tag(subject)
        if self._item.tags is not None:
            return sorted(tag for tag in self._item.tags if subject_of(tag) == subject)
        names = (stem + suffix for suffix in _SUFFIXES)
        return [name for name in names if self._source.head(self._item.repository, name) is not None]

    def _bring_tagged(self, tag):
        """The digests of what a tag such as that of a signature holds, which may be signed itself."""
        head = self._source.head(self._item.repository, tag)
        if head is None:
            return []
        there = self._destination.head(self._item.to, tag)
        if there is not None and there.digest == head.digest:
            return []
        found = self._read(head.digest)
        if there is not None and not self._holds(there.digest, found) and not self._overwrite:
            self.outcome.warnings.append(
                f"{named(self._item.to, tag)} holds signatures that the source has not, and was left as it is; set "
                "overwrite to true where those of the source are meant"
            )
            return []
        digests = self._bring_parts_of_referrer(found)
        self._write(tag, found)
        self._count()
        return digests

    def _holds(self, former, manifest):
        """Whether a list of signatures holds all of a former one: each is a layer or a child of it."""
        there = self._destination.manifest(self._item.to, former)
        return there is None or listed_in(there) <= listed_in(manifest)

    def _keep_list(self, subject, brought):
        """Where the destination keeps no list of referrers by itself, clients look for one under a tag."""
        brought = [one for one in brought if isinstance(one.document.get("subject"), dict)]
        if brought and not self._dry_run:
            add_referrers(self._destination, self._item.to, subject, brought)

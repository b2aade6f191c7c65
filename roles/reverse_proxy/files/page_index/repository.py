# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One repository as the page shows it: its manifests, what belongs to what, and what holds what."""

from __future__ import annotations

import collections
import re

from ansible_collections.wharf.registry.plugins.module_utils._distribution.describe import MOST_LEVELS, subject_of
from ansible_collections.wharf.registry.plugins.module_utils._gate.signatures import BUNDLE, BUNDLE_TYPE, TAG
from facts import unreadable

_BELONGING = re.compile(r"sha256-[0-9a-f]{64}\.(sig|att|sbom)")
_BUNDLES = BUNDLE_TYPE.rpartition(".v")[0]
_MISSING = unreadable("the manifest is missing")


class Contents:
    """The tags and manifests of a repository in the catalog."""

    def __init__(self, catalog, number, keeps=frozenset()):
        """keeps: digests that no collection removes, tagged or not."""
        self.name = catalog.name_of(number)
        self.tags = catalog.tags(number)
        self.revisions = catalog.revisions(number)
        self._facts = catalog.facts(self.revisions)
        self.tagged = {name: digest for name, digest, *_more in self.tags}
        self._by_subject = self._find_referrers()
        self.holders = self._find_holders(keeps)

    def facts(self, digest):
        return self._facts.get(digest, _MISSING)

    def belongs(self, tag):
        """Whether a tag is one of a signature or the like of a manifest that is there."""
        return subject_of(tag) in self.revisions

    def platforms(self, digest):
        """What an image runs on, as its index or its configurations tell."""
        facts = self.facts(digest)
        found = list(facts["platforms"])
        for child in facts["children"]:
            if child["platform"] != "unknown/unknown":
                found += [child["platform"]] if child["platform"] else self.facts(child["digest"])["platforms"]
        return sorted(set(found))

    def below(self, digest):
        """The digests of a manifest and of all that its indexes list and are here."""
        found, waiting = {}, collections.deque([(digest, 0)])
        while waiting:
            one, level = waiting.popleft()
            if one in found or level > MOST_LEVELS:
                continue
            found[one] = None
            waiting.extend((child["digest"], level + 1) for child in self.facts(one)["children"])
        return list(found)

    def sizes(self, digests):
        """{digest: bytes} of manifests and of what they name."""
        sizes = {}
        for digest in digests:
            facts = self.facts(digest)
            sizes.update(facts["blobs"])
            sizes[digest] = facts["size"]
        return sizes

    def created(self, digest):
        """When an image was made, as the index or the newest of its children tells."""
        facts = self.facts(digest)
        own = facts["created"]
        return own or max((self.facts(child["digest"])["created"] for child in facts["children"]), default="")

    def kind(self, digest):
        facts = self.facts(digest)
        if facts["kind"] != "index":
            return facts["kind"]
        return "index" if self.platforms(digest) else "artifact"

    # --- what belongs to a manifest -----------------------------------------------------------------------------------

    def referrers(self, digest):
        """The digests of what names this one as its subject, or is listed as such by clients."""
        return self._by_subject.get(digest, [])

    def attached(self, digest, suffix):
        """The digest under the tag that cosign makes of this one, or None."""
        return self.tagged.get(f"{digest.replace(':', '-')}.{suffix}")

    def bundles(self, digest):
        return [one for one in self.referrers(digest) if self.facts(one)["artifact_type"].startswith(_BUNDLES)]

    def signature_places(self, digest):
        """[(form, digest)] of what may hold signatures or attestations."""
        tagged = [self.attached(digest, suffix) for suffix in ("sig", "att")]
        return [(TAG, one) for one in tagged if one] + [(BUNDLE, one) for one in self.bundles(digest)]

    def _find_referrers(self):
        found = collections.defaultdict(list)
        for digest in self.revisions:
            subject = self.facts(digest)["subject"]
            if subject:
                found[subject].append(digest)
        return found

    # --- what holds a manifest ----------------------------------------------------------------------------------------

    def _find_holders(self, keeps):
        """{digest: why it is there, in words}, of all that a collection leaves."""
        holders, waiting = {}, collections.deque()
        for tag, digest, *_more in self.tags:
            if digest not in holders:
                holders[digest] = ""
                waiting.append((digest, tag))
        for digest in keeps & self.revisions.keys() - holders.keys():
            holders[digest] = "kept: in use by a host, or listed in maintenance_keep_digests"
            waiting.append((digest, "what is kept"))
        while waiting:
            digest, tag = waiting.popleft()
            related = [(child["digest"], f"part of {tag}") for child in self.facts(digest)["children"]]
            related += [(one, f"belongs to {tag}") for one in self.referrers(digest)]
            for one, why in related:
                if one in self.revisions and one not in holders:
                    holders[one] = why
                    waiting.append((one, tag))
        return holders


def kind_of_tag(tag):
    """signature, attestation or sbom, for a tag that cosign makes of a digest, or an empty text."""
    found = _BELONGING.fullmatch(tag)
    return {"sig": "signature", "att": "attestation", "sbom": "sbom"}[found.group(1)] if found else ""

# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documents that the page reads, made of the catalog. Names and other texts in them are as hostile as they came."""

from __future__ import annotations

import time

from gate import VERDICTS
from repository import kind_of_tag

COLUMNS = ("name", "tags", "untagged", "own_bytes", "shared_bytes", "pushed", "pushed_by", "pulled", "worst")
_MOST_PROBLEMS = 50
# Platforms of an image, and what belongs to one, that are looked at: everyone who may push can add to them.
_MOST_RELATED = 100


def now_text():
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


class Details:
    """Makes the document of one repository."""

    def __init__(self, gate, retention, running):
        """running(): {digest: on how many hosts it runs}."""
        self._gate = gate
        self._retention = retention
        self._running = running

    def of(self, contents):
        """(the document, the row's number of tags, of untagged manifests, and the worst verdict)"""
        shown = [one for one in contents.tags if not contents.belongs(one[0])]
        images = {}
        for _name, digest, *_more in shown:
            if digest not in images:
                images[digest] = self._image(contents, digest)
        untagged = self._untagged(contents)
        document = {
            "version": 1,
            "name": contents.name,
            "made": now_text(),
            "tags": [self._tag(contents, one) for one in shown],
            "images": images,
            "decisions": self._decisions(contents, shown),
            "retention": {"configured": self._retention.configured},
            "untagged": untagged,
            "problems": self._problems(contents, shown),
        }
        found = {image["scan"]["verdict"] for image in images.values() if image["scan"]}
        worst = next((verdict for verdict in VERDICTS if verdict in found), "")
        return document, len(shown), len(untagged), worst

    @staticmethod
    def _tag(contents, row):
        name, digest, pushed, pushed_by, pulled = row
        facts = contents.facts(digest)
        return {
            "name": name,
            "digest": digest,
            "media_type": facts["media_type"],
            "kind": kind_of_tag(name) or contents.kind(digest),
            "size": sum(contents.sizes(contents.below(digest)).values()),
            "created": contents.created(digest) or None,
            "pushed": pushed,
            "pushed_by": pushed_by,
            "pulled": pulled,
        }

    def _image(self, contents, digest):
        places = self._gate.signatures(contents, digest)
        related = [digest, *(child["digest"] for child in contents.facts(digest)["children"])][:_MOST_RELATED]
        scans = [scan for scan in (self._gate.scan(contents, one) for one in related) if scan]
        scans.sort(key=lambda scan: VERDICTS.index(scan["verdict"]))
        return {
            "platforms": contents.platforms(digest),
            "artifact_type": contents.facts(digest)["artifact_type"],
            "signatures": [one for one in places if not one["predicate"]],
            "attestations": [one for one in places if one["predicate"]],
            "scan": scans[0] if scans else None,
            "sbom": [one for related_one in related for one in self._sboms(contents, related_one)][:_MOST_RELATED],
            "referrers": [
                {
                    "digest": one,
                    "artifact_type": contents.facts(one)["artifact_type"],
                    "size": contents.facts(one)["size"],
                }
                for one in contents.referrers(digest)[:_MOST_RELATED]
            ],
            "running": {"hosts": max(map(self._running().get, related, [0] * len(related)))},
        }

    @staticmethod
    def _sboms(contents, digest):
        return [
            {"digest": one, **contents.facts(one)["sbom"]}
            for one in contents.referrers(digest)
            if "sbom" in contents.facts(one)
        ]

    def _decisions(self, contents, shown):
        decisions = self._retention.decide(contents)
        return {name: decisions[name] for name, *_more in shown if name in decisions}

    @staticmethod
    def _untagged(contents):
        tagged = set(contents.tagged.values())
        found = []
        for digest, (pushed, _stored) in sorted(contents.revisions.items(), key=lambda one: (-one[1][0], one[0])):
            if digest in tagged:
                continue
            why = contents.holders.get(digest) or "no tag leads to it: a collection deletes it"
            facts = contents.facts(digest)
            found.append(
                {"digest": digest, "kind": facts["kind"], "size": facts["size"], "pushed": pushed, "reason": why}
            )
        return found

    @staticmethod
    def _problems(contents, shown):
        found = [
            f"tag {name}: {problem}" for name, digest, *_more in shown for problem in contents.facts(digest)["problems"]
        ]
        return found[:_MOST_PROBLEMS]

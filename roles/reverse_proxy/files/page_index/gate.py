# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the gate knows of an image: who has signed it, and what was found in it."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._gate.blob_reader import read_blob
from ansible_collections.wharf.registry.plugins.module_utils._gate.cosign import SIGNATURE_TYPE, PublicKey
from ansible_collections.wharf.registry.plugins.module_utils._gate.openssl import OpenSsl
from ansible_collections.wharf.registry.plugins.module_utils._gate.policy import Policy, judge, sentence_of
from ansible_collections.wharf.registry.plugins.module_utils._gate.report_store import ReportStore, seal_key
from ansible_collections.wharf.registry.plugins.module_utils._gate.reports import parse_report
from ansible_collections.wharf.registry.plugins.module_utils._gate.signatures import Signatures

_LARGEST_REPORT = 16 << 20
# Each of the fifty that are looked at is held in memory. An attestation with a larger SBOM is not verified.
_LARGEST_SIGNATURE = 1 << 20
# Where the gate of this host has its key, unless it was told another place.
_CACHE = "/var/cache/wharf-registry/trivy"
_POLICY = {
    "severities": ["critical", "high"],
    "unfixed_severities": [],
    "max_database_age": "1d",
    "max_report_age": "1d",
    "deny": [],
    "allow_unrecognized": True,
    "allow_end_of_life": True,
}
# From the worst.
VERDICTS = ("refused", "unverified", "passed")


class Gate:
    """Looks up signatures and reports. What was worked out once is noted in the catalog."""

    def __init__(self, registry, catalog, settings):
        self._registry = registry
        self._catalog = catalog
        self._keys = list(_keys(settings["keys"]))
        policy = {**_POLICY, **{name: value for name, value in settings["policy"].items() if value is not None}}
        self._policy = Policy(policy, settings["waivers"])
        self._openssl = OpenSsl()
        self._cache = settings["cache"] or _CACHE
        # The gate makes its key with its first report.
        self._seal, self._seal_time = None, None
        # Other keys, or another policy: what was noted counts no more.
        told = json.dumps([settings["keys"], settings["policy"], settings["waivers"], self._openssl.usable])
        self._version = hashlib.sha256(told.encode()).hexdigest()[:12]

    def signatures(self, contents, digest):
        """[{form, digest, signed_by, predicate}] of what is attached to an image; signed_by: a key of ours, if any."""
        places = contents.signature_places(digest)
        if not places:
            return []
        return self._noted(digest, "signatures", places, lambda: self._verify(contents, digest))

    def _verify(self, contents, digest):
        manifest = self._registry.manifest(contents.name, digest)
        if manifest is None:
            return []
        signatures, found = Signatures(self._registry, contents.name, manifest, largest=_LARGEST_SIGNATURE), []
        for candidate in signatures.candidates():
            key = next((key for key in self._keys if signatures.holds(self._openssl, candidate, key)), None)
            one = {
                "form": candidate.form,
                "digest": candidate.digest,
                "signed_by": key.name if key else "",
                "predicate": "" if candidate.predicate == SIGNATURE_TYPE else candidate.predicate[:200],
            }
            if one not in found:
                found.append(one)
        return found

    def scan(self, contents, digest):
        """What the newest report on an image tells, or None. verdict is one of VERDICTS.

        Everyone who may push can attach a report that praises an image: only one with the seal of this host counts.
        """
        reports = [one for one in contents.referrers(digest) if "scan" in contents.facts(one)]
        if not reports:
            return None
        reports.sort(key=lambda one: contents.facts(one)["scan"]["created"], reverse=True)
        self._look_for_seal()
        depends = [*reports, hashlib.sha256(self._seal or b"").hexdigest()]
        sealed = self._noted(digest, "sealed", depends, lambda: self._find_sealed(contents, digest))
        report = sealed if sealed in reports else reports[0]
        told = {"digest": report, **contents.facts(report)["scan"], "verdict": "unverified", "sentence": ""}
        if sealed:
            # A waiver has an end.
            depends = [report, time.strftime("%Y-%m-%d", time.gmtime())]
            told.update(self._noted(digest, "verdict", depends, lambda: self._judge(contents, report)))
        return told

    def _look_for_seal(self):
        try:
            when = os.stat(os.path.join(self._cache, "seal.key")).st_mtime_ns
        except OSError:
            when = None
        if when != self._seal_time:
            self._seal, self._seal_time = _seal(self._cache), when

    def _find_sealed(self, contents, digest):
        if not self._seal:
            return ""
        manifest = ReportStore(self._registry, contents.name, self._seal).find(digest, lambda _facts: True)
        return manifest.digest if manifest else ""

    def _judge(self, contents, report):
        document = self._registry.manifest(contents.name, report)
        blob = document.parts.layers[0]["digest"]
        content = read_blob(self._registry, contents.name, blob, _LARGEST_REPORT)
        found, now = parse_report(content, "the report"), time.time_ns()
        # The page tells how old they are. That the gate takes none of this age does not change what was found.
        found.created = found.database_date = now
        verdict = judge({"": found}, self._policy, now)
        return {"verdict": verdict.verdict, "sentence": sentence_of("The image", verdict)[:600]}

    def _noted(self, digest, what, depends, work):
        """What was worked out of the same things before, or what is worked out now."""
        told = json.dumps(depends).encode()
        name = f"{digest} {what} {self._version} {hashlib.sha256(told).hexdigest()[:16]}"
        known = self._catalog.note(name)
        if known is None:
            try:
                known = work()
            except (RegistryError, AttributeError, IndexError, KeyError, TypeError, ValueError):
                # What is damaged proves nothing.
                known = {"signatures": [], "sealed": "", "verdict": {}}[what]
            self._catalog.keep_note(name, known)
        return known


def _keys(texts):
    """Those that can be read here: a key may lie in a file of the gate's own host."""
    for number, text in enumerate(texts, 1):
        try:
            yield PublicKey(text, number, "gate_trusted_keys")
        except RegistryError as error:  # noqa: PERF203 - one by one
            print(f"wharf-registry: page: {error}", file=sys.stderr, flush=True)


def _seal(cache):
    """The key by which the gate of this host seals its reports, or None where it has none."""
    try:
        return seal_key(cache) if os.path.exists(os.path.join(cache, "seal.key")) else None
    except RegistryError:
        return None

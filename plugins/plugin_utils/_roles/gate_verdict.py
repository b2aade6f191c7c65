# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verdict of the gate, as an attestation says it. Private to this collection."""

from __future__ import annotations

import hashlib
import json


def gate_verdict(judged, registry, release, policy):
    """The predicate of a verification summary of SLSA (https://slsa.dev/verification_summary/v1).

    judged: the result gate of registry_tag. registry: the name of the registry. release: repository@digest.
    policy: all by which it was judged. A second run with the same reports says the same.
    """
    reports = judged["reports"]
    told = json.dumps(policy, sort_keys=True, default=str).encode()
    return {
        "verifier": {"id": f"https://{registry}/gate"},
        "timeVerified": max((one["created"] for one in reports), default=""),
        "resourceUri": f"{registry}/{release}",
        "policy": {"uri": f"https://{registry}/gate/policy", "digest": {"sha256": hashlib.sha256(told).hexdigest()}},
        "inputAttestations": [_attestation(one["report_digest"]) for one in reports if one["report_digest"]],
        "verificationResult": "PASSED" if judged["verdict"] == "passed" else "FAILED",
        "verifiedLevels": [],
    }


def _attestation(digest):
    algorithm, _colon, value = digest.partition(":")
    return {"digest": {algorithm: value}}

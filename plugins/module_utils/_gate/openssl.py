# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Verifies signatures of cosign by openssl, which hosts have that have no cosign. Private to this collection.

It tells people who has signed an image. What decides whether an image is released asks cosign itself.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import tempfile

from ansible_collections.wharf.registry.plugins.module_utils._common.process import find, run
from ansible_collections.wharf.registry.plugins.module_utils._gate.strict_json import AmbiguousError, read_strictly

_TIMEOUT = 20
# What a file of a public key begins with where it is of Ed25519: such a key signs content, and not a digest of it.
_ED25519 = bytes.fromhex("302a300506032b6570032100")


class OpenSsl:
    """The program. Without one, nothing is verified."""

    def __init__(self, program="openssl"):
        self._program = find(program)

    @property
    def usable(self):
        return self._program is not None

    def is_signed(self, payload, signature, key):
        """Whether the signature, in base64, is of these bytes, and by this PublicKey."""
        try:
            content = base64.b64decode(signature, validate=True)
        except (binascii.Error, ValueError):
            return False
        return bool(self._program and key.pem) and self._verify(payload, content, key)

    def is_attested(self, manifest, attestation, kind, key, *, bundle):
        """Whether a bundle, or an envelope as cosign 2 kept it, says something of this type of a manifest's content."""
        try:
            document = read_strictly(attestation)
            envelope = document["dsseEnvelope"] if bundle else document
            body, told = base64.b64decode(envelope["payload"], validate=True), envelope["payloadType"]
            statement = read_strictly(body)
            subjects = [one["digest"]["sha256"] for one in statement["subject"]]
            signatures = [one["sig"] for one in envelope["signatures"]]
            matches = statement["predicateType"] == kind and hashlib.sha256(manifest).hexdigest() in subjects
        except (AmbiguousError, binascii.Error, ValueError, TypeError, KeyError, AttributeError):
            return False
        if not matches:
            return False
        signed = b"DSSEv1 %d %s %d %s" % (len(told.encode()), told.encode(), len(body), body)
        return any(self.is_signed(signed, one, key) for one in signatures if isinstance(one, str))

    def _verify(self, content, signature, key):
        with tempfile.TemporaryDirectory(prefix="wharf-openssl-") as place:
            paths = {}
            for name, told in (("key", key.pem.encode()), ("signature", signature), ("content", content)):
                paths[name] = os.path.join(place, name)
                with open(paths[name], "wb") as file:
                    file.write(told)
            if _is_ed25519(key.pem):
                options = ["pkeyutl", "-verify", "-pubin", "-inkey", paths["key"], "-rawin", "-in", paths["content"]]
                options += ["-sigfile", paths["signature"]]
            else:
                options = ["dgst", "-sha256", "-verify", paths["key"], "-signature", paths["signature"]]
                options.append(paths["content"])
            return run([self._program, *options], _TIMEOUT)[0] == 0


def _is_ed25519(pem):
    body = "".join(line for line in pem.splitlines() if not line.startswith("-----"))
    try:
        return base64.b64decode(body).startswith(_ED25519)
    except (binascii.Error, ValueError):
        return False

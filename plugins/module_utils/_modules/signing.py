# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Signing and verifying, for registry_sign, registry_verify and registry_tag. Private to this collection."""

from __future__ import annotations

import json
import os
import time

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError, RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._distribution.manifest import read_object
from ansible_collections.wharf.registry.plugins.module_utils._distribution.promote import read_source
from ansible_collections.wharf.registry.plugins.module_utils._gate.cosign import (
    SIGNATURE_TYPE,
    Cosign,
    PublicKey,
    is_kms,
    predicate_type,
)
from ansible_collections.wharf.registry.plugins.module_utils._gate.signatures import (
    BUNDLE,
    TAG,
    Signatures,
    payload_of,
    predicate_in,
)
from ansible_collections.wharf.registry.plugins.module_utils._gate.subject import parse_image

SIGN_OPTIONS = {
    "image": {"type": "str", "required": True},
    # The path of the key, or its URI. Its content never comes near the task.
    "key": {"type": "str", "required": True, "no_log": False},
    "key_password": {"type": "str", "no_log": True},
    "forms": {"type": "list", "elements": "str", "choices": [TAG, BUNDLE], "default": [TAG]},
    "attestation": {
        "type": "dict",
        "options": {
            "type": {"type": "str", "required": True},
            "predicate": {"type": "dict"},
            "path": {"type": "path"},
        },
        "mutually_exclusive": [("predicate", "path")],
        "required_one_of": [("predicate", "path")],
    },
    "program": {"type": "str", "default": "cosign"},
}
VERIFY_OPTIONS = {
    "image": {"type": "str", "required": True},
    # Public ones.
    "keys": {"type": "list", "elements": "str", "required": True, "no_log": False},
    "attestation": {"type": "str"},
    "program": {"type": "str", "default": "cosign"},
}


class UnsignedError(RegistryError):
    """An image that none of the keys has signed."""


def public_keys(texts, option="keys"):
    """The PublicKeys of an option. Raises InputError."""
    if not texts:
        raise InputError(f"{option} is empty", "Give a public key at least")
    return [PublicKey(text, number, option) for number, text in enumerate(texts, 1)]


def told(found):
    """Verified (Candidate, PublicKey) pairs, as modules return them."""
    return [{"form": candidate.form, "digest": candidate.digest, "key": key.name} for candidate, key in found]


def verify(api, source, manifest, keys, *, attestation=None, program="cosign"):
    """What one of the keys has made of a manifest, as modules return it. Raises UnsignedError where that is nothing."""
    kind = SIGNATURE_TYPE if attestation is None else predicate_type(attestation)
    with Cosign(program) as cosign:
        signatures = Signatures(api, source.repository, manifest)
        found = signatures.verified(cosign, keys, kind)
    if found:
        return told(found)
    name = f"{api.registry.name}: {source} ({manifest.digest})"
    candidates = any(one.predicate == kind for one in signatures.candidates())
    what = "signature" if attestation is None else f"attestation of the type {kind}"
    article = "a" if attestation is None else "an"
    if candidates:
        raise UnsignedError(
            f"{name} has {article} {what}, and none is of this image and by one of the {len(keys)} trusted keys",
            "Sign the image with one of these keys, or add the key that signed it where that is right",
        )
    raise UnsignedError(f"{name} has no {what}", "Sign it with registry_sign, or let the pipeline do so")


class SignRun:
    """One run of registry_sign. params are its options."""

    def __init__(self, params, check_mode):
        self._params = params
        self._check_mode = check_mode
        self._key = params["key"] if is_kms(params["key"]) else os.path.expanduser(params["key"])
        if not is_kms(self._key) and not os.path.isfile(self._key):
            raise InputError(
                f"key is {self._key!r}, which is no file here",
                "Give the path of a private key of cosign, or the URI of a KMS",
            )
        if not params["forms"]:
            raise InputError("forms is empty", "Give tag, bundle or both")
        self._attestation = None
        if params["attestation"] is not None:
            kind = predicate_type(params["attestation"]["type"])
            self._attestation = kind, _predicate(params["attestation"])

    def run(self, api):
        """What the module returns. Raises RegistryError."""
        source = parse_image(self._params["image"], api.registry)
        manifest = read_source(api, source)
        signatures = Signatures(api, source.repository, manifest)
        with Cosign(self._params["program"]) as cosign:
            key = cosign.public_key(self._key, self._params["key_password"])
            missing = self._missing(signatures, cosign, key)
            if not self._check_mode:
                for form in missing:
                    self._write(f"{api.registry.name}/{source.repository}", manifest, signatures, cosign, form)
            kind = self._attestation[0] if self._attestation else SIGNATURE_TYPE
            # What was written is read again, and verified as everyone would verify it.
            found = [] if self._check_mode and missing else signatures.verified(cosign, [key], kind)
        if not self._check_mode and missing and not found:
            raise RegistryError(
                f"{api.registry.name}: {source} was signed, and the registry does not show it",
                "Run it again, and look for proxies that cache",
            )
        return {
            "changed": bool(missing),
            "digest": manifest.digest,
            "key": key.name,
            "signatures": told(found),
            "written": missing,
        }

    def _missing(self, signatures, cosign, key):
        """The forms that are still to be written."""
        if self._attestation is None:
            there = {candidate.form for candidate, _key in signatures.verified(cosign, [key])}
            return [form for form in dict.fromkeys(self._params["forms"]) if form not in there]
        kind, predicate = self._attestation
        for candidate, _key in signatures.verified(cosign, [key], kind):
            if predicate_in(candidate) == predicate:
                return []
        return [BUNDLE]

    def _write(self, name, manifest, signatures, cosign, form):
        """name is that of the repository, with its registry."""
        password = self._params["key_password"]
        if form == TAG:
            payload = payload_of(name, manifest.digest)
            signatures.add_payload(payload, cosign.sign(payload, self._key, password))
            return
        kind, predicate = self._attestation or (SIGNATURE_TYPE, {})
        content = json.dumps(predicate, sort_keys=True).encode()
        bundle = cosign.attest(manifest.content, kind, content, self._key, password)
        created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        signatures.add_bundle(bundle, kind, created)


def _predicate(options):
    if options["predicate"] is not None:
        return options["predicate"]
    try:
        with open(options["path"], "rb") as file:
            document = read_object(file.read(64 << 20))
    except OSError as error:
        raise InputError(
            f"{options['path']} can't be read: {error.strerror}", "Give the path of a predicate on this host"
        ) from None
    if document is None:
        raise InputError(f"{options['path']} is not a JSON object", "Give the predicate of the attestation, as JSON")
    return document

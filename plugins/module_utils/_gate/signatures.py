# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Signatures and attestations of an image in a registry, in the forms of cosign 2 and 3. Private to this collection.

Those of cosign 2 lie under a tag that is made of the digest, which Podman reads. Those of cosign 3 are bundles that
refer to the image.
"""

from __future__ import annotations

import base64
import binascii
import json
import re

from ansible_collections.wharf.registry.plugins.module_utils._distribution.blobs import digest_of
from ansible_collections.wharf.registry.plugins.module_utils._distribution.manifest import (
    OCI_MANIFEST,
    new_manifest,
)
from ansible_collections.wharf.registry.plugins.module_utils._distribution.referrers import (
    artifact_of,
    attach,
    find_referrers,
    index_tag,
    write_until_seen,
)
from ansible_collections.wharf.registry.plugins.module_utils._distribution.transport_errors import AnswerError
from ansible_collections.wharf.registry.plugins.module_utils._gate.blob_reader import read_blob
from ansible_collections.wharf.registry.plugins.module_utils._gate.cosign import SIGNATURE_TYPE
from ansible_collections.wharf.registry.plugins.module_utils._gate.strict_json import AmbiguousError, read_strictly

TAG, BUNDLE = "tag", "bundle"
BUNDLE_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
_BUNDLE_TYPES = ("application/vnd.dev.sigstore.bundle", "application/vnd.dev.sigstore.bundle.v")
_PAYLOAD_TYPE = "application/vnd.dev.cosign.simplesigning.v1+json"
_ENVELOPE_TYPE = "application/vnd.dsse.envelope.v1+json"
_SIGNATURE = "dev.cosignproject.cosign/signature"
_CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
_STATEMENT_TYPE = "application/vnd.in-toto+json"
_BASE64 = re.compile(r"[A-Za-z0-9+/]{1,10000}={0,2}")
_LARGEST = 64 << 20
_CLAIM = "cosign container image signature"
# More of them on one image are not looked at: everyone who may push could make it so that a check never ends.
MOST = 50


class Candidate:
    """What may be a signature or an attestation: nothing of it is verified.

    form: TAG or BUNDLE. content: the payload, the envelope or the bundle. signature: that of a payload, else empty.
    predicate: its type, as far as it says so itself.
    """

    def __init__(self, form, digest, content, signature="", predicate=SIGNATURE_TYPE):
        self.form = form
        self.digest = digest
        self.content = content
        self.signature = signature
        self.predicate = predicate


def payload_of(name, digest):
    """The document that is signed in the form of tags. name is registry/repository."""
    critical = {
        "identity": {"docker-reference": name},
        "image": {"docker-manifest-digest": digest},
        "type": _CLAIM,
    }
    return json.dumps({"critical": critical, "optional": None}, separators=(",", ":")).encode()


def claims(payload, digest):
    """Whether a payload is one of cosign's, and is of this digest. Without that, any signed document would do."""
    try:
        critical = read_strictly(payload).get("critical")
    except AmbiguousError:
        return False
    critical = critical if isinstance(critical, dict) else {}
    image = critical.get("image")
    return critical.get("type") == _CLAIM and isinstance(image, dict) and image.get("docker-manifest-digest") == digest


class Signatures:
    """What is kept of one manifest in a repository."""

    def __init__(self, api, repository, manifest, largest=_LARGEST):
        """largest: bytes of the content of one candidate. A larger one is passed over."""
        self._largest = largest
        self._api = api
        self._repository = repository
        self._manifest = manifest
        self._candidates = None

    # --- what is there ------------------------------------------------------------------------------------------------

    def candidates(self):
        """[Candidate], those of tags first. What is damaged is passed over: it proves nothing."""
        if self._candidates is None:
            found = [*self._tagged(".sig", _PAYLOAD_TYPE), *self._tagged(".att", _ENVELOPE_TYPE)]
            self._candidates = [*found, *self._bundles()]
        return self._candidates

    def _read(self, reference):
        try:
            manifest = self._api.manifest(self._repository, reference)
            if manifest is not None:
                # Raises for one that is damaged.
                manifest.blobs  # noqa: B018
        except AnswerError:
            return None
        return manifest

    def _blob(self, digest):
        try:
            return read_blob(self._api, self._repository, digest, self._largest)
        except AnswerError:
            return None

    def _tagged(self, suffix, media_type):
        manifest = self._read(index_tag(self._manifest.digest) + suffix)
        layers = (
            [] if manifest is None else [one for one in manifest.parts.layers if one.get("mediaType") == media_type]
        )
        for layer in _both_ends(layers):
            annotations = layer.get("annotations")
            annotations = annotations if isinstance(annotations, dict) else {}
            content = self._blob(layer["digest"])
            if content is None:
                continue
            signature = annotations.get(_SIGNATURE)
            if media_type == _ENVELOPE_TYPE:
                envelope = strict_envelope(content)
                if envelope is not None:
                    yield Candidate(TAG, manifest.digest, envelope[0], predicate=envelope[1])
            elif isinstance(signature, str) and _BASE64.fullmatch(signature):
                yield Candidate(TAG, manifest.digest, content, signature)

    def _bundles(self):
        listed = find_referrers(self._api, self._repository, self._manifest.digest)
        listed = [one for one in listed if str(one.get("artifactType")).startswith(_BUNDLE_TYPES)]
        for entry in _both_ends(listed):
            manifest = self._read(entry["digest"])
            content = self._blob(manifest.blobs[-1]["digest"]) if manifest is not None and manifest.blobs else None
            bundle = None if content is None else strict_bundle(content)
            if bundle is not None:
                yield Candidate(BUNDLE, entry["digest"], bundle[0], predicate=bundle[1])

    # --- verified -----------------------------------------------------------------------------------------------------

    def verified(self, cosign, keys, predicate=SIGNATURE_TYPE):
        """[(Candidate, PublicKey)] of what one of the keys has made, of this manifest and of this type."""
        found = []
        for candidate in self.candidates():
            if candidate.predicate != predicate:
                continue
            for key in keys:
                if self.holds(cosign, candidate, key):
                    found.append((candidate, key))
                    break
        return found

    def holds(self, cosign, candidate, key):
        """Whether a candidate is of this manifest and by this key. cosign: a Cosign, or an OpenSsl."""
        if candidate.signature:
            payload = candidate.content
            return claims(payload, self._manifest.digest) and cosign.is_signed(payload, candidate.signature, key)
        bundle = candidate.form == BUNDLE
        content = self._manifest.content
        return cosign.is_attested(content, candidate.content, candidate.predicate, key, bundle=bundle)

    # --- written ------------------------------------------------------------------------------------------------------

    def add_payload(self, payload, signature):
        """Adds a signature in the form of tags to those that are there, and returns the digest of the list."""
        self._candidates = None
        tag = index_tag(self._manifest.digest) + ".sig"
        blob = self._api.put_blob(self._repository, payload)
        layer = {
            "mediaType": _PAYLOAD_TYPE,
            "digest": blob,
            "size": len(payload),
            "annotations": {_SIGNATURE: signature},
        }

        def add():
            there = self._api.manifest(self._repository, tag)
            layers = [] if there is None else list(there.whole.layers)
            if any(one.get("annotations") == layer["annotations"] for one in layers):
                return there.digest
            self._put_list(tag, [*layers, layer])
            return None

        return write_until_seen(self._api, self._repository, tag, add)

    def _put_list(self, tag, layers):
        # As cosign makes it: an image without content, whose layers are the signatures.
        config = {"architecture": "", "config": {}, "created": "0001-01-01T00:00:00Z", "history": [], "os": ""}
        config["rootfs"] = {"type": "layers", "diff_ids": [one["digest"] for one in layers]}
        content = json.dumps(config).encode()
        digest = self._api.put_blob(self._repository, content)
        document = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": {"mediaType": _CONFIG_TYPE, "digest": digest, "size": len(content)},
            "layers": layers,
        }
        self._api.put_manifest(self._repository, tag, new_manifest(document, OCI_MANIFEST))

    def add_bundle(self, bundle, predicate, created):
        """Puts a bundle that refers to the manifest, and returns its digest."""
        self._candidates = None
        layer = {"mediaType": BUNDLE_TYPE, "digest": digest_of(bundle), "size": len(bundle)}
        annotations = {
            "org.opencontainers.image.created": created,
            "dev.sigstore.bundle.content": "dsse-envelope",
            "dev.sigstore.bundle.predicateType": predicate,
        }
        artifact = artifact_of(self._manifest, BUNDLE_TYPE, layer, annotations)
        attach(self._api, self._repository, self._manifest, artifact, bundle)
        return artifact.digest


def _both_ends(entries):
    """Not so many that a check never ends: whoever may push can add to them, at either end."""
    return entries if len(entries) <= MOST else [*entries[: MOST // 2], *entries[-(MOST // 2) :]]


def strict_envelope(content):
    """(an envelope of DSSE, written anew, the type of its statement) of bytes, or None.

    What is verified, and whose type is read, is one and the same text: of "payload" and "Payload" in one document,
    different readers could take different ones.
    """
    try:
        return _envelope(read_strictly(content))
    except (AmbiguousError, binascii.Error, ValueError, TypeError, KeyError, AttributeError):
        return None


def strict_bundle(content):
    """(a bundle of cosign, written anew, the type of its statement) of bytes, or None."""
    try:
        document = read_strictly(content)
        envelope, kind = _envelope(document["dsseEnvelope"])
        hint = document.get("verificationMaterial", {}).get("publicKey", {}).get("hint", "")
        bundle = {
            "mediaType": BUNDLE_TYPE,
            "verificationMaterial": {"publicKey": {"hint": hint if isinstance(hint, str) else ""}},
            "dsseEnvelope": json.loads(envelope),
        }
    except (AmbiguousError, binascii.Error, ValueError, TypeError, KeyError, AttributeError):
        return None
    return json.dumps(bundle).encode(), kind


def _envelope(document):
    statement = read_strictly(base64.b64decode(document["payload"], validate=True))
    kind = statement["predicateType"]
    signed = isinstance(document["signatures"], list) and document["signatures"]
    if not isinstance(kind, str) or document["payloadType"] != _STATEMENT_TYPE or not signed:
        raise ValueError("no statement of in-toto")
    signatures = [{"sig": str(one["sig"]), "keyid": str(one.get("keyid", ""))} for one in document["signatures"]]
    envelope = {"payloadType": _STATEMENT_TYPE, "payload": document["payload"], "signatures": signatures[:MOST]}
    return json.dumps(envelope).encode(), kind


def predicate_in(candidate):
    """What an attestation says that was verified."""
    document = json.loads(candidate.content)
    envelope = document["dsseEnvelope"] if candidate.form == BUNDLE else document
    return read_strictly(base64.b64decode(envelope["payload"])).get("predicate")

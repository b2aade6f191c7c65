# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What belongs to a manifest: signatures, reports and the like, by its subject. Private to this collection.

A registry without a list of its own, as CNCF Distribution, leaves it to clients to keep one, as an index under a tag
that is made of the digest. Two that write it at once would lose an entry, so that each looks whether its own is there.
"""

from __future__ import annotations

from ansible_collections.wharf.registry.plugins.module_utils._distribution.blobs import digest_of
from ansible_collections.wharf.registry.plugins.module_utils._distribution.client_errors import ConflictError
from ansible_collections.wharf.registry.plugins.module_utils._distribution.manifest import (
    OCI_INDEX,
    OCI_MANIFEST,
    new_manifest,
)

_ATTEMPTS = 5
_EMPTY = b"{}"
_EMPTY_TYPE = "application/vnd.oci.empty.v1+json"


def index_tag(subject):
    """The tag of the index of what belongs to a digest."""
    return subject.replace(":", "-")


def find_referrers(api, repository, subject, odd=None):
    """The descriptors of what belongs to a digest, by the registry's own list or by that of clients."""
    listed = api.referrers(repository, subject, odd)
    return _kept_list(api, repository, subject) if listed is None else listed


def _kept_list(api, repository, subject):
    index = api.manifest(repository, index_tag(subject))
    return list(index.parts.children) if index is not None and index.is_index else []


def add_referrers(api, repository, subject, manifests):
    """Lists manifests, which are in the repository, as belonging to a digest, where the registry does not by itself.

    Raises RegistryError.
    """
    if not manifests or api.referrers(repository, subject) is not None:
        return

    def add():
        entries = _kept_list(api, repository, subject)
        known = {entry["digest"] for entry in entries}
        new = [descriptor_of(one) for one in manifests if one.digest not in known]
        if not new:
            return True
        document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [*entries, *new]}
        api.put_manifest(repository, index_tag(subject), new_manifest(document, OCI_INDEX))
        return None

    write_until_seen(api, repository, index_tag(subject), add)


def write_until_seen(api, repository, tag, write):
    """Calls write(), which looks first, until it returns what it has seen, and not None. Raises ConflictError.

    Another client may overwrite the tag between the look and the write.
    """
    for _attempt in range(_ATTEMPTS):
        seen = write()
        if seen is not None:
            return seen
    raise ConflictError(f"{api.registry.name}: other clients write {repository}:{tag} all the time", "Run it again")


def artifact_of(subject, artifact_type, layer, annotations):
    """The Manifest of an artefact with one layer, a descriptor, that belongs to another Manifest."""
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": artifact_type,
        "config": {"mediaType": _EMPTY_TYPE, "digest": digest_of(_EMPTY), "size": len(_EMPTY)},
        "layers": [layer],
        "subject": {"mediaType": subject.media_type, "digest": subject.digest, "size": len(subject.content)},
        "annotations": annotations,
    }
    return new_manifest(document, OCI_MANIFEST)


def attach(api, repository, subject, artifact, content):
    """Puts an artefact of artifact_of(), with the bytes of its layer, beside its subject. Raises RegistryError."""
    for blob in (_EMPTY, content):
        api.put_blob(repository, blob)
    api.put_manifest(repository, artifact.digest, artifact)
    add_referrers(api, repository, subject.digest, [artifact])


def descriptor_of(manifest):
    """As a list of referrers tells of one."""
    document = manifest.document
    config = document.get("config") if isinstance(document.get("config"), dict) else {}
    entry = {"mediaType": manifest.media_type, "digest": manifest.digest, "size": len(manifest.content)}
    artifact_type = document.get("artifactType") or (
        config.get("mediaType") if manifest.media_type == OCI_MANIFEST else None
    )
    if artifact_type:
        entry["artifactType"] = artifact_type
    if isinstance(document.get("annotations"), dict):
        entry["annotations"] = document["annotations"]
    return entry

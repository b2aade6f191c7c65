# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What belongs to a manifest: signatures, reports and the like, by its subject. Private to this collection.

A registry without a list of its own, as CNCF Distribution, leaves it to clients to keep one, as an index under a tag
that is made of the digest. Two that write it at once would lose an entry, so that each looks whether its own is there.
"""

from __future__ import annotations

from ansible_collections.wharf.registry.plugins.module_utils._distribution.client_errors import ConflictError
from ansible_collections.wharf.registry.plugins.module_utils._distribution.manifest import (
    OCI_INDEX,
    OCI_MANIFEST,
    new_manifest,
)

_ATTEMPTS = 5


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
    for _attempt in range(_ATTEMPTS):
        entries = _kept_list(api, repository, subject)
        known = {entry["digest"] for entry in entries}
        new = [descriptor_of(one) for one in manifests if one.digest not in known]
        if not new:
            return
        document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [*entries, *new]}
        api.put_manifest(repository, index_tag(subject), new_manifest(document, OCI_INDEX))
    raise ConflictError(
        f"{api.registry.name}: other clients write {repository}:{index_tag(subject)} all the time", "Run it again"
    )


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

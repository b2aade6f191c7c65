# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bundle: an OCI layout on a medium, with a signed list of all that is in it. Private to this collection.

bundle.json tells the images and the digests of all manifests and blobs; bundle.json.sig signs it. A bundle for a
registry that sent a receipt leaves out the blobs that the receipt lists, and tells where they are there.
"""

from __future__ import annotations

import json
import os
import time
import uuid

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._common.reference import fits_digest
from ansible_collections.wharf.registry.plugins.module_utils._distribution.describe import subject_of
from ansible_collections.wharf.registry.plugins.module_utils._distribution.manifest import read_object
from ansible_collections.wharf.registry.plugins.module_utils._transfer.signature import (
    public_key,
    read_signed,
    write_signed,
)

_FORMAT = 1
_LIST = "bundle.json"


class DamagedBundleError(RegistryError):
    """A bundle of which something is missing or is not what its list tells."""


class Bundle:
    """What bundle.json tells."""

    def __init__(self, document):
        self.name = document["bundle"]
        self.created = document["created"]
        # {repository: {tag: digest}}, all digests with their sizes, and {digest: repository} of those left out.
        self.images = document["images"]
        self.contents = document["contents"]
        self.needs = document["needs"]
        self.based_on = document["based_on"]


def read_bundle(path, keys):
    """The Bundle at a path, whose list is signed. Raises RegistryError."""
    document = _read(os.path.join(path, _LIST), keys, "bundle")
    try:
        bundle = Bundle(document)
        texts = [bundle.name, bundle.created, *bundle.based_on, *bundle.needs.values()]
        sound = all(isinstance(text, str) for text in texts) and all(
            map(fits_digest, [*bundle.contents, *bundle.needs])
        )
        sound = sound and all(isinstance(tags, dict) for tags in bundle.images.values())
    except (KeyError, TypeError, AttributeError):
        sound = False
    if not sound:
        raise DamagedBundleError(f"{path}/{_LIST} is no list of a bundle", "Make the bundle again")
    return bundle


def _read(path, keys, kind):
    document = read_object(read_signed(path, keys))
    if document is None or document.get("format") != _FORMAT or kind not in document:
        raise DamagedBundleError(
            f"{path} is no {kind} that this version reads",
            "Use the version of the collection that wrote it, or a later one",
        )
    return document


class Receipt:
    """What a registry holds, as it was told after an import."""

    def __init__(self, bundles=(), digests=None):
        self.bundles = list(bundles)
        # {digest: a repository that has it}
        self.digests = dict(digests or {})

    def write(self, path, registry, key):
        document = {
            "format": _FORMAT,
            "receipt": registry,
            "written": _now(),
            "bundles": self.bundles,
            "digests": dict(sorted(self.digests.items())),
        }
        write_signed(path, _text(document), key)


def read_receipt(path, keys):
    """Raises RegistryError."""
    document = _read(path, keys, "receipt")
    digests, bundles = document.get("digests"), document.get("bundles")
    if not isinstance(digests, dict) or not all(map(fits_digest, digests)) or not isinstance(bundles, list):
        raise DamagedBundleError(f"{path} is no receipt", "Copy it again")
    return Receipt(bundles, digests)


def _listed(layout, receipt):
    """(images, contents, needs) as a Bundle has them, of what a layout holds now."""
    images, contents, needs = {}, {}, {}
    for repository in layout.repositories():
        for tag in layout.tags(repository):
            images.setdefault(repository, {})[tag] = layout.manifest(repository, tag).digest
    for digest in layout.reachable():
        size = layout.blobs.size(digest)
        if size is not None:
            contents[digest] = size
        elif digest in receipt.digests:
            needs[digest] = receipt.digests[digest]
    return images, contents, needs


def written_bundle(layout, path, receipt, key, *, dry_run=False):
    """(Bundle, whether it was written or would be): lists and signs what a layout holds, where the list is another one.

    Without the list, which comes last, it is no bundle. With dry_run, the Bundle is None where it is to be written.
    """
    images, contents, needs = _listed(layout, receipt)
    former = _former(path, key)
    listed = (images, contents.keys(), needs)
    if former is not None and (former.images, former.contents.keys(), former.needs) == listed:
        return former, False
    if dry_run:
        return None, True
    document = {
        "format": _FORMAT,
        "bundle": f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{uuid.uuid4().hex[:8]}",
        "created": _now(),
        "based_on": receipt.bundles[-1:] if needs else [],
        "images": images,
        "contents": contents,
        "needs": needs,
    }
    write_signed(os.path.join(path, _LIST), _text(document), key)
    return Bundle(document), True


def _former(path, key):
    """The Bundle at a path that this key has signed, or None."""
    if not os.path.isfile(os.path.join(path, _LIST)):
        return None
    try:
        return read_bundle(path, [public_key(key)])
    except RegistryError:
        return None


def damage(layout, bundle):
    """Sentences on what is not as the bundle lists it. Each byte is read."""
    found = []
    for digest in sorted(bundle.contents):
        why = layout.blobs.damage(digest)
        if why:
            found.append(f"{digest} {why}")
    for repository, tags in bundle.images.items():
        for tag, digest in tags.items():
            head = layout.head(repository, tag)
            if head is None or head.digest != digest:
                found.append(f"index.json does not name {repository}:{tag} as it is signed")
    unsigned = [entry["digest"] for entry in layout.entries if entry["digest"] not in bundle.contents]
    return found + [f"{digest} is named in index.json, and is not signed" for digest in unsigned]


def images_of(bundle):
    """[(repository, tags)] without what belongs to images, which goes with them."""
    for repository, tags in sorted(bundle.images.items()):
        named = sorted(tag for tag in tags if not subject_of(tag))
        if named:
            yield repository, named


def _text(document):
    return (json.dumps(document, indent=1, sort_keys=True) + "\n").encode()


def _now():
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())

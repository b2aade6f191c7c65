# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a manifest names, read from its bytes."""

from __future__ import annotations

import json
import typing

from .names import is_digest

# The largest manifest that a registry takes.
MOST_BYTES = 4 * 1024 * 1024

# Where a manifest names things, and of which kind: `blobs` in artifacts, and `fsLayers` in schema 1.
_LISTS = {"manifests": "manifest", "layers": "layer", "blobs": "layer", "fsLayers": "layer"}
# By their names in lower case: the registry takes them in any spelling, and others in none but the right one.
_AT_TOP = {name.casefold(): name for name in (*_LISTS, "config", "subject")}
_IN_DESCRIPTOR = {name.casefold(): name for name in ("digest", "blobSum", "urls", "mediaType")}
# What else there is in most of them.
_COMMON = {"size", "annotations", "platform", "schemaVersion", *_AT_TOP.values(), *_IN_DESCRIPTOR.values()}


class ManifestError(ValueError):
    """What is no manifest, in words that follow its name."""


class Reference(typing.NamedTuple):
    """What a manifest names. What is foreign is fetched from elsewhere, and may never have been pushed."""

    digest: str
    kind: str
    foreign: bool = False


class Manifest(typing.NamedTuple):
    """What it names, and the manifest that it belongs to where it has a subject."""

    references: tuple
    subject: str = ""

    @property
    def digests(self):
        return tuple(one.digest for one in self.references)


def parse(content):
    """The Manifest. Raises ManifestError."""
    try:
        document = json.loads(content, object_pairs_hook=_object)
    except ManifestError:
        raise
    except (ValueError, RecursionError):
        raise ManifestError("is no manifest") from None
    _known_spelling(document, _AT_TOP)
    config = document.get("config")
    found = [_reference(config, "configuration")] if config is not None else []
    found += [_reference(one, kind) for name, kind in _LISTS.items() for one in _list(document, name)]
    return Manifest(tuple(found), _subject(document.get("subject")))


def _subject(descriptor):
    return _reference(descriptor, "subject").digest if descriptor else ""


def _object(pairs):
    """An object of JSON. Of two values of one name readers take this one or that."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ManifestError("names a thing twice")
    return found


def _known_spelling(document, known):
    if not isinstance(document, dict):
        raise ManifestError("is no manifest")
    for name in document:
        if name not in _COMMON and name.casefold() in known:
            raise ManifestError("has a name in another spelling")


def _list(document, name):
    found = document.get(name)
    if found is None:
        return []
    if not isinstance(found, list):
        raise ManifestError("is no manifest")
    return found


def _reference(descriptor, kind):
    _known_spelling(descriptor, _IN_DESCRIPTOR)
    digest = descriptor.get("digest", descriptor.get("blobSum"))
    if not is_digest(digest):
        raise ManifestError("names what is no digest")
    return Reference(digest, kind, kind == "layer" and _foreign(descriptor))


def _foreign(layer):
    kind = str(layer.get("mediaType"))
    return bool(layer.get("urls")) or ".foreign." in kind or ".nondistributable." in kind

# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""JSON that all clients read alike, or that is refused. Private to this collection.

Clients in Go take "Platform" for "platform", and of two equal keys the last one, or both in part. What is judged here
must be what they run.
"""

from __future__ import annotations

import json

# The keys of manifests, configurations, envelopes and statements that decide what is run or what is said.
_DECIDING = frozenset(
    [
        "annotations",
        "architecture",
        "artifacttype",
        "blobsum",
        "config",
        "created_by",
        "critical",
        "data",
        "diff_ids",
        "digest",
        "docker-manifest-digest",
        "docker-reference",
        "dsseenvelope",
        "empty_layer",
        "history",
        "identity",
        "image",
        "layers",
        "manifests",
        "mediatype",
        "os",
        "os.features",
        "os.version",
        "payload",
        "payloadtype",
        "platform",
        "predicate",
        "predicatetype",
        "rootfs",
        "schemaversion",
        "signatures",
        "size",
        "subject",
        "type",
        "urls",
        "variant",
        "verificationmaterial",
    ]
)
_SPELLING = {
    "artifacttype": "artifactType",
    "blobsum": "blobSum",
    "dsseenvelope": "dsseEnvelope",
    "mediatype": "mediaType",
    "payloadtype": "payloadType",
    "predicatetype": "predicateType",
    "schemaversion": "schemaVersion",
    "verificationmaterial": "verificationMaterial",
}
# What stands in these is of the image's author, and decides nothing.
_FREE = frozenset(["annotations", "config", "container_config", "labels", "optional", "predicate"])
_DEEPEST = 64


class AmbiguousError(ValueError):
    """A document that two readers may understand differently."""


class _Pairs(list):
    """An object as the pairs that stand in the text."""


def read_strictly(content):
    """The object in bytes. Raises AmbiguousError for all else, and for what is not read alike by everyone."""
    try:
        found = json.loads(content, object_pairs_hook=_Pairs, parse_int=_integer, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise AmbiguousError(str(error)) from None
    if not isinstance(found, _Pairs):
        raise AmbiguousError("it is no JSON object")
    return _plain(found, free=False, depth=0)


def _integer(text):
    if len(text) > 20:
        raise ValueError("a number of more than 20 digits")
    return int(text)


def _no_constant(text):
    raise ValueError(f"{text} is no JSON")


def _plain(value, *, free, depth):
    if depth > _DEEPEST:
        raise AmbiguousError("it is nested too deeply")
    if isinstance(value, _Pairs):
        _check(value, free)
        # The configuration of an image is an object in which all is free; that of a manifest is a descriptor.
        return {
            name: _plain(one, free=free or (name in _FREE and not _is_descriptor(one)), depth=depth + 1)
            for name, one in value
        }
    if isinstance(value, list):
        return [_plain(one, free=free, depth=depth + 1) for one in value]
    return value


def _is_descriptor(value):
    return isinstance(value, _Pairs) and any(name.casefold() == "digest" for name, _one in value)


def _check(pairs, free):
    seen = set()
    for name, _value in pairs:
        if name in seen:
            raise AmbiguousError(f"it has {name!a} twice")
        seen.add(name)
    if free:
        return
    folded = set()
    for name in seen:
        known = name.casefold()
        if known in folded:
            raise AmbiguousError(f"it has {known!a} in two spellings")
        folded.add(known)
        if known in _DECIDING and name != _SPELLING.get(known, known):
            raise AmbiguousError(
                f"it has the key {name!a}, which some clients take for {_SPELLING.get(known, known)!r}"
            )

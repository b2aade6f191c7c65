# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the page needs of a manifest. A digest is its content: it is read once, whatever repositories hold it."""

from __future__ import annotations

import re

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError
from ansible_collections.wharf.registry.plugins.module_utils._distribution.client_errors import RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._distribution.describe import (
    CREATED,
    describe_manifest,
    platform_of,
)
from ansible_collections.wharf.registry.plugins.module_utils._distribution.manifest import (
    KNOWN_TYPES,
    printable,
    size_of,
    texts_of,
)
from ansible_collections.wharf.registry.plugins.module_utils._distribution.promote import REMOVES
from ansible_collections.wharf.registry.plugins.module_utils._gate.blob_reader import read_blob
from ansible_collections.wharf.registry.plugins.module_utils._gate.report_store import REPORT_TYPE, TYPES
from ansible_collections.wharf.registry.plugins.module_utils._gate.reports import parse_report

SEVERITIES = ("critical", "high", "medium", "low", "unknown")
SBOMS = {kind: name for name, kind in TYPES.items() if name != "report"}
# A report of more bytes is not read for its counts: it can be opened all the same.
_LARGEST_REPORT = 16 << 20
# No blob is larger; what says so is not believed.
_LARGEST_SIZE = 1 << 45
# An index of an image has some dozen.
_MOST_CHILDREN = 500
# Of labels, annotations and problems: all of them are hostile text, and the page asks for more where it shows more.
_MOST_TEXT, _MOST_ENTRIES = 400, 40
_SCANNER = "registry.wharf.scan.scanner"
_DATABASE = "registry.wharf.scan.database"
_DIGEST = re.compile(r"[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[0-9a-fA-F]{32,}")


def facts_of(api, repository, manifest):
    """The facts of a Manifest, which JSON can hold. What is odd is among its `problems`, and no error."""
    try:
        return _facts(api, repository, manifest)
    except RegistryError as error:
        return {**_empty(manifest), "problems": [_cut(error.message)]}


def unreadable(message):
    """The facts of a manifest that is not there, or is damaged."""
    return {**_EMPTY, "problems": [_cut(message)]}


_EMPTY = {
    "kind": "unknown",
    "media_type": "",
    "size": 0,
    "blobs": {},
    "children": [],
    "platforms": [],
    "created": "",
    "labels": {},
    "artifact_type": "",
    "subject": "",
    "problems": [],
}


def _empty(manifest):
    return {**_EMPTY, "media_type": printable(manifest.media_type)[:_MOST_TEXT], "size": len(manifest.content)}


def _facts(api, repository, manifest):
    facts = {**_empty(manifest), "subject": _subject(manifest.document)}
    if manifest.media_type not in KNOWN_TYPES:
        return facts
    annotations = texts_of(manifest.document.get("annotations"))
    if manifest.is_index:
        parts = manifest.parts
        facts.update(
            kind="index",
            blobs=_sizes(api, repository, {one["digest"]: size_of(one) for one in parts.listed}),
            children=_children(parts.children),
            created=_cut(annotations.get(CREATED, "")),
            artifact_type=_cut(_text(manifest.document.get("artifactType"))),
            problems=[_cut(one) for one in [*parts.unknown, *parts.odd]][:_MOST_ENTRIES],
        )
        return facts
    told = describe_manifest(api, repository, manifest)
    config = manifest.parts.config
    facts.update(
        kind=told["kind"],
        blobs=_sizes(api, repository, {one: size for one, size in told["sizes"].items() if one != manifest.digest}),
        platforms=[_cut(one) for one in told["platforms"]],
        created=_cut(told["created"]),
        labels=_labels(told["labels"]),
        artifact_type=_cut(told["artifact_type"]),
        problems=[_cut(one) for one in told["problems"]],
        config=config["digest"] if config else "",
        removes=_cut(manifest.annotation(REMOVES)),
    )
    layers = manifest.parts.layers
    if facts["artifact_type"] == REPORT_TYPE:
        facts["scan"] = _scan(api, repository, annotations, layers)
    elif facts["artifact_type"] in SBOMS and layers:
        facts["sbom"] = {
            "kind": SBOMS[facts["artifact_type"]],
            "blob": layers[0]["digest"],
            "size": size_of(layers[0]),
        }
    return facts


def _sizes(api, repository, told):
    """{digest: bytes} of blobs. A manifest may tell any size: that of the file counts, where there is one."""
    sizes = {}
    for digest, size in told.items():
        stored = api.blob_size(repository, digest)
        sizes[digest] = min(size, _LARGEST_SIZE) if stored is None else stored
    return sizes


def _children(descriptors):
    """What an index lists as manifests, each once."""
    found = {}
    for one in descriptors:
        found.setdefault(one["digest"], _cut(platform_of(one.get("platform"))))
        if len(found) >= _MOST_CHILDREN:
            break
    return [{"digest": digest, "platform": platform} for digest, platform in found.items()]


def _scan(api, repository, annotations, layers):
    return {
        "created": _cut(annotations.get(CREATED, "")),
        "scanner": _cut(annotations.get(_SCANNER, "")),
        "database": _cut(annotations.get(_DATABASE, "")),
        "counts": _counts(api, repository, layers),
    }


def _counts(api, repository, layers):
    """{severity: findings}, or None where the report can't be read."""
    if not layers or size_of(layers[0]) > _LARGEST_REPORT:
        return None
    try:
        content = read_blob(api, repository, layers[0]["digest"], _LARGEST_REPORT)
        report = None if content is None else parse_report(content, "the report")
    except (RegistryError, InputError):
        report = None
    if report is None:
        return None
    counts = dict.fromkeys(SEVERITIES, 0)
    for finding in report.findings:
        counts[finding.severity if finding.severity in counts else "unknown"] += 1
    return counts


def _subject(document):
    subject = document.get("subject")
    digest = subject.get("digest") if isinstance(subject, dict) else None
    return digest if isinstance(digest, str) and _DIGEST.fullmatch(digest) else ""


def _labels(labels):
    kept = sorted(labels.items())[:_MOST_ENTRIES]
    return {name[:_MOST_TEXT]: value[:_MOST_TEXT] for name, value in kept}


def _cut(text):
    return text if len(text) <= _MOST_TEXT else text[: _MOST_TEXT - 1] + "…"


def _text(value):
    return printable(value) if isinstance(value, str) else ""

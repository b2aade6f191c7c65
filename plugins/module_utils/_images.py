# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What lies in a registry, told as modules return it. Private to this collection."""

from __future__ import annotations

import concurrent.futures
import fnmatch
import json
import re
import threading

from ansible_collections.wharf.registry.plugins.module_utils._http import AnswerError
from ansible_collections.wharf.registry.plugins.module_utils._reference import full_name
from ansible_collections.wharf.registry.plugins.module_utils._registry import (
    DOCKER_MANIFEST,
    OCI_MANIFEST,
    Manifest,
)

# Tags that tools make of the digest of a subject, with any suffix of theirs, and what is kept under those that are
# known. A tag has no room for a digest of SHA-512: what tools cut it to does not say whose it is.
_SUBJECT_TAG = re.compile(r"sha256-([0-9a-f]{64})(?:\.([A-Za-z0-9_.-]+))?")
_SUBJECT_KINDS = {"sig": "signature", "att": "attestation", "sbom": "sbom"}
# The configurations that make a manifest an image that can be run.
_IMAGE_CONFIGS = frozenset(
    ["application/vnd.docker.container.image.v1+json", "application/vnd.oci.image.config.v1+json"]
)
CREATED = "org.opencontainers.image.created"
# How deep an index may hold indexes.
MOST_LEVELS = 8
_GLOB = re.compile(r"[*?\[]")


def subject_of(tag):
    """The digest of the manifest that a tag's content belongs to, as signatures do, or an empty string."""
    found = _SUBJECT_TAG.fullmatch(tag)
    return f"sha256:{found.group(1)}" if found else ""


def is_glob(pattern):
    return bool(_GLOB.search(pattern))


def matching(names, patterns):
    """The names that match one of the patterns, sorted. An asterisk matches slashes, too."""
    return sorted(name for name in set(names) if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns))


def find_repositories(api, patterns):
    """The names that the patterns mean. The catalogue is read only where one of them is a glob.

    Raises UnsupportedError where there is no catalogue for this user, and InputError for a name that is none.
    """
    named = [full_name(api.registry, pattern) for pattern in patterns if not is_glob(pattern)]
    globs = [pattern for pattern in patterns if is_glob(pattern)]
    return sorted({*named, *(matching(api.repositories(), globs) if globs else [])})


class Describer:
    """Describes manifests for several threads. Each is read once, however many tags and repositories hold it."""

    def __init__(self):
        self._lock = threading.Lock()
        self._known = {}

    def describe(self, api, repository, digest, level=0):
        """The facts of a manifest, or None where it is gone. level says how deep in indexes it lies."""
        # The level belongs to the key: what lies too deep under one tag need not do so under another, and which of them
        # is looked at first is up to the threads.
        return self._once((repository, digest, level), lambda: self._describe(api, repository, digest, level))

    def _once(self, key, function):
        with self._lock:
            future = self._known.get(key)
            mine = future is None
            if mine:
                future = self._known[key] = concurrent.futures.Future()
        if mine:
            try:
                future.set_result(function())
            except Exception as error:  # noqa: BLE001 - whoever waits for the same manifest gets it, too
                future.set_exception(error)
        return future.result()

    def _describe(self, api, repository, digest, level):
        # What a digest stands for is the same everywhere; whether it is there is not.
        found_in, found = self._once(digest, lambda: (repository, self._read(api, repository, digest)))
        if found_in != repository:
            if found is None:
                found = self._read(api, repository, digest)
            elif level > 0 and api.head(repository, digest) is None:
                found = None
        if isinstance(found, Manifest):
            return self._of_index(api, repository, found, level)
        return found

    def _read(self, api, repository, digest):
        """The facts of a manifest, the Manifest itself of an index, or None."""
        manifest = api.manifest(repository, digest)
        if manifest is None or manifest.is_index:
            return manifest
        if manifest.media_type in (DOCKER_MANIFEST, OCI_MANIFEST):
            return describe_manifest(api, repository, manifest)
        return _facts("unknown", {digest: len(manifest.content)})

    def _of_index(self, api, repository, manifest, level):
        sizes = {manifest.digest: len(manifest.content)}
        if level > MOST_LEVELS:
            return _facts("unknown", sizes)
        platforms, created, labels = [], "", {}
        for descriptor in manifest.children:
            if descriptor["digest"] == manifest.digest:
                continue
            # A child that was deleted, or never pushed, leaves the others as they are.
            child = self.describe(api, repository, descriptor["digest"], level + 1)
            child = child or _facts("unknown", {})
            sizes.update(child["sizes"])
            platform = _platform(descriptor.get("platform"))
            if child["kind"] == "image" and platform != "unknown/unknown":
                platforms += [platform] if platform else child["platforms"]
                created, labels = created or child["created"], labels or child["labels"]
        annotations = _texts(manifest.document.get("annotations"))
        kind = "image" if platforms else "artifact"
        return _facts(
            kind,
            sizes,
            platforms=sorted(set(platforms)),
            created=annotations.get(CREATED) or created,
            labels=labels,
        )


def describe_manifest(api, repository, manifest, whole=False):
    """The facts of a manifest that is no index. With whole, raises AnswerError where its configuration is missing."""
    sizes = {manifest.digest: len(manifest.content)}
    sizes.update({blob["digest"]: _size(blob) for blob in manifest.blobs})
    config, document = manifest.config or {}, manifest.document
    annotations = _texts(document.get("annotations"))
    if str(config.get("mediaType")) not in _IMAGE_CONFIGS or document.get("artifactType"):
        artifact_type = document.get("artifactType") or config.get("mediaType")
        return _facts(
            "artifact",
            sizes,
            created=annotations.get(CREATED, ""),
            artifact_type=artifact_type if isinstance(artifact_type, str) else "",
        )
    content = api.blob(repository, config["digest"])
    if whole and content is None:
        raise AnswerError(f"the configuration {config['digest']} is not there", "Push the image again")
    content = _json(content, config["digest"])
    settings, created, platform = content.get("config"), content.get("created"), _platform(content)
    return _facts(
        "image",
        sizes,
        platforms=[platform] if platform else [],
        created=created if isinstance(created, str) else "",
        labels=_texts(settings.get("Labels") if isinstance(settings, dict) else None),
    )


def _facts(kind, sizes, **more):
    facts = {"kind": kind, "sizes": sizes, "platforms": [], "created": "", "labels": {}, "artifact_type": ""}
    return {**facts, **more}


def kind_of(tag, facts):
    """What a tag holds: image, artifact, or what belongs to another manifest, such as a signature."""
    found = _SUBJECT_TAG.fullmatch(tag)
    # Not the suffix itself: anybody can call it image.
    return _SUBJECT_KINDS.get(found.group(2), "referrers") if found else facts["kind"]


def total_size(facts):
    """The bytes of a manifest and all that it refers to, each counted once."""
    return sum(facts["sizes"].values())


def _size(descriptor):
    size = descriptor.get("size")
    return size if isinstance(size, int) and not isinstance(size, bool) and size > 0 else 0


def _platform(fields):
    fields = fields if isinstance(fields, dict) else {}
    parts = [fields.get(name) for name in ("os", "architecture", "variant")]
    return "/".join(part for part in parts if isinstance(part, str) and part)


def _texts(value):
    if not isinstance(value, dict):
        return {}
    return {name: text for name, text in value.items() if isinstance(text, str)}


def _json(content, digest):
    try:
        document = json.loads(content) if content is not None else {}
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise AnswerError(f"the configuration {digest} is not a JSON object", "Push the image again")
    return document

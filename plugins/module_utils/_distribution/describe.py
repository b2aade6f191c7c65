# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What lies in a registry, told as modules return it. Private to this collection."""

from __future__ import annotations

import concurrent.futures
import fnmatch
import itertools
import re
import threading

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._common.reference import full_name
from ansible_collections.wharf.registry.plugins.module_utils._distribution.client_errors import concerns_all
from ansible_collections.wharf.registry.plugins.module_utils._distribution.manifest import (
    DOCKER_MANIFEST,
    OCI_MANIFEST,
    Manifest,
    are_texts,
    printable,
    read_object,
    size_of,
    texts_of,
)
from ansible_collections.wharf.registry.plugins.module_utils._distribution.transport_errors import AnswerError

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
# The most that is told of what is odd about one tag.
_MOST_PROBLEMS = 10
# Types of layers, which say nothing of what an index is that lists them.
_LAYER_TYPE = re.compile(r"application/vnd\.(?:oci\.image\.layer|docker\.image\.rootfs)\..*")
_GLOB = re.compile(r"[*?\[]")


def subject_of(tag):
    """The digest of the manifest that a tag's content belongs to, as signatures do, or an empty string."""
    found = _SUBJECT_TAG.fullmatch(tag)
    return f"sha256:{found.group(1)}" if found else ""


def is_glob(pattern):
    return bool(_GLOB.search(pattern))


def common_path(patterns):
    """The path below which all repositories lie that these names and globs mean, empty where there is none."""
    paths = [itertools.takewhile(lambda part: not is_glob(part), pattern.split("/")) for pattern in patterns]
    levels = itertools.takewhile(lambda level: len(set(level)) == 1, zip(*paths))
    return "/".join(level[0] for level in levels)


def matching(names, patterns):
    """The names that match one of the patterns, sorted. An asterisk matches slashes, too."""
    if "*" in patterns:
        return sorted(set(names))
    return sorted(name for name in set(names) if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns))


def find_repositories(api, patterns, odd=None):
    """The names that the patterns mean. The catalogue is read only where one of them is a glob.

    What the catalogue lists and is no name goes into the list odd, where one is given. Raises UnsupportedError where
    there is no catalogue for this user, and InputError for a name that is none.
    """
    named = [full_name(api.registry, pattern) for pattern in patterns if not is_glob(pattern)]
    globs = [pattern for pattern in patterns if is_glob(pattern)]
    return sorted({*named, *(matching(api.repositories(odd), globs) if globs else [])})


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
            except Exception as error:  # noqa: BLE001 - all threads that wait for the same manifest get it, too
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
        return facts_of("unknown", {digest: len(manifest.content)})

    def _of_index(self, api, repository, manifest, level):
        parts = manifest.parts
        problems = _told(manifest)
        sizes = {manifest.digest: len(manifest.content)}
        if level > MOST_LEVELS:
            deep = f"the index {manifest.digest} lies more than {MOST_LEVELS} indexes deep"
            return facts_of("unknown", sizes, problems=[deep])
        sizes.update({blob["digest"]: size_of(blob) for blob in parts.listed})
        platforms, created, labels = [], "", {}
        for descriptor in parts.children:
            if descriptor["digest"] == manifest.digest:
                continue
            child = self._child(api, repository, manifest, descriptor, level + 1)
            sizes.update(child["sizes"])
            problems += child["problems"]
            platform = platform_of(descriptor.get("platform"))
            if child["kind"] == "image" and platform != "unknown/unknown":
                platforms += [platform] if platform else child["platforms"]
                created, labels = created or child["created"], labels or child["labels"]
        return facts_of(
            "image" if platforms else "artifact",
            sizes,
            platforms=sorted(set(platforms)),
            created=texts_of(manifest.document.get("annotations")).get(CREATED) or created,
            labels=labels,
            artifact_type="" if platforms else _type_of_index(manifest),
            problems=problems,
        )

    def _child(self, api, repository, manifest, descriptor, level):
        """The facts of what an index lists. One that can't be read leaves the others as they are."""
        digest = descriptor["digest"]
        try:
            facts = self.describe(api, repository, digest, level)
        except RegistryError as error:
            if concerns_all(error):
                raise
            facts, why = None, f"can't be read: {error.message}"
        else:
            why = "is not there"
        return facts or facts_of("unknown", {}, problems=[f"the index {manifest.digest} lists {digest}, which {why}"])


def describe_manifest(api, repository, manifest, whole=False):
    """The facts of a manifest that is no index. With whole, raises RegistryError where not all of it can be told."""
    parts = manifest.whole if whole else manifest.parts
    problems = _told(manifest)
    sizes = {manifest.digest: len(manifest.content)}
    sizes.update({blob["digest"]: size_of(blob) for blob in parts.blobs})
    # A foreign layer lies here only where it was pushed all the same.
    sizes.update(
        {layer["digest"]: size_of(layer) for layer in parts.foreign if api.has_blob(repository, layer["digest"])}
    )
    config, document = parts.config or {}, manifest.document
    annotations = texts_of(document.get("annotations"))
    if str(config.get("mediaType")) not in _IMAGE_CONFIGS or document.get("artifactType"):
        artifact_type = document.get("artifactType") or config.get("mediaType")
        return facts_of(
            "artifact",
            sizes,
            created=annotations.get(CREATED, ""),
            artifact_type=printable(artifact_type) if isinstance(artifact_type, str) else "",
            problems=problems,
        )
    try:
        content = _configuration(api, repository, config["digest"])
    except RegistryError as error:
        if whole or concerns_all(error):
            raise
        content = {}
        problems.append(error.message)
    settings = content.get("config")
    labels = settings.get("Labels") if isinstance(settings, dict) else None
    if not are_texts(labels):
        problems.append(f"the configuration {config['digest']} has labels that are not text")
        if whole:
            raise AnswerError(problems[-1], "Push the image again")
    created, platform = content.get("created"), platform_of(content)
    return facts_of(
        "image",
        sizes,
        platforms=[platform] if platform else [],
        created=printable(created) if isinstance(created, str) else "",
        labels=texts_of(labels),
        problems=problems,
    )


def facts_of(kind, sizes, **more):
    """Facts, empty where they are not given. No more is told of what is odd than a reader can take."""
    facts = {
        "kind": kind,
        "sizes": sizes,
        "platforms": [],
        "created": "",
        "labels": {},
        "artifact_type": "",
        "problems": [],
        **more,
    }
    facts["problems"] = list(dict.fromkeys(facts["problems"]))[:_MOST_PROBLEMS]
    return facts


def _told(manifest):
    """What is odd about a manifest itself, in sentences that name it."""
    return [f"the manifest {manifest.digest} {odd}" for odd in [*manifest.parts.unknown, *manifest.parts.odd]]


def _type_of_index(manifest):
    """What an index of artefacts says that it is, or the type of what it lists beside manifests and layers."""
    named = manifest.document.get("artifactType")
    if isinstance(named, str) and named:
        return printable(named)
    types = [blob["mediaType"] for blob in manifest.parts.listed if not _LAYER_TYPE.fullmatch(blob["mediaType"])]
    return printable(types[0]) if types else ""


def kind_of(tag, facts):
    """What a tag holds: image, artifact, or what belongs to another manifest, such as a signature."""
    found = _SUBJECT_TAG.fullmatch(tag)
    # Not the suffix itself: any tag can have it.
    return _SUBJECT_KINDS.get(found.group(2), "referrers") if found else facts["kind"]


def total_size(facts):
    """The bytes of a manifest and all that it refers to, each counted once."""
    return sum(facts["sizes"].values())


def platform_of(fields):
    """os/architecture[/variant], or an empty string where that is not told."""
    fields = fields if isinstance(fields, dict) else {}
    parts = [fields.get(name) for name in ("os", "architecture", "variant")]
    return "/".join(printable(part) for part in parts if isinstance(part, str) and part)


def _configuration(api, repository, digest):
    """The configuration of an image as a dictionary. Raises RegistryError where there is none."""
    content = api.blob(repository, digest)
    if content is None:
        raise AnswerError(f"the configuration {digest} is not there", "Push the image again")
    document = read_object(content)
    if document is None:
        raise AnswerError(f"the configuration {digest} is not a JSON object", "Push the image again")
    return document

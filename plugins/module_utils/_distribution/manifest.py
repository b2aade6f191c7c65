# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Manifests as registries keep them, and what is odd about them. Private to this collection.

A registry stores most of what it is given: it does not know what an index lists, and reads no more than it needs.
"""

from __future__ import annotations

import hashlib
import json
import re

from ansible_collections.wharf.registry.plugins.module_utils._common.reference import fits_digest
from ansible_collections.wharf.registry.plugins.module_utils._distribution.transport_errors import AnswerError

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
INDEXES = frozenset([DOCKER_LIST, OCI_INDEX])
KNOWN_TYPES = frozenset([DOCKER_MANIFEST, DOCKER_LIST, OCI_MANIFEST, OCI_INDEX])
# Types that say nothing of a manifest, as static registries send them.
_ANY_TYPE = frozenset(["application/json", "application/octet-stream", "text/plain"])
# What an index lists under another type than these is no manifest: BuildKit lists the layers of its cache so.
_MANIFEST_TYPE = re.compile(
    r"application/vnd\.(?:docker\.distribution\.manifest|oci\.image\.(?:manifest|index)|oci\.artifact\.manifest)\..+"
)
# The keys that name what a manifest needs.
_REFERRING = ("config", "layers", "manifests")
# A size beyond is none that a registry or a client can hold.
_LARGEST = (1 << 63) - 1
_MOST_DIGITS = 40


class Parts:
    """What a manifest refers to, as far as it can be told.

    config: the descriptor of the configuration, or None. layers: those that the registry has to hold.
    foreign: the layers that have URLs of their own, and need not lie in the registry.
    children: what an index lists as manifests. listed: what it lists beside these, which are blobs.
    unknown: sentences on references that can't be followed. odd: sentences on all else that is not as it should be.
    """

    __slots__ = ("children", "config", "foreign", "layers", "listed", "odd", "unknown")

    def __init__(self):
        self.config = None
        self.layers, self.foreign, self.children, self.listed = [], [], [], []
        self.unknown, self.odd = [], []

    @property
    def blobs(self):
        """The descriptors of all blobs that the registry has to hold for it."""
        return [*([] if self.config is None else [self.config]), *self.layers, *self.listed]


class Manifest:
    """A manifest as it came: its bytes, their digest and their media type."""

    def __init__(self, content, digest, media_type):
        self.content = content
        self.digest = digest
        self._document = None
        self._parts = None
        self.media_type = media_type if media_type in KNOWN_TYPES else self._type_by_content(media_type)

    def _type_by_content(self, media_type):
        """Registries without a database of types, such as static ones, say application/json of all manifests."""
        if not self.looks_like_one:
            return media_type
        named = self.document.get("mediaType")
        if named is None and media_type in _ANY_TYPE:
            return OCI_INDEX if "manifests" in self.document else OCI_MANIFEST
        return named if isinstance(named, str) and named in KNOWN_TYPES else media_type

    def annotation(self, name):
        """The text of an annotation, empty where there is none."""
        annotations = self.document.get("annotations")
        text = annotations.get(name) if isinstance(annotations, dict) else None
        return text if isinstance(text, str) else ""

    @property
    def looks_like_one(self):
        """Whether it is a JSON object with what all manifests have."""
        try:
            return bool({"schemaVersion", "mediaType"} & set(self.document))
        except AnswerError:
            return False

    @property
    def document(self):
        """The parsed content. Raises AnswerError where it is no manifest."""
        if self._document is None:
            self._document = read_object(self.content)
            if self._document is None:
                raise AnswerError(f"the manifest {self.digest} is not a JSON object", "Push it again")
        return self._document

    @property
    def is_index(self):
        return self.media_type in INDEXES

    @property
    def parts(self):
        """The Parts that can be told, whatever else is odd. Raises AnswerError where it is no JSON object."""
        if self._parts is None:
            self._parts = _read(self.document, self.is_index)
        return self._parts

    @property
    def whole(self):
        """The Parts. Raises AnswerError where one of them can't be told."""
        if self.parts.unknown:
            raise AnswerError(f"the manifest {self.digest} {self.parts.unknown[0]}", "Push it again")
        return self.parts

    @property
    def children(self):
        """The descriptors of the manifests of an index, each with a digest. Raises AnswerError."""
        return self.whole.children

    @property
    def config(self):
        """The descriptor of the configuration, or None. Raises AnswerError."""
        return self.whole.config

    @property
    def blobs(self):
        """The descriptors of all blobs that the registry has to hold for it. Raises AnswerError."""
        return self.whole.blobs


def new_manifest(document, media_type):
    """The Manifest of a document that is made here."""
    content = json.dumps(document).encode()
    return Manifest(content, f"sha256:{hashlib.sha256(content).hexdigest()}", media_type)


def read_object(content):
    """A JSON object of any origin, or None for anything else."""
    try:
        document = json.loads(content, parse_int=_integer)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _integer(text):
    # Python takes minutes for one of megabytes, or refuses it.
    return int(text) if len(text) < _MOST_DIGITS else _LARGEST + 1


def size_of(descriptor):
    """The bytes that a descriptor tells, 0 where it tells none that can be."""
    size = descriptor.get("size")
    return size if _is_size(size) else 0


def texts_of(value):
    """The entries of a JSON object that are text, such as labels. What no encoding can hold is replaced."""
    if not isinstance(value, dict):
        return {}
    return {printable(name): printable(text) for name, text in value.items() if isinstance(text, str)}


def are_texts(value):
    """Whether it is nothing, or a JSON object of texts."""
    return value is None or (isinstance(value, dict) and all(isinstance(text, str) for text in value.values()))


def printable(text):
    """JSON may name halves of characters, which nothing can write."""
    return text.encode("utf-8", "replace").decode()


def shown(value):
    """A value of a document in a message: short, in one line, and of characters that all terminals have."""
    if isinstance(value, (list, dict)):
        return "a list" if isinstance(value, list) else "an object"
    text = ascii(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _is_size(size):
    return isinstance(size, int) and not isinstance(size, bool) and 0 <= size <= _LARGEST


def _read(document, is_index):
    parts = Parts()
    _check_keys(document, parts)
    if is_index:
        for place, descriptor in _descriptors(document, "manifests", parts):
            _add_listed(place, descriptor, parts)
    else:
        if document.get("config") is not None:
            parts.config = _checked("config", document["config"], parts)
        for place, descriptor in _descriptors(document, "layers", parts):
            _add_layer(place, descriptor, parts)
    _check_subject(document.get("subject"), parts)
    if not are_texts(document.get("annotations")):
        parts.odd.append("has annotations that are not text")
    return parts


def _check_keys(document, parts):
    """Clients in Go take Layers for layers, and others do not."""
    for name in document:
        if name not in _REFERRING and name.lower() in _REFERRING:
            parts.unknown.append(f"has the key {shown(name)}, which some clients take for {name.lower()!r}")


def _descriptors(document, name, parts):
    """Yields (place, descriptor) of those in a list that have a digest."""
    found = document.get(name)
    if found is None:
        return
    if not isinstance(found, list):
        parts.unknown.append(f"has {name} that are no list")
        return
    for number, descriptor in enumerate(found):
        place = f"{name}[{number}]"
        if _checked(place, descriptor, parts) is not None:
            yield place, descriptor


def _checked(place, descriptor, parts):
    """The descriptor, or None where it has no digest."""
    digest = descriptor.get("digest") if isinstance(descriptor, dict) else None
    if not isinstance(digest, str) or not fits_digest(digest):
        parts.unknown.append(f"refers to something without a digest ({place})")
        return None
    if "size" in descriptor and not _is_size(descriptor["size"]):
        parts.odd.append(f"tells a size that can't be of {place}: {shown(descriptor['size'])}")
    return descriptor


def _add_listed(place, descriptor, parts):
    media_type = descriptor.get("mediaType")
    if media_type is None or media_type == "":
        parts.odd.append(f"does not tell what {place} is")
        parts.children.append(descriptor)
    elif not isinstance(media_type, str):
        parts.unknown.append(f"has a media type that is not text in {place}: {shown(media_type)}")
    elif _MANIFEST_TYPE.fullmatch(media_type):
        parts.children.append(descriptor)
    else:
        parts.listed.append(descriptor)


def _add_layer(place, descriptor, parts):
    urls = descriptor.get("urls")
    are_urls = isinstance(urls, list) and all(isinstance(url, str) for url in urls)
    if urls and not are_urls:
        parts.odd.append(f"has URLs that are not text in {place}")
    (parts.foreign if urls and are_urls else parts.layers).append(descriptor)


def _check_subject(subject, parts):
    if subject is None:
        return
    digest = subject.get("digest") if isinstance(subject, dict) else subject
    if not isinstance(subject, dict) or not isinstance(digest, str) or not fits_digest(digest):
        parts.odd.append(f"names a subject that is no digest: {shown(digest)}")

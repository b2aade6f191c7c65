# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a gate judges: the images of a tag or a digest, one for each platform. Private to this collection."""

from __future__ import annotations

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError
from ansible_collections.wharf.registry.plugins.module_utils._distribution.describe import platform_of
from ansible_collections.wharf.registry.plugins.module_utils._distribution.promote import parse_source, read_source
from ansible_collections.wharf.registry.plugins.module_utils._distribution.transport_errors import AnswerError
from ansible_collections.wharf.registry.plugins.module_utils._gate.findings import clean
from ansible_collections.wharf.registry.plugins.module_utils._gate.strict_json import AmbiguousError, read_strictly

# What indexes list beside images: attestations of BuildKit.
_NO_PLATFORM = "unknown/unknown"
_STATEMENT = "application/vnd.in-toto+json"
# Other names of one architecture, as containerd knows them.
_ALIASES = {
    "x86_64": "amd64",
    "x86-64": "amd64",
    "amd64/v1": "amd64",
    "i386": "386",
    "aarch64": "arm64",
    "aarch64/v8": "arm64",
    "arm64/v8": "arm64",
    "armhf": "arm/v7",
    "armel": "arm/v6",
}
# No image is for more platforms, and each of them is scanned.
_MOST_CHILDREN = 64
_BASE = "org.opencontainers.image.base.name"
# The most of a command of a Dockerfile that a sentence repeats.
_LONGEST_STEP = 60


def parse_image(text, registry):
    """The Source that an option means, which has to name its repository. Raises InputError."""
    source = parse_source(text, registry, "")
    if not source.repository:
        raise InputError(f"{text!r} names no repository", "Give repository:tag or repository@digest")
    return source


class PlatformImage:
    """The image of one platform: its Manifest, and where its layers come from. platform is empty where none is told."""

    def __init__(self, platform, manifest, config, content=None):
        self.platform = platform
        self.manifest = manifest
        root = config.get("rootfs")
        # The digests of the unpacked layers, as the configuration names them.
        self.diff_ids = (root.get("diff_ids") if isinstance(root, dict) else None) or []
        # The bytes of the configuration, or None.
        self.content = content
        self._layers = _layers(manifest, config)
        self._base = clean(manifest.annotation(_BASE))

    @property
    def is_whole(self):
        """Whether its configuration names its layers, each by a digest of its own. Engines refuse what is not so.

        An image without a configuration of images has no layers that could be run.
        """
        layers = [*self.manifest.parts.layers, *self.manifest.parts.foreign]
        if not isinstance(self.diff_ids, list) or not all(isinstance(one, str) for one in self.diff_ids):
            return False
        return len(self.diff_ids) == len(layers) and len(set(self.diff_ids)) == len({one["digest"] for one in layers})

    def origin(self, layer):
        """Where a layer, by one of its digests, comes from: in layer 2 of 5 (COPY app /). Empty where it is none."""
        for number, (digests, step) in enumerate(self._layers, 1):
            if layer and layer in digests:
                said = f"in layer {number} of {len(self._layers)}"
                # The first layer is that of the base image, whatever else is.
                base = f" of the base image {self._base}" if self._base and number == 1 else ""
                return f"{said}{base}{f' ({step})' if step else ''}"
        return ""


def _layers(manifest, config):
    """[(the digests of a layer, the command that made it)]"""
    root = config.get("rootfs")
    diff_ids = root.get("diff_ids") if isinstance(root, dict) else None
    diff_ids = diff_ids if isinstance(diff_ids, list) else []
    history = config.get("history")
    steps = [one for one in history if isinstance(one, dict)] if isinstance(history, list) else []
    steps = [_step(one.get("created_by")) for one in steps if one.get("empty_layer") is not True]
    layers = manifest.blobs[1:] if manifest.config else manifest.blobs
    if len(steps) != len(layers):
        steps = [""] * len(layers)
    found = []
    for number, (layer, step) in enumerate(zip(layers, steps)):
        other = diff_ids[number] if len(diff_ids) == len(layers) and isinstance(diff_ids[number], str) else ""
        found.append(({layer["digest"], other} - {""}, step))
    return found


def _step(created_by):
    """The command of a Dockerfile, without what builders put around it."""
    text = clean(created_by).replace("/bin/sh -c #(nop)", "").replace("# buildkit", "").strip()
    text = text.replace("/bin/sh -c", "RUN", 1) if text.startswith("/bin/sh -c") else text
    return text if len(text) <= _LONGEST_STEP else f"{text[: _LONGEST_STEP - 3]}..."


class Subject:
    """What a Source leads to. Raises RegistryError where it leads nowhere.

    images: a PlatformImage for each platform, whose names differ. platforms: those that are meant, all where there are
    none. problems: {platform: a sentence} for what can't be judged. Each of them refuses the image.
    """

    def __init__(self, api, source, platforms=()):
        self.source = source
        self.images = []
        self.problems = {}
        self._api = api
        self._wanted = [normalized(one) for one in platforms]
        self.manifest = read_source(api, source)
        document = self._strict(self.manifest, "")
        if document is not None and self.manifest.is_index:
            self._read_index()
        elif document is not None:
            self._add("", self.manifest)
        found = [
            normalized(name.partition(" ")[0]) for name in [*(one.platform for one in self.images), *self.problems]
        ]
        for platform in platforms:
            if not any(covers(normalized(platform), one) for one in found):
                self.problems[platform] = "the image has no such platform"
        if not self.images and not self.problems:
            self.problems[""] = "it holds no image that could be scanned"

    def is_named_by(self, digests, image):
        """Whether digests in a report name an image: its manifest, or the index and a configuration that it alone has.

        A configuration alone does not: other layers may be put beside it.
        """
        if image.manifest.digest in digests:
            return True
        config = image.manifest.config["digest"] if image.manifest.config else ""
        alike = [one for one in self.images if one.manifest.config and one.manifest.config["digest"] == config]
        return self.manifest.digest in digests and config in digests and len(alike) == 1

    def _name(self, platform, digest):
        """A name that nothing else has: two children of one platform are two images, and clients may take either."""
        taken = {one.platform for one in self.images} | set(self.problems)
        return f"{platform} ({digest})".strip() if platform in taken else platform

    def _problem(self, platform, digest, sentence):
        self.problems[self._name(platform, digest)] = sentence

    def _strict(self, manifest, platform):
        """The document of a manifest, or None where clients could read it in several ways."""
        try:
            return read_strictly(manifest.content)
        except AmbiguousError as error:
            self._problem(platform, manifest.digest, f"the manifest {manifest.digest} is not clear: {error}")
            return None

    def _read_index(self):
        parts = self.manifest.whole
        if len(parts.children) + len(parts.listed) > _MOST_CHILDREN:
            self.problems[""] = f"it lists more than {_MOST_CHILDREN} manifests"
            return
        for descriptor in parts.listed:
            kind = clean(descriptor.get("mediaType"))
            self._problem("", descriptor["digest"], f"it lists {descriptor['digest']} as {kind}, which is no image")
        known = {}
        for descriptor in parts.children:
            digest, platform = descriptor["digest"], clean(platform_of(descriptor.get("platform")))
            if known.setdefault(digest, platform) != platform:
                self._problem(platform, digest, f"it lists {digest} for two platforms")
            elif not any(image.manifest.digest == digest for image in self.images):
                self._read_child(descriptor, platform)

    def _read_child(self, descriptor, platform):
        digest = descriptor["digest"]
        if not self._is_wanted(platform):
            return
        child = self._api.manifest(self.source.repository, digest)
        if child is None:
            self._problem(platform, digest, f"{digest} is not there")
        elif child.is_index:
            self._problem(platform, digest, f"{digest} is an index within an index, which is not scanned")
        elif child.media_type != descriptor.get("mediaType"):
            self._problem(platform, digest, f"{digest} is of another type than the index says")
        elif self._strict(child, platform) is not None and not _is_attestation(descriptor, child):
            self._add(platform, child)

    def _is_wanted(self, platform):
        """Whether a child is meant. Without a platform, clients may take it for any."""
        if not self._wanted or not platform or platform == _NO_PLATFORM:
            return True
        return any(covers(one, normalized(platform)) for one in self._wanted)

    def _add(self, platform, manifest):
        try:
            content = self._api.blob(self.source.repository, manifest.config["digest"]) if manifest.config else None
            config = read_strictly(content) if content is not None else {}
        except (AnswerError, AmbiguousError) as error:
            self._problem(platform, manifest.digest, f"its configuration can't be read: {error}".rstrip("."))
            return
        named = platform or clean(platform_of(config))
        if self._is_wanted(named):
            image = PlatformImage(self._name(named, manifest.digest), manifest, config, content)
            if not image.is_whole:
                self._problem(named, manifest.digest, "its configuration does not name each of its layers once")
                return
            self.images.append(image)


def _is_attestation(descriptor, manifest):
    """Whether it is what BuildKit keeps beside images, and nothing that could be run."""
    annotations = descriptor.get("annotations")
    annotations = annotations if isinstance(annotations, dict) else {}
    layers = manifest.parts.layers
    return (
        clean(platform_of(descriptor.get("platform"))) == _NO_PLATFORM
        and annotations.get("vnd.docker.reference.type") == "attestation-manifest"
        and bool(layers)
        and not manifest.parts.foreign
        and all(one.get("mediaType") == _STATEMENT for one in layers)
    )


def normalized(platform):
    """A platform as clients compare it: linux/x86_64 is linux/amd64, and linux/arm64/v8 is linux/arm64."""
    system, _slash, rest = platform.lower().partition("/")
    return "/".join(part for part in ("darwin" if system == "macos" else system, _ALIASES.get(rest, rest)) if part)


def covers(wanted, platform):
    """linux/arm means all of its variants."""
    return platform == wanted or platform.startswith(f"{wanted}/")

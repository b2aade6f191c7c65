# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs in a containerd, by the images that its containers were made of. Private to this collection.

The name of a container's image may lead to another image by now. What Kubernetes keeps beside a container, and the
layers below its files, tell which one it was made of.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re

from ansible_collections.wharf.registry.plugins.module_utils._engine.docker_api import EngineError

_POD = ("io.kubernetes.pod.namespace", "io.kubernetes.pod.name", "io.kubernetes.container.name")
_KIND, _SANDBOX = "io.cri-containerd.kind", "sandbox"
_METADATA = "io.cri-containerd.container.metadata"
_NERDCTL = "nerdctl/name"
# The containers of Docker, in a containerd that both have. Docker tells more of them.
_OF_DOCKER = "moby"
# Indexes within indexes are followed so deep.
_MOST_LEVELS = 2
_SHORT = 12


class Task:
    """A container that runs. image: the name of its image. names: what that image is called, with digests.

    since: when it was made (RFC 3339), or an empty string.
    """

    def __init__(self, name, image, names, since=""):
        self.name = name
        self.image = image
        self.names = names
        self.since = since


def listed_images(text):
    """{name: digest} of what `ctr images list` shows."""
    lines = (line.split() for line in text.splitlines()[1:])
    return {words[0]: words[2] for words in lines if len(words) > 2}


def running_tasks(ctr):
    """[Task] of all namespaces but that of Docker. ctr(*arguments) returns what ctr says, or raises EngineError."""
    found = []
    for namespace in ctr("namespaces", "list", "--quiet").split():
        if namespace != _OF_DOCKER:
            found += _Namespace(ctr, namespace).tasks()
    return found


class _Namespace:
    def __init__(self, ctr, name):
        self._name = name
        self._ctr = lambda *arguments: ctr("--namespace", name, *arguments)
        self._images = {}
        self._chains = {}

    def tasks(self):
        lines = self._ctr("tasks", "list").splitlines()[1:]
        running = sorted(line.split()[0] for line in lines if " RUNNING" in line)
        if running:
            self._images = listed_images(self._ctr("images", "list"))
        return [task for task in map(self._task, running) if task is not None]

    def _task(self, identifier):
        try:
            about = json.loads(self._ctr("containers", "info", identifier))
        except EngineError as error:
            if "not found" in str(error):
                # It ended meanwhile.
                return None
            raise
        labels = about.get("Labels") or {}
        if labels.get(_KIND) == _SANDBOX:
            # Kubernetes makes one for each pod itself.
            return None
        image = about.get("Image") or ""
        alike = self._made_of(about, image)
        label = "/".join(labels[key] for key in _POD if labels.get(key)) or labels.get(_NERDCTL, "")
        named = [f"{one.partition('@')[0]}@{self._images[one]}" for one in alike if not one.startswith("sha256:")]
        shown = image if not image.startswith("sha256:") else next((one for one in alike if "@" not in one), image)
        # What began with a digest is known by it, even where the image has no name any more.
        return Task(label or f"{self._name}/{identifier[:_SHORT]}", shown, [*named, image], _time(about))

    def _made_of(self, about, image):
        """The names of the image that a container was made of."""
        told = self._images.get(_of_kubernetes(about))
        if told is None:
            parent = self._parent(about)
            # By its name first: several images may have the same layers.
            if image not in self._images or self._chain(self._images[image]) != parent:
                return [one for one, digest in self._images.items() if self._chain(digest) == parent]
            told = self._images[image]
        return [one for one, digest in self._images.items() if digest == told]

    def _parent(self, about):
        """The digest of the layers below the files of a container, or None where there are none or they aren't told."""
        snapshotter = ["--snapshotter", about["Snapshotter"]] if about.get("Snapshotter") else []
        try:
            told = json.loads(self._ctr("snapshots", *snapshotter, "info", about.get("SnapshotKey") or ""))
        except (EngineError, ValueError):
            return None
        # Empty for files without layers below them. So is what is said of an image whose layers are not here.
        return told.get("Parent") or None

    def _chain(self, digest, level=0):
        """The digest of the layers of an image, or an empty string where they are not here."""
        if digest not in self._chains:
            try:
                self._chains[digest] = self._chain_of(digest, level)
            except (EngineError, ValueError, KeyError, TypeError, AttributeError):
                self._chains[digest] = ""
        return self._chains[digest]

    def _chain_of(self, digest, level):
        document = self._content(digest)
        if "manifests" in document:
            # The one whose content was pulled, for this host.
            children = document["manifests"] if level < _MOST_LEVELS else []
            return next(filter(None, (self._chain(one["digest"], level + 1) for one in children)), "")
        chain = ""
        for layer in self._content(document["config"]["digest"])["rootfs"]["diff_ids"]:
            chain = layer if not chain else f"sha256:{hashlib.sha256(f'{chain} {layer}'.encode()).hexdigest()}"
        return chain

    def _content(self, digest):
        return json.loads(self._ctr("content", "get", digest))


def _time(about):
    """When a container was made, to the second in UTC, as containerd tells it."""
    told = about.get("CreatedAt")
    found = re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?=(?:\.\d+)?Z\Z)", told) if isinstance(told, str) else None
    return f"{found[0]}Z" if found else ""


def _of_kubernetes(about):
    """The digest of the configuration of the image, by which Kubernetes names it, or an empty string."""
    extension = (about.get("Extensions") or {}).get(_METADATA) or {}
    try:
        document = json.loads(base64.b64decode(extension["value"]))
    except (KeyError, ValueError, TypeError):
        return ""
    metadata = document.get("Metadata") if isinstance(document, dict) else None
    told = metadata.get("ImageRef") if isinstance(metadata, dict) else None
    return told if isinstance(told, str) else ""

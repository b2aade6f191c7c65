# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the replicas of a registry, and exchanges them one after another. Private to this collection.

The others serve meanwhile. One that does not serve goes back to what it was last seen to serve with, and those after it
are left alone.
"""

from __future__ import annotations

import hashlib
import json
import time
from typing import NamedTuple

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._common.placement import PlacedFile, PlacedNothing
from ansible_collections.wharf.registry.plugins.module_utils._common.process import read_text
from ansible_collections.wharf.registry.plugins.module_utils._engine.container_spec import ContainerSpec
from ansible_collections.wharf.registry.plugins.module_utils._engine.docker_api import DockerApi, EngineError

# A replica is asked so often, with a second between, for what is in the storage.
_ATTEMPTS = 5
_ROOT = ("root", "root")


class ReplicaError(RegistryError):
    """A replica does not serve. name: that of its container, after which the message goes on."""

    def __init__(self, name, message):
        super().__init__(message)
        self.name = name


class Settings(NamedTuple):
    """What a replica reads when it starts: its configuration, and the CAs that it trusts besides, as PEM or empty."""

    config: str
    trust: str = ""


class Replica:
    """One of them, and its files."""

    def __init__(self, options, label):
        """options: those of the module. label: that of the container which tells its configuration."""
        self._label = label
        self._definition = options["container"]
        self.name = self._definition["name"]
        self.settings = Settings(options["config"], options["trust"])
        self._config_path = options["config_path"]
        self._trust_path = options["trust_path"]
        self._group = options["group"]
        self._served_path = options["served_path"]
        self._socket = options["socket"]

    def files(self, settings):
        """What has to be there before it starts."""
        owner = ("root", self._group)
        trust = settings.trust.encode()
        return [
            PlacedFile(self._config_path, settings.config.encode(), owner, 0o640, secret=True),
            PlacedFile(self._trust_path, trust, owner, 0o640) if trust else PlacedNothing(self._trust_path),
        ]

    def spec(self, image, settings):
        """The definition of the container with settings: with others it is another container."""
        text = settings.config + (f"\n{settings.trust}" if settings.trust else "")
        labels = {**self._definition["labels"], self._label: hashlib.sha256(text.encode()).hexdigest()}
        return ContainerSpec({**self._definition, "image": image, "labels": labels})

    def former(self, before):
        """(image, Settings) that it was last seen to serve with, or has now; empty where there is none."""
        served = read_text(self._served_path)
        if served:
            known = json.loads(served)
            return known["image"], Settings(known["config"], known.get("trust", ""))
        held = Settings(read_text(self._config_path), read_text(self._trust_path))
        return (before or {}).get("Image", ""), held

    def remember(self, image, settings):
        """What it serves with now."""
        known = {"config": settings.config, "image": image, **({"trust": settings.trust} if settings.trust else {})}
        content = json.dumps(known, sort_keys=True).encode()
        PlacedFile(self._served_path, content, _ROOT, 0o600, secret=True).apply()

    def ask(self):
        """Asks for what is in the storage, past the proxy: healthy says no more than that the process runs.

        Raises EngineError.
        """
        reason = ""
        for attempt in range(_ATTEMPTS):
            if attempt:
                time.sleep(1)
            try:
                status, answer = DockerApi(self._socket).request("GET", "/v2/_catalog?n=1")
            except RegistryError as error:
                reason = error.message
                continue
            if status == 200 and isinstance(answer, dict) and "repositories" in answer:
                return
            reason = f"it answers {status}: {answer}"
        raise EngineError(f"it does not tell what is in the storage: {reason}"[:500])


class ReplicaRun:
    """One run. changed_containers: the names of those that were changed, or would be."""

    def __init__(self, containers, replicas, image, limits):
        """containers: a Containers.

        limits: `start_timeout`, `stop_timeout`, and `proxy_seconds`, for which the proxy leaves one alone that did not
        answer.
        """
        self._containers = containers
        self._replicas = replicas
        self._image = image
        self._start_timeout = limits["start_timeout"]
        self._stop_timeout = limits["stop_timeout"]
        self._proxy_seconds = limits["proxy_seconds"]
        self.changed_containers = []
        self.differences = {}

    def foretell(self):
        """What a run would do, without doing it."""
        image_id = self._containers.image_id(self._image)
        for replica in self._replicas:
            changed = any(file.changed for file in replica.files(replica.settings))
            found = self._containers.inspect(replica.name)
            spec = replica.spec(self._image, replica.settings)
            differing = [] if found is None else self._compare(spec, found, image_id or "none")
            if changed or found is None or differing or not found["State"]["Running"]:
                self.changed_containers.append(replica.name)

    def run(self):
        """Raises ReplicaError, EngineError and EngineDownError."""
        image_id = self._containers.image_id(self._image)
        if not image_id:
            raise EngineError(f"the image {self._image} is not on this host", "Correct registry_image")
        for replica in self._replicas:
            before = self._containers.inspect(replica.name)
            former = replica.former(before)
            try:
                changed = self._serve(replica, self._image, image_id, replica.settings)
            except RegistryError as error:
                said = f"The engine said: {error} Its last words: {self._containers.last_words(replica.name) or 'none'}"
                returns = before is not None and bool(former[0] and former[1].config)
                if returns:
                    named = self._containers.name_of_image(before) if before["Image"] == former[0] else former[0]
                    self._serve(replica, named, *former)
                raise ReplicaError(replica.name, f"did not become healthy. {_outcome(returns)} {said}") from None
            if changed:
                self.changed_containers.append(replica.name)
                if before is not None and replica is not self._replicas[-1]:
                    # The proxy has left alone what did not answer, and must not find the next one gone as well.
                    time.sleep(self._proxy_seconds)

    def _serve(self, replica, image, image_id, settings):
        """Whether anything was changed until it served."""
        files = replica.files(settings)
        for file in files:
            file.apply()
        spec = replica.spec(image, settings)
        changed = self._ensure(spec, image_id) or any(file.changed for file in files)
        self._containers.wait_until_healthy(spec, self._start_timeout)
        replica.ask()
        if replica.former(None) != (image_id, settings) or changed:
            replica.remember(image_id, settings)
        return changed

    def _ensure(self, spec, image_id):
        found = self._containers.inspect(spec.name)
        if found is None:
            self._containers.create(spec)
            return True
        differing = self._compare(spec, found, image_id)
        if not all(one.live for one in differing):
            self._containers.remove(spec.name, self._stop_timeout)
            self._containers.create(spec)
            return True
        if differing:
            self._containers.update(spec.name, spec)
        if not found["State"]["Running"]:
            self._containers.start(spec.name)
            return True
        return bool(differing)

    def _compare(self, spec, found, image_id):
        differing = spec.differences(found, image_id)
        if differing:
            self.differences[spec.name] = differing
        return differing

    def end(self, names, files, check):
        """Ends replicas that are one too many, and forgets what they served with, lest one goes back to it one day."""
        self.changed_containers += names
        if check:
            return
        for path in files:
            PlacedNothing(path).apply()
        for name in names:
            self._containers.remove(name, self._stop_timeout)


def _outcome(returns):
    back = "Its former image and configuration are back, and serve" if returns else "There is none to go back to"
    return f"{back}; replicas after it were left as they are."

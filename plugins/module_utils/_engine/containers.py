# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Containers of a Docker Engine, by its API. Private to this collection."""

from __future__ import annotations

import json
import time
import urllib.parse

from ansible_collections.wharf.registry.plugins.module_utils._engine.docker_api import DockerApi, EngineError
from ansible_collections.wharf.registry.plugins.module_utils._engine.selinux import is_used, label

_JSON = {"Content-Type": "application/json"}
# Seconds that the engine may take beside what a container is given.
_PATIENCE = 60
_LOOK_SECONDS = 0.2


class UnhealthyError(EngineError):
    """A container does not become healthy."""


class Containers:
    """What is done with containers, each by its name or ID. All raise EngineDownError and EngineError."""

    def __init__(self, socket, patience=_PATIENCE):
        self._socket = socket
        self._patience = patience
        self._api = DockerApi(socket, timeout=patience)
        # Whether SELinux confines containers; asked once.
        self._confined = None

    def _ask(self, method, path, body=None, *, missing=(), seconds=0, **query):
        """The answer, or None for a status of `missing`."""
        api = DockerApi(self._socket, timeout=seconds + self._patience) if seconds else self._api
        asked = f"{path}?{urllib.parse.urlencode(query)}" if query else path
        raw = None if body is None else json.dumps(body)
        status, answer = api.request(method, asked, body=raw, headers=_JSON)
        if status in missing:
            return None
        if status >= 400:
            said = answer.get("message") if isinstance(answer, dict) else answer
            raise EngineError(f"the Docker Engine answered {status} to {method} {path}: {said}")
        return answer or {}

    def ping(self):
        """Raises EngineDownError and EngineError where no engine answers."""
        self._ask("GET", "/_ping")

    def image(self, name):
        """What the engine says of an image, or None, as for a name that no image can have."""
        return self._ask("GET", f"/images/{urllib.parse.quote(name, safe='')}/json", missing=(400, 404))

    def image_id(self, name):
        """The ID of an image, or an empty string where there is none."""
        found = self.image(name)
        return found["Id"] if found else ""

    def name_of_image(self, container):
        """How a container, as inspected, names its image: its ID where the name is another one's by now."""
        name = container["Config"]["Image"]
        return name if self.image_id(name) == container["Image"] else container["Image"]

    def inspect(self, name):
        """What the engine says of a container, or None."""
        return self._ask("GET", f"/containers/{name}/json", missing=(404,))

    def with_label(self, label):
        """The names of the containers that have a label, NAME or NAME=VALUE."""
        found = self._ask("GET", "/containers/json", all=1, filters=json.dumps({"label": [label]}))
        return sorted(one["Names"][0].lstrip("/") for one in found or [] if one.get("Names"))

    def create(self, spec):
        """Makes a container of a ContainerSpec, and starts it."""
        self.prepare(spec)
        self._ask("POST", "/containers/create", spec.body(), name=spec.name)
        self.start(spec.name)

    def prepare(self, spec):
        """Lets containers use what the one of a ContainerSpec mounts, where SELinux has to be told."""
        if spec.sources and self._uses_selinux():
            for source in spec.sources:
                label(source)

    def _uses_selinux(self):
        if self._confined is None:
            self._confined = is_used(self._ask("GET", "/info"))
        return self._confined

    def start(self, name):
        self._ask("POST", f"/containers/{name}/start")

    def restart(self, name, seconds):
        self._ask("POST", f"/containers/{name}/restart", seconds=seconds, t=seconds)

    def update(self, name, spec):
        """Changes what can be changed while a container runs."""
        self._ask("POST", f"/containers/{name}/update", spec.live())

    def rename(self, name, other):
        self._ask("POST", f"/containers/{name}/rename", name=other)

    def remove(self, name, seconds):
        """Stops a container, which may take so many seconds, and removes it. One that is not there is no error."""
        if self._ask("POST", f"/containers/{name}/stop", missing=(404,), seconds=seconds, t=seconds) is not None:
            self._ask("DELETE", f"/containers/{name}", missing=(404,), v=1, force=1)

    def run_in(self, name, command, seconds=0):
        """(exit status, output) of a command in a container, which may say nothing for so many seconds."""
        options = {"Cmd": command, "AttachStdout": True, "AttachStderr": True, "Tty": True}
        run = self._ask("POST", f"/containers/{name}/exec", options)["Id"]
        said = self._ask("POST", f"/exec/{run}/start", {"Detach": False, "Tty": True}, seconds=seconds)
        status = self._ask("GET", f"/exec/{run}/json")["ExitCode"]
        return status, said.replace("\r\n", "\n") if isinstance(said, str) else ""

    def make_network(self, name, labels):
        """Whether it was made: False where it is there."""
        if self.network_exists(name):
            return False
        self._ask("POST", "/networks/create", {"Name": name, "Labels": labels, "CheckDuplicate": True})
        return True

    def network_exists(self, name):
        return self._ask("GET", f"/networks/{name}", missing=(404,)) is not None

    def last_words(self, name, lines=10):
        """The last lines that a container has said, or an empty string where there is none."""
        try:
            said = self._ask("GET", f"/containers/{name}/logs", missing=(404,), stdout=1, stderr=1, tail=lines)
        except EngineError:
            return ""
        return _unframed(said) if isinstance(said, str) else ""

    def wait_until_healthy(self, spec, seconds):
        """Waits until the health check of a running container passes. Raises UnhealthyError.

        The check is run here as well: the engine runs it for the first time when an interval is over.
        """
        end = time.monotonic() + seconds
        reason = "its health check has not passed yet"
        while True:
            state = (self.inspect(spec.name) or {}).get("State", {})
            if not state.get("Running"):
                reason = f"it ended with the exit status {state.get('ExitCode')}. {state.get('Error', '')}".strip()
            elif state.get("Restarting"):
                reason = "it ends and is started again and again"
            elif self._passes(spec, state):
                return
            if time.monotonic() >= end:
                raise UnhealthyError(f"{spec.name} did not become healthy within {seconds} seconds: {reason}")
            time.sleep(_LOOK_SECONDS)

    def _passes(self, spec, state):
        command = spec.health_command
        if command is None or state.get("Health", {}).get("Status") == "healthy":
            return True
        try:
            return self.run_in(spec.name, command, seconds=30)[0] == 0
        except EngineError:
            # It has ended meanwhile.
            return False


def _unframed(text):
    """The lines of a log, without the eight bytes that the engine puts before each of them."""
    lines = []
    for line in text.splitlines():
        start = line.find("\x00\x00\x00")
        lines.append(line[start + 7 :] if 0 <= start <= 1 else line)
    return "\n".join(lines)

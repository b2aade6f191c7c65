"""An engine with containers that are healthy, or not, as a test says, and that can be killed at each step."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from ansible_collections.wharf.registry.plugins.module_utils._engine.containers import UnhealthyError
from ansible_collections.wharf.registry.plugins.module_utils._engine.docker_api import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ansible_collections.wharf.registry.plugins.module_utils._engine.container_spec import ContainerSpec


class KilledError(BaseException):
    """The run ends here, and nothing after this is done."""


class FakeContainers:
    """The interface of Containers. calls: what has changed something, in order."""

    def __init__(self, images: dict[str, str]) -> None:
        self.images = images
        self.containers: dict[str, dict] = {}
        self.networks: set[str] = set()
        self.calls: list[tuple] = []
        # What does not become healthy: by its name and image.
        self.is_well: Callable[[str, str], bool] = lambda _name, _image: True
        # After which change the run is killed, of those from now on.
        self.kill_after: int | None = None
        self.refused: dict[str, str] = {}
        self._clock = 0

    def _did(self, *call: object) -> None:
        self.calls.append(call)
        if self.kill_after is not None:
            self.kill_after -= 1
            if self.kill_after < 0:
                raise KilledError

    def _now(self) -> str:
        self._clock += 1
        return f"2026-01-01T00:00:{self._clock:02d}.5Z"

    def _there(self, name: str) -> dict:
        if name not in self.containers:
            raise EngineError(f"the Docker Engine answered 404: no such container {name}")
        return self.containers[name]

    def image_id(self, name: str) -> str:
        return name if name in self.images.values() else self.images.get(name, "")

    def name_of_image(self, container: dict) -> str:
        name = container["Config"]["Image"]
        return name if self.image_id(name) == container["Image"] else container["Image"]

    def inspect(self, name: str) -> dict | None:
        return copy.deepcopy(self.containers.get(name))

    def with_label(self, label: str) -> list[str]:
        name, _equals, value = label.partition("=")
        return sorted(one for one, is_ in self.containers.items() if is_["Config"]["Labels"].get(name) == value)

    def prepare(self, spec: ContainerSpec) -> None:
        """No engine of a test uses SELinux."""

    def create(self, spec: ContainerSpec) -> None:
        if spec.name in self.containers:
            raise EngineError(f"the Docker Engine answered 409: the name {spec.name} is in use")
        if spec.name in self.refused:
            raise EngineError(self.refused[spec.name])
        body = copy.deepcopy(spec.parts)
        body["Config"].setdefault("Labels", {})
        body["Config"]["Image"] = spec.image
        self.containers[spec.name] = {
            "Id": f"id-{self._clock}-{spec.name}",
            "Name": f"/{spec.name}",
            "Image": self.image_id(spec.image),
            "drained": False,
            "State": {"Running": True, "StartedAt": self._now()},
            **body,
        }
        self._did("create", spec.name, self.image_id(spec.image))

    def start(self, name: str) -> None:
        self._there(name)["State"] = {"Running": True, "StartedAt": self._now()}
        self._did("start", name)

    def restart(self, name: str, _seconds: int) -> None:
        self._there(name)["State"]["StartedAt"] = self._now()
        self._did("restart", name)

    def update(self, name: str, spec: ContainerSpec) -> None:
        self._there(name)["HostConfig"].update(spec.live())
        self._did("update", name)

    def rename(self, name: str, other: str) -> None:
        if other in self.containers:
            raise EngineError(f"the Docker Engine answered 409: the name {other} is in use")
        self.containers[other] = self.containers.pop(name)
        self.containers[other]["Name"] = f"/{other}"
        self._did("rename", name, other)

    def remove(self, name: str, _seconds: int) -> None:
        if self.containers.pop(name, None) is not None:
            self._did("remove", name)

    def run_in(self, name: str, command: list[str], **_limits: int) -> tuple[int, str]:
        container = self._there(name)
        if not container["State"]["Running"]:
            raise EngineError(f"the Docker Engine answered 409: {name} is not running")
        if command[0] == "test":
            return 0 if container["drained"] else 1, ""
        if command[2] == "drain":
            container["drained"] = True
        self._did(command[2], name)
        return 0, ""

    def make_network(self, name: str, _labels: dict) -> bool:
        if name in self.networks:
            return False
        self.networks.add(name)
        self._did("network", name)
        return True

    def network_exists(self, name: str) -> bool:
        return name in self.networks

    def last_words(self, name: str, _lines: int = 10) -> str:
        return f"words of {name}" if name in self.containers else ""

    def wait_until_healthy(self, spec: ContainerSpec, seconds: int) -> None:
        container = self._there(spec.name)
        if not container["State"]["Running"] or not self.is_well(spec.name, container["Image"]):
            raise UnhealthyError(f"{spec.name} did not become healthy within {seconds} seconds")

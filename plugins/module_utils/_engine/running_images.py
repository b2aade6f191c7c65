# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs on a host, by the digests of its images, as each engine tells it. Private to this collection."""

from __future__ import annotations

import json
import os
import re
import time

from ansible_collections.wharf.registry.plugins.module_utils._common.atomic_file import File
from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError, RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._common.process import find
from ansible_collections.wharf.registry.plugins.module_utils._common.reference import parse_reference, split_tag
from ansible_collections.wharf.registry.plugins.module_utils._engine.containerd import Containerd, ContainerdConfig
from ansible_collections.wharf.registry.plugins.module_utils._engine.containerd_image_store import (
    K3sImageStore,
    Rke2ImageStore,
)
from ansible_collections.wharf.registry.plugins.module_utils._engine.docker_api import (
    DockerApi,
    EngineDownError,
    EngineError,
    has_containerd_store,
)
from ansible_collections.wharf.registry.plugins.module_utils._engine.engine_command import run_command
from ansible_collections.wharf.registry.plugins.module_utils._engine.running_containerd import running_tasks

_OF_PODMAN = "localhost/"
_IDENTIFIER = re.compile(r"(?:sha256:)?[0-9a-f]{12,64}\Z")
_SHORT = 12


class RunningContainer:
    """A container that runs. image: how it was started. since: when it was made (RFC 3339), or an empty string.

    digests: names with digests by which registries know its image, as registry/repository@digest. There is none for
    an image that was built or loaded on the host.
    """

    def __init__(self, engine, name, image, digests, since=""):
        self.engine = engine
        self.name = name
        self.image = image
        self.digests = sorted(set(filter(None, map(_full, digests))))
        self.since = since

    def told(self):
        about = {"engine": self.engine, "container": self.name, "image": self.image, "digests": self.digests}
        return {**about, "since": self.since}


def _since(seconds):
    """A time that an engine tells in seconds since 1970, or an empty string for what is none."""
    try:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(int(seconds)))
    except (TypeError, ValueError, OverflowError, OSError):
        return ""


def _full(name):
    """A name with a digest in full, without its tag; an empty string for what is none."""
    try:
        reference = parse_reference(name)
    except InputError:
        return ""
    return f"{reference.registry.name}/{reference.repository}@{reference.digest}" if reference.digest else ""


def of_docker(socket, timeout):
    """The RunningContainers of a Docker Engine. Raises EngineDownError and EngineError."""
    api = DockerApi(socket, timeout)
    # All of them: one whose tag went to another image has its digest still.
    digests = {one["Id"]: one.get("RepoDigests") or [] for one in _ask(api, "/images/json?all=1")}
    # With the image store of containerd, the identifier of an image is its digest, also of one whose tag is gone.
    of_containerd_store = has_containerd_store(api.info())
    found = []
    for one in _ask(api, "/containers/json"):
        image = one.get("Image") or ""
        if _IDENTIFIER.match(image):
            # So it is listed when its tag went to another image. The container knows how it was started.
            status, about = api.request("GET", f"/containers/{one['Id']}/json")
            if status == 404:
                # It ended meanwhile.
                continue
            image = ((about or {}).get("Config") or {}).get("Image") or image
        name = (one.get("Names") or [one["Id"][:_SHORT]])[0].lstrip("/")
        names = digests.get(one.get("ImageID")) or (
            [_with_digest(image, one["ImageID"])] if of_containerd_store else []
        )
        found.append(RunningContainer("docker", name, image, [image, *names], _since(one.get("Created"))))
    return found


def _with_digest(image, digest):
    """The name of an image with a digest in place of its tag."""
    return f"{split_tag(image.partition('@')[0])[0]}@{digest}"


def _ask(api, path):
    status, answer = api.request("GET", path)
    if status != 200 or not isinstance(answer, list):
        raise EngineError(f"the Docker Engine answered {status} to GET {path}")
    return answer


def of_podman(timeout):
    """The RunningContainers of Podman, as this account sees them. Raises EngineDownError and EngineError."""
    images = {one["Id"]: one for one in _json_of("podman", ["images", "--all", "--format", "json"], timeout)}
    found = []
    for one in _json_of("podman", ["ps", "--format", "json"], timeout):
        if one.get("IsInfra"):
            # Podman makes the image of a pod's own container itself.
            continue
        name = (one.get("Names") or [str(one.get("Id"))[:_SHORT]])[0]
        image = one.get("Image") or ""
        names = [image, *_names_of_podman(image, images.get(one.get("ImageID"), {}))]
        found.append(RunningContainer("podman", name, image, names, _since(one.get("Created"))))
    return found


def _names_of_podman(image, about):
    names = about.get("RepoDigests") or []
    if not names and about.get("Digest"):
        # Its tag went to another image, and took the name along.
        names = [_with_digest(image, about["Digest"])]
    # So Podman calls what was built here. No registry has it.
    return [one for one in names if not one.startswith(_OF_PODMAN)]


def _json_of(program, arguments, timeout):
    document = json.loads(_output(program, arguments, timeout) or "null")
    return [one for one in document or [] if isinstance(one, dict)]


def _output(program, arguments, timeout):
    status, stdout, stderr = run_command(program, arguments, timeout, program)
    if status != 0:
        said = stderr.strip().rpartition("\n")[2]
        raise EngineError(f"{program} {arguments[0]} failed: {said}")
    return stdout


def of_containerd(name, command, timeout):
    """The RunningContainers of a containerd. command is ctr with its first arguments, name that of the engine.

    Raises EngineDownError and EngineError.
    """
    program, *first = command
    tasks = running_tasks(lambda *arguments: _output(program, [*first, *arguments], timeout))
    return [RunningContainer(name, task.name, task.image, task.names, task.since) for task in tasks]


def _engines(socket, timeout):
    """[(name, a function that gives its RunningContainers)] of the engines of this host, or of this account."""
    found = []
    # Podman may serve Docker's socket, and is asked itself.
    if find("dockerd") or (os.path.exists(socket) and "podman" not in os.path.realpath(socket)):
        found.append(("docker", lambda: of_docker(socket, timeout)))
    if find("podman"):
        found.append(("podman", lambda: of_podman(timeout)))
    if os.geteuid() != 0:
        return found
    for store, program in ((K3sImageStore, "k3s"), (Rke2ImageStore, "rke2")):
        if find(program):
            found.append((store.name, lambda store=store: of_containerd(store.name, store.command, timeout)))
    containerd = Containerd(timeout)
    if containerd.is_engine:
        found.append(("containerd", lambda: of_containerd("containerd", _ctr(containerd), timeout)))
    return found


def _ctr(containerd):
    if containerd.process is None:
        # Its containers go on without it.
        raise EngineDownError("containerd does not run", "Start it")
    return ["ctr", "--address", ContainerdConfig(File(containerd.config_path).load(), containerd).address]


def running_images(socket, timeout):
    """What runs in all engines of this host, or of this account, as dictionaries that JSON can hold.

    {"containers": [...], "unknown": [{"engine", "said"}]}, the latter for engines that do not tell it.
    """
    containers, unknown = [], []
    for name, ask in _engines(socket, timeout):
        found, problem = _asked(ask)
        containers += [one.told() for one in found]
        if problem:
            unknown.append({"engine": name, "said": problem})
    return {"containers": containers, "unknown": unknown}


def _asked(ask):
    """(the RunningContainers of an engine, a sentence on why it does not tell them, or "")."""
    try:
        return ask(), ""
    except RegistryError as error:
        return [], str(error).rstrip(".")
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        return [], f"its answer is not understood: {error!r}"

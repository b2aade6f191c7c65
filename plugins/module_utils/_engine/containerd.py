# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""containerd of this host, where it is an engine of its own, and its config.toml. Private to this collection."""

from __future__ import annotations

import os
import time

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError
from ansible_collections.wharf.registry.plugins.module_utils._common.process import find, run, told_version
from ansible_collections.wharf.registry.plugins.module_utils._common.toml_edit import (
    managed_paths,
    text_of,
    with_value,
    without_values,
)
from ansible_collections.wharf.registry.plugins.module_utils._common.toml_text import TomlText
from ansible_collections.wharf.registry.plugins.module_utils._engine.docker_api import EngineError
from ansible_collections.wharf.registry.plugins.module_utils._engine.dockerd_flags import flag_values
from ansible_collections.wharf.registry.plugins.module_utils._engine.running_processes import last_change, named

HEADER = "# Made by wharf.registry, which removes this file with the last of its own lines.\n"
CONFIG = "/etc/containerd/config.toml"
CERTS = "/etc/containerd/certs.d"
SOCKET = "/run/containerd/containerd.sock"
UNIT = "containerd.service"
_NAME = "containerd"
# What starts a containerd of its own, which reads files of its own.
_PARENTS = ("dockerd", "k3s", "k3s-server", "k3s-agent", "rke2", "rke2-server", "rke2-agent")
# What has containerd as its engine. Without one of them, it works for Docker alone.
_USERS = ("kubelet", "crictl", "nerdctl")
# The plugin that pulls for Kubernetes, by the version of the file.
_PLUGINS = {1: "cri", 2: "io.containerd.grpc.v1.cri", 3: "io.containerd.cri.v1.images"}
_LATEST = max(_PLUGINS)
_QUOTED = 1000


class Containerd:
    """The containerd that a host's owner runs, not that of Docker, k3s or RKE2. timeout: seconds for each command."""

    def __init__(self, timeout):
        self._timeout = timeout
        self.program = find(_NAME)
        self._process = self._known = None
        # What it makes of files, by their bytes: to ask takes as long as to read the answer.
        self._effective = {}

    def refresh(self):
        """Has the process be looked for again."""
        self._process = self._known = None

    @property
    def process(self):
        """The Process, or None."""
        if not self._known:
            self._known = True
            running = [process for process in named(_NAME) if process.parent.name not in _PARENTS]
            self._process = running[0] if running else None
        return self._process

    @property
    def config_path(self):
        arguments = self.process.arguments[1:] if self.process else []
        given = flag_values(arguments, "--config") + flag_values(arguments, "-c")
        return given[-1] if given else CONFIG

    @property
    def installed(self):
        return bool(self.program)

    @property
    def is_engine(self):
        """Whether something pulls with it, other than Docker."""
        # k3s and RKE2 link crictl to themselves.
        rancher = find("k3s") or find("rke2")
        users = [name for name in _USERS if find(name) and not (rancher and name == "crictl")]
        return self.installed and os.geteuid() == 0 and (not find("dockerd") or bool(users))

    @property
    def version(self):
        return told_version(self.program, self._timeout)

    def has_read(self):
        """Whether the running process was started after its file was last written; true where none runs."""
        return self.process is None or self.process.started >= last_change(self.config_path)

    def effective(self, raw):
        """What containerd makes of a config.toml with these bytes (None: of no file), with its defaults, as a TomlText.

        Raises InputError with its words where it rejects the file.
        """
        if raw not in self._effective:
            self._effective[raw] = self._dumped(raw)
        return self._effective[raw]

    def _dumped(self, raw):
        with open(os.memfd_create("wharf", os.MFD_CLOEXEC), "wb") as file:
            file.write(_with_absolute_imports(raw or b"", self.config_path))
            file.flush()
            path = f"/proc/{os.getpid()}/fd/{file.fileno()}"
            status, output, error = run([self.program, "--config", path, "config", "dump"], self._timeout)
        if status != 0:
            reason = error.replace(path, self.config_path).strip()[-_QUOTED:]
            raise InputError(
                f"containerd rejects {self.config_path}: {reason}", "Nothing was changed: correct what it names"
            )
        return TomlText(output.encode(), "what containerd says of its configuration")

    def restart(self):
        """Restarts its service, which stops no container. Raises EngineError."""
        status, output, error = run(["systemctl", "restart", UNIT], self._timeout)
        if status != 0:
            reason = (error or output).strip()[-_QUOTED:]
            raise EngineError(f"containerd did not restart: {reason}", f"See journalctl --unit {UNIT}")
        end = time.monotonic() + self._timeout
        while True:
            self.refresh()
            if self.process is not None and run(["systemctl", "is-active", UNIT], self._timeout)[0] == 0:
                return
            if time.monotonic() >= end:
                raise EngineError(
                    f"containerd is not running {self._timeout} seconds after its restart",
                    f"See journalctl --unit {UNIT}",
                )
            time.sleep(0.1)


def _with_absolute_imports(raw, path):
    """A config.toml that means the same wherever it lies."""
    document = TomlText(raw, path)
    place, names = document.places.get(("imports",)), document.get(("imports",))
    if place is None or not isinstance(names, list):
        return raw
    folder = os.path.dirname(path)
    found = [os.path.join(folder, name) if isinstance(name, str) else name for name in names]
    return (document.text[: place.start] + text_of(found) + document.text[place.end :]).encode()


class ContainerdConfig:
    """A config.toml, and the directory of hosts.toml files that it names. Immutable.

    raw: its bytes, or None. containerd: the Containerd that reads it. Raises InputError where it can't be read.
    """

    def __init__(self, raw, containerd):
        self.raw = raw
        self._containerd = containerd
        self._document = TomlText(raw or b"", containerd.config_path)
        self._effective = containerd.effective(raw) if containerd.program else TomlText(b"", containerd.config_path)
        self._of_effective = self._registry(self._version)

    @staticmethod
    def _registry(version):
        return ("plugins", _PLUGINS.get(version, _PLUGINS[_LATEST]), "registry")

    @property
    def _path(self):
        """Where the file says it. A file without a version is of the first one."""
        version = self._document.get(("version",), 1) if self._document.content else self._version
        return (*self._registry(version), "config_path")

    @property
    def _version(self):
        """The version of files that this containerd writes itself."""
        return self._effective.get(("version",), _LATEST)

    @property
    def pulls_for_kubernetes(self):
        disabled = self._effective.get(("disabled_plugins",)) or []
        return not {"cri", "io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images"} & set(disabled)

    @property
    def address(self):
        """The socket of containerd."""
        return self._effective.get(("grpc", "address")) or SOCKET

    @property
    def directory(self):
        """The directory that it reads, the first of several, or an empty string."""
        value = self._effective.get((*self._of_effective, "config_path"), "")
        return value.split(":")[0]

    @property
    def is_to_be_set(self):
        """Whether hosts.toml files are not read until the file says where they lie.

        A default of two directories is replaced as well: containerd 2.2.0 does not read it as two.
        """
        if not self._containerd.program:
            # Its files can be written before it is installed; what its configuration says is known afterwards.
            return False
        value = self._effective.get((*self._of_effective, "config_path"), "")
        return self.pulls_for_kubernetes and (not value or (":" in value and not self._document.get(self._path)))

    def check(self):
        """Raises InputError where settings of an earlier kind keep containerd from starting with a directory."""
        mirrors = self._effective.get((*self._of_effective, "mirrors")) or {}
        configs = self._effective.get((*self._of_effective, "configs")) or {}
        old = [f"mirrors of {name}" for name in mirrors]
        old += [
            f"tls of {name}" for name, settings in configs.items() if isinstance(settings, dict) and settings.get("tls")
        ]
        if old:
            raise InputError(
                f"{self._containerd.config_path} has {' and '.join(old)} below registry, beside which containerd takes "
                "no config_path",
                f"Move them into hosts.toml files below {CERTS}. Nothing was changed",
            )

    def with_directory(self, folder):
        """The ContainerdConfig that names this directory. Raises InputError."""
        self.check()
        document = TomlText(HEADER.encode(), self._document.path) if self.raw is None else self._document
        if not document.content:
            # A file without a version is of the first one.
            document = with_value(document, ("version",), self._version)
        raw = with_value(document, self._path, folder).text.encode()
        changed = ContainerdConfig(raw, self._containerd)
        if changed.directory != folder:
            raise InputError(
                f"containerd does not use the config_path of {self._containerd.config_path}: a file that it imports "
                "sets another one, or it does not know the version of the file",
                f"Set it to {folder} where containerd reads it, and run containerd config dump. Nothing was changed",
            )
        return changed

    def without_directory(self):
        """The bytes without our lines: None for a file that we made, where nothing else is in it."""
        empty = without_values(self._document, lambda _path: True)
        if empty.text == HEADER:
            return None
        if not empty.content:
            return empty.text.encode()
        # What others have added since is of our version.
        return without_values(self._document, lambda path: path != ("version",)).text.encode()

    @property
    def is_ours(self):
        return self._path in managed_paths(self._document)

    def shown(self):
        """Its lines for a diff: the directory, since others may hold passwords."""
        return [f"config_path: {self._document.get(self._path, '') or 'none'}"]

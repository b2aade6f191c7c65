# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The local images of containerd, in a namespace of its own. Private to this collection."""

from __future__ import annotations

import os
import re
import shutil
import tempfile

from ansible_collections.wharf.registry.plugins.module_utils._common.atomic_file import File
from ansible_collections.wharf.registry.plugins.module_utils._common.process import told_version
from ansible_collections.wharf.registry.plugins.module_utils._engine.containerd import (
    CERTS,
    Containerd,
    ContainerdConfig,
)
from ansible_collections.wharf.registry.plugins.module_utils._engine.desired_state import certificate_paths
from ansible_collections.wharf.registry.plugins.module_utils._engine.docker_api import EngineDownError
from ansible_collections.wharf.registry.plugins.module_utils._engine.engine_command import run_command, volatile_folder
from ansible_collections.wharf.registry.plugins.module_utils._engine.hosts_toml import (
    FILE,
    HostsToml,
    login_of,
    login_values,
    registry_values,
)
from ansible_collections.wharf.registry.plugins.module_utils._engine.image_store import ImageStore, StoredImage

# Images of Kubernetes lie in k8s.io, and stay out of this.
_NAMESPACE = "wharf-registry"
# The last line has the reason, behind what ctr was doing.
_PROGRESS = re.compile(r"^ctr: (?:failed to [a-z ]+(?:\"[^\"]*\")?: )*")


class ContainerdImageStore(ImageStore):
    """The images of containerd, as ctr pulls and pushes them with the hosts.toml files that containerd reads.

    A login in hosts.toml is used as it is. Without one, the given credential stands in a copy of that file.
    """

    name = "containerd"
    certificates = CERTS
    certificate_places = ("/etc/containerd/",)

    def __init__(self, reference, credential, timeout):
        super().__init__(reference, credential)
        self._timeout = timeout
        self._containerd = Containerd(timeout)
        self._copy = None
        # The program with its first arguments, and the directory of hosts.toml files.
        self._command, self._hosts = [], ""

    def __enter__(self):
        self._find_places()
        self._copy = tempfile.mkdtemp(prefix="wharf-check.", dir=volatile_folder())
        if self._credential is not None and self._credential.username:
            self._hosts = self._with_login()
        return self

    def __exit__(self, *_exception):
        shutil.rmtree(self._copy, ignore_errors=True)

    def _find_places(self):
        config = ContainerdConfig(File(self._containerd.config_path).load(), self._containerd)
        self._command = ["ctr", "--address", config.address]
        self._hosts = config.directory or CERTS

    def _with_login(self):
        """The directory to use: a copy with the login, where containerd itself has none."""
        name = self._registry.name
        there = os.path.join(self._hosts, name)
        raw = File(os.path.join(there, FILE)).load()
        document = HostsToml(raw, os.path.join(there, FILE))
        if login_of(document.values):
            return self._hosts
        options = {"insecure": False, "username": self._credential.username, "password": self._credential.password}
        values = {**document.values, **login_values(name, options, document)}
        if raw is None:
            values = registry_values(self._registry.api_host, options, certificate_paths(self._hosts, name), {})
        folder = os.path.join(self._copy, name)
        os.mkdir(folder, 0o700)
        # Its certificates may be named by their path from there.
        for file in os.listdir(there) if os.path.isdir(there) else ():
            if file != FILE:
                os.symlink(os.path.join(there, file), os.path.join(folder, file))
        with open(os.open(os.path.join(folder, FILE), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(document.with_values(values))
        return self._copy

    def version(self):
        if self._containerd.process is None:
            raise EngineDownError(
                "containerd does not run", "Start it (systemctl start containerd), or name another engine"
            )
        return f"containerd {self._containerd.version}"

    def _list(self):
        found = {}
        for line in self._run("images", "list").splitlines()[1:]:
            fields = line.split()
            names = self._in_repository(fields[:1])
            if names and len(fields) > 2:
                stored = found.setdefault(fields[2], StoredImage())
                stored.names |= names
                stored.digests.add(fields[2])
        return found

    def root(self):
        return ""

    def load(self, archive):
        self._run("images", "import", "--all-platforms", "-", action="push", stdin=archive)

    def push(self, name):
        self._run("images", "push", "--hosts-dir", self._hosts, str(name), action="push")
        return self.image_id(name)

    def pull(self, name):
        self._run("images", "pull", "--hosts-dir", self._hosts, str(name), action="pull")

    def remove(self, name):
        self._run("images", "remove", "--sync", str(name))

    def tag(self, identifier, name):
        source = next(iter(self.images()[identifier].names))
        self._run("images", "tag", "--force", str(source), str(name))

    def _untag(self, _identifier, name, _keep):
        self.remove(name)

    def _run(self, *arguments, action="", stdin=b""):
        if arguments[:2] != ("images", "list"):
            self._known = None
        program, *first = self._command
        command = [*first, "--namespace", _NAMESPACE, *arguments]
        status, stdout, stderr = run_command(program, command, self._timeout, self.name, stdin)
        if status != 0:
            raise self._failure(_PROGRESS.sub("", stderr.strip().rpartition("\n")[2]), action or "pull")
        return stdout


class K3sImageStore(ContainerdImageStore):
    """The images of the containerd of k3s, by its own ctr and the files that it has made of registries.yaml."""

    name = "k3s"
    certificates = "/etc/rancher/k3s/certs.d"
    certificate_places = ("/etc/rancher/k3s/",)
    # The program with its first arguments, and its directory.
    command = ("k3s", "ctr")
    data = "/var/lib/rancher/k3s"

    def _find_places(self):
        self._command = list(self.command)
        self._hosts = f"{self.data}/agent/etc/containerd/certs.d"

    def version(self):
        version = told_version(self.name, self._timeout)
        if not version:
            raise EngineDownError(
                f"the command {self.name} cannot be run", f"Install {self.name}, or name another engine"
            )
        return f"{self.name} {version}"


class Rke2ImageStore(K3sImageStore):
    """The images of the containerd of RKE2."""

    name = "rke2"
    certificates = "/etc/rancher/rke2/certs.d"
    certificate_places = ("/etc/rancher/rke2/",)
    data = "/var/lib/rancher/rke2"
    command = (f"{data}/bin/ctr", "--address", "/run/k3s/containerd/containerd.sock")

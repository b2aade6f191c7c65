# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The local images of containerd, in a namespace of its own. Private to this collection."""

from __future__ import annotations

import os
import re
import shutil
import tempfile

from ansible_collections.wharf.registry.plugins.module_utils._engine.containerd import (
    CERTS,
    Containerd,
    ContainerdConfig,
)
from ansible_collections.wharf.registry.plugins.module_utils._engine.docker_api import EngineDownError
from ansible_collections.wharf.registry.plugins.module_utils._engine.engine_command import run_command, volatile_folder
from ansible_collections.wharf.registry.plugins.module_utils._engine.hosts_toml import (
    HostsToml,
    basic,
    login_of,
    registry_values,
)
from ansible_collections.wharf.registry.plugins.module_utils._engine.image_store import ImageStore, StoredImage
from ansible_collections.wharf.registry.plugins.module_utils._engine.registry_hosts import FILE

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
        self._hosts = self._address = ""

    def __enter__(self):
        raw = None
        if os.path.exists(self._containerd.config_path):
            with open(self._containerd.config_path, "rb") as file:
                raw = file.read()
        config = ContainerdConfig(raw, self._containerd)
        self._address = config.address
        self._hosts = config.directory or CERTS
        self._copy = tempfile.mkdtemp(prefix="wharf-check.", dir=volatile_folder())
        if self._credential is not None and self._credential.username:
            self._hosts = self._with_login()
        return self

    def __exit__(self, *_exception):
        shutil.rmtree(self._copy, ignore_errors=True)

    def _with_login(self):
        """The directory to use: a copy with the login, where containerd itself has none."""
        path = os.path.join(self._hosts, self._registry.name, FILE)
        raw = None
        if os.path.exists(path):
            with open(path, "rb") as file:
                raw = file.read()
        document = HostsToml(raw, path)
        values = document.values or registry_values(self._registry.name, {"insecure": False}, self._certificates(), {})
        if login_of(values):
            return self._hosts
        login = basic(self._credential.username, self._credential.password)
        table = ("header", "authorization")
        tables = dict.fromkeys(key[:2] for key in values if key[0] == "host")
        values = {**values, table: login, **{(*host, *table): login for host in tables}}
        folder = os.path.join(self._copy, self._registry.name)
        os.mkdir(folder, 0o700)
        with open(os.open(os.path.join(folder, FILE), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(document.with_values(values))
        return self._copy

    def _certificates(self):
        folder = os.path.join(self._hosts, self._registry.name)
        paths = [os.path.join(folder, name) for name in ("ca.crt", "client.cert", "client.key")]
        return [path if os.path.exists(path) else None for path in paths]

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
        command = ["--address", self._address, "--namespace", _NAMESPACE, *arguments]
        status, stdout, stderr = run_command("ctr", command, self._timeout, "containerd", stdin)
        if status != 0:
            raise self._failure(_PROGRESS.sub("", stderr.strip().rpartition("\n")[2]), action or "pull")
        return stdout

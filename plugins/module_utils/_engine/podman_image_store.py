# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The local images of Podman. Private to this collection."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import tempfile

from ansible_collections.wharf.registry.plugins.module_utils._common.password import encoded_pair
from ansible_collections.wharf.registry.plugins.module_utils._engine.docker_api import EngineDownError, EngineError
from ansible_collections.wharf.registry.plugins.module_utils._engine.engine_command import run_command, volatile_folder
from ansible_collections.wharf.registry.plugins.module_utils._engine.image_store import ImageStore, StoredImage


class PodmanImageStore(ImageStore):
    """The images of Podman, for the account that runs this process."""

    name = "podman"
    certificates = "/etc/containers/certs.d"
    certificate_places = ("/etc/containers/", "/etc/docker/")

    def __init__(self, reference, credential, timeout):
        super().__init__(reference, credential)
        self._timeout = timeout
        self._folder = None

    def __enter__(self):
        # In a file that only this account can read, since all accounts can read the command line of a process.
        self._folder = tempfile.mkdtemp(prefix="wharf-check.", dir=volatile_folder())
        entry = {}
        if self._credential is not None:
            # Podman ignores an entry without a user.
            entry["auth"] = encoded_pair(self._credential.username or "token", self._credential.password)
            if self._credential.identity_token:
                entry["identitytoken"] = self._credential.identity_token
        auths = {self._registry.podman_key: entry} if entry else {}
        with open(os.open(self._authfile, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            json.dump({"auths": auths}, file)
        return self

    def __exit__(self, *_exception):
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def _authfile(self):
        return os.path.join(self._folder, "auth.json")

    def version(self):
        # The command "podman version" would open the storage.
        return "Podman " + self._run("--version").rpartition(" ")[2].strip()

    def _list(self):
        found = {}
        for image in json.loads(self._run("images", "--format", "json") or "null") or []:
            stored = found.setdefault(image["Id"], StoredImage())
            stored.names |= self._in_repository(image.get("Names"))
            stored.digests |= {name.digest for name in self._in_repository(image.get("RepoDigests"))}
        return found

    def root(self):
        with contextlib.suppress(EngineError, EngineDownError):
            return self._run("info", "--format", "{{.Store.GraphRoot}}").strip()
        return ""

    def load(self, archive):
        self._run("load", "--quiet", action="push", stdin=archive)

    def push(self, name):
        path = os.path.join(self._folder, "digest")
        self._run("push", "--quiet", "--authfile", self._authfile, "--digestfile", path, str(name), action="push")
        with contextlib.suppress(OSError), open(path, encoding="ascii", errors="replace") as file:
            return file.read().strip()
        return ""

    def pull(self, name):
        self._run("pull", "--quiet", "--authfile", self._authfile, str(name), action="pull")

    def remove(self, name):
        self._run("rmi", str(name), absent=1)

    def tag(self, identifier, name):
        self._run("tag", identifier, str(name))

    def _untag(self, identifier, name, _keep):
        if name.tag:
            self._run("untag", identifier, str(name))
        else:
            # "podman untag" does not accept a digest. "podman rmi" keeps an image that has another name.
            self.remove(name)

    def _run(self, *arguments, action="", stdin=b"", absent=0):
        """The output of a command, or None where it ends with the status `absent`."""
        if arguments[0] != "images":
            self._known = None
        status, stdout, stderr = run_command("podman", arguments, self._timeout, "Podman", stdin)
        if absent and status == absent:
            return None
        if status != 0:
            text = re.sub(r"^Error: ", "", stderr.strip().rpartition("\n")[2])
            raise self._failure(text, action or "pull")
        return stdout

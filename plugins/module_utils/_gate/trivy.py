# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Trivy, as a program of the host, in a container, or with a server. Private to this collection.

It gets images as an OCI image layout that is on the disk already. So it needs no login, no CA and, but for a server,
no network, and none of them can leak or be missing.
"""

from __future__ import annotations

import os
import tempfile
import urllib.parse
import uuid

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError, RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._common.process import find, run
from ansible_collections.wharf.registry.plugins.module_utils._distribution.manifest import read_object
from ansible_collections.wharf.registry.plugins.module_utils._distribution.tls import TLSConfig
from ansible_collections.wharf.registry.plugins.module_utils._distribution.transport import HttpClient
from ansible_collections.wharf.registry.plugins.module_utils._gate.findings import clean

# What it reads by itself where it runs, and what it would tell its makers.
_QUIET = {"TRIVY_SKIP_VERSION_CHECK": "true", "TRIVY_DISABLE_TELEMETRY": "true", "TRIVY_NO_PROGRESS": "true"}
# All else of the environment could change what is found, such as TRIVY_SEVERITY.
_KEPT = ("PATH", "LANG", "TMPDIR", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")
_LARGEST_REPORT = 256 << 20
# Seconds in which it ends by itself when its time is over.
_GRACE = 5
# With which Docker and Podman end where they can't start a container.
_NOT_RUN = 125
# What it says of a system whose name it knows, and of which it has no data.
_UNKNOWN_VERSION = "not on the EOL list"
# Where a container has the layout and the cache.
_LAYOUT, _CACHE = "/layout", "/cache"
FORMS = {"report": "json", "cyclonedx": "cyclonedx", "spdx": "spdx-json"}
# What its errors mean, and what helps.
_KNOWN = (
    ("no space left on device", "The disk is full", "Free space for {cache} and for the temporary directory"),
    (
        "--skip-db-update cannot be specified on the first run",
        "{cache} has no vulnerability database",
        "Give database.repository, the copy of trivy-db in your registry",
    ),
    (
        "--skip-java-db-update cannot be specified on the first run",
        "The image has Java archives, and {cache} has no database of them",
        "Give database.java_repository, the copy of trivy-java-db in your registry",
    ),
    (
        "cache may be in use by another process",
        "{cache} is in use by another Trivy",
        "Wait for it, or give a cache_dir of its own",
    ),
    ("old schema version", "The vulnerability database is of another version than this Trivy reads", "Update both"),
)


class ScanError(RegistryError):
    """A scan that gave no report."""


class Trivy:
    """options are those of the option scanner of registry_scan, cache_dir where its databases lie.

    What it knows of layers is forgotten after each image. It would find them again by digests that an image claims for
    its layers, and so take those of one image for those of another.
    """

    def __init__(self, options, cache_dir):
        self._program = options["program"]
        self._image = options["image"]
        self._server = options["server"]
        self._token = options["token"]
        self._timeout = options["timeout"]
        self._engine = options["engine"]
        self.cache_dir = cache_dir
        if self._server and urllib.parse.urlsplit(self._server).scheme not in ("http", "https"):
            raise InputError(f"scanner.server is {self._server!r}", "Give its URL, as https://trivy.example.com:4954")

    # --- what it knows ------------------------------------------------------------------------------------------------

    def version(self, cache):
        """What it says of itself and the databases in a cache, as an object. Raises ScanError."""
        options = ["version", "--format", "json", "--cache-dir", self._inside(cache)]
        status, told, errors = self._run(options, None)
        document = read_object(told.encode())
        if status != 0 or document is None:
            raise self._failed(status, errors)
        return document

    def server_version(self):
        """What the server says of itself and its database, as an object. Raises ScanError."""
        tls = TLSConfig(urllib.parse.urlsplit(self._server).netloc)
        try:
            with HttpClient(tls) as client:
                answer = client.request("GET", f"{self._server.rstrip('/')}/version")
        except RegistryError as error:
            raise ScanError(
                f"The Trivy server {self._server} does not answer: {error.message}", "Check scanner.server"
            ) from None
        document = read_object(answer.body) if answer.status == 200 else None
        if document is None:
            raise ScanError(f"{self._server} is no Trivy server", "Correct scanner.server")
        return document

    def check(self):
        """Raises ScanError where it is not here."""
        if self._image is None and find(self._program) is None:
            raise ScanError(
                f"There is no program {self._program} here",
                "Install Trivy on this host, or give scanner.image, its image in your registry by digest",
            )
        if self._image is not None and find(self._engine) is None:
            raise ScanError(
                f"There is no {self._engine} here to run {self._image}", "Install it, or give scanner.program"
            )

    # --- what it does -------------------------------------------------------------------------------------------------

    def scan(self, cache, layout, digest, form="report"):
        """(the bytes of a report on a manifest in the layout, in one of FORMS, whether anything was compared).

        Raises ScanError.
        """
        options = ["image", "--format", FORMS[form], "--input", f"{self._inside(layout)}@{digest}"]
        options += ["--cache-dir", self._inside(cache), "--timeout", f"{self._timeout}s", "--offline-scan"]
        if form == "report":
            options += ["--scanners", "vuln", "--list-all-pkgs"]
        if self._server:
            options += ["--server", self._server]
        else:
            options += ["--cache-backend", "memory", "--skip-db-update", "--skip-java-db-update"]
        status, report, errors = self._run(options, layout)
        if status != 0:
            raise self._failed(status, errors)
        if len(report) > _LARGEST_REPORT or read_object(report.encode()) is None:
            raise ScanError("Trivy ended well and gave no report", "Run the module again with -vvv, and update Trivy")
        return report.encode(), _UNKNOWN_VERSION not in errors

    def _inside(self, path):
        """A directory as Trivy sees it."""
        if self._image is None:
            return path
        if path.startswith(self.cache_dir):
            return _CACHE + path[len(self.cache_dir) :]
        return _LAYOUT

    def _run(self, options, layout):
        """(exit status, standard output, standard error)."""
        self.check()
        with tempfile.TemporaryDirectory(prefix="wharf-scan-") as empty:
            environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
            environment.update(_QUIET, HOME=empty, DOCKER_CONFIG=empty)
            if self._token:
                environment["TRIVY_TOKEN"] = self._token
            if self._image is None:
                # It reads trivy.yaml and .trivyignore where it runs.
                return run([find(self._program), *options], self._timeout + _GRACE, env=environment, cwd=empty)
            name = f"wharf-scan-{uuid.uuid4().hex}"
            try:
                return run(
                    [*self._container(name, layout), *options], self._timeout + _GRACE, env=environment, cwd=empty
                )
            finally:
                # A client that is killed leaves its container behind.
                run([find(self._engine), "rm", "--force", name], env=environment)

    def _container(self, name, layout):
        """The command of a container that has the layout, the cache, and nothing else."""
        command = [find(self._engine), "run", "--rm", f"--name={name}", "--pull=never", "--read-only", "--tmpfs=/tmp"]
        command += ["--cap-drop=ALL"]
        command += ["--security-opt=no-new-privileges", f"--volume={self.cache_dir}:{_CACHE}"]
        command += [f"--volume={layout}:{_LAYOUT}:ro"] if layout else []
        command += [f"--env={name}={value}" for name, value in _QUIET.items()]
        # By name alone: its value is in the environment of the client, and not in a list of processes.
        command += ["--env=TRIVY_TOKEN"] if self._token else []
        command += [] if self._server else ["--network=none"]
        return [*command, self._image]

    def _failed(self, status, errors):
        lowered = errors.lower()
        for words, problem, cure in _KNOWN:
            if words in lowered:
                return ScanError(problem.format(cache=self.cache_dir), cure.format(cache=self.cache_dir))
        if self._image is not None and status == _NOT_RUN:
            said = [line for line in errors.splitlines() if "rror" in line] or [errors]
            return ScanError(
                f"{self._engine} does not run the image {self._image}: {clean(said[0])}",
                "Have it on this host: pull it by its digest from your registry",
            )
        if status < 0:
            return ScanError(f"Trivy was ended by signal {-status}", "Check the memory of this host, and run it again")
        if status == 127 and "timed out" in lowered:
            return ScanError(f"Trivy did not end within {self._timeout} seconds", "Raise scanner.timeout")
        return ScanError(
            f"Trivy failed: {_last(errors) or f'it ended with {status}'}", "Correct that, and run it again"
        )


def field(document, *names):
    """What lies at the end of these names of objects, or None."""
    for name in names:
        document = document.get(name) if isinstance(document, dict) else None
    return document


def _last(errors):
    """The sentence of its last error: 2026-11-30T10:19:09Z FATAL Fatal error run error: init error: ..."""
    lines = [line for line in errors.strip().splitlines() if line.strip()]
    fatal = [line for line in lines if "FATAL" in line] or lines
    return clean(fatal[-1].rpartition("FATAL")[2].replace("Fatal error", "", 1)) if fatal else ""

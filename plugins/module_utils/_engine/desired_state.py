# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The desired trust in registries, and the certificate files that it takes. Private to this collection."""

from __future__ import annotations

import os

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError
from ansible_collections.wharf.registry.plugins.module_utils._common.reference import HUB, parse_registry
from ansible_collections.wharf.registry.plugins.module_utils._common.transaction import Change
from ansible_collections.wharf.registry.plugins.module_utils._common.x509 import check_ca, check_pair
from ansible_collections.wharf.registry.plugins.module_utils._engine.daemon_json import (
    check_mirror,
    check_upstream_mirror,
    has_path,
)
from ansible_collections.wharf.registry.plugins.module_utils._engine.policies import parse_policies

_CA, _CERTIFICATE, _KEY = "ca.crt", "client.cert", "client.key"


class DesiredState:
    """The settings of registries that engines are to have.

    registries: dictionaries with the options of registry_client. mirrors: those of Docker Hub, and upstreams those of
    any registry, {registry: [URL]}. policies: which images are accepted. present: whether the settings are to exist.
    `warnings` lists what is unusual about them. Raises InputError where they are invalid.
    """

    def __init__(self, registries, mirrors, present, upstreams=None, policies=None):
        self.present = present
        self.policies = parse_policies(policies, present)
        for url in mirrors:
            check_mirror(url)
        upstreams = {_upstream(name): _urls(name, urls) for name, urls in (upstreams or {}).items()}
        of_hub = upstreams.pop(HUB, [])
        # What the Docker Engine can be told, and what it can't: it knows mirrors of Docker Hub alone, without a path.
        self.mirrors = [*mirrors, *(url for url in of_hub if not has_path(url))]
        self.beyond_docker = ([f"{HUB} below a path"] if any(map(has_path, of_hub)) else []) + sorted(upstreams)
        # Those of each registry, for engines that can ask them.
        self.upstreams = {**({HUB: [*mirrors, *of_hub]} if mirrors or of_hub else {}), **upstreams}
        self.registries = [
            (parse_registry(options["host"], former=not present).name, options) for options in registries
        ]
        self.warnings = []
        names = [name for name, _options in self.registries]
        duplicates = sorted({name for name in names if names.count(name) > 1})
        if duplicates:
            raise InputError(
                f"registries names {' and '.join(duplicates)} more than once",
                "Put all options of a registry into one entry",
            )
        if present:
            for name, options in self.registries:
                self._check(name, options)

    def _check(self, name, options):
        if options["ca"]:
            self.warnings += check_ca(options["ca"], f"the CA of {name}")
        if options.get("username") and not options.get("password"):
            raise InputError(f"{name} has a username and no password", "Give both, or an empty username for no login")
        certificate, key = options["client_cert"], options["client_key"]
        if (certificate is None) != (key is None) or bool(certificate) != bool(key):
            raise InputError(f"{name} has one of client_cert and client_key", "Give both, or an empty text for both")
        if certificate:
            check_pair(certificate, key, name)

    def names(self, insecure):
        """The registries to use without TLS or without a CA, or the others."""
        return [name for name, options in self.registries if (self.present and bool(options["insecure"])) is insecure]

    def certificate_files(self, folder):
        """[(path, bytes or None, permissions)]. An option that is None leaves its file as it is."""
        files = []
        for name, options in self.registries:
            for file, option, mode in (
                (_CA, "ca", 0o644),
                (_CERTIFICATE, "client_cert", 0o644),
                (_KEY, "client_key", 0o600),
            ):
                text = options[option] if self.present else ""
                if text is not None:
                    content = f"{text.strip()}\n".encode() if text.strip() else None
                    files.append((os.path.join(folder, name, file), content, mode))
        return files


def _upstream(name):
    named = parse_registry(name, what="upstream_mirrors").name
    return HUB if named == "index.docker.io" else named


def _urls(name, urls):
    """The URLs of the mirrors of a registry, one or several."""
    found = [urls] if isinstance(urls, str) else urls
    if not isinstance(found, list) or not found or not all(isinstance(url, str) for url in found):
        raise InputError(f"upstream_mirrors gives {name} no URL", "Give one, or a list of them")
    for url in found:
        check_upstream_mirror(url)
    return found


def certificate_changes(desired, folder):
    """The Changes of the certificates below a directory. Raises InputError where one would follow a symbolic link."""
    changes = []
    for file in desired.certificate_files(folder):
        change = Change(*file)
        if os.path.islink(change.path):
            if change.before.content == change.after:
                continue
            raise InputError(
                f"{change.path} is a symbolic link to {os.readlink(change.path)}, which others may read as well",
                "Remove the link, or change its target by other means",
            )
        changes.append(change)
    return changes


def certificate_paths(folder, name, written=()):
    """(CA, certificate, key) of a registry, paths, each None where there is none.

    written: {path: bytes or None}, those that the same run writes.
    """
    paths = [os.path.join(folder, name, file) for file in (_CA, _CERTIFICATE, _KEY)]
    return [
        path if (written[path] is not None if path in written else os.path.exists(path)) else None for path in paths
    ]


def is_certificate(path):
    return os.path.basename(path) in (_CA, _CERTIFICATE, _KEY)

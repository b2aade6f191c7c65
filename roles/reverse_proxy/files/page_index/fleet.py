# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known of the fleet on this host: the last reports of playbooks, and what other programs leave behind."""

from __future__ import annotations

import base64
import binascii
import collections
import os
import re
import time

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError
from ansible_collections.wharf.registry.plugins.module_utils._common.x509 import validity
from ansible_collections.wharf.registry.plugins.module_utils._reports.fleet import KINDS, fleet_document
from page_settings import read_document

_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----")


class Fleet:
    """Reads files. settings: `name` of this host, `registry`, the directory `reports`, the files `backup`, `mirror`,
    `collection` and `exposure`, each of which need not be there, and `certificates`, a list of `name` and `path`."""

    def __init__(self, settings, registry):
        self._settings = settings
        self._registry = registry
        self._seen = None
        # {digest: on how many hosts it runs}, as of the last document.
        self.running = {}

    def changed(self):
        """Whether one of the files is another one than at the last look."""
        seen = [_state(path) for path in self._paths()]
        changed, self._seen = seen != self._seen, seen
        return changed

    def document(self):
        """The document fleet.json."""
        settings = self._settings
        reports = {kind: read_document(self._report(kind)) for kind in KINDS}
        mirror = read_document(settings.get("mirror"))
        host = {
            "made": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "registry": self._registry,
            "name": settings.get("name", ""),
            "backup": read_document(settings.get("backup")),
            "mirrors": mirror.get("mirrors") if isinstance(mirror, dict) else None,
            "collection": read_document(settings.get("collection")),
            "exposure": read_document(settings.get("exposure")),
            "certificates": [end for one in self._certificates() for end in _end(one, settings.get("name", ""))],
        }
        document = fleet_document(reports, host)
        pairs = {(run["digest"], one["host"]) for one in document["hosts"] for run in one["runs"] if run["digest"]}
        self.running = dict(collections.Counter(digest for digest, _host in pairs))
        return document

    def _report(self, kind):
        return os.path.join(self._settings.get("reports", ""), f"{kind}.json")

    def _certificates(self):
        return self._settings.get("certificates", [])

    def _paths(self):
        files = [self._settings.get(name) for name in ("backup", "mirror", "collection", "exposure")]
        return [*(self._report(kind) for kind in KINDS), *files, *(one["path"] for one in self._certificates())]


def _end(certificate, host):
    """[what there is to say of the first certificate in a file], or nothing."""
    try:
        with open(certificate["path"], encoding="ascii", errors="replace") as file:
            found = _CERTIFICATE.search(file.read(1 << 20))
        end = validity(base64.b64decode("".join(found.group(1).split())), certificate["path"])[1] if found else None
    except (OSError, InputError, binascii.Error):
        return []
    if end is None:
        return []
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(end))
    return [{"host": host, "name": certificate["name"], "subject": certificate["path"], "not_after": when}]


def _state(path):
    try:
        found = os.stat(path or "")
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size

# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reports beside the images that they are of, in the registry. Private to this collection.

Everyone who may push to a repository can put a report there that praises an image. So each of ours has a seal, made
with a key that only this host has, over what it is of and what it says. One without it is for people to read.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import secrets

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError
from ansible_collections.wharf.registry.plugins.module_utils._distribution.blobs import digest_of
from ansible_collections.wharf.registry.plugins.module_utils._distribution.referrers import (
    artifact_of,
    attach,
    find_referrers,
)
from ansible_collections.wharf.registry.plugins.module_utils._distribution.transport_errors import AnswerError
from ansible_collections.wharf.registry.plugins.module_utils._gate.blob_reader import read_blob

REPORT_TYPE = "application/vnd.wharf.scan-report.v1+json"
TYPES = {"report": REPORT_TYPE, "cyclonedx": "application/vnd.cyclonedx+json", "spdx": "application/spdx+json"}
_CREATED = "org.opencontainers.image.created"
_TITLE = "org.opencontainers.image.title"
_SCANNER = "registry.wharf.scan.scanner"
_DATABASE = "registry.wharf.scan.database"
_DATABASE_DIGEST = "registry.wharf.scan.database-digest"
_ORIGIN = "registry.wharf.scan.origin"
_SEAL = "registry.wharf.scan.seal"
_SEALED = (_CREATED, _SCANNER, _DATABASE, _DATABASE_DIGEST, _ORIGIN)
# Goes into each seal: what is sealed, and in which order.
_FORMAT = "wharf.registry report 1"
# The most of them that are looked at for one image, the newest first.
_MOST = 20
_LARGEST = 256 << 20


def seal_key(cache_dir):
    """The key of this host, made where there is none. Raises InputError."""
    path = os.path.join(cache_dir, "seal.key")
    try:
        if not os.path.exists(path):
            _make_key(path)
        with open(path, encoding="ascii", errors="replace") as file:
            found = os.fstat(file.fileno())
            key = file.read().strip()
    except OSError as error:
        raise InputError(
            f"{path} can't be used: {error.strerror}", "Give a cache_dir that this account may write"
        ) from None
    if len(key) < 64 or found.st_uid not in (0, os.geteuid()) or found.st_mode & 0o077:
        raise InputError(
            f"{path} is no key that this account alone can read", "Remove the file: reports are made again then"
        )
    return key.encode("ascii", "replace")


def _make_key(path):
    """Whole or not at all: two runs may be the first at once, and one of them be killed."""
    new = f"{path}.{secrets.token_hex(4)}"
    try:
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            file.write(secrets.token_hex(32))
        with contextlib.suppress(FileExistsError):
            os.link(new, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(new)


class Facts:
    """What is told of a report beside its content: times as RFC 3339, and the digests of the databases' artefacts.

    scanned says whether it was made here, and not brought by somebody.
    """

    def __init__(self, created, scanner, database_date, database_digest="", *, scanned=False):
        self.created = created
        self.scanner = scanner
        self.database_date = database_date
        self.database_digest = database_digest
        self.scanned = scanned

    def annotations(self):
        origin = "scanned" if self.scanned else "given"
        values = (self.created, self.scanner, self.database_date, self.database_digest, origin)
        return dict(zip(_SEALED, values))


class Stored:
    """A report of ours in the registry: the digest of its manifest, its bytes, and its Facts."""

    def __init__(self, digest, content, facts):
        self.digest = digest
        self.content = content
        self.facts = facts


class ReportStore:
    """The reports of one repository. key is that of the seals."""

    def __init__(self, api, repository, key):
        self._api = api
        self._repository = repository
        self._key = key

    def _seal(self, kind, subject, blob, annotations):
        told = json.dumps([_FORMAT, kind, subject, blob, *(annotations.get(name, "") for name in _SEALED)])
        return hmac.new(self._key, told.encode(), hashlib.sha256).hexdigest()

    def find(self, subject, accept):
        """The newest Stored report of this host on a digest whose Facts accept(facts) takes, or None."""
        listed = [
            one
            for one in find_referrers(self._api, self._repository, subject)
            if one.get("artifactType") == REPORT_TYPE
        ]
        listed.sort(key=_listed_date, reverse=True)
        for entry in listed[:_MOST]:
            try:
                stored = self._read(subject, entry["digest"], accept)
            except AnswerError:
                # A damaged one is none: it is made again.
                continue
            if stored is not None:
                return stored
        return None

    def _read(self, subject, digest, accept):
        manifest = self._api.manifest(self._repository, digest)
        document = {} if manifest is None else manifest.document
        named = document.get("subject")
        if not isinstance(named, dict) or named.get("digest") != subject or len(manifest.blobs) != 2:
            # The list may say what it likes: it is the manifest that names its subject.
            return None
        if document.get("artifactType") != REPORT_TYPE:
            return None
        blob = manifest.blobs[1]["digest"]
        annotations = {name: manifest.annotation(name) for name in (*_SEALED, _SEAL)}
        seal = self._seal(REPORT_TYPE, subject, blob, annotations)
        if not hmac.compare_digest(annotations[_SEAL].encode("utf-8", "replace"), seal.encode()):
            return None
        *told, origin = (annotations[name] for name in _SEALED)
        facts = Facts(*told, scanned=origin == "scanned")
        content = read_blob(self._api, self._repository, blob, _LARGEST) if accept(facts) else None
        return None if content is None else Stored(digest, content, facts)

    def put(self, subject, content, facts, form="report"):
        """Stores what was made of a Manifest, and returns the digest of the new one. Raises RegistryError."""
        manifest = self._manifest(subject, content, facts, form)
        attach(self._api, self._repository, subject, manifest, content)
        return manifest.digest

    def has(self, subject, content, facts, form="report"):
        """Whether this very report is there."""
        return self._api.head(self._repository, self._manifest(subject, content, facts, form).digest) is not None

    def _manifest(self, subject, content, facts, form):
        blob = digest_of(content)
        annotations = facts.annotations()
        annotations[_SEAL] = self._seal(TYPES[form], subject.digest, blob, annotations)
        layer_type = "application/json" if form == "report" else TYPES[form]
        layer = {
            "mediaType": layer_type,
            "digest": blob,
            "size": len(content),
            "annotations": {_TITLE: f"{form}.json"},
        }
        return artifact_of(subject, TYPES[form], layer, annotations)


def _listed_date(entry):
    annotations = entry.get("annotations")
    date = annotations.get(_CREATED) if isinstance(annotations, dict) else None
    return date if isinstance(date, str) else ""

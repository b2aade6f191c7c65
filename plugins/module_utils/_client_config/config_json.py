# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a credential file of Docker or Podman says of a registry. Pure functions. Private to this collection."""

from __future__ import annotations

from ansible_collections.wharf.registry.plugins.module_utils._client_config.config_schema import (
    SECRET_FIELDS,
    check,
    check_logins,
    decoded,
)
from ansible_collections.wharf.registry.plugins.module_utils._common.json_text import SPACE
from ansible_collections.wharf.registry.plugins.module_utils._common.json_text import parse as parse_json
from ansible_collections.wharf.registry.plugins.module_utils._common.password import encoded_pair
from ansible_collections.wharf.registry.plugins.module_utils._common.reference import names_registry
from ansible_collections.wharf.registry.plugins.module_utils._distribution.auth import Credential


def parse(raw, path, podman=False):
    """The document in the bytes of a file. Raises InputError, which shows nothing of the content.

    podman: whether the file is one that Docker does not read.
    """
    # Docker takes a file without a word in it, as editors and `touch` leave it, for one without settings.
    document = parse_json(raw, path) if raw.strip(SPACE) else {}
    check(document, path, podman)
    return document


def read_entry(entry, podman=False):
    """The Credential in an entry of `auths`, or None where it holds none that can be used."""
    entry = entry or {}
    username = password = ""
    if not podman:
        username, password = entry.get("username") or "", entry.get("password") or ""
    try:
        "".join(entry.get(name) or "" for name in SECRET_FIELDS).encode()
    except UnicodeEncodeError:
        return None
    if entry.get("auth"):
        pair = decoded(entry["auth"])
        try:
            username, password = (part.decode("utf-8") for part in pair or ())
        except ValueError:
            return None
    if entry.get("identitytoken"):
        return Credential(username, identity_token=entry["identitytoken"])
    return Credential(username, password) if username and password else None


def _write_entry(entry, credential):
    """The entry with this credential, or with none, and with all that is not a login as it was."""
    kept = {name: value for name, value in (entry or {}).items() if name not in SECRET_FIELDS}
    if credential is None:
        return kept
    fields = {}
    if credential.username:
        fields["auth"] = encoded_pair(credential.username, credential.password)
    if credential.identity_token:
        fields["identitytoken"] = credential.identity_token
    return {**fields, **kept}


def same_secret(one, other):
    """Whether two credentials let the same user in. Helpers do not keep the user of an identity token."""
    if one is None or other is None:
        return one is other
    if one.identity_token or other.identity_token:
        return one.identity_token == other.identity_token
    return one == other


class Document:
    """What a credential file says of one registry. Never changes: its methods give the document to write."""

    def __init__(self, content, registry, podman=False):
        self.content = content
        self._registry = registry
        self._podman = podman
        self.key = registry.podman_key if podman else registry.config_key
        # Of helpers, Podman knows none for a part of a registry.
        self.helper_key = registry.name if podman else registry.config_key
        auths = content.get("auths") or {}
        # The key of today first, as Docker looks for it before the old spellings.
        self.spellings = sorted(
            (key for key in auths if names_registry(key, registry)), key=lambda key: key != self.key
        )
        credentials = [read_entry(auths[key], podman) for key in self.spellings]
        self.credential = next((credential for credential in credentials if credential is not None), None)

    @property
    def knows_namespaces(self):
        """Whether a part of a registry may have a login of its own, as in Podman's files."""
        return self._podman

    @property
    def helper(self):
        """The helper that Docker asks for this registry, or an empty string where the secret lies in the file."""
        helpers = self.content.get("credHelpers") or {}
        if self.helper_key in helpers:
            return helpers[self.helper_key] or ""
        return "" if self._podman else self.content.get("credsStore") or ""

    def logged_in(self, credential):
        """With this credential in the file, or with Docker's mark of a login whose secret lies in a helper."""
        in_file = credential is not None
        if not in_file and self._podman and not self.spellings:
            return self
        auths = self.content.get("auths") or {}
        # What stands in duplicates beside the login is kept, and the entry of today wins.
        entry = {}
        for key in reversed(self.spellings):
            entry.update(auths[key] or {})
        if in_file and self.spellings == [self.key] and read_entry(auths[self.key]) == credential:
            return self
        return self._with("auths", self._replaced(auths, _write_entry(entry, credential)))

    def _replaced(self, auths, entry):
        """One entry where the first of the spellings stood, or at the end."""
        result = {}
        for key, value in auths.items():
            if key not in self.spellings:
                result[key] = value
            elif self.key not in result:
                result[self.key] = entry
        result.setdefault(self.key, entry)
        return result

    def check(self, path):
        """Raises InputError where Docker would ignore the file of this path because of a login in it."""
        if not self._podman:
            check_logins(self.content, path)

    def logged_out(self):
        """Without any entry of the registry."""
        if not self.spellings:
            return self
        return self._with(
            "auths", {key: value for key, value in self.content["auths"].items() if key not in self.spellings}
        )

    def with_helper(self, name):
        """Asking the helper for this registry, or none where the name is empty."""
        helpers = dict(self.content.get("credHelpers") or {})
        if name or (self.content.get("credsStore") and not self._podman):
            # An empty name is how Docker is told that the file comes before credsStore.
            helpers[self.helper_key] = name
        else:
            helpers.pop(self.helper_key, None)
        return self._with("credHelpers", helpers)

    @property
    def has_empty_helper(self):
        """Whether credHelpers has an empty name for it: docker looks into the file, and Podman runs a program without
        a name."""
        helpers = self.content.get("credHelpers") or {}
        return self.helper_key in helpers and not helpers[self.helper_key]

    def readable(self):
        """Without an empty name in credHelpers that says nothing, since no credsStore comes before the file."""
        return self.with_helper("") if self.has_empty_helper else self

    def without_helper(self, name):
        """Not asking this helper for this registry by credHelpers."""
        helpers = dict(self.content.get("credHelpers") or {})
        if helpers.get(self.helper_key) == name:
            del helpers[self.helper_key]
        return self._with("credHelpers", helpers)

    def _with(self, name, value):
        # What is empty already need not be written as empty.
        if value == (self.content.get(name) or {}):
            return self
        return Document({**self.content, name: value}, self._registry, self._podman)

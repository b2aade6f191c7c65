# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks the connection from a host to a registry hop by hop, up to a pull or a push. Private to this collection."""

from __future__ import annotations

import contextlib
import urllib.parse

from ansible_collections.wharf.registry.plugins.module_utils._client_config.keychain import (
    find_credential,
    other_logins,
)
from ansible_collections.wharf.registry.plugins.module_utils._common.errors import RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._common.reference import Reference
from ansible_collections.wharf.registry.plugins.module_utils._common.run_as import Account
from ansible_collections.wharf.registry.plugins.module_utils._diagnosis import explain
from ansible_collections.wharf.registry.plugins.module_utils._diagnosis.hops import Hops
from ansible_collections.wharf.registry.plugins.module_utils._diagnosis.probe_image import probe_archive
from ansible_collections.wharf.registry.plugins.module_utils._distribution.auth import Credential
from ansible_collections.wharf.registry.plugins.module_utils._distribution.client_errors import DeniedError
from ansible_collections.wharf.registry.plugins.module_utils._distribution.http_connection import resolved
from ansible_collections.wharf.registry.plugins.module_utils._distribution.transport_errors import AnswerError
from ansible_collections.wharf.registry.plugins.module_utils._engine.docker_api import EngineDownError, EngineError
from ansible_collections.wharf.registry.plugins.module_utils._engine.image_stores import find_image_store


class ConnectionCheck:
    """One check of a registry. The attributes `hops` and `seen` have the findings, after a failure as well.

    connection: a Connection. warn: is called with the text of a warning.
    """

    def __init__(self, connection, registry, warn, tag_was_named=True, repository=""):
        self._repository = repository
        self._tag_was_named = tag_was_named
        self._connection = connection
        self._registry = registry
        self._warn = warn
        self._client = connection.client(registry)
        self._credential = None
        self._api = None
        self._hops = Hops(registry)
        self.seen = {"addresses": [], "hosts_file": [], "disks": [], "clock_ahead": None}

    @property
    def hops(self):
        """The records of the hops so far."""
        return self._hops.records

    def __enter__(self):
        return self

    def __exit__(self, *_exception):
        self._client.close()

    def check_login(self, accounts=()):
        """Checks the hops from the name to the credentials of each account, without any changes. Raises HopError."""
        anonymous = self._connection.api(self._registry, self._client)
        secure = anonymous.url.startswith("https:")
        self._resolve(anonymous.url)
        for name in ("name", "connection", "TLS") if secure else ("name", "connection"):
            with self._hops.hop(name) as hop:
                try:
                    hop["said"] = self._client.step(name, anonymous.url)
                except RegistryError as error:
                    self._explain_tls(error, anonymous.url)
                    raise
        with self._hops.hop("registry") as hop:
            schemes = anonymous.challenges()
            hop["said"] = f"it requires a login ({', '.join(schemes)})" if schemes else "it requires no login"
        if not schemes:
            self._warn(f"{self._registry.name} requires no login: every client that reaches it can read it")
        with self._hops.hop("credentials") as hop:
            hop["said"] = ", ".join(self._log_in(account) for account in accounts or [""])

    def _resolve(self, url):
        """Keeps the addresses of the registry, to find the hosts of a fleet that resolve the name differently."""
        host, port = urllib.parse.urlsplit(url).hostname, urllib.parse.urlsplit(url).port
        self.seen["hosts_file"] = explain.in_hosts_file(host)
        with contextlib.suppress(OSError, UnicodeError):
            self.seen["addresses"] = resolved(host, port, self._connection.params["timeout"])

    def _explain_tls(self, error, url):
        if error.mistake in ("expired", "not_yet_valid"):
            self.seen["clock_ahead"] = explain.explain_time(error, url, self._connection.params["timeout"])
        elif error.mistake == "unknown_ca" and not self._connection.params["ca_path"]:
            explain.explain_ca(error, self._registry)

    def _log_in(self, account):
        """Logs in as an account, and describes the outcome. The engine uses the first of these logins."""
        credential, others = self._login_of(account)
        api = self._connection.api(self._registry, self._client, credential)
        user = repr(credential.username or "<token>") if credential else "anonymous access"
        try:
            verified = api.ping()
        except RegistryError as error:
            if error.mistake == "not_logged_in":
                explain.explain_login(error, self._registry, others)
            if account:
                error.message = f"of the account {account!r}: {error.message}"
            raise
        if self._api is None:
            self._credential, self._api = credential, api
        said = f"it accepts {user}" if verified and credential else f"it admits {user}"
        return f"{said} for the account {account!r}" if account else said

    def _login_of(self, account):
        """(Credential or None, the other registries that the account is logged in to)"""
        if not account:
            credential = self._connection.credential(self._registry, self._repository)
            return credential, [] if credential else other_logins()
        path, timeout = self._connection.params["config_path"], self._connection.params["timeout"]

        def find_login():
            found = find_credential(self._registry, path, timeout, self._repository)
            return [[found.username, found.password, found.identity_token], []] if found else [None, other_logins()]

        # As the account itself, since only it may be able to use its helpers and to read its home.
        found, others = Account(account).do(find_login)
        return Credential(*found) if found else None, others

    def find_engine(self, reference, name, path, timeout):
        """The ImageStore of the given engine, or of the first that answers. Raises HopError."""
        with self._hops.hop("engine") as hop:
            try:
                store, hop["said"] = find_image_store(name, reference, self._credential, path, timeout)
            except EngineDownError as error:
                error.mistake = "engine_down"
                raise
            return store

    def check_upload_refused(self, repository):
        """Checks that the registry refuses to start an upload, and so a push. Raises HopError."""
        with self._hops.hop("upload refused") as hop:
            if not self._api.refuses_uploads(repository):
                raise DeniedError(
                    f"{self._registry.name} lets {self._user()} push to {repository}, although access is pull",
                    "Check the user's access in reverse_proxy_users, and run site.yml on the registry host",
                    "too_much_access",
                )
            hop["said"] = f"a push to {repository} would be refused"

    def check_upload_allowed(self, repository):
        """Checks that the registry starts an upload, which is then cancelled. Raises HopError."""
        with self._hops.hop("upload allowed") as hop:
            if self._api.refuses_uploads(repository):
                raise DeniedError(
                    f"{self._registry.name} does not let {self._user()} push to {repository}",
                    "Name a repository that this user may push to, or give the user access in reverse_proxy_users",
                    "wrong_account",
                )
            hop["said"] = f"a push to {repository} would be allowed"

    def _user(self):
        return f"user {self._credential.username!r}" if self._credential else "clients without a login"

    def check_image(self, reference):
        """Checks that the registry has an image for this host, with all its parts. Raises HopError."""
        with self._hops.hop("image") as hop:
            hop["said"] = explain.check_image(self._api, reference) or self._absent(reference)

    def check_reach(self, store, reference):
        """Checks that the registry answers the engine, with the image or with its absence. Raises HopError."""
        with store, store.restored({reference}, self._warn), self._hops.hop("reach") as hop:
            try:
                self._explained(store.pull, store, reference)
                hop["said"] = f"the engine pulled {reference}"
            except EngineError as error:
                if error.mistake != "no_image":
                    raise
                hop["said"] = "the registry told the engine that the image does not exist"

    def _explained(self, do, store, reference):
        """The result of do(reference). Adds what this host knows of the cause to the error of the engine."""
        try:
            return do(reference)
        except EngineError as error:
            timeout = self._connection.params["timeout"]
            if error.mistake == "engine_unknown_ca":
                explain.explain_engine_ca(error, self._registry, store.certificate_places, timeout)
            elif error.mistake == "no_space":
                explain.explain_space(error, error.message, store.root())
            elif error.mistake == "registry_error" and do == store.push:
                explain.explain_storage(error, self._api, reference.repository)
            raise

    def pull(self, store, reference):
        """Has the engine pull an image, and returns its digest. Raises HopError."""
        with store, store.restored({reference}, self._warn):
            with self._hops.hop("pull") as hop:
                digest = self._digest(reference)
                self._explained(store.pull, store, reference)
                hop["said"] = f"the engine pulled {reference}"
            with self._hops.hop("digest") as hop:
                image = store.images().get(store.image_id(reference))
                digests = image.digests if image else set()
                if digest not in digests:
                    pulled = ", ".join(sorted(digests)) or "something else"
                    raise _changed(f"the registry has {digest} there, and the engine pulled {pulled}")
                hop["said"] = f"the engine and the registry agree on {digest}"
        return digest

    def check_accepted(self, store, reference, accepted):
        """Checks that the policy of the host accepts an image, or that it does not. Raises HopError."""
        with store, store.restored({reference}, self._warn), self._hops.hop("policy") as hop:
            try:
                self._explained(store.pull, store, reference)
            except EngineError as error:
                if accepted or error.mistake != "not_accepted":
                    raise
                hop["said"] = f"the engine refused {reference}"
                return
            if not accepted:
                raise AnswerError(
                    f"{store.name} pulled {reference}, which the policy of its scope must not accept",
                    "Name an image that is not signed, or find the policy that counts in its place",
                )
            hop["said"] = f"the engine pulled {reference}"

    def push(self, store, reference):
        """Has the engine push the probe image and pull it back, and returns its digest. Raises HopError."""
        names = {reference}
        with store, store.restored(names, self._warn) as before:
            with self._hops.hop("push") as hop:
                self._explained(lambda name: store.load(probe_archive(name)), store, reference)
                built = store.image_id(reference)
                pushed = self._explained(store.push, store, reference)
                digest = self._digest(reference)
                if pushed and pushed != digest:
                    raise _changed(f"the engine pushed {pushed}, and the registry has {digest} there now")
                hop["said"] = f"the engine pushed {reference}"
            by_digest = Reference(reference.registry, reference.repository, "", digest)
            names.add(by_digest)
            with self._hops.hop("pull") as hop:
                if built not in before:
                    # With the image still there, the pull would transfer nothing.
                    store.remove(reference)
                self._explained(store.pull, store, by_digest)
                hop["said"] = f"the engine pulled {by_digest}"
            with self._hops.hop("digest") as hop:
                pulled = store.image_id(by_digest)
                # The identifier is the digest of the configuration or, with images in containerd, of the manifest.
                if pulled not in (built, digest):
                    raise _changed(f"the engine pushed {built}, and pulled {pulled or 'something else'}")
                hop["said"] = f"the engine pulled what it had pushed, {digest}"
        return digest

    def _digest(self, reference):
        head = self._api.head(reference.repository, reference.digest or reference.tag)
        if head is None:
            self._absent(reference)
        return head.digest

    def _absent(self, reference):
        raise explain.explain_absent(self._api, reference, self._tag_was_named)


def _changed(message):
    return AnswerError(message, "Something between this host and the registry changes or caches images")

# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The connection to a registry that options describe, those of a module or of a lookup. Private to this collection."""

from __future__ import annotations

from ansible_collections.wharf.registry.plugins.module_utils._client_config.keychain import find_credential
from ansible_collections.wharf.registry.plugins.module_utils._common.reference import parse_registry
from ansible_collections.wharf.registry.plugins.module_utils._distribution.auth import Credential, check_credential
from ansible_collections.wharf.registry.plugins.module_utils._distribution.client import RegistryClient
from ansible_collections.wharf.registry.plugins.module_utils._distribution.tls import TLSConfig
from ansible_collections.wharf.registry.plugins.module_utils._distribution.transport import HttpClient, check_timeout


class Connection:
    """What the shared options of a connection say. params maps their names to their values."""

    def __init__(self, params):
        self.params = params

    def registry(self, former=False):
        """The Registry of the options. Raises InputError, also for a time limit that is none."""
        check_timeout(self.params["timeout"])
        return parse_registry(self.params["registry"], former)

    def given_credential(self):
        """The Credential of the options, or None. Raises InputError where no client could use it."""
        if self.params["username"] is None:
            return None
        credential = Credential(self.params["username"], self.params["password"])
        check_credential(credential)
        return credential

    def credential(self, registry, repository=""):
        """The Credential of the options or of the account's login, or None. Raises RegistryError.

        repository is what it is for, as Podman may have a login for a part of the registry.
        """
        given = self.given_credential()
        if given is not None:
            return given
        return find_credential(registry, self.params["config_path"], self.params["timeout"], repository)

    def trust(self, registry):
        """The Trust that the options describe."""
        names = ("ca_path", "client_cert", "client_key", "validate_certs")
        return TLSConfig(registry.api_host, **{name: self.params[name] for name in names})

    def client(self, registry, trust=None):
        """The Client that the options describe."""
        return HttpClient(trust or self.trust(registry), self.params["timeout"])

    def api(self, registry, client, credential=None, authorizations=None):
        return RegistryClient(registry, client, credential, self.params["plain_http"], authorizations)

    def apis(self, repository=""):
        """A function that makes an Api, as the user who is given or logged in. Raises RegistryError."""
        registry = self.registry()
        credential = self.credential(registry, repository)
        # What one thread has read or was given serves the others, too.
        trust, authorizations = self.trust(registry), {}
        return lambda: self.api(registry, self.client(registry, trust), credential, authorizations)

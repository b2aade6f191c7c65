# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One side of a copy, as options describe it: a registry or a layout. Private to this collection."""

from __future__ import annotations

from ansible_collections.wharf.registry.plugins.module_utils._client_config.connection import Connection
from ansible_collections.wharf.registry.plugins.module_utils._common.reference import full_name
from ansible_collections.wharf.registry.plugins.module_utils._distribution.describe import is_glob
from ansible_collections.wharf.registry.plugins.module_utils._distribution.pool import Pool
from ansible_collections.wharf.registry.plugins.module_utils._transfer.budget import MeteredClient
from ansible_collections.wharf.registry.plugins.module_utils._transfer.layout import Layout


class _MeteredConnection(Connection):
    """A Connection that keeps to the limit of pulls of its registry."""

    def __init__(self, params, budget):
        super().__init__(params)
        self._budget = budget

    def client(self, registry, trust=None):
        return MeteredClient(trust or self.trust(registry), self.params["timeout"], self._budget)


class Endpoint:
    """A registry or a layout. options are those of ENDPOINT_OPTIONS."""

    def __init__(self, options):
        self._options = options
        self.layout = options["layout"]
        self.name = self.layout or Connection(options).registry().name

    def full_name(self, repository):
        """The name of a repository as the registry has it. Docker Hub puts library/ before names without a path."""
        if self.layout or is_glob(repository):
            return repository
        return full_name(Connection(self._options).registry(), repository)

    def pool(self, size, namespace="", *, budget=None, create=False):
        """A Pool of its clients. Raises RegistryError where no client could be made."""
        if self.layout:
            layout = Layout(self.layout, create)
            return Pool(lambda: layout, size)
        connection = Connection(self._options) if budget is None else _MeteredConnection(self._options, budget)
        return Pool(connection.apis(namespace), size)

# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What modules share: where their errors end, and the connection to a registry. Private to this collection."""

from __future__ import annotations

import contextlib

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.wharf.registry.plugins.module_utils._client_config.connection import Connection
from ansible_collections.wharf.registry.plugins.module_utils._common.errors import RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._modules.argspec import (
    CONNECTION_OPTIONS,
    CONNECTION_RULES,
)


class BaseModule(AnsibleModule):
    """A module that ends with one message, problem and cure, for an error that its user can correct."""

    def __init__(self, argument_spec, **options):
        super().__init__(argument_spec=argument_spec, supports_check_mode=True, **options)
        # A key that is given as a certificate by mistake is refused, and the error must not show it.
        for one in self.params.get("registries") or []:
            texts = (one["ca"], one["client_cert"])
            self.no_log_values.update(text for text in texts if text and "PRIVATE KEY-----" in text)

    def _log_invocation(self):
        """Writes the options to the log of the host, when Ansible calls it.

        A text in a list is written as Python writes it, with a line break as backslash and n. Ansible looks for the
        secret as it is, and would not find one of several lines there.
        """
        self.no_log_values.update([repr(value)[1:-1] for value in self.no_log_values])
        super()._log_invocation()

    @contextlib.contextmanager
    def errors_explained(self):
        """Ends the module with one message for a RegistryError."""
        try:
            yield
        except RegistryError as error:
            self.fail_json(msg=str(error))


class RegistryModule(BaseModule, Connection):
    """A module that talks to one registry: the shared options beside its own, and the connection that they describe."""

    def __init__(self, argument_spec, **options):
        super().__init__({**CONNECTION_OPTIONS, **argument_spec}, required_together=CONNECTION_RULES, **options)

# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The record of the hops to a registry, with a cure for the one that failed. Private to this collection."""

from __future__ import annotations

import contextlib
import re
import time

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._diagnosis.probe_image import host_name

# Cures by hop, in addition to that of the error. The containers are those of this collection's roles.
_CURES = {
    "connection": 'On the registry host, "docker ps" shows whether wharf-proxy (or wharf-INSTANCE-proxy) runs. '
    "Check firewalls in between, too, and reverse_proxy_connections_per_address where only some hosts are refused",
    "credentials": "If they are of reverse_proxy_users, run site.yml on the registry host after changing them",
}
_LOGS = (
    'On the registry host these are "docker logs wharf-proxy" and "docker logs wharf-registry-1", or those of '
    "wharf-INSTANCE-proxy and wharf-INSTANCE-registry-1"
)


class HopError(RegistryError):
    """A hop that failed. hop is its name."""

    def __init__(self, message, cure, hop, mistake=""):
        super().__init__(message, cure, mistake)
        self.hop = hop


class Hops:
    """The hops to a registry. `records` has a dictionary for each hop so far, in the format of registry_check."""

    def __init__(self, registry):
        self._registry = registry
        self.records = []

    @contextlib.contextmanager
    def hop(self, name):
        """Records the outcome of a hop. Yields its record, of which the caller sets "said". Raises HopError."""
        record = {"name": name, "ok": False, "seconds": 0.0, "said": "", "cure": "", "mistake": ""}
        self.records.append(record)
        began = time.monotonic()
        try:
            yield record
            record["ok"] = True
        except RegistryError as error:
            record["said"] = error.message
            logs = _LOGS if re.search(r"\bits log\b|\blogs\b", error.cure) else ""
            cures = [cure.rstrip(".") for cure in (error.cure, _CURES.get(name), logs) if cure]
            record["cure"], record["mistake"] = ". ".join(cures), error.mistake
            raise HopError(
                f"{host_name()} failed the check of {self._registry.name} at the hop {name}: {error.message}",
                record["cure"],
                name,
                error.mistake,
            ) from None
        finally:
            record["seconds"] = round(time.monotonic() - began, 3)

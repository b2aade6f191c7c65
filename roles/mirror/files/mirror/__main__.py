# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies images from other registries by the rules of the role mirror: mirror run|look SETTINGS.

`look` changes nothing and tells what would be copied. Needs Python 3.8 and nothing else. Ends with status 1 and one
line for each mirror that could not do all.
"""

from __future__ import annotations

import json
import sys

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._modules.argspec import completed
from ansible_collections.wharf.registry.plugins.module_utils._modules.sync_run import SYNC_OPTIONS, SyncRun
from state import State


def main(arguments):
    if len(arguments) != 2 or arguments[0] not in ("run", "look"):
        return "usage: mirror run|look SETTINGS"
    looks = arguments[0] == "look"
    try:
        with open(arguments[1], encoding="utf-8") as file:
            settings = json.load(file)
        state = State(settings["state"], [mirror["name"] for mirror in settings["mirrors"]])
        failures = [one for one in (run(mirror, state, looks) for mirror in settings["mirrors"]) if one]
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"wharf-registry: {arguments[1]} or the state can't be used: {error}"
    return "\n".join(failures) or 0


def run(mirror, state, looks):
    """Copies by one mirror, and returns why not all was copied, or an empty text."""
    name = mirror["name"]
    sync = SyncRun()

    def tell(sentence):
        print(f"{name}: {sentence}", flush=True)

    if not looks:
        state.begin(name)
    try:
        sync.run(completed(mirror["options"], SYNC_OPTIONS), looks, tell)
        failure = sync.failure
    except RegistryError as error:
        failure = str(error)
    for warning in sync.warnings:
        tell(f"Warning: {warning}")
    if not looks:
        state.end(name, sync.result, failure)
        if failure and state.stale_since(name):
            tell(f"what is here is stale since {state.stale_since(name)}")
    return f"wharf-registry: mirror {name}: {failure}" if failure else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

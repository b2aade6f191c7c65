# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What RegistryTrust asks of each engine. Private to this collection.

An engine of this host has one class: whether it is there (`is_default`), what it uses (`report`), what it would take
(`plan`), and how it takes that (`needs_reload`, `reload`). A new engine is one file with such a class, and one line in
registry_trust.
"""

from __future__ import annotations

from ansible_collections.wharf.registry.plugins.module_utils._common.transaction import roll_back_all


class EngineTrust:
    """The files of an engine that a DesiredState changes. What it has nothing to do for is done here."""

    name = ""
    # Whether it follows policy.json.
    follows_policies = False

    def __init__(self):
        # Whether the running engine has not applied its file, and is not to be told. `warnings` has why.
        self.restart_needed = False
        self.warnings = []

    @property
    def is_default(self):
        """Whether the engine is written for where the option `engines` names none."""
        raise NotImplementedError

    def plan(self, desired):
        """The Changes that a DesiredState requires. Raises InputError where they are impossible."""
        raise NotImplementedError

    def report(self, changed):
        """The `engine` result of registry_client; changed: whether what was read before may not hold any more."""
        raise NotImplementedError

    def refresh(self):
        """Finds the engine again: another run may have restarted it."""

    def needs_reload(self, changes):
        """Whether the running engine is to be told of these Changes, which are of all engines.

        Sets `restart_needed` and `warnings`.
        """
        del changes
        return False

    def reload(self):
        """Has the engine apply what was written. Raises EngineError."""

    def check(self):
        """Raises EngineError where the engine rejects what was written, and was not to be told."""

    def owns(self, change):
        """Whether a Change is of a file that this engine alone rolls back, since it has to be told."""
        del change
        return False

    def roll_back(self, changes):
        """Restores what these Changes of its own found, and tells the engine; the paths that could not be restored."""
        return roll_back_all(changes)

    def recover(self):
        """Has an engine that a restart did not bring back start with the files that were restored."""

    def shown(self, path, content):
        """The lines of a file for a diff, or None where it is not a file of this engine, or all of it may be shown."""
        del path, content

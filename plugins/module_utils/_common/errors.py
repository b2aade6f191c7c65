# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The errors that a user is shown. Private to this collection."""

from __future__ import annotations


class RegistryError(Exception):
    """What can't be done, and the cure: two sentences for the user of the task. Never holds a secret.

    mistake is the name of what was recognised, of those in _diagnosis/failure_catalog.py, or empty.
    """

    def __init__(self, message, cure="", mistake=""):
        super().__init__(message)
        self.message = message
        self.cure = cure
        self.mistake = mistake

    def __str__(self):
        parts = [part.strip().rstrip(".") for part in (self.message, self.cure) if part]
        return ". ".join(parts) + "."


class InputError(RegistryError):
    """An option, a file or a name that can't be what was meant."""

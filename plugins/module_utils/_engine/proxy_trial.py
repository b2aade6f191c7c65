# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A trial of a new image and configuration of the proxy, before clients meet them. Private to this collection."""

from __future__ import annotations

import subprocess

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import RegistryError


class ProxyError(RegistryError):
    """The proxy is not as it should be. The message goes on after the name of the container."""


class TrialError(ProxyError):
    """The new image with the new configuration does not answer as it should. The cure is what nginx has said first."""


class Trial:
    """Runs the new image with the new configuration for a moment, without clients, and asks what it answers.

    `nginx -t` tells that a configuration can be read, and not that it answers as it should. command: what runs it, with
    the header of a right password on standard input.
    """

    def __init__(self, command, header):
        self._command = command
        self._header = header

    def run(self):
        """Raises TrialError."""
        try:
            done = subprocess.run(self._command, input=self._header.encode(), capture_output=True, check=False)
        except OSError as error:
            raise TrialError("does not serve: it could not be tried", str(error)) from None
        if done.returncode:
            lines = done.stdout.decode("utf-8", "replace").splitlines()
            first = " ".join(done.stderr.decode("utf-8", "replace").splitlines()[:3])
            raise TrialError(f"does not serve: {lines[-1] if lines else 'it does not even start'}", first or "none")

# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The proof of policies: Podman pulls what is signed, and not what is not. Private to this collection."""

from __future__ import annotations

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError
from ansible_collections.wharf.registry.plugins.module_utils._common.reference import parse_registry
from ansible_collections.wharf.registry.plugins.module_utils._diagnosis.verification import Verification, parse_image

# By the option that names an image, what becomes of its pull.
_IMAGES = {"unsigned_image": "refused", "signed_image": "accepted"}


class PolicyProof:
    """One policy, with the images that prove it. options: those of registry_onboard. Raises InputError.

    `result` and `warnings` tell what was proven.
    """

    def __init__(self, options):
        self._scope = options["scope"]
        self._registry = parse_registry(self._scope.partition("/")[0], what="a scope of policies")
        self._images = {option: options[option] for option in _IMAGES if (options[option] or "").strip()}
        self._signed = options["accept"] == "signed"
        for option, image in self._images.items():
            reference = parse_image(image, self._registry)
            if not f"{reference.registry.name}/{reference.repository}/".startswith(f"{self._scope}/"):
                raise InputError(f"{option} is {image!r}, which is not in the scope {self._scope}", "Name one of it")
        self.result = {"scope": self._scope, "refused": "", "accepted": ""}
        self.warnings = []

    def run(self, connection_of):
        """Has Podman pull the images. connection_of: from the name of a registry to options of registry_check."""
        for option, outcome in _IMAGES.items():
            if option in self._images:
                options = {"accounts": [], **connection_of(self._registry.name)}
                options.update(access=outcome, image=self._images[option], engine="podman")
                verification = Verification(options, False)
                try:
                    verification.run()
                finally:
                    self.warnings += verification.warnings
                self.result[outcome] = verification.result["reference"]
            elif self._signed:
                what = "that an unsigned image is refused" if outcome == "refused" else "that a signed image is pulled"
                self.warnings.append(f"Not proven of {self._scope}: {what}. Name one in {option}.")

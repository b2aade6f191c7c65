# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to hold of an image before a tag is pointed at it. Private to this collection."""

from __future__ import annotations

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError, RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._modules.scan_run import SCAN_OPTIONS, ScanRun
from ansible_collections.wharf.registry.plugins.module_utils._modules.signing import public_keys, verify

_OF_SCAN = ("platforms", "scanner", "report", "database", "policy", "baseline", "waivers", "store")
REQUIRE_OPTIONS = {
    "pinned": {"type": "bool", "default": False},
    # Public ones.
    "signed_by": {"type": "list", "elements": "str", "no_log": False},
    "attestations": {"type": "list", "elements": "str", "default": []},
    "cosign": {"type": "str", "default": "cosign"},
    "gate": {"type": "dict", "options": {name: SCAN_OPTIONS[name] for name in _OF_SCAN}},
}
# What requires nothing was meant otherwise.
REQUIRE_RULES = {"required_one_of": [("signed_by", "gate")]}


class RequirementError(RegistryError):
    """An image of which something does not hold. result is what the module returns of it, beside the message."""

    def __init__(self, message, cure, result):
        super().__init__(message, cure)
        self.result = result


class Requirement:
    """The option require of registry_tag. Raises InputError.

    connection makes the connections of the scan.
    """

    def __init__(self, options, connection, check_mode):
        self._options = options
        self._connection = connection
        self._check_mode = check_mode
        self._keys = None if options["signed_by"] is None else public_keys(options["signed_by"], "require.signed_by")
        if options["signed_by"] is None and options["gate"] is None:
            raise InputError("require asks for nothing", "Give signed_by, gate or both")
        if options["attestations"] and self._keys is None:
            raise InputError(
                "require.attestations needs require.signed_by", "Give the keys that have to have made them"
            )
        self._scan = None
        if options["gate"] is not None:
            self._scan = {**options["gate"], "images": None, "sbom": "none"}
            # A mistake in the policy is told before anything is asked.
            ScanRun({**self._scan, "image": ""}, check_mode)
        self.warnings = []
        # Whether a report was kept, or would be.
        self.changed = False

    def check(self, api, source, manifest, tag):
        """What the module returns of it. Raises RequirementError, and RegistryErrors of the registry.

        source is where the manifest was read, and tag the one that is to be pointed at it.
        """
        if self._options["pinned"] and tag == "latest":
            raise RequirementError(
                "The tag latest says nothing of what it is, and moves", "Give the version or the commit as a tag", {}
            )
        return {"verified_by": self._verify(api, source, manifest), "gate": self._judge(source, manifest)}

    def _verify(self, api, source, manifest):
        if self._keys is None:
            return []
        program = self._options["cosign"]
        found = verify(api, source, manifest, self._keys, program=program)
        for kind in self._options["attestations"]:
            verify(api, source, manifest, self._keys, attestation=kind, program=program)
        return list(dict.fromkeys(one["key"] for one in found))

    def _judge(self, source, manifest):
        if self._scan is None:
            return {}
        # By digest, so that what is judged is what the tag is pointed at, whatever becomes of the tag of the source.
        image = f"{source.repository}@{manifest.digest}"
        run = ScanRun({**self._scan, "image": image}, self._check_mode)
        (judged,) = run.run(self._connection)
        self.warnings += run.warnings
        self.changed = run.changed
        if judged["verdict"] != "passed":
            cure = "Mend the image and push it again, or see the findings in the result"
            raise RequirementError(judged["sentence"], cure, {"gate": judged})
        return judged

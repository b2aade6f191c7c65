# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verification that the options of registry_check describe. Private to this collection."""

from __future__ import annotations

from ansible_collections.wharf.registry.plugins.module_utils._client_config.connection import Connection
from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError, RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._common.reference import (
    Reference,
    check_digest,
    check_tag,
    full_name,
    split_tag,
)
from ansible_collections.wharf.registry.plugins.module_utils._diagnosis import explain
from ansible_collections.wharf.registry.plugins.module_utils._diagnosis.connection_check import ConnectionCheck
from ansible_collections.wharf.registry.plugins.module_utils._diagnosis.hops import HopError
from ansible_collections.wharf.registry.plugins.module_utils._diagnosis.probe_image import probe_reference


class Verification(Connection):
    """One check, as the options of registry_check describe it.

    params maps the names of the options to their values. `result` and `warnings` are complete after a failure as well.
    """

    def __init__(self, params, check_mode):
        super().__init__(params)
        self._check_mode = check_mode
        self.warnings = []
        self.result = {
            "hops": [],
            "failed_hop": "",
            "cure": "",
            "digest": "",
            "reference": "",
            "verified": False,
            "engine": "",
            "mistake": "",
            "registry": "",
            "seen": {},
        }

    def run(self):
        """Checks all hops. Raises RegistryError."""
        try:
            self._check()
        except RegistryError as error:
            self.result["failed_hop"] = error.hop if isinstance(error, HopError) else ""
            self.result["cure"], self.result["mistake"] = error.cure, error.mistake
            raise

    def _check(self):
        access = self.params["access"]
        registry = self.registry()
        self.result["registry"] = registry.name
        self.given_credential()
        reference = None if access == "none" else self._find_reference(registry)
        self.result["reference"] = str(reference or "")
        named = bool(split_tag((self.params["image"] or "").strip())[1])
        repository = reference.repository if reference else ""
        with ConnectionCheck(self, registry, self.warnings.append, named, repository) as check:
            self.result["hops"], self.result["seen"] = check.hops, check.seen
            check.seen["disks"] = [found for found in map(explain.disk, self.params.get("storage") or []) if found]
            check.check_login(self.params.get("accounts") or [])
            if reference is not None and not self._check_mode:
                self._check_access(check, access, reference)
        self.result["verified"] = reference is None or not self._check_mode

    def _check_access(self, check, access, reference):
        """The hops of an access, after those that all of them have."""
        if access == "pull":
            check.check_upload_refused(reference.repository)
        elif self.params.get("require_push") and access in ("image", "push"):
            # A direct request fails at once, while an engine retries a refused push for a minute.
            check.check_upload_allowed(reference.repository)
        if access == "image":
            check.check_image(reference)
        store = check.find_engine(reference, self.params["engine"], self.params["socket"], self.params["timeout"])
        self.result["engine"] = store.name
        if access == "reach":
            check.check_reach(store, reference)
        elif access in ("accepted", "refused"):
            check.check_accepted(store, reference, access == "accepted")
        else:
            self.result["digest"] = (check.push if access == "push" else check.pull)(store, reference)

    def _find_reference(self, registry):
        """The Reference of the image to pull or push. Raises InputError."""
        image, access = self.params["image"], self.params["access"]
        if access in ("push", "reach") and not (image or "").strip():
            return probe_reference(registry)
        reference = parse_image(image, registry)
        if access == "push" and reference.digest:
            raise InputError(f"image is {image!r}, and a push goes to a tag", "Give repository:tag")
        return reference


def parse_image(text, registry):
    """The Reference of an image in a registry: repository[:tag][@digest], optionally with the registry before it.

    Raises InputError.
    """
    text = text.strip()
    if text.startswith(registry.name + "/"):
        text = text[len(registry.name) + 1 :]
    name, at, digest = text.partition("@")
    name, tag = split_tag(name)
    if tag is not None:
        check_tag(tag)
    if at:
        check_digest(digest)
    # A digest identifies the image by itself, so a tag beside it is ignored.
    return Reference(registry, full_name(registry, name), "" if digest else tag or "latest", digest)

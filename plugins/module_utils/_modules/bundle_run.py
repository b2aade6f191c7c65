# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bundles of images: written from a registry, verified, and brought into another one. Private to this collection."""

from __future__ import annotations

import os
import time

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError, RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._distribution.client_errors import ConflictError
from ansible_collections.wharf.registry.plugins.module_utils._distribution.pool import Pool
from ansible_collections.wharf.registry.plugins.module_utils._modules.endpoint import Endpoint
from ansible_collections.wharf.registry.plugins.module_utils._modules.sync_run import parse_images
from ansible_collections.wharf.registry.plugins.module_utils._transfer.bundle import (
    Receipt,
    damage,
    images_of,
    read_bundle,
    read_receipt,
    written_bundle,
)
from ansible_collections.wharf.registry.plugins.module_utils._transfer.layout import Layout
from ansible_collections.wharf.registry.plugins.module_utils._transfer.selection import ImageRule
from ansible_collections.wharf.registry.plugins.module_utils._transfer.signature import check_keys, public_key
from ansible_collections.wharf.registry.plugins.module_utils._transfer.sync import Sync

# The most that is told of what is missing.
_MOST_TOLD = 5


class BundleRun:
    """One run of registry_bundle. params are its options; result holds what it returns."""

    def __init__(self, params, dry_run, tell):
        self._params = params
        self._dry_run = dry_run
        self._tell = tell
        self.warnings = []
        self.result = {"changed": False, "bundle": "", "images": [], "digests": 0, "copied_bytes": 0, "missing": []}

    def run(self):
        """Raises RegistryError. The result holds what was found until then."""
        check_keys(self._params["trusted_keys"])
        getattr(self, f"_{self._params['state']}")()

    # --- exported -----------------------------------------------------------------------------------------------------

    def _exported(self):
        path, key = self._params["path"], self._params["signing_key"]
        receipt = Receipt()
        if self._params["receipt"]:
            receipt = read_receipt(self._params["receipt"], self._params["trusted_keys"])
        # What is wrong with the key is said before anything is copied.
        public_key(key)
        source = Endpoint(self._params["source"])
        rules = parse_images(self._params["images"], source)
        layout = Layout(path, create=True, part_size=self._params["part_size"], held=frozenset(receipt.digests))
        with source.pool(2 * self._params["max_workers"]) as sources, self._pool(layout) as destinations:
            sync = self._sync(sources, destinations, rules, overwrite=True)
        bundle, written = written_bundle(layout, path, receipt, key, dry_run=self._dry_run)
        self.result["changed"] = written or any(outcome.changed for outcome in sync.outcomes)
        self._tell_of(bundle, sync)

    # --- verified -----------------------------------------------------------------------------------------------------

    def _verified(self):
        layout = Layout(self._params["path"])
        bundle = self._verify(layout)
        if self._params["destination"]:
            with Endpoint(self._params["destination"]).pool(self._params["max_workers"]) as destinations:
                self._check_needs(destinations, bundle)
        self._tell_of(bundle)

    def _verify(self, layout):
        bundle = read_bundle(self._params["path"], self._params["trusted_keys"])
        self._tell(f"bundle {bundle.name} of {bundle.created} is signed by a trusted key")
        found = damage(layout, bundle)
        if found:
            self.result["missing"] = found
            more = f" and {len(found) - 1} more" if len(found) > 1 else ""
            raise RegistryError(
                f"{self._params['path']}: {found[0]}{more}",
                "The medium is damaged or incomplete: copy the bundle again. Nothing was imported",
            )
        self._tell(f"all {len(bundle.contents)} blobs and manifests match their digests")
        return bundle

    def _check_needs(self, destinations, bundle):
        """Raises RegistryError where the registry lacks what the bundle leaves out."""
        needed = sorted(bundle.needs.items())
        there = destinations.map(lambda client, need: client.has_blob(need[1], need[0]), needed)
        missing = [digest for (digest, _repository), is_there in zip(needed, there) if not is_there]
        self.result["missing"] = missing
        if missing:
            before = f"bundle {bundle.based_on[0]}" if bundle.based_on else "the bundle before it"
            raise RegistryError(
                f"bundle {bundle.name} leaves out {len(missing)} blobs that this registry does not have, such as "
                f"{', '.join(missing[:_MOST_TOLD])}",
                f"Import {before} first, or export without a receipt. Nothing was imported",
            )

    # --- imported -----------------------------------------------------------------------------------------------------

    def _imported(self):
        params = self._params
        layout = Layout(params["path"])
        bundle = self._verify(layout)
        by_tag = [self._rule(repository, tags) for repository, tags in images_of(bundle)]
        by_digest = [
            self._rule(repository, sorted({bundle.images[repository][tag] for tag in tags}))
            for repository, tags in images_of(bundle)
        ]
        size = params["max_workers"]
        with self._pool(layout, 2 * size) as sources, Endpoint(params["destination"]).pool(size) as destinations:
            self._check_needs(destinations, bundle)
            # What is not to be moved is known before anything is written.
            foretold = self._sync(sources, destinations, by_tag, needs=bundle.needs, dry_run=True)
            sync = foretold
            if not self._dry_run:
                # All that tags lead to, and then all tags.
                brought = self._sync(sources, destinations, by_digest, needs=bundle.needs)
                self.result["copied_bytes"] = sum(outcome.moved.copied for outcome in brought.outcomes)
                sync = self._sync(sources, destinations, by_tag, needs=bundle.needs)
                sync.outcomes = [_joined(tag, brought.outcomes) for tag in sync.outcomes]
            self.result["changed"] = any(outcome.changed for outcome in sync.outcomes)
            if params["receipt"]:
                self._write_receipt(destinations, bundle)
        self._tell_of(bundle, sync)

    def _rule(self, repository, tags):
        return ImageRule(
            1,
            {
                "repository": repository,
                "to": self._params["to"],
                "platforms": [],
                "sparse_index": False,
                "referrers": True,
                "tags": {"globs": tags},
            },
        )

    def _write_receipt(self, destinations, bundle):
        path, key = self._params["receipt"], self._params["signing_key"]
        keys = [public_key(key)]
        former = self._former_receipt(path, keys)
        digests = {}
        for repository in sorted({self._rule(name, ["x"]).destination(name) for name in bundle.images}):
            for found in destinations.map(_holdings(repository), self._tags(destinations, repository)):
                digests.update(dict.fromkeys(found, repository))
        receipt = Receipt([*(one for one in former.bundles if one != bundle.name), bundle.name])
        receipt.digests = {**former.digests, **digests}
        if (receipt.bundles, receipt.digests) == (former.bundles, former.digests):
            return
        self.result["changed"] = True
        if not self._dry_run:
            receipt.write(path, Endpoint(self._params["destination"]).name, key)

    def _former_receipt(self, path, keys):
        """What is added to. Where a killed run has left half of one, the next bundle is larger, and nothing is lost."""
        if not os.path.exists(path):
            return Receipt()
        try:
            return read_receipt(path, keys)
        except RegistryError as error:
            self.warnings.append(f"{error.message}: it is written anew")
            return Receipt()

    @staticmethod
    def _tags(destinations, repository):
        with destinations.client() as client:
            return client.tags(repository) or []

    # --- all of them --------------------------------------------------------------------------------------------------

    def _pool(self, layout, size=None):
        return Pool(lambda: layout, size or self._params["max_workers"])

    def _sync(self, sources, destinations, rules, *, overwrite=None, dry_run=False, needs=None):
        sync = Sync(
            sources,
            destinations,
            rules,
            overwrite=self._params["overwrite"] if overwrite is None else overwrite,
            dry_run=dry_run or self._dry_run,
            max_workers=self._params["max_workers"],
            tell=self._tell,
            places=needs,
        )
        sync.copy(time.time_ns())
        for outcome in sync.outcomes:
            self.warnings += [f"{outcome.item.to}:{outcome.item.tag}: {warning}" for warning in outcome.warnings]
        if sync.problems:
            what, error = sync.problems[0]
            more = f" and {len(sync.problems) - 1} more" if len(sync.problems) > 1 else ""
            kind = ConflictError if isinstance(error, ConflictError) else RegistryError
            raise kind(f"{what}{more}: {error.message}", error.cure)
        return sync

    def _tell_of(self, bundle, sync=None):
        if bundle is not None:
            self.result["bundle"] = bundle.name
            self.result["digests"] = len(bundle.contents)
            self.result["images"] = [
                {"repository": repository, "tag": tag, "digest": bundle.images[repository][tag]}
                for repository, tags in images_of(bundle)
                for tag in tags
            ]
        elif sync is not None:
            self.result["images"] = [
                {"repository": one.item.to, "tag": one.item.tag, "digest": one.digest} for one in sync.outcomes
            ]
        if sync is not None:
            self.result["copied_bytes"] = self.result["copied_bytes"] or sum(
                outcome.moved.copied for outcome in sync.outcomes
            )


def _joined(tagged, brought):
    """The outcome of a tag, which has changed where anything of its image has."""
    for one in brought:
        if (one.item.to, one.digest) == (tagged.item.to, tagged.digest) and one.changed:
            tagged.changed = True
    return tagged


def _holdings(repository):
    """A function of a client and a tag: the digests of all blobs that the tag leads to."""

    def read(client, tag):
        found, waiting = [], [tag]
        while waiting:
            manifest = client.manifest(repository, waiting.pop())
            if manifest is not None:
                found += [blob["digest"] for blob in manifest.parts.blobs]
                waiting += [child["digest"] for child in manifest.parts.children]
        return found

    return read


def check_options(params):
    """Raises InputError where an option is missing that the state needs."""
    needed = {
        "exported": ("source", "images", "signing_key"),
        "verified": ("trusted_keys",),
        "imported": ("destination", "trusted_keys"),
    }[params["state"]]
    for name in needed:
        if not params[name]:
            raise InputError(f"{name} is missing", f"state: {params['state']} needs it")
    if params["receipt"] and params["state"] == "exported" and not params["trusted_keys"]:
        raise InputError("receipt needs trusted_keys", "Give the public key that signs the receipts of the other side")
    if params["receipt"] and params["state"] == "imported" and not params["signing_key"]:
        raise InputError("receipt needs signing_key", "Give the private key that signs the receipt")
    if params["part_size"] < 0:
        raise InputError(f"part_size is {params['part_size']}", "Give a size such as 4095M, or 0 for no parts")

# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run of registry_sync, for the module and for programs without Ansible. Private to this collection."""

from __future__ import annotations

import time

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError, RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._distribution.describe import common_path
from ansible_collections.wharf.registry.plugins.module_utils._modules.argspec import (
    CONNECTION_RULES,
    ENDPOINT_OPTIONS,
    ENDPOINT_RULES,
    check_range,
)
from ansible_collections.wharf.registry.plugins.module_utils._modules.endpoint import Endpoint
from ansible_collections.wharf.registry.plugins.module_utils._transfer.budget import Budget
from ansible_collections.wharf.registry.plugins.module_utils._transfer.selection import ImageRule
from ansible_collections.wharf.registry.plugins.module_utils._transfer.sync import Sync

_SIDE = {"type": "dict", "required": True, "options": ENDPOINT_OPTIONS, "required_together": CONNECTION_RULES}
SYNC_OPTIONS = {
    "source": {**_SIDE, **ENDPOINT_RULES},
    "destination": {**_SIDE, **ENDPOINT_RULES},
    "images": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "repository": {"type": "str", "required": True},
            "to": {"type": "str"},
            "tags": {
                "type": "dict",
                "options": {
                    "globs": {"type": "list", "elements": "str", "default": ["*"]},
                    "matching": {"type": "list", "elements": "str", "default": []},
                    "versions": {"type": "list", "elements": "str", "default": []},
                    "newest": {"type": "int"},
                    "younger": {"type": "str"},
                },
            },
            "platforms": {"type": "list", "elements": "str", "default": []},
            "sparse_index": {"type": "bool", "default": False},
            "referrers": {"type": "bool", "default": True},
        },
    },
    "overwrite": {"type": "bool", "default": False},
    "prune": {"type": "bool", "default": False},
    "max_delete": {"type": "int", "default": 100},
    "max_delete_percent": {"type": "int", "default": 80},
    "min_remaining": {"type": "int", "default": 0},
    "max_wait": {"type": "int", "default": 0},
    "progress_path": {"type": "path"},
    "max_workers": {"type": "int", "default": 8},
}
_RANGES = {
    "max_delete": (0,),
    "max_delete_percent": (0, 100),
    "min_remaining": (0,),
    "max_wait": (0,),
    "max_workers": (1, 64),
}


def parse_images(images, source):
    """The ImageRules of the options. Raises InputError."""
    if not images:
        raise InputError("images is empty, and nothing would be copied", "Give a rule, or leave the task out")
    rules = []
    for number, options in enumerate(images, 1):
        rules.append(ImageRule(number, {**options, "repository": source.full_name(options["repository"])}))
    return rules


def _told(outcome):
    return {
        "repository": outcome.item.repository,
        "to": outcome.item.to,
        "tag": outcome.item.tag,
        "digest": outcome.digest,
        "source_digest": outcome.source_digest,
        "changed": outcome.changed and outcome.problem is None,
        "copied_bytes": outcome.moved.copied,
        "present_bytes": outcome.moved.present,
        "referrers": outcome.referrers,
        "skipped": outcome.skipped,
        "error": str(outcome.problem or ""),
    }


def _diff_of(outcomes, removed):
    """The tags that change, as a diff shows them."""
    changed = [one for one in outcomes if one.changed and one.problem is None]
    before = {f"{one.item.to}:{one.item.tag}": one.former for one in changed}
    before.update({f"{name}:{tag}": "present" for name, tags in removed.items() for tag in tags})
    return {"before": before, "after": {f"{one.item.to}:{one.item.tag}": one.digest for one in changed}}


def _failure_of(problems):
    """One message on what went wrong, or an empty one."""
    if not problems:
        return ""
    others = ", ".join(name for name, _error in problems[1:4]) + (" and more" if len(problems) > 4 else "")
    also = f" {len(problems) - 1} more failed ({others}): see error in the result." if others else ""
    return f"{problems[0][0]}: {problems[0][1]}{also}"


def _check_side(name, options):
    """As Ansible checks it for the module."""
    named = [one for one in ("registry", "layout") if options[one] is not None]
    if len(named) != 1:
        raise InputError(
            f"{name} names {'both' if named else 'neither'} registry {'and' if named else 'nor'} layout", "Give one"
        )
    for one, other in CONNECTION_RULES:
        if (options[one] is None) != (options[other] is None):
            raise InputError(f"{name} has only one of {one} and {other}", "Give both, or none")


def parse_options(params):
    """(source, destination, the ImageRules) of the options. Raises InputError. Nothing is asked for that."""
    for side in ("source", "destination"):
        _check_side(side, params[side])
    source, destination = Endpoint(params["source"]), Endpoint(params["destination"])
    rules = parse_images(params["images"], source)
    for name, limits in _RANGES.items():
        check_range(params, name, *limits)
    if params["prune"] and any(rule.sparse and rule.platforms for rule in rules):
        raise InputError("prune and sparse_index do not go together", "Leave one of them out")
    return source, destination, rules


class SyncRun:
    """One run. Afterwards, result holds what the module returns, failure what went wrong, and warnings sentences."""

    def __init__(self):
        self.result = {}
        self.failure = ""
        self.warnings = []

    def run(self, params, dry_run, tell):
        """Copies as the options say. Raises RegistryError where nothing could be done."""
        source, destination, rules = parse_options(params)
        size, now = params["max_workers"], time.time_ns()
        budget = Budget(source.name, params["min_remaining"], params["max_wait"], tell)
        read = common_path(rule.repository for rule in rules)
        written = common_path(rule.destination(rule.repository) for rule in rules)
        sources = source.pool(2 * size, read, budget=budget)
        destinations = destination.pool(size, written, create=True)
        with sources, destinations:
            options = {"overwrite": params["overwrite"], "dry_run": dry_run, "max_workers": size}
            sync = Sync(sources, destinations, rules, tell=tell, **options)
            sync.copy(now)
            if params["prune"]:
                try:
                    sync.prune(now, params["max_delete"], params["max_delete_percent"])
                except RegistryError as error:
                    self.failure = str(error)
        self._tell_of(sync, budget)

    def _tell_of(self, sync, budget):
        removed = sync.pruning.removed if sync.pruning and not self.failure else {}
        images = [_told(outcome) for outcome in sync.outcomes]
        self.result = {
            "changed": any(one["changed"] for one in images) or bool(removed),
            "images": images,
            "removed": removed,
            "copied_bytes": sum(one["copied_bytes"] for one in images),
            "remaining": -1 if budget.remaining is None else budget.remaining,
            "diff": _diff_of(sync.outcomes, removed),
        }
        for outcome in sync.outcomes:
            self.warnings += [f"{outcome.item.to}:{outcome.item.tag}: {warning}" for warning in outcome.warnings]
        self.warnings += sync.pruning.warnings if sync.pruning else []
        self.failure = self.failure or _failure_of(sync.problems)

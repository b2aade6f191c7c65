# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What retention would do with the tags of a repository now, by the rules that maintain.yml removes tags by."""

from __future__ import annotations

import time

from ansible_collections.wharf.registry.plugins.module_utils._distribution.describe import subject_of
from ansible_collections.wharf.registry.plugins.module_utils._retention.policy import (
    Tag,
    decide_images,
    decide_signatures,
    orphaned,
    parse_created,
    parse_rule,
)


class Retention:
    """The rules, and the digests that may lose no tag. Raises InputError for a rule that is none."""

    def __init__(self, rules, in_use):
        self._rules = [parse_rule(number, rule) for number, rule in enumerate(rules, 1)]
        self._in_use = in_use

    @property
    def configured(self):
        return bool(self._rules)

    def decide(self, contents):
        """{tag: {kept, reason}} of the tags of Contents."""
        rules = [rule for rule in self._rules if rule.names_repository(contents.name)]
        if not rules:
            return {}
        in_use = self._in_use()
        tags = [_tag(contents, name, digest) for name, digest in contents.tagged.items()]
        images = decide_images(rules, tags, in_use, time.time_ns())
        # A subject may be in another repository: where no tag of this one leads to it, nothing is said of its going.
        alive = dict.fromkeys(orphaned(tags), "may be elsewhere")
        decisions = decide_signatures(rules, tags, images, in_use, alive)
        return {one.tag.name: {"kept": one.kept, "reason": one.reason} for one in decisions}


def _tag(contents, name, digest):
    below = contents.below(digest)
    holds = [*below, *(contents.facts(one).get("config") for one in below)]
    times = [parse_created(contents.facts(one)["created"]) for one in below]
    labels = {label for one in below for label in contents.facts(one)["labels"].items()}
    return Tag(
        name,
        digest,
        holds=tuple(one for one in holds if one),
        created=max((one for one in times if one is not None), default=None),
        labels=tuple(sorted(labels)),
        subject=subject_of(name),
        abandoned=contents.facts(digest).get("removes") == name,
    )

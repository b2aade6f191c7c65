#!/usr/bin/python
# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: registry_retention
short_description: Remove the tags of a container registry that no rule keeps
version_added: 0.1.0
author: wharf.registry contributors (@wharf)
description:
  - Decides by rules which tags stay, tells why for each of them, and removes the others, each alone. Run it in check
    mode first, which decides and counts the same and removes nothing.
  - Tags are removed, and the blobs stay until the registry is cleaned (garbage collection).
  - A tag that no rule names is kept. One that several rules name is kept where any of them keeps it, so that the order
    of the rules has no meaning.
  - An image whose tag is kept is kept whole, an index with its children. Another tag of the same image may go
    nevertheless, since a tag is only a name; the reason tells by which tag the image stays.
  - Signatures, attestations, SBOMs and lists of referrers, which lie under tags made of the digest of their subject
    (C(sha256-…), C(sha256-….sig), C(.att), C(.sbom) or any other suffix), stay as long as a tag that is kept leads to
    the subject, itself or through an index, and go with it. Conditions do not look at them, and
    O(rules[].keep_newest) does not count them.
  - One to whose subject no tag of its repository leads follows the tags that lead to it in other repositories that
    rules name. Where none does, it goes if O(rules[].tags) match its own name, the subject is not there either, and
    there are images beside it. A repository of signatures alone is one for images elsewhere, and loses only those of
    images that go.
options:
  rules:
    description:
      - What is kept, by repository and tag. Whatever they name and do not keep is removed.
    type: list
    elements: dict
    required: true
    suboptions:
      repositories:
        description:
          - Names or globs of repositories. C(*) matches any characters, slashes too; C(?) matches one, and C([abc]) one
            of these. With a wildcard, the registry's catalogue is read, which not every user may see.
          - A name that does not exist is passed over.
        type: list
        elements: str
        default: ['*']
      tags:
        description:
          - Names or globs of tags that the rule is for. It keeps and removes none but these. Quote numbers in YAML, to
            which C(1.10) is 1.1.
        type: list
        elements: str
        default: ['*']
      keep_newest:
        description:
          - Keeps as many images of each repository, those that were made last, with all of their tags that the rule
            names. Images of the same age stay or go together.
          - V(0) keeps none. A rule that has nothing else says thereby that all that it names is to go; a rule without
            any condition is refused.
          - When an image was made is what its configuration tells. An index is as new as its annotation
            C(org.opencontainers.image.created) or the newest of its children, whichever is later.
            Where there is no time, or one before 2013, as reproducible builds write it, or one that is more than a day
            ahead, it is unknown; such a tag is kept, and not counted.
        type: int
      keep_younger:
        description:
          - Keeps what was made within this time before now, as V(90m), V(12h), V(30d) or V(2w). What has no time is
            kept.
        type: str
      keep_matching:
        description:
          - Keeps tags in which one of these regular expressions is found, anywhere unless it has anchors (C(^), C($)).
        type: list
        elements: str
        default: []
      keep_versions:
        description:
          - Keeps tags that are semantic versions in one of these ranges, as V(>=1.2 <2.0), V(^1.4), V(~1.4.2), V(1.x),
            V(1.2 - 1.6), or several with C(||) between them. Quote them in YAML.
          - A leading C(v) is accepted in both, and C(1.4) is C(1.4.0). A single number is no version, since builds and
            dates are such. A prerelease, which is all that has a hyphen (C(2.0.0-rc.1), C(1.4.2-alpine)), is in a range
            only where the range names one of the same three numbers; use O(rules[].keep_matching) to keep more of them.
        type: list
        elements: str
        default: []
      keep_labels:
        description:
          - Keeps images that have one of these labels with a value that matches the glob. Of an index, the labels of
            all children count. Quote numbers with a point.
        type: dict
        default: {}
  protected_digests:
    description:
      - Digests that must not lose a tag, such as those that the fleet runs. A tag is kept that points to one, or to an
        index that holds it, and so are its signatures, whether it has a tag or not.
      - The digest of a manifest, of a child of an index, or of a configuration, which is the ID of an image at many
        engines. A name before it is passed over (C(registry.example.com/apps/web@sha256:…)).
    type: list
    elements: str
    default: []
  max_delete:
    description:
      - The most tags that one run may remove. Where the rules would remove more, it fails and removes none at all.
    type: int
    default: 100
  max_delete_percent:
    description:
      - The same in percent of the tags that the rules consider, of all repositories together. Those that no rule
        names do not count.
    type: int
    default: 80
  max_workers:
    description:
      - Number of connections that work at the same time, 1 to 64.
    type: int
    default: 8
extends_documentation_fragment:
  - wharf.registry.connection
  - wharf.registry.attributes
attributes:
  check_mode:
    support: full
    details:
      - Whether a registry deletes at all, and lets this user, is not foreseen, since only a deletion tells.
  diff_mode:
    support: full
    details:
      - Shows the tags of the repositories in which some are removed.
  idempotent:
    support: full
    details:
      - Time passes. What was young enough for O(rules[].keep_younger) in one run need not be so in the next.
notes:
  - Where a manifest or a configuration can't be read, or something is listed among the tags that is none, nothing is
    removed in that repository, since it is not known what else would be lost. The other repositories go on, and the
    module fails in the end with the whole result. The message names the tag; push it again, or remove it with
    M(wharf.registry.registry_tag).
  - An index that lists other things than manifests, such as the cache of BuildKit, is kept or removed as one artefact.
    It tells no time at which it was made, unless it has the annotation C(org.opencontainers.image.created).
  - A tag that a removal had been moving when it was killed leads to no image any more. It is removed in the next run
    where a rule names it, whatever the rule keeps.
  - A tag that was moved after it was judged is left alone, with a warning. On a registry of version 2, a push of the
    same tag within the time of one request can be lost, as M(wharf.registry.registry_tag) tells.
  - Where a registry deletes no tags but only digests, as version 2 does, the user needs to push and to delete.
  - Manifests that only a digest leads to are not looked at. Give those that are in use a tag before the registry is
    cleaned.
seealso:
  - module: wharf.registry.registry_info
  - module: wharf.registry.registry_tag
"""

EXAMPLES = r"""
- name: Tell what would be removed, and why
  wharf.registry.registry_retention: &retention
    registry: registry.example.com
    username: admin
    password: "{{ vault_admin_password }}"
    rules:
      - repositories: [apps/*]
        keep_newest: 10
        keep_younger: 30d
        keep_versions: [">=0.1"]
        keep_labels:
          com.example.keep: "true"
      - repositories: [staging/*]
        keep_younger: 2w
        keep_matching: [^stable$]
    protected_digests: "{{ running_digests }}"
  check_mode: true
  register: foretold

- name: Show it
  ansible.builtin.debug:
    msg: "{{ item.0.name }}:{{ item.1.tag }} - {{ item.1.reason }}"
  loop: "{{ foretold.repositories | subelements('deleted') }}"
  loop_control:
    label: "{{ item.0.name }}"

- name: Remove it
  wharf.registry.registry_retention: *retention

- name: Remove all images of pull requests
  wharf.registry.registry_retention:
    registry: registry.example.com
    rules:
      - repositories: [apps/web]
        tags: [pr-*]
        keep_newest: 0
    max_delete: 500
    max_delete_percent: 100
"""

RETURN = r"""
repositories:
  description: The repositories that rules name, in the order of their names.
  returned: success, and where a repository can't be read, a tag can't be removed or the rules would remove too much
  type: list
  elements: dict
  contains:
    name:
      description: Name of the repository.
      type: str
      sample: apps/web
    kept:
      description: The tags that stay, in the order of their names.
      type: list
      elements: dict
      contains:
        tag:
          description: Name of the tag.
          type: str
          sample: 1.4.2
        digest:
          description: Digest of the manifest that it was judged by, empty where it was not read.
          type: str
          sample: sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
        reason:
          description: Why it stays. Rules are numbered from 1.
          type: str
          sample: "rule 1: is one of the 10 newest"
    deleted:
      description: The tags that were removed, or would be (see RV(deleted)), with the same keys.
      type: list
      elements: dict
      contains:
        tag:
          description: Name of the tag.
          type: str
        digest:
          description: Digest of the manifest that it pointed to.
          type: str
        reason:
          description: Why it goes.
          type: str
          sample: nothing in rule 1 keeps it
    error:
      description: Why nothing was removed here, or not all, else empty.
      type: str
deleted:
  description:
    - The number of tags that were removed, or would be in check mode and where the rules would remove too much.
  returned: as RV(repositories)
  type: int
considered:
  description: The number of tags that the rules consider, which O(max_delete_percent) is of.
  returned: as RV(repositories)
  type: int
reclaimable_bytes:
  description:
    - Bytes of the blobs and manifests that the removed tags lead to and no tag that stays, each counted once over all
      repositories that rules name. That much the next garbage collection can free.
    - It is less where something that is not seen here needs the same blobs, namely repositories that no rule
      names, parts of repositories that can't be read, manifests that only a digest leads to, and uploads.
  returned: as RV(repositories)
  type: int
  sample: 73400320
"""

import time

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError
from ansible_collections.wharf.registry.plugins.module_utils._common.reference import full_name
from ansible_collections.wharf.registry.plugins.module_utils._distribution.describe import common_path, is_glob
from ansible_collections.wharf.registry.plugins.module_utils._distribution.pool import Pool
from ansible_collections.wharf.registry.plugins.module_utils._modules.argspec import check_range
from ansible_collections.wharf.registry.plugins.module_utils._modules.base import RegistryModule
from ansible_collections.wharf.registry.plugins.module_utils._retention.executor import Cleanup
from ansible_collections.wharf.registry.plugins.module_utils._retention.manifest_index import Holdings
from ansible_collections.wharf.registry.plugins.module_utils._retention.policy import (
    CapError,
    check_cap,
    parse_digests,
    parse_rule,
)

MOST_WORKERS = 64


def parse_rules(module):
    """The Rules of the options. Raises InputError."""
    if not module.params["rules"]:
        raise InputError("rules is empty, and nothing would be removed", "Give a rule, or leave the task out")
    registry = module.registry()
    rules = []
    for number, options in enumerate(module.params["rules"], 1):
        names = [name if is_glob(name) else full_name(registry, name) for name in options["repositories"]]
        rules.append(parse_rule(number, {**options, "repositories": names}))
    return rules


def told(decisions):
    return [{"tag": one.tag.name, "digest": one.tag.digest, "reason": one.reason} for one in decisions]


def tags_of(repositories, which):
    return {one.name: [decision.tag.name for decision in which(one)] for one in repositories}


def finish(module, cleanup, failure=""):
    """Ends the module with all that was decided. Failed where failure says why, or something was stopped."""
    changing = [one for one in cleanup.repositories if one.chosen(kept=False)]
    result = {
        "changed": bool(changing) and not failure,
        "repositories": [
            {
                "name": one.name,
                "kept": told(one.chosen(kept=True)),
                "deleted": told(one.chosen(kept=False)),
                "error": str(one.problem or ""),
            }
            for one in cleanup.repositories
        ],
        "deleted": cleanup.deleted,
        "considered": cleanup.considered,
        "reclaimable_bytes": cleanup.reclaimable_bytes(),
        "diff": {
            "before": tags_of(changing, lambda one: one.decisions),
            "after": tags_of(changing, lambda one: one.chosen(kept=True)),
        },
    }
    for message in (message for one in cleanup.repositories for message in one.moved):
        module.warn(message)
    if cleanup.nameless:
        names = ", ".join(cleanup.nameless[:3]) + (" and more" if len(cleanup.nameless) > 3 else "")
        module.warn(f"{module.registry().name}: the catalogue lists {names}, which is no name of a repository")
    failure = failure or problems(cleanup.repositories)
    # Ansible copies the result twice before it writes it.
    changing.clear()
    cleanup.forget()
    if failure:
        module.fail_json(msg=failure, **result)
    module.exit_json(**result)


def problems(repositories):
    """One message on what stopped, or an empty one."""
    stopped = [one for one in repositories if one.problem is not None]
    if not stopped:
        return ""
    others = ", ".join(one.name for one in stopped[1:4]) + (" and more" if len(stopped) > 4 else "")
    also = f" The same or worse in {others}: see error in the result." if others else ""
    return str(stopped[0].problem) + also


def run(module):
    rules = parse_rules(module)
    in_use = parse_digests(module.params["protected_digests"])
    check_range(module.params, "max_delete", 0)
    check_range(module.params, "max_delete_percent", 0, 100)
    check_range(module.params, "max_workers", 1, MOST_WORKERS)
    namespace = common_path(pattern for rule in rules for pattern in rule.repositories)
    with Pool(module.apis(namespace), module.params["max_workers"]) as pool:
        cleanup = Cleanup(pool, rules, Holdings(frozenset().union(*(rule.labels for rule in rules))))
        cleanup.judge(in_use, time.time_ns())
        limits = (module.params["max_delete"], module.params["max_delete_percent"])
        try:
            check_cap(cleanup.deleted, cleanup.considered, *limits)
        except CapError as error:
            finish(module, cleanup, str(error))
        if not module.check_mode:
            cleanup.remove()
    finish(module, cleanup)


def main():
    module = RegistryModule(
        {
            "rules": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "repositories": {"type": "list", "elements": "str", "default": ["*"]},
                    "tags": {"type": "list", "elements": "str", "default": ["*"]},
                    "keep_newest": {"type": "int"},
                    "keep_younger": {"type": "str"},
                    "keep_matching": {"type": "list", "elements": "str", "default": []},
                    "keep_versions": {"type": "list", "elements": "str", "default": []},
                    "keep_labels": {"type": "dict", "default": {}},
                },
            },
            "protected_digests": {"type": "list", "elements": "str", "default": []},
            "max_delete": {"type": "int", "default": 100},
            "max_delete_percent": {"type": "int", "default": 80},
            "max_workers": {"type": "int", "default": 8},
        }
    )
    with module.errors_explained():
        run(module)


if __name__ == "__main__":
    main()

# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each access policy may see and delete on the page, and the name of its index. Private to this collection."""

from __future__ import annotations

import hashlib
import json
import re


def page_policies(access):
    """{number: policy} of what the filter access_rules returns.

    A policy: `index`, the name of the directory of its index, which says what the policy says; `pull`, expressions for
    the names of repositories; `delete`, those of which tags can be removed, which takes the right to push, too; and
    `catalog`, whether it may list all repositories.
    """
    return {number: _policy(access, number) for number in sorted(set(access["policies"].values()))}


def _policy(access, number):
    pull, push, delete = (_expressions(access["rules"], number, action) for action in ("pull", "push", "delete"))
    policy = {
        "pull": pull,
        "delete": [f"(?={_either(push)}$){_either(delete)}"] if push and delete else [],
        "catalog": number in access["catalog"],
    }
    told = json.dumps(policy, sort_keys=True).encode()
    return {"index": hashlib.sha256(told).hexdigest()[:16], **policy}


def _expressions(rules, number, action):
    """Those of the rules of an action that are for a policy, or for all."""
    return sorted(
        {
            rule["repositories"]
            for rule in rules
            if rule["action"] == action and re.fullmatch(rule["policies"], str(number))
        }
    )


def _either(expressions):
    return f"(?:{'|'.join(expressions)})"

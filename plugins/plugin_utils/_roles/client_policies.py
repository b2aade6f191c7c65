# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The policies of a client, with images that prove them."""

from __future__ import annotations

# Where the registry host pushes an image that is not signed, below each scope.
REPOSITORY = "wharf-unsigned"


def client_policies(policies, registry, pushed=None):
    """`policies` as registry_onboard takes them, and `missing`, {scope: repository} of images that are to be pushed.

    pushed: {scope: image}, what was pushed in this run.
    """
    pushed = pushed or {}
    wanted = {}
    for policy in policies:
        host, _slash, path = policy["scope"].partition("/")
        if host == registry and policy.get("accept", "signed") != "anything" and not policy.get("unsigned_image"):
            wanted[policy["scope"]] = f"{path}/{REPOSITORY}".lstrip("/")
    return {
        "policies": [
            {**policy, "unsigned_image": pushed[policy["scope"]]}
            if policy["scope"] in wanted and policy["scope"] in pushed
            else dict(policy)
            for policy in policies
        ],
        "missing": {scope: repository for scope, repository in wanted.items() if scope not in pushed},
    }

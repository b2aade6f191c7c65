"""Policies of a client get the images that were pushed to prove them."""

from __future__ import annotations

import pytest
from ansible_collections.wharf.registry.plugins.plugin_utils._roles.client_policies import client_policies

REGISTRY = "registry.example.com:5000"


@pytest.mark.parametrize(
    ("policy", "missing"),
    [
        ({"scope": f"{REGISTRY}/apps"}, "apps/wharf-unsigned"),
        ({"scope": f"{REGISTRY}/apps/web"}, "apps/web/wharf-unsigned"),
        ({"scope": REGISTRY}, "wharf-unsigned"),
        ({"scope": f"{REGISTRY}/apps", "accept": "nothing"}, "apps/wharf-unsigned"),
        ({"scope": f"{REGISTRY}/apps", "accept": "anything"}, None),
        ({"scope": f"{REGISTRY}/apps", "unsigned_image": "apps/web:old"}, None),
        ({"scope": "registry.example.com/apps"}, None),
        ({"scope": "quay.io"}, None),
    ],
)
def test_where_an_unsigned_image_is_pushed(policy: dict, missing: str | None) -> None:
    found = client_policies([policy], REGISTRY)
    assert found == {"policies": [policy], "missing": {policy["scope"]: missing} if missing else {}}


def test_what_was_pushed_is_named_once() -> None:
    policies = [{"scope": f"{REGISTRY}/apps"}, {"scope": f"{REGISTRY}/base"}, {"scope": "quay.io"}]
    image = "apps/wharf-unsigned@sha256:0"
    found = client_policies(policies, REGISTRY, {f"{REGISTRY}/apps": image})
    assert found["policies"] == [{**policies[0], "unsigned_image": image}, *policies[1:]]
    assert found["missing"] == {f"{REGISTRY}/base": "base/wharf-unsigned"}
    assert "unsigned_image" not in policies[0]

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    ("names", "host", "covered"),
    [
        (["DNS:registry.example.com"], "registry.example.com", True),
        (["DNS:Registry.Example.com"], "registry.example.COM", True),
        (["DNS:registry.example.com"], "registry.example.com.", True),
        (["DNS:registry.example.com"], "example.com", False),
        (["DNS:other", "DNS:registry"], "registry", True),
        (["DNS:*.example.com"], "registry.example.com", True),
        (["DNS:*.example.com"], "a.registry.example.com", False),
        (["DNS:*.example.com"], "example.com", False),
        (["DNS:*"], "registry", False),
        (["DNS:192.0.2.1"], "192.0.2.1", False),
        (["IP:192.0.2.1"], "192.0.2.1", True),
        (["IP Address:192.0.2.1"], "192.0.2.1", True),
        (["IP:2001:db8:0:0::1"], "2001:db8::1", True),
        (["IP:2001:db8::1"], "[2001:db8::1]", True),
        (["IP:192.0.2.1"], "registry", False),
        (["email:registry"], "registry", False),
        ([], "registry", False),
        (None, "registry", False),
    ],
)
def test_covering(plugin, names, host, covered):
    assert plugin("test", "covering").covering(names, host) is covered

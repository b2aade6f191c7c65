"""Which servers are asked by the proxy of the environment, as crane decides it. tests/integration asks it the same."""

from __future__ import annotations

import shlex

import pytest
from ansible_collections.wharf.registry.plugins.module_utils._distribution.http_proxy import proxy_for
from paths import ROOT

PROXY = "192.0.2.99:3128"


def rows():
    lines = (ROOT / "tests" / "verdicts" / "proxies.txt").read_text(encoding="utf-8").splitlines()
    found = [[part.strip() for part in line.split(" | ")] for line in lines if not line.startswith("#")]
    assert len(found) > 60 and {row[2] for row in found} == {"direct", "proxy"}
    return found


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """Sets variables where no other of a proxy is set."""
    for name in ("http", "https", "all", "no"):
        monkeypatch.delenv(f"{name}_proxy", raising=False)
        monkeypatch.delenv(f"{name}_proxy".upper(), raising=False)

    def set_all(words):
        for name, _equals, value in (word.partition("=") for word in shlex.split(words)):
            monkeypatch.setenv(name, value.replace("PROXY", PROXY))

    return set_all


@pytest.mark.parametrize(("words", "server", "verdict"), rows())
def test_as_crane(environment, words, server, verdict):
    if "PROXY" not in words.replace("NO_PROXY", ""):
        environment("HTTPS_PROXY=http://PROXY")
    environment(words)
    proxy = proxy_for("https", server)
    assert (proxy.netloc if proxy else None) == (PROXY if verdict == "proxy" else None)


# crane takes no IPv6 address in the name of an image. These are read from Go's own code.
@pytest.mark.parametrize(
    ("entries", "server", "direct"),
    [
        ("2001:db8::/32", "[2001:db8::1]:5000", True),
        ("2001:DB8::1", "[2001:db8::1]", True),
        ("2001:db8:0::1", "[2001:db8::1]", True),
        ("2001:0db8::0001", "[2001:db8::1]", True),
        ("0064:ff9b::1", "[64:ff9b::1]", True),
        ("[2001:db8::1]:5000", "[2001:db8::1]:5000", True),
        ("[2001:db8::1]:5000", "[2001:db8::1]", False),
        ("[2001:db8::1]", "[2001:db8::1]", False),
        ("2001:db9::/32", "[2001:db8::1]", False),
        ("0.0.0.0/0", "[2001:db8::1]", False),
        ("192.0.2.7", "[::ffff:192.0.2.7]", True),
        ("", "[::1]:5000", True),
        ("", "[::ffff:127.0.0.1]:5000", True),
    ],
)
def test_ipv6(environment, entries, server, direct):
    environment(f"HTTPS_PROXY=http://PROXY NO_PROXY='{entries}'")
    assert (proxy_for("https", server) is None) is direct


def test_http_has_a_proxy_and_a_port_of_its_own(environment):
    environment("HTTP_PROXY=http://PROXY NO_PROXY=corp.test:80")
    assert proxy_for("http", "other.test").netloc == PROXY
    assert proxy_for("https", "other.test") is None
    assert proxy_for("http", "registry.corp.test") is None
    assert proxy_for("http", "registry.corp.test:8080").netloc == PROXY

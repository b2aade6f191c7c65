"""Which address the transport dials: that of the registry or that of an HTTP proxy."""

from __future__ import annotations

import socket

import pytest
from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError
from ansible_collections.wharf.registry.plugins.module_utils._distribution.transport_errors import (
    UnreachableError,
)
from misbehaving import reply


def test_the_proxy_of_the_environment_is_used(client, server, monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://user:pass@{server.netloc}")
    monkeypatch.setenv("https_proxy", f"http://{server.netloc}")
    monkeypatch.setenv("no_proxy", "direct.example.com")
    server.answer("http://registry.example.com/x", reply(200, "by proxy"))
    assert client.request("GET", "http://registry.example.com/x").body == b"by proxy"
    assert server.requests[0].headers["proxy-authorization"] == "Basic dXNlcjpwYXNz"
    server.answer("registry.example.com:443", reply(403))
    with pytest.raises(UnreachableError, match="HTTP proxy refused"):
        client.request("GET", "https://registry.example.com/x")
    assert server.requests[-1].method == "CONNECT"
    with pytest.raises(UnreachableError, match="does not resolve"):
        client.request("GET", "http://direct.example.com/x")


@pytest.fixture
def dialled(monkeypatch):
    """The addresses that were dialled. None answers."""
    dialled = []

    def refuse(address, *_arguments, **_options):
        dialled.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "create_connection", refuse)
    for name in ("http_proxy", "https_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return dialled


def dial(client, url):
    with pytest.raises(UnreachableError, match="refused the connection") as error:
        client.request("GET", url)
    return str(error.value)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("https://[2001:db8::1]/", ("2001:db8::1", 443)),
        ("http://[2001:db8::1]/", ("2001:db8::1", 80)),
        ("https://[2001:db8::beef]/", ("2001:db8::beef", 443)),
        ("https://[::1]:5000/", ("::1", 5000)),
        ("https://registry.example.com/", ("registry.example.com", 443)),
        ("http://127.0.0.1/", ("127.0.0.1", 80)),
    ],
)
def test_each_scheme_has_its_port(client, dialled, url, address):
    dial(client, url)
    assert dialled == [address]


PROXY = ("192.0.2.9", 3128)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://10.1.2.3/", ("10.1.2.3", 80)),
        ("https://10.1.2.3:5000/", ("10.1.2.3", 5000)),
        ("https://[2001:db8::1]:5000/", ("2001:db8::1", 5000)),
        ("http://11.1.2.3/", PROXY),
        ("https://[2001:db9::1]/", PROXY),
        ("http://registry.example.com/", PROXY),
        ("http://127.0.0.1:5000/", ("127.0.0.1", 5000)),
        ("https://127.1.2.3/", ("127.1.2.3", 443)),
        ("http://localhost:5000/", ("localhost", 5000)),
        ("https://[::1]/", ("::1", 443)),
    ],
)
def test_what_is_asked_without_the_proxy(client, dialled, monkeypatch, url, address):
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://ci:geheim@192.0.2.9:3128")
    monkeypatch.setenv("no_proxy", "x.example.com, 10.0.0.0/8,2001:db8::/32")
    message = dial(client, url)
    assert dialled == [address]
    assert ("by the HTTP proxy 192.0.2.9:3128" in message) is (address == PROXY)
    assert "geheim" not in message


@pytest.mark.parametrize(
    ("proxy", "address"), [("http://192.0.2.9", ("192.0.2.9", 80)), ("192.0.2.9:1", ("192.0.2.9", 1))]
)
def test_a_proxy_with_less_than_a_url(client, dialled, monkeypatch, proxy, address):
    monkeypatch.setenv("https_proxy", proxy)
    dial(client, "https://registry.example.com/")
    assert dialled == [address]


@pytest.mark.parametrize("proxy", ["socks5://ci:geheim@127.0.0.1:1080", "https://127.0.0.1:3128", "http://"])
def test_a_proxy_of_another_kind(client, dialled, monkeypatch, proxy):
    monkeypatch.setenv("https_proxy", proxy)
    with pytest.raises(InputError, match="HTTPS_PROXY names no proxy that speaks HTTP") as error:
        client.request("GET", "https://registry.example.com/")
    assert dialled == [] and "geheim" not in str(error.value)


@pytest.mark.parametrize("proxy", ["http://[::1", "http://127.0.0.1:x", "http://127.0.0.1:99999"])
def test_a_proxy_that_is_no_address(client, dialled, monkeypatch, proxy):
    monkeypatch.setenv("https_proxy", proxy)
    with pytest.raises(InputError):
        client.request("GET", "https://registry.example.com/")
    assert dialled == []


def test_a_proxy_is_asked_for_an_ipv6_address_in_brackets(client, server, monkeypatch):
    monkeypatch.setenv("https_proxy", f"http://{server.netloc}")
    monkeypatch.delenv("no_proxy", raising=False)
    for url, target in (
        ("https://[2001:db8::1]/", "[2001:db8::1]:443"),
        ("https://[2001:db8::1]:5/", "[2001:db8::1]:5"),
    ):
        with pytest.raises(UnreachableError, match="HTTP proxy refused"):
            client.request("GET", url)
        assert (server.requests[-1].method, server.requests[-1].target) == ("CONNECT", target)

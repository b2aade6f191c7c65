"""The transport against a server that misbehaves: each case ends in an answer or one clear error, in bounded time."""

from __future__ import annotations

import concurrent.futures
import email.utils
import ssl
import time

import pytest
from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError, RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._distribution.tls import TLSConfig
from ansible_collections.wharf.registry.plugins.module_utils._distribution.transport import HttpClient
from ansible_collections.wharf.registry.plugins.module_utils._distribution.transport_errors import (
    AnswerError,
    UnreachableError,
)
from misbehaving import Misbehaving, endless, make_certificate, raw, reply

OK = b"HTTP/1.1 200 OK\r\n"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return make_certificate(tmp_path_factory.mktemp("tls") / "server.pem")


def get(client, server, target="/x", method="GET", scheme="http", **options):
    return client.request(method, f"{scheme}://{server.netloc}{target}", **options)


def fails(client, server, says, kind=RegistryError, **options):
    began = time.monotonic()
    with pytest.raises(kind) as error:
        get(client, server, **options)
    assert says in str(error.value)
    return time.monotonic() - began


def test_one_connection_serves_many_requests(client, server):
    server.answer("/x", reply(200, "yes"))
    assert [get(client, server).body for _each in range(5)] == [b"yes"] * 5
    assert server.connections == 1


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
def test_a_kept_connection_that_the_server_has_closed_is_no_failure(client, server, method):
    # The answer promises to keep the connection, and the server closes it.
    server.answer("/x", reply(200, keep=False))
    assert [get(client, server, method=method).status for _each in range(3)] == [200, 200, 200]
    assert server.connections == 3


def test_a_post_is_not_sent_twice(client, server):
    server.answer("/x", reply(200, keep=False))
    assert get(client, server, method="POST").status == 200
    fails(client, server, "closed the connection without an answer", method="POST")
    assert len(server.seen("/x")) == 1


@pytest.mark.parametrize(
    "broken",
    [
        raw(OK + b"Content-Length: 10\r\n\r\nshort"),
        raw(OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab"),
        raw(OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n"),
        raw(b""),
    ],
)
def test_an_answer_that_is_cut_short_is_asked_for_again(client, server, broken):
    server.answer("/x", broken, reply(200, "whole"))
    assert get(client, server).body == b"whole"


def test_an_answer_that_is_always_cut_short(client, server):
    server.answer("/x", raw(OK + b"Content-Length: 10\r\n\r\nshort"))
    fails(client, server, "cut its answer short", AnswerError)
    assert len(server.seen("/x")) == 3


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_busy_server_is_asked_again(client, server, status):
    server.answer("/x", reply(status), reply(status, Retry_After="0"), reply(200, "now"))
    assert get(client, server).body == b"now"


def test_a_server_that_stays_busy_is_not_asked_for_ever(client, server):
    server.answer("/x", reply(503, "no", Retry_After="0"))
    assert get(client, server).status == 503
    assert len(server.seen("/x")) == 3


@pytest.mark.parametrize("form", [str, lambda seconds: email.utils.formatdate(time.time() + seconds, usegmt=True)])
def test_retry_after_is_kept_in_both_forms(client, server, form):
    server.answer("/x", reply(429, Retry_After=form(1)), reply(200))
    began = time.monotonic()
    assert get(client, server).status == 200
    # A date has no fractions of a second.
    assert time.monotonic() - began > (0.9 if form is str else 0)


def test_a_wait_that_is_too_long_is_left_to_the_user(client, server):
    server.answer("/x", reply(429, Retry_After="3600"))
    began = time.monotonic()
    assert get(client, server).status == 429
    assert time.monotonic() - began < 600


@pytest.mark.parametrize(
    "value", ["soon", "-1", "1e9", "", "Fri, 99 Foo 2026", "9" * 400, f"Mon, 01 Jan {'9' * 20} 00:00:00 GMT"]
)
def test_a_retry_after_that_is_none_is_passed_over(client, server, value):
    server.answer("/x", reply(503, Retry_After=value), reply(200))
    assert get(client, server).status == 200


def test_a_redirect_that_is_not_to_be_followed_is_an_answer(server):
    server.answer("/x", reply(307, Location="/y"))
    with HttpClient(TLSConfig("127.0.0.1"), timeout=1, follow=False) as client:
        assert get(client, server).status == 307
    assert server.seen("/y") == []


@pytest.mark.parametrize(
    "slow",
    [
        endless(b"HTTP/1.1 200 ", b"O", 0.1),
        endless(OK, b"X-A: b\r\n", 0.1),
        endless(OK + b"Content-Length: 100000\r\n\r\n", b"x", 0.1),
        endless(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n", 0.1),
        endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.1),
        raw(b"", OK, pause=5),
    ],
)
def test_an_answer_that_drips_is_given_up_in_time(client, server, slow):
    server.answer("/x", slow)
    assert fails(client, server, "did not answer within 1 seconds", UnreachableError) < 3


@pytest.mark.parametrize(
    "big",
    [
        endless(OK + b"\r\n", b"x" * 65536),
        endless(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"8000\r\n" + b"x" * 32768 + b"\r\n"),
        reply(200, b"x" * (5 << 20)),
        raw(OK + b"Content-Length: 99999999999\r\n\r\n"),
    ],
)
def test_an_answer_that_is_too_long_is_given_up(client, server, big):
    server.answer("/x", big)
    fails(client, server, "more than 1000000 bytes", AnswerError, limit=1000000)


@pytest.mark.parametrize(
    "noise",
    [
        raw(b"SSH-2.0-OpenSSH_9.2\r\n"),
        raw(b"\x00" * 100),
        raw(b"HTTP/1.1 abc\r\n\r\n"),
        raw(OK + b"A: b\r\n" * 1000 + b"\r\n"),
        raw(OK + b"A: " + b"x" * 100000 + b"\r\n\r\n"),
        endless(b"", b"x" * 65536),
        # Which clients read differently: none of them is trusted.
        raw(OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nabc"),
        raw(OK + b"Content-Length: +2\r\n\r\nab"),
        raw(OK + b"Content-Length: two\r\n\r\nab"),
        raw(OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
        raw(OK + b"no header\r\nContent-Length: 2\r\n\r\nab"),
        raw(OK + b" : b\r\nContent-Length: 2\r\n\r\nab"),
        raw(OK + b"Content-Length : 2\r\n\r\nab"),
        raw(OK + b"A: b\rContent-Length: 2\r\n\r\nab"),
        raw(OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n"),
        raw(OK + b"Transfer-Encoding: chunked\r\n\r\n-2\r\nab\r\n0\r\n\r\n"),
        raw(b"HTTP/1.1 101 Switching Protocols\r\n\r\n"),
        raw(b"HTTP/2 200 OK\r\n\r\n"),
    ],
)
def test_what_is_not_http(client, server, noise):
    server.answer("/x", noise)
    fails(client, server, "that is not HTTP", AnswerError)


def test_a_chunk_that_is_none(client, server):
    server.answer("/x", raw(OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nx\r\n"))
    fails(client, server, "")


def test_redirects_are_followed(client, server):
    server.answer("/x", reply(307, Location="/y"))
    server.answer("/y", reply(301, Location=f"http://{server.netloc}/z?a=b#c"))
    server.answer("/z", reply(200, "there"))
    response = get(client, server, headers={"Authorization": "Basic eDp5"})
    assert response.body == b"there"
    assert server.seen("/z")[0].headers["authorization"] == "Basic eDp5"


def test_redirects_in_a_circle(client, server):
    server.answer("/x", reply(302, Location="/x"))
    fails(client, server, "redirects more than 5 times", AnswerError)
    assert len(server.seen("/x")) == 6


@pytest.mark.parametrize("target", ["ftp://x/", "file:///etc/passwd", "https:///x", "http://[::1"])
def test_redirects_to_nowhere(client, server, target):
    server.answer("/x", reply(302, Location=target))
    fails(client, server, "redirects to nowhere", AnswerError)


def test_a_redirect_without_a_location(client, server):
    server.answer("/x", reply(302))
    fails(client, server, "redirects to nowhere", AnswerError)


def test_another_host_is_not_told_the_password(client, server):
    with Misbehaving() as other:
        server.answer("/x", reply(307, Location=f"http://{other.netloc}/y"))
        other.answer("/y", reply(200, "there"))
        assert get(client, server, headers={"Authorization": "Basic eDp5", "X-Kept": "1"}).body == b"there"
        assert "authorization" not in other.seen("/y")[0].headers
        assert other.seen("/y")[0].headers["x-kept"] == "1"


def test_from_https_to_http_no_redirect_leads(certificate):
    with Misbehaving(certificate) as server, Misbehaving() as other:
        server.answer("/x", reply(307, Location=f"http://{other.netloc}/y"))
        other.answer("/y", reply(200))
        with HttpClient(TLSConfig(server.netloc, ca_path=str(certificate)), timeout=1) as client:
            fails(client, server, "from HTTPS to HTTP", AnswerError, scheme="https")
        assert other.requests == []


def test_a_write_is_not_redirected(client, server):
    server.answer("/x", reply(307, Location="/y"))
    assert get(client, server, method="PUT", body=b"x").status == 307
    assert server.seen("/y") == []


@pytest.mark.parametrize(
    ("options", "says", "cure"),
    [
        ({}, "comes from an unknown CA", "ca_path"),
        ({"days": -1, "begins": -2}, "has expired", "Renew it"),
        ({"begins": 1}, "is not valid yet", "clocks"),
        ({"names": ("other.example.com",)}, "is for another name", "Use the name"),
    ],
)
def test_certificates_that_do_not_do(tmp_path, options, says, cure):
    certificate = make_certificate(tmp_path / "server.pem", **options)
    ca_path = None if not options else str(certificate)
    with Misbehaving(certificate) as server, HttpClient(TLSConfig(server.netloc, ca_path=ca_path), timeout=1) as client:
        fails(client, server, says, UnreachableError, scheme="https")
        fails(client, server, cure, UnreachableError, scheme="https")
    unchecked = {"validate_certs": False}
    with Misbehaving(certificate) as server, HttpClient(TLSConfig(server.netloc, **unchecked), timeout=1) as client:
        server.answer("/x", reply(200))
        assert get(client, server, scheme="https").status == 200


def test_the_ca_that_docker_trusts_is_trusted(certificate, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    with Misbehaving(certificate) as server:
        server.answer("/x", reply(200))
        folder = tmp_path / ".config" / "docker" / "certs.d" / server.netloc
        folder.mkdir(parents=True)
        (folder / "anything.crt").write_bytes(certificate.read_bytes())
        with HttpClient(TLSConfig(server.netloc), timeout=1) as client:
            assert get(client, server, scheme="https").status == 200
        with HttpClient(TLSConfig("127.0.0.1:1"), timeout=1) as client:
            fails(client, server, "unknown CA", scheme="https")


def test_threads_share_what_is_trusted(certificate, monkeypatch):
    trust, made = TLSConfig("127.0.0.1", ca_path=str(certificate)), []
    make = ssl.create_default_context

    def slowly(**options):
        time.sleep(0.05)
        made.append(options)
        return make(**options)

    monkeypatch.setattr(ssl, "create_default_context", slowly)
    with concurrent.futures.ThreadPoolExecutor(8) as executor:
        contexts = set(executor.map(lambda _number: trust.context, range(8)))
    assert len(made) == len(contexts) == 1


def test_http_on_the_port_of_https_and_the_reverse(certificate, client, server):
    server.answer("/x", reply(200))
    fails(client, server, "speaks HTTP, and was asked over HTTPS", UnreachableError, scheme="https")
    with Misbehaving(certificate) as tls:
        fails(client, tls, "HTTPS", UnreachableError)
    # As Go's and nginx's servers word it.
    server.answer("/x", reply(400, "Client sent an HTTP request to an HTTPS server.\n"))
    fails(client, server, "speaks HTTPS, and was asked over HTTP", UnreachableError)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"ca_path": "/nonexistent/ca.crt"}, "ca_path /nonexistent/ca.crt can't be read: No such file"),
        ({"ca_path": "/etc/hostname"}, "ca_path /etc/hostname can't be used"),
        (
            {"client_cert": "/nonexistent", "client_key": "/nonexistent"},
            "client certificate /nonexistent can't be read",
        ),
    ],
)
def test_files_of_tls_that_can_not_be_used(server, options, says):
    with HttpClient(TLSConfig(server.netloc, **options), timeout=1) as client:
        fails(client, server, says, InputError, scheme="https")


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("https://nowhere.invalid/", "nowhere.invalid does not resolve"),
        ("https://127.0.0.1:1/", "127.0.0.1:1 refused the connection"),
        ("https://[::1]:1/", "[::1]:1"),
        ("https://" + "a" * 64 + ".example.com/", "a.example.com"),
    ],
)
def test_nobody_there(client, url, says):
    with pytest.raises(RegistryError) as error:
        client.request("GET", url)
    assert says in str(error.value)


@pytest.mark.parametrize("proxied", [False, True])
def test_a_redirect_to_a_port_that_is_none(client, server, monkeypatch, proxied):
    if proxied:
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    server.answer("/x", reply(302, Location="http://r.example.com:99999/"))
    fails(client, server, "r.example.com:99999")


@pytest.mark.parametrize("rest", ["127.0.0.1:1/", "nowhere.invalid/", "127.0.0.1:99999/", "127.0.0.1:x/"])
def test_what_a_redirect_has_before_the_at_is_not_shown(client, server, rest):
    server.answer("/x", reply(302, Location=f"http://ci:geheim@{rest}"))
    with pytest.raises(RegistryError, match="redirects to") as error:
        get(client, server)
    assert "geheim" not in str(error.value)
    assert "ci:" not in str(error.value)

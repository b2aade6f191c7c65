"""What TLS can do besides: certificates of clients, and the status of the server's own."""

from __future__ import annotations

import datetime as dt
import http.server
import ssl
import threading
from typing import TYPE_CHECKING

import pytest
from certificates import Authority
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp
from engine import bridge_address, command, free_ports, wait_for
from front import INSIDE, Front

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from certificates import Pair

USERS = [{"name": "ci", "access": "push"}]


@pytest.fixture(scope="module")
def of_clients(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The CA of the clients' certificates, which is not that of the server."""
    return Authority(tmp_path_factory.mktemp("clients"), "clients")


@pytest.fixture(scope="module")
def proxy(fronts: Callable[..., Front], of_clients: Authority) -> Front:
    return fronts(
        USERS,
        reverse_proxy_client_certificates="required",
        reverse_proxy_client_ca=of_clients.certificate.read_text(),
    )


def with_certificate(proxy: Front, pair: Pair) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=proxy.ca)
    context.load_cert_chain(pair.certificate, pair.key)
    return context


def test_a_certificate_is_asked_for_besides_the_password(proxy: Front, of_clients: Authority) -> None:
    context = with_certificate(proxy, of_clients.issue("host"))
    assert proxy.client("ci", context=context).ask("GET", "/v2/").status == 200
    assert proxy.client("ci", "wrong", context=context).ask("GET", "/v2/").status == 401
    assert proxy.client(context=context).ask("GET", "/v2/").status == 401


def test_who_has_none_is_told(proxy: Front, of_clients: Authority) -> None:
    other = Authority(of_clients.directory / "other", "other")
    expired = of_clients.issue("expired", end=-dt.timedelta(hours=1))
    for context in (None, with_certificate(proxy, other.issue("host")), with_certificate(proxy, expired)):
        answer = proxy.client("ci", context=context).ask("GET", "/v2/")
        assert (answer.status, answer.code) == (403, "DENIED")
        assert b"client certificate" in answer.body


@pytest.fixture(scope="module")
def asked() -> list[str]:
    """What the responder was asked."""
    return []


@pytest.fixture(scope="module")
def stapling(images: dict[str, str], tmp_path_factory: pytest.TempPathFactory, asked: list[str]) -> Iterator[Front]:
    """A front whose certificate says where its status can be asked for, and the responder there."""
    front = Front(tmp_path_factory.mktemp("front"), images)
    port = free_ports(1)[0]
    pair = front.authority.issue("stapled", ocsp=f"http://{bridge_address()}:{port}/")
    tls = front.directory / "config" / "nginx" / "tls"
    # With its issuer, as a certificate that is brought.
    (tls / "server.crt").write_text(pair.certificate.read_text() + front.ca.read_text())
    (tls / "server.key").write_text(pair.key.read_text())
    server = http.server.HTTPServer((bridge_address(), port), responder(front.authority, pair.certificate, asked))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        front.configure(USERS, reverse_proxy_ocsp_stapling=True, reverse_proxy_resolvers=["127.0.0.1"])
        front.start()
        yield front
    finally:
        front.stop()
        server.shutdown()
        server.server_close()


def responder(authority: Authority, path: Path, asked: list[str]) -> type[http.server.BaseHTTPRequestHandler]:
    """Says that the certificate is good."""
    now = dt.datetime.now(dt.UTC)
    builder = ocsp.OCSPResponseBuilder().add_response(
        cert=x509.load_pem_x509_certificate(path.read_bytes()),
        issuer=authority.own,
        # What nginx asks by.
        algorithm=hashes.SHA1(),  # noqa: S303
        cert_status=ocsp.OCSPCertStatus.GOOD,
        this_update=now - dt.timedelta(hours=1),
        next_update=now + dt.timedelta(days=1),
        revocation_time=None,
        revocation_reason=None,
    )
    signed = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, authority.own).sign(authority.key, hashes.SHA256())
    content = signed.public_bytes(serialization.Encoding.DER)

    class Responder(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Type", "application/ocsp-response")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_arguments: object) -> None:
            pass

    return Responder


def test_the_status_of_the_certificate_is_sent_along(stapling: Front, asked: list[str]) -> None:
    look = ("openssl", "s_client", "-connect", f"127.0.0.1:{INSIDE['https']}", "-servername", "localhost", "-status")

    def sent() -> bool:
        done = command("docker", "exec", stapling.containers["proxy"], *look, check=False)
        return "OCSP Response Status: successful" in done.stdout and "Cert Status: good" in done.stdout

    # The first connections of each worker have it ask.
    wait_for("the status is sent along", sent)
    assert asked

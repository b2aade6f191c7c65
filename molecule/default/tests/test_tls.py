"""The certificate and the protocol versions, from another machine."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from labtest import LabHost, Registry
    from testinfra.host import Host

# Without forward secrecy, or CBC with SHA-1: the intermediate profile has dropped them.
WEAK_SUITES = ("AES128-SHA", "ECDHE-RSA-AES256-SHA", "ECDHE-ECDSA-AES256-SHA")


def only(context: ssl.SSLContext, version: ssl.TLSVersion) -> ssl.SSLContext:
    context.minimum_version = version
    context.maximum_version = version
    return context


def test_chain_and_name(registry: Registry) -> None:
    """The handshake itself checks the chain to the CA that was fetched, the dates and the name."""
    with registry.connect() as connection:
        certificate = connection.getpeercert()
    assert ("DNS", registry.hostname) in certificate["subjectAltName"]


def test_other_trust_refuses(registry: Registry) -> None:
    with (
        pytest.raises(ssl.SSLCertVerificationError, match="unable to get local issuer"),
        registry.connect(ssl.create_default_context()),
    ):
        pass


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=lambda version: version.name)
def test_current_versions_are_spoken(registry: Registry, version: ssl.TLSVersion) -> None:
    with registry.connect(only(registry.tls_context(), version)) as connection:
        assert connection.version() == version.name.replace("_", ".")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1], ids=lambda version: version.name)
def test_old_versions_are_refused(registry: Registry, version: ssl.TLSVersion) -> None:
    context = only(registry.tls_context(), version)
    # The client's own OpenSSL would refuse to try otherwise. The alert has to be the server's.
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError) as refused, registry.connect(context):
        pass
    assert refused.value.reason == "TLSV1_ALERT_PROTOCOL_VERSION"


@pytest.mark.parametrize(("offered", "chosen"), [(["h2", "http/1.1"], "h2"), (["http/1.1"], "http/1.1"), ([], None)])
def test_protocols(registry: Registry, offered: list[str], chosen: str | None) -> None:
    context = registry.tls_context()
    if offered:
        context.set_alpn_protocols(offered)
    with registry.connect(context) as connection:
        assert connection.selected_alpn_protocol() == chosen


def test_no_tickets_and_no_version(registry: Registry) -> None:
    """A ticket's key that lives as long as nginx would undo the secrecy of all that it opened."""
    answer = registry.request("GET", "/v2/", "runtime")
    assert answer.headers["Server"] == "nginx"
    assert answer.headers["Strict-Transport-Security"].startswith("max-age=")
    with registry.connect(only(registry.tls_context(), ssl.TLSVersion.TLSv1_2)) as connection:
        assert not connection.session.has_ticket


def test_weak_suites_are_refused(registry: Registry) -> None:
    context = only(registry.tls_context(), ssl.TLSVersion.TLSv1_2)
    context.set_ciphers(":".join(WEAK_SUITES))
    with pytest.raises(ssl.SSLError) as refused, registry.connect(context):
        pass
    assert refused.value.reason in {"SSLV3_ALERT_HANDSHAKE_FAILURE", "SSL/TLS_ALERT_HANDSHAKE_FAILURE"}


def test_served_certificate_is_the_one_on_the_host(registry: Registry, host: Host) -> None:
    with registry.connect() as connection:
        served = connection.getpeercert(binary_form=True)
    stored = host.file("/etc/wharf-registry/certificate/server.crt").content_string
    first = stored.partition("-----END CERTIFICATE-----")[0] + "-----END CERTIFICATE-----\n"
    assert served == ssl.PEM_cert_to_DER_cert(first)


def test_clients_trust_the_same_ca(registry: Registry, host: Host, lab: LabHost) -> None:
    trusted = host.file(f"/etc/docker/certs.d/{registry.hostname}/ca.crt").content_string.strip()
    assert trusted == registry.ca_file.read_text().strip()
    assert trusted == host.file("/etc/wharf-registry/certificate/ca.crt").content_string.strip()

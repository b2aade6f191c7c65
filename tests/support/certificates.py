"""Private CAs and the certificates that the peers show, good ones and those that a client must refuse."""

from __future__ import annotations

import dataclasses
import datetime as dt
import ipaddress
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

if TYPE_CHECKING:
    from pathlib import Path

DAY = dt.timedelta(days=1)
NAMES = ("localhost", "127.0.0.1", "registry.test")


@dataclasses.dataclass(frozen=True)
class Pair:
    certificate: Path
    key: Path


class Authority:
    """A CA whose certificate lies at `certificate`, and which issues into the same directory."""

    def __init__(self, directory: Path, name: str) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = subject(name)
        self.own = self._sign(self.name, self.key, -DAY, 30 * DAY, ca=True)
        self.certificate = directory / f"{name}.crt"
        self.certificate.write_bytes(self.own.public_bytes(serialization.Encoding.PEM))

    def issue(
        self,
        name: str,
        names: tuple[str, ...] = NAMES,
        *,
        begin: dt.timedelta = -DAY,
        end: dt.timedelta = 30 * DAY,
        ocsp: str = "",
    ) -> Pair:
        """A certificate for the names, with its key; `begin` and `end` are counted from now.

        `ocsp` is where its status can be asked for.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        pair = Pair(self.directory / f"{name}.crt", self.directory / f"{name}.key")
        certificate = self._sign(subject(name), key, begin, end, names=names, ocsp=ocsp)
        pair.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        pair.key.touch(mode=0o600)
        pair.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return pair

    def _sign(
        self,
        name: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        begin: dt.timedelta,
        end: dt.timedelta,
        *,
        names: tuple[str, ...] = (),
        ca: bool = False,
        ocsp: str = "",
    ) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + begin)
            .not_valid_after(now + end)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=0 if ca else None), critical=True)
            # Python 3.13 refuses certificates that name no keys.
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
            .add_extension(
                x509.KeyUsage(
                    digital_signature=True,
                    key_cert_sign=ca,
                    crl_sign=ca,
                    content_commitment=False,
                    key_encipherment=False,
                    data_encipherment=False,
                    key_agreement=False,
                    encipher_only=False,
                    decipher_only=False,
                ),
                critical=True,
            )
        )
        if names:
            alternatives = x509.SubjectAlternativeName([general_name(text) for text in names])
            builder = builder.add_extension(alternatives, critical=False)
        if ocsp:
            where = x509.AccessDescription(
                x509.AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier(ocsp)
            )
            builder = builder.add_extension(x509.AuthorityInformationAccess([where]), critical=False)
        return builder.sign(self.key, hashes.SHA256())


def subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])


def general_name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)

"""CAs, certificates and keys as PEM text, made once for a run."""

from __future__ import annotations

import datetime as dt

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

DAY = dt.timedelta(days=1)
EC = ec.generate_private_key(ec.SECP256R1())
OTHER = ec.generate_private_key(ec.SECP256R1())
RSA = rsa.generate_private_key(65537, 2048)


def issued(key=EC, *, ca=True, begin=-DAY, end=30 * DAY, name="a CA"):
    now = dt.datetime.now(dt.UTC)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + begin)
        .not_valid_after(now + end)
    )
    if ca is not None:
        builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def pem(key, passphrase=None, kind=serialization.PrivateFormat.PKCS8):
    lock = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, kind, lock).decode()


CA, ROOT, FOREVER = issued(), issued(RSA, name="é"), issued(end=365 * 100 * DAY)
EXPIRED, COMING, LEAF = issued(begin=-9 * DAY, end=-DAY), issued(begin=DAY), issued(ca=False)
CLIENT = issued(ca=False, name="client")

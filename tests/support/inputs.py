"""Reads the tables of small files that clients judge."""

from __future__ import annotations

import base64
import json
import ssl

import yaml
from paths import ROOT

AUTH = base64.b64encode(b"ci:geheim-4711").decode()
_OURS = f'"r.example.com": {{"auth": "{AUTH}"}}'


def cases(table: str) -> list[dict]:
    """The rows of a table, each with the bytes of its file under `raw`."""
    rows = yaml.safe_load((ROOT / "tests" / "verdicts" / table).read_text(encoding="utf-8"))
    for row in rows:
        encoding = row.get("encoding", "utf-8")
        row["raw"] = row.get("text", "").replace("OURS", _OURS).encode(encoding)
        row["files"] = {name: text.encode(encoding) for name, text in row.get("files", {}).items()}
    return rows


def _headed(pem: str, header: str) -> str:
    return pem.replace("CERTIFICATE-----", f"{header}-----")


# Forms of a CA's PEM text: the text that an option gets, whether clients trust the CA then, and what the module says
# where it refuses. Bytes that are no UTF-8 are surrogates, as Ansible reads a file.
CA_FORMS = {
    "as it is": (lambda pem: pem, True, ""),
    "CRLF": (lambda pem: pem.replace("\n", "\r\n"), True, ""),
    "text before it": (lambda pem: f"subject=CN = x\n\n    Issuer: CN = x\n{pem}", True, ""),
    "no line end at its end": (lambda pem: pem.rstrip(), True, ""),
    "a BOM": (lambda pem: f"\ufeff{pem}", False, "byte order mark"),
    "a BOM before the second": (lambda pem: f"{pem}\ufeff{pem}", True, "byte order mark"),
    "a BOM read as bytes": (lambda pem: f"\udcef\udcbb\udcbf{pem}", False, "byte order mark"),
    "a BOM read as Latin-1": (lambda pem: f"\u00ef\u00bb\u00bf{pem}", False, "byte order mark"),
    "UTF-16": (lambda pem: _raw(pem.encode("utf-16")), False, "is UTF-16 text"),
    "UTF-16 without a BOM": (lambda pem: _raw(pem.encode("utf-16-be")), False, "is UTF-16 text"),
    "DER": (lambda pem: _raw(ssl.PEM_cert_to_DER_cert(pem)), False, "is binary (DER or PKCS #12)"),
    "TRUSTED CERTIFICATE": (lambda pem: _headed(pem, "TRUSTED CERTIFICATE"), False, "OpenSSL's own form"),
    "TRUSTED CERTIFICATE first": (lambda pem: _headed(pem, "TRUSTED CERTIFICATE") + pem, True, "OpenSSL's own form"),
    "X509 CERTIFICATE": (lambda pem: _headed(pem, "X509 CERTIFICATE"), False, "an old header"),
    "PKCS7": (lambda pem: _headed(pem, "PKCS7"), False, "PKCS #7"),
    "a request": (lambda pem: _headed(pem, "CERTIFICATE REQUEST"), False, "is a request"),
    "revocations": (lambda pem: _headed(pem, "X509 CRL"), False, "list of revoked certificates"),
    "a public key": (lambda pem: _headed(pem, "PUBLIC KEY"), False, "public key without"),
    "a private key": (lambda pem: _headed(pem, "PRIVATE KEY"), False, "holds a private key"),
    "an encrypted key": (lambda pem: _headed(pem, "ENCRYPTED PRIVATE KEY"), False, "holds a private key"),
    "base64 alone": (lambda pem: "".join(pem.splitlines(keepends=True)[1:-1]), False, "without the first and the last"),
    "its path": (lambda _pem: "/etc/ssl/certs/our-ca.pem\n", False, "is the name of a file"),
    "spaces before each line": (lambda pem: "".join(f"  {line}\n" for line in pem.splitlines()), False, "is indented"),
    "nothing but spaces between": (lambda pem: pem.replace("\n", " "), False, "has become one line"),
}


def _raw(content: bytes) -> str:
    return content.decode("utf-8", "surrogateescape")


# Whose login Podman shows for a repository of r.example.com, by the keys of auth.json that hold one.
NAMESPACES = [
    (["r.example.com", "r.example.com/team", "r.example.com/team/app"], "team/app", "r.example.com/team/app"),
    (["r.example.com", "r.example.com/team", "r.example.com/team/app"], "team/other", "r.example.com/team"),
    (["r.example.com", "r.example.com/team"], "teamwork/app", "r.example.com"),
    (["r.example.com", "r.example.com/team"], "other", "r.example.com"),
    (["r.example.com/team"], "team/a/b/c", "r.example.com/team"),
    (["r.example.com/team"], "other", ""),
    (["r.example.com/team/app"], "team", ""),
    (["o.example.com/team"], "team", ""),
]


def namespaced(keys: list[str]) -> bytes:
    """An auth.json with a login of each key, whose user is the key."""
    auths = {key: {"auth": base64.b64encode(f"{key}:geheim-4711".encode()).decode()} for key in keys}
    return json.dumps({"auths": auths}).encode()

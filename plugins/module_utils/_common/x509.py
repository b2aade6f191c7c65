# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates in PEM, checked before anything trusts or shows them. Private to this collection."""

from __future__ import annotations

import binascii
import calendar
import hashlib
import os
import re
import ssl
import time

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError

# As strict as engines are: they pass over a block whose first and last line do not stand alone, and say nothing of it.
_BLOCK = re.compile(
    r"^-----BEGIN ([A-Z0-9 ]+)-----[ \t]*\r?\n(.*?)^-----END \1-----[ \t]*\r?$", re.DOTALL | re.MULTILINE
)
_BASE64 = re.compile(r"[A-Za-z0-9+/]*={0,2}", re.ASCII)
_UTC_TIME = 0x17
_KIND = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----")
_PEM = 'Give text that begins with "-----BEGIN CERTIFICATE-----"'
# What other headers begin: what it is, and what to do. Engines pass over all of them, and say nothing of it.
_OTHER_KINDS = {
    "TRUSTED CERTIFICATE": (
        "OpenSSL's own form of a certificate, with what it is trusted for",
        'Write it anew: "openssl x509 -in OLD -out NEW"',
    ),
    "X509 CERTIFICATE": ("an old header of certificates", 'Write it anew: "openssl x509 -in OLD -out NEW"'),
    "PKCS7": ("a bundle in PKCS #7", 'Take the certificates out: "openssl pkcs7 -print_certs -in OLD -out NEW"'),
    "CMS": ("a bundle in CMS", 'Take the certificates out: "openssl pkcs7 -print_certs -in OLD -out NEW"'),
    "CERTIFICATE REQUEST": ("a request, and no certificate yet", "Give the certificate of the CA"),
    "NEW CERTIFICATE REQUEST": ("a request, and no certificate yet", "Give the certificate of the CA"),
    "X509 CRL": ("a list of revoked certificates", "Give the certificate of the CA"),
    "PUBLIC KEY": ("a public key without a certificate", "Give the certificate of the CA"),
    "RSA PUBLIC KEY": ("a public key without a certificate", "Give the certificate of the CA"),
}
# Two more ways to write a certificate: their headers hide it also where there are others beside it.
_HIDDEN = ("TRUSTED CERTIFICATE", "X509 CERTIFICATE")


def check_ca(pem, name):
    """Raises InputError where the PEM text is nothing that a CA bundle may hold. Returns warnings.

    name says whose CA it is. Text between the certificates is passed over, as engines do.
    """
    certificates = _certificates(pem, name)
    dead = []
    for which, der in certificates:
        if not _is_ca(der, which):
            raise InputError(
                f"{which} is no CA, but the certificate of a server or a client",
                "Give the CA that signed it, or one that is its own CA (CA:TRUE)",
            )
        dead += _not_valid_now(der, which)
    if len(dead) == len(certificates):
        raise InputError("; ".join(dead), "Give a CA that is valid now, or correct this host's clock")
    return [f"{what}: engines pass over it, and it can be left out." for what in dead]


def check_pair(certificate, key, name):
    """Raises InputError unless the PEM texts are a client certificate that is valid now and its open key."""
    which, der = _certificates(certificate, f"client_cert of {name}")[0]
    for dead in _not_valid_now(der, which):
        raise InputError(dead, "Give a certificate that is valid now, or correct this host's clock")
    _check_form(key, f"client_key of {name}")
    if not any("PRIVATE KEY" in kind for kind, _body in _BLOCK.findall(key)):
        raise InputError(f"client_key of {name} is no private key in PEM", "Give the key as PEM text, line by line")
    try:
        _load_pair(certificate, key)
    except ssl.SSLError as error:
        # The second is of a key of another kind, such as RSA beside EC.
        if error.reason in ("KEY_VALUES_MISMATCH", "NO_CERTIFICATE_ASSIGNED", "KEY_TYPE_MISMATCH"):
            raise InputError(
                f"client_key of {name} is not the key of its client_cert", "Give the two that belong together"
            ) from None
        reason = f" ({error.reason.replace('_', ' ').lower()})" if error.reason else ": it is cut off or damaged"
        raise InputError(
            f"client_cert and client_key of {name} can't be used{reason}", "Copy them again, whole"
        ) from None


def fingerprints(pem):
    """What stands for the certificates, or whatever else the text is, in a diff."""
    bodies = [body for kind, body in _BLOCK.findall(pem) if kind == "CERTIFICATE"]
    return ["sha256:" + hashlib.sha256("".join(body.split()).encode()).hexdigest() for body in bodies or [pem]]


def _certificates(pem, name):
    """[(how messages name it, DER)]"""
    # Also one that is cut off: what there is of it would lie there as well.
    if "PRIVATE KEY-----" in pem:
        raise InputError(
            f"{name} holds a private key, which must never lie where others can read it",
            "Give the certificates alone, and keep that key where it was",
        )
    _check_form(pem, name)
    # What is written has no space around it, either.
    bodies = [body for kind, body in _BLOCK.findall(pem.strip()) if kind == "CERTIFICATE"]
    begun = pem.count("-----BEGIN CERTIFICATE-----")
    if begun != len(bodies):
        raise InputError(
            f"{name} begins {begun} certificates, of which {len(bodies)} can be read: the text is cut off, is "
            f"indented, or has become one line",
            'Give it line by line as it lies in its file (in YAML after "|", not after ">")',
        )
    if not bodies:
        raise InputError(f"{name} holds no certificate in PEM", _PEM)
    found = []
    for number, body in enumerate(bodies, 1):
        which = name if len(bodies) == 1 else f"certificate {number} of {len(bodies)} in {name}"
        text = "".join(body.split())
        try:
            # Python passes over what is no base64, and engines do not.
            if not _BASE64.fullmatch(text) or len(text) % 4:
                raise _damaged(which)
            found.append((which, binascii.a2b_base64(text)))
        except binascii.Error:
            raise _damaged(which) from None
    return found


def _check_form(text, name):
    """Raises InputError, which names what the text is, where it is none that engines read as PEM."""
    for holds, what, cure in _forms(text):
        if holds:
            raise InputError(f"{name} {what}", cure)


def _forms(text):
    """(whether it is so, what it is, what to do), what can be told best first."""
    start = text.lstrip()[:2]
    plain = "Save it as UTF-8 without a byte order mark, or as ASCII"
    yield (
        ("\0" in text and "-\0-\0" in text) or text[:1] in ("\ufffe",) or text[:2] in ("\udcff\udcfe", "\udcfe\udcff"),
        "is UTF-16 text, as some programs of Windows write it",
        plain,
    )
    # Read as Latin-1 it is three letters.
    yield (
        "\ufeff" in text or "\u00ef\u00bb\u00bf" in text or "\udcef\udcbb\udcbf" in text,
        "holds a byte order mark (BOM), which some editors of Windows write: engines pass over the block behind it",
        plain,
    )
    yield (
        (start[:1] == "0" and start[1:] > "\x7f") or "\0" in text,
        "is binary (DER or PKCS #12), and no PEM",
        'Write it anew: "openssl x509 -inform der -in OLD -out NEW", or "openssl pkcs12 -nokeys -in OLD -out NEW"',
    )
    kinds = _KIND.findall(text)
    for kind in kinds:
        what, cure = _OTHER_KINDS.get(kind, ("", ""))
        alone = what and not any(other == "CERTIFICATE" or "PRIVATE KEY" in other for other in kinds)
        yield kind in _HIDDEN or alone, f"has the header {kind}, which is {what}", cure
    yield (
        not kinds and start == "MI" and len(text) > 200,
        "is base64 without the first and the last line of PEM",
        _PEM,
    )
    yield (
        text.startswith(("/", "~", "./")) and "\n" not in text.strip(),
        "is the name of a file, and not the text that lies in it",
        "Give the text: \"{{ lookup('ansible.builtin.file', PATH) }}\"",
    )


def _is_ca(der, which):
    # Reads nothing of the system: a context is empty until it is told what to trust.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cadata=der)
    except (ssl.SSLError, ValueError):
        raise _damaged(which) from None
    stored = context.cert_store_stats()
    if stored["x509"] != 1:
        raise _damaged(which)
    return stored["x509_ca"] == 1


def _damaged(which):
    return InputError(f"{which} does not parse: it is cut off or damaged", "Copy the certificate again, whole")


def _not_valid_now(der, which):
    """[what is wrong with its time], or nothing."""
    begin, end = validity(der, which)
    now = time.time()
    if end < now:
        return [f"{which} has expired on {day(end)}"]
    return [f"{which} is not valid before {day(begin)}"] if begin > now else []


def validity(der, which):
    """The times in between which it is valid, in seconds since 1970. The standard library shows them of CAs only."""
    try:
        at = _item(der, _item(der, 0)[1])[1]
        # A version may come first; then the serial number, the algorithm and the issuer.
        for _part in range(4 if der[at] == 0xA0 else 3):
            at = _item(der, at)[2]
        at = _item(der, at)[1]
        times = []
        for _part in range(2):
            tag, start, at = _item(der, at)
            text = der[start:at].decode("ascii")
            if tag == _UTC_TIME:
                text = ("19" if text[:2] >= "50" else "20") + text
            times.append(calendar.timegm(time.strptime(text, "%Y%m%d%H%M%SZ")))
    except (IndexError, ValueError):
        raise _damaged(which) from None
    return times


def _item(der, at):
    """(tag, start, end) of the DER item at this place: der[start:end] is what it holds."""
    tag, length = der[at], der[at + 1]
    at += 2
    if length & 0x80:
        size = length & 0x7F
        length = int.from_bytes(der[at : at + size], "big")
        at += size
    return tag, at, at + length


def day(seconds):
    return time.strftime("%Y-%m-%d", time.gmtime(seconds))


def _load_pair(certificate, key):
    """Has OpenSSL read both, which takes files: they lie in memory."""
    handles = []
    try:
        paths = []
        for text in (certificate, key):
            handle = os.memfd_create("wharf", os.MFD_CLOEXEC)
            handles.append(handle)
            os.write(handle, text.encode())
            paths.append(f"/proc/self/fd/{handle}")
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(*paths, password=_no_passphrase)
    finally:
        for handle in handles:
            os.close(handle)


def _no_passphrase():
    raise InputError("client_key has a passphrase", "Engines can't type one: give the key without")

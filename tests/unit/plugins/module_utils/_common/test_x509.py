"""CAs and client certificates: what an engine would trust or show is taken, and all else has one clear outcome."""

from __future__ import annotations

import base64
import re

import inputs
import pytest
from ansible_collections.wharf.registry.plugins.module_utils._common.errors import InputError
from ansible_collections.wharf.registry.plugins.module_utils._common.x509 import check_ca, check_pair, fingerprints
from cryptography.hazmat.primitives import serialization
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pems import CA, CLIENT, COMING, DAY, EC, EXPIRED, FOREVER, LEAF, OTHER, ROOT, RSA, issued, pem

from examples import examples


def refused(check, *arguments):
    with pytest.raises(InputError) as told:
        check(*arguments)
    assert told.value.cure
    text = str(told.value)
    for secret in re.findall(r"[A-Za-z0-9+/=]{30,}", "".join(arguments)):
        assert secret not in text
    return text


@pytest.mark.parametrize(
    "text",
    [
        CA,
        CA.strip(),
        "\n\n  " + CA,
        CA + ROOT + FOREVER,
        CA.replace("\n", "\r\n"),
        f"subject=/CN=é -----\n{CA}\nsome text\n# and more\n{ROOT}the end",
        CA + CA,
        # Both are passed over by engines.
        CA.replace("-----\n", "-----  \n"),
    ],
    ids=range(8),
)
def test_what_an_engine_trusts(text):
    assert check_ca(text, "the CA of r") == []


@pytest.mark.parametrize("dead", [EXPIRED, COMING])
def test_one_of_several_that_is_not_valid_now_is_warned_of(dead):
    (warning,) = check_ca(CA + dead, "the CA of r")
    assert "certificate 2 of 2 in the CA of r" in warning
    assert ("expired" in warning) is (dead is EXPIRED)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no certificate"),
        ("hello", "no certificate"),
        (pem(EC), "private key"),
        (CA + pem(EC, kind=serialization.PrivateFormat.TraditionalOpenSSL), "private key"),
        (CA + pem(EC)[:80], "private key"),
        (EXPIRED, "expired on"),
        (COMING, "not valid before"),
        (EXPIRED + COMING, "not valid before"),
        (LEAF, "is no CA"),
        (CA + LEAF, "certificate 2 of 2 in the CA of r is no CA"),
        (CA.replace("\n", " "), "become one line"),
        (CA.replace("\n", "\n    ").strip(), "indented"),
        (CA[: len(CA) // 2], "cut off"),
        (CA + ROOT[: len(ROOT) // 2], "cut off"),
        (CA.replace("-----END CERTIFICATE-----\n", "") + ROOT, "cut off"),
        (CA[:200] + "!" + CA[200:], "damaged"),
        (CA[:200] + "é" + CA[200:], "damaged"),
        (CA[:200] + CA[201:], "damaged"),
        (CA[:200] + ("A" if CA[200] != "A" else "B") * 40 + CA[240:], "damaged"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "damaged"),
        ("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n", "damaged"),
        (CA.replace("CERTIFICATE", "TRUSTED CERTIFICATE"), "header TRUSTED CERTIFICATE"),
    ],
    ids=range(22),
)
def test_what_an_engine_would_not_trust(text, says):
    message = refused(check_ca, text, "the CA of r")
    assert says in message and "the CA of r" in message


@settings(max_examples=examples(200), deadline=None)
@given(at=st.integers(0, len(CA)), length=st.integers(0, 80), junk=st.text(alphabet="A=-\n é!", max_size=4))
@example(at=CA.index("-----END") - 1, length=0, junk="=")
@example(at=200, length=1, junk="AA")
def test_any_damage_is_told_or_does_no_harm(at, length, junk):
    damaged = CA[:at] + junk + CA[at + length :]
    try:
        check_ca(damaged, "the CA of r")
    except InputError:
        return
    # Read as strictly as Go does it. What the certificate says is OpenSSL's to judge, which is not the strictest.
    # It is written without the space around it.
    block = r"^-----BEGIN CERTIFICATE-----[ \t]*\n([^-]*)^-----END CERTIFICATE-----[ \t]*$"
    bodies = re.findall(block, damaged.strip(), re.MULTILINE)
    assert len(bodies) == damaged.count("BEGIN") == 1
    base64.b64decode("".join(bodies[0].split()), validate=True)


@pytest.mark.parametrize("kind", [serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL])
@pytest.mark.parametrize("key", [EC, RSA])
def test_pairs(key, kind):
    certificate = issued(key, ca=False)
    check_pair(certificate, pem(key, kind=kind), "r")
    check_pair((certificate + CA).replace("\n", "\r\n"), pem(key, kind=kind).replace("\n", "\r\n"), "r")


@pytest.mark.parametrize(
    ("certificate", "key", "says"),
    [
        (CLIENT, pem(OTHER), "is not the key of"),
        (CLIENT, pem(RSA), "is not the key of"),
        (CA + CLIENT, pem(OTHER), "is not the key of"),
        (CLIENT, pem(EC, b"geheim"), "passphrase"),
        (CLIENT, pem(EC, b"geheim", serialization.PrivateFormat.TraditionalOpenSSL), "passphrase"),
        (CLIENT, "hello", "no private key"),
        (CLIENT, CLIENT, "no private key"),
        (CLIENT, pem(EC).replace("\n", " "), "no private key"),
        (CLIENT, pem(EC)[:100], "no private key"),
        (CLIENT, pem(EC).replace("M", "A", 3), "cut off or damaged"),
        ("hello", pem(EC), "no certificate"),
        (CLIENT.replace("\n", " "), pem(EC), "one line"),
        (CLIENT[:200] + CLIENT[204:], pem(EC), "damaged"),
        (pem(EC) + CLIENT, pem(EC), "private key"),
        (issued(ca=False, end=-DAY / 2), pem(EC), "expired"),
        (issued(ca=False, begin=DAY), pem(EC), "not valid before"),
    ],
    ids=range(16),
)
def test_no_pairs(certificate, key, says):
    assert says in refused(check_pair, certificate, key, "r")


def test_what_stands_for_them_in_a_diff():
    assert len(set(fingerprints(CA + ROOT))) == 2
    assert fingerprints(CA) == fingerprints(f"text\n{CA}".replace("\n", "\r\n"))
    assert "PRIVATE" not in "".join(fingerprints(pem(EC)))


@pytest.mark.parametrize("form", inputs.CA_FORMS)
@pytest.mark.parametrize("text", [CA, ROOT], ids=["EC", "RSA"])
def test_what_a_file_is_that_no_engine_reads(text, form):
    make, _trusted, says = inputs.CA_FORMS[form]
    if says:
        assert says in refused(check_ca, make(text), "the CA of r")
    else:
        assert check_ca(make(text), "the CA of r") == []


@pytest.mark.parametrize("form", ["a BOM", "UTF-16", "DER", "its path"])
def test_what_a_pair_is_that_no_engine_reads(form):
    make, _trusted, says = inputs.CA_FORMS[form]
    assert f"client_cert of r {'is' if form != 'a BOM' else 'holds'}" in refused(check_pair, make(CLIENT), pem(EC), "r")
    if form != "DER":
        assert says in refused(check_pair, CLIENT, make(pem(EC)), "r")

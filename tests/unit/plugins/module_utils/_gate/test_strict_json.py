"""JSON that is refused where two readers could understand it differently."""

from __future__ import annotations

import base64
import contextlib
import json

import pytest
from ansible_collections.wharf.registry.plugins.module_utils._gate.signatures import strict_bundle, strict_envelope
from ansible_collections.wharf.registry.plugins.module_utils._gate.strict_json import AmbiguousError, read_strictly
from hypothesis import given
from hypothesis import strategies as st

STATEMENT = base64.b64encode(
    b'{"_type": "x", "predicateType": "https://slsa.dev/provenance/v1", "subject": []}'
).decode()
FORGED = base64.b64encode(b'{"_type": "x", "predicateType": "https://sigstore.dev/cosign/sign/v1"}').decode()
ENVELOPE = {"payloadType": "application/vnd.in-toto+json", "payload": STATEMENT, "signatures": [{"sig": "MEU="}]}


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1, "a": 1}',
        '{"platform": 1, "Platform": 2}',
        '{"Platform": 1}',
        '{"manife\u017fts": []}',
        '{"manifests": [{"digest": "a", "DIGEST": "b"}]}',
        '{"config": {"digest": "a", "Digest": "b"}}',
        '{"annotations": {"a": "1", "a": "2"}}',
        '{"a": NaN}',
        '{"a": 1' + "0" * 30 + "}",
        "[]",
        "",
        '{"a": ' + "[" * 100 + "]" * 100 + "}",
        "[" * 100000,
    ],
)
def test_refused(text):
    with pytest.raises(AmbiguousError):
        read_strictly(text.encode())


@pytest.mark.parametrize(
    "document",
    [
        {
            "config": {"Labels": {"Version": "1", "Digest": "x"}, "Env": []},
            "rootfs": {"type": "layers", "diff_ids": []},
        },
        {"annotations": {"Size": "1", "size": "2"}},
        {"manifests": [{"digest": "a", "platform": {"os": "linux", "os.version": "1"}}], "schemaVersion": 2},
        {"container_config": {"Image": "x", "image": "y"}},
    ],
)
def test_taken(document):
    assert read_strictly(json.dumps(document).encode()) == document


@given(st.binary())
def test_any_bytes(content):
    with contextlib.suppress(AmbiguousError):
        assert isinstance(read_strictly(content), dict)


def test_an_envelope_is_written_anew():
    """Only what is verified is handed over, and its type is that of the same text."""
    content, kind = strict_envelope(json.dumps({**ENVELOPE, "more": {"payload": FORGED}}).encode())
    assert kind == "https://slsa.dev/provenance/v1"
    assert set(json.loads(content)) == {"payload", "payloadType", "signatures"}


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({**ENVELOPE, "Payload": FORGED}),
        json.dumps(ENVELOPE).replace('"payload":', f'"payload": "{FORGED}", "payload":'),
        json.dumps({**ENVELOPE, "payload": "!"}),
        json.dumps({**ENVELOPE, "payload": 1}),
        json.dumps({**ENVELOPE, "payloadType": "text/plain"}),
        json.dumps({**ENVELOPE, "signatures": {}}),
        json.dumps({**ENVELOPE, "signatures": ["x"]}),
        "{}",
    ],
)
def test_envelopes_that_are_none(text):
    assert strict_envelope(text.encode()) is None
    assert strict_bundle(json.dumps({"dsseEnvelope": "x"}).encode()) is None
    assert strict_bundle(f'{{"dsseEnvelope": {text}}}'.encode()) is None


def test_a_bundle_is_written_anew():
    bundle = {"mediaType": "x", "verificationMaterial": {"publicKey": {"hint": "h"}, "x": 1}, "dsseEnvelope": ENVELOPE}
    content, kind = strict_bundle(json.dumps(bundle).encode())
    assert kind == "https://slsa.dev/provenance/v1"
    assert json.loads(content)["verificationMaterial"] == {"publicKey": {"hint": "h"}}

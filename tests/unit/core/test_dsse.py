from __future__ import annotations

import base64
import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey

from qnb.core.checkpoint import KeyRing, Signer, generate_signer
from qnb.core.dsse import PAYLOAD_TYPE, pae, parse_envelope, parse_envelopes, sign_envelope, verify_envelope
from qnb.errors import SignatureError, VerificationError

SIGNER = Signer("example.org/log", b"\x01" * 32, b"\x02" * 32, b"\x03" * 32)
STATEMENT = b'{"_type":"https://in-toto.io/Statement/v1"}'


def test_pae_of_the_specification_is_reproduced() -> None:
    """The example of DSSE's protocol.md."""
    assert pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


def test_both_signatures_are_over_the_pae_and_nothing_else() -> None:
    """Verified with bare keys, as somebody else's verifier would."""
    envelope = sign_envelope(STATEMENT, SIGNER)
    keys = [base64.b64decode(line.split("+", 2)[2])[1:] for line in SIGNER.vkeys.format().splitlines()]
    one, two = (base64.b64decode(signature["sig"]) for signature in envelope["signatures"])
    message = pae(PAYLOAD_TYPE, base64.b64decode(envelope["payload"]))
    Ed25519PublicKey.from_public_bytes(keys[0]).verify(one, message)
    MLDSA44PublicKey.from_public_bytes(keys[1]).verify(two, message)


def test_signed_envelope_gives_its_payload_back() -> None:
    """Also after a trip through a file of several lines, and with a ring of keys."""
    text = json.dumps(sign_envelope(STATEMENT, SIGNER)) + "\n\n" + json.dumps(sign_envelope(b"{}", SIGNER)) + "\n"
    first, second = parse_envelopes(text)
    assert verify_envelope(first, SIGNER.vkeys) == STATEMENT
    ring = KeyRing([(0, generate_signer("example.org/log").vkeys), (5, SIGNER.vkeys)])
    assert verify_envelope(second, ring) == b"{}"


@pytest.mark.parametrize(("kept", "missing"), [(0, "ML-DSA-44"), (1, "Ed25519")])
def test_envelope_with_one_signature_is_refused(kept: int, missing: str) -> None:
    """The other alone will not do; the error says which is missing."""
    envelope = sign_envelope(STATEMENT, SIGNER)
    envelope["signatures"] = [envelope["signatures"][kept]]
    with pytest.raises(SignatureError, match=missing):
        verify_envelope(parse_envelope(envelope), SIGNER.vkeys)


def test_changed_payload_type_or_signature_is_refused() -> None:
    """What is signed is all of it."""
    envelope = sign_envelope(STATEMENT, SIGNER)
    other = sign_envelope(b"{}", SIGNER)
    for change in (
        {"payload": other["payload"]},
        {"payloadType": "text/plain"},
        {"signatures": [envelope["signatures"][0], other["signatures"][1]]},
        {"signatures": [other["signatures"][0], envelope["signatures"][1]]},
        {"signatures": [*envelope["signatures"], other["signatures"][0]]},
        {"signatures": [{**envelope["signatures"][0], "sig": "AAAA"}, envelope["signatures"][1]]},
    ):
        with pytest.raises(VerificationError):
            verify_envelope(parse_envelope({**envelope, **change}), SIGNER.vkeys)
    with pytest.raises(SignatureError):
        verify_envelope(parse_envelope(envelope), generate_signer("example.org/log").vkeys)


def test_signature_under_the_id_of_the_other_algorithm_is_refused() -> None:
    """A downgrade by relabelling: the classic signature twice."""
    envelope = sign_envelope(STATEMENT, SIGNER)
    classic, quantum = envelope["signatures"]
    envelope["signatures"] = [classic, {**classic, "keyid": quantum["keyid"]}]
    with pytest.raises(SignatureError, match="ML-DSA-44"):
        verify_envelope(parse_envelope(envelope), SIGNER.vkeys)


@pytest.mark.parametrize(
    "value",
    [
        [],
        {},
        {"payload": "e30=", "payloadType": PAYLOAD_TYPE, "signatures": {}},
        {"payload": "e30", "payloadType": PAYLOAD_TYPE, "signatures": []},
        {"payload": "e30=", "payloadType": 1, "signatures": []},
        {"payload": "e30=", "payloadType": PAYLOAD_TYPE, "signatures": [{"keyid": 1, "sig": ""}]},
        {"payload": "e30=", "payloadType": PAYLOAD_TYPE, "signatures": [{}] * 17},
    ],
)
def test_malformed_envelope_is_refused(value: object) -> None:
    """Never anything but our own error."""
    with pytest.raises(VerificationError):
        parse_envelope(value)
    with pytest.raises(VerificationError):
        list(parse_envelopes("[" * 100_000))
